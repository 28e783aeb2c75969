//
// chan/select.cpp
// ~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE chan.select
#include <spindle/cancel/cancel_scope.hpp>
#include <spindle/cancel/within.hpp>
#include <spindle/chan/channel.hpp>
#include <spindle/chan/select.hpp>
#include <spindle/go.hpp>
#include <spindle/spawn.hpp>
#include <spindle/sync/wait_group.hpp>
#include <spindle/this_fiber.hpp>

#include <support/asio_fixture.hpp>
#include <support/channel_fixture.hpp>

#include <boost/asio/post.hpp>
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

using namespace spindle_test;
using namespace std::chrono_literals;
using spindle::channel;
using spindle::go;
using spindle::on_receive;
using spindle::on_send;
using spindle::on_stop;
using spindle::on_timeout;
using spindle::otherwise;
using spindle::receive_channel;
using spindle::select;
using spindle::select_case;
using spindle::send_channel;
using spindle::wait_group;
using steady_clock = spindle::testing::clock;
namespace this_fiber = spindle::this_fiber;

namespace {

// Counts its copies and its moves.
struct traced {
    explicit traced(int v) : value(v) {}
    traced(traced const& other) : value(other.value), copies(other.copies + 1) {}
    traced(traced&& other) noexcept
        : value(std::exchange(other.value, -1)), copies(other.copies)
    {
    }

    int value;
    int copies = 0;
};

} // namespace

// --- which case runs ----------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(runs_the_case_that_is_ready_and_returns_its_place)
{
    over_processors([] {
        channel<int> full(1), room(1), empty, nowhere;
        full.send(1);
        std::optional<int> got;
        BOOST_TEST(select(on_receive(full, got)) == 0u);
        BOOST_TEST(got.value() == 1);
        BOOST_TEST(select(on_receive(empty), on_send(nowhere, 2), on_send(room, 3)) == 2u);
        BOOST_TEST(select(on_receive(empty), on_receive(room, got), on_timeout(1h)) == 1u);
        BOOST_TEST(got.value() == 3);
        BOOST_TEST(nobody_waits(empty));
        BOOST_TEST(nobody_waits(nowhere));
    });
}

BOOST_AUTO_TEST_CASE(a_waiting_select_runs_the_first_case_that_becomes_ready)
{
    over_processors([] {
        for (std::size_t which = 0; which != 4; ++which) {
            channel<int> in1, in2, out1, out2;
            std::optional<int> got1, got2;
            std::atomic<std::size_t> ran{99};
            wait_group group;
            group.go([&] {
                ran = select(
                    on_receive(in1, got1), on_receive(in2, got2), on_send(out1, 11),
                    on_send(out2, 12));
            });
            BOOST_TEST(until([&] { return senders_of(out2) == 1; }));
            std::optional<int> got;
            switch (which) {
            case 0:
                in1.send(1);
                break;
            case 1:
                in2.send(2);
                break;
            case 2:
                got = out1.receive();
                break;
            case 3:
                got = out2.receive();
                break;
            }
            group.wait();
            BOOST_TEST(ran == which);
            BOOST_TEST((got1 == (which == 0 ? std::optional<int>(1) : std::nullopt)));
            BOOST_TEST((got2 == (which == 1 ? std::optional<int>(2) : std::nullopt)));
            BOOST_TEST((which < 2 || got == static_cast<int>(9 + which)));
            for (auto const& ch : {in1, in2, out1, out2})
                BOOST_TEST(nobody_waits(ch));
        }
    });
}

BOOST_AUTO_TEST_CASE(cases_that_lose_leave_no_trace)
{
    over_processors([] {
        spindle::error_code ec;
        channel<std::unique_ptr<int>> out1(1), out2(1), in(1);
        auto v1 = std::make_unique<int>(1), v2 = std::make_unique<int>(2);
        in.send(std::make_unique<int>(3));
        std::optional<std::unique_ptr<int>> got;
        auto const ran
            = select(
                on_send(out1, std::move(v1)), on_send(out2, std::move(v2)), on_receive(in, got));
        BOOST_TEST((v1 != nullptr) == (ran != 0));
        BOOST_TEST((v2 != nullptr) == (ran != 1));
        BOOST_TEST(got.has_value() == (ran == 2));
        BOOST_TEST(out1.try_receive(ec).has_value() == (ran == 0));
        BOOST_TEST(out2.try_receive(ec).has_value() == (ran == 1));
        BOOST_TEST(in.try_receive(ec).has_value() == (ran != 2));

        // The same for one that has waited.
        channel<std::unique_ptr<int>> none1, none2;
        auto v = std::make_unique<int>(4);
        BOOST_TEST(
            select(on_send(none1, std::move(v)), on_receive(none2), on_timeout(100us)) == 2u);
        BOOST_REQUIRE(v);
        BOOST_TEST(*v == 4);
        BOOST_TEST(nobody_waits(none1));
        BOOST_TEST(nobody_waits(none2));
        BOOST_TEST(!none1.try_receive(ec));
        BOOST_TEST((ec == asio::error::would_block));
        BOOST_TEST(!none2.try_send(std::move(v), ec));
        BOOST_TEST((v != nullptr));
    });
}

BOOST_AUTO_TEST_CASE(each_of_the_ready_cases_is_as_likely)
{
    over_processors([] {
        constexpr std::size_t ways = 5;
        constexpr auto trials = scaled(20'000);
        channel<int> in1(1), in2(1), closed, out(1);
        closed.close();
        in1.send(1);
        in2.send(1);
        std::stop_source stopped;
        stopped.request_stop();
        std::array<std::size_t, ways> count{};
        for (std::size_t i = 0; i != trials; ++i) {
            auto const ran = select(
                on_receive(in1, [&] { in1.send(1); }), on_receive(closed),
                on_send(out, 1, [&] { out.receive(); }), on_stop(stopped.get_token()),
                on_receive(in2, [&] { in2.send(1); }));
            ++count.at(ran);
        }
        // Chi-square of four degrees of freedom: above 60 once in 10^12.
        auto const expected = static_cast<double>(trials) / ways;
        double chi = 0;
        for (auto const n : count) {
            auto const d = static_cast<double>(n) - expected;
            chi += d * d / expected;
        }
        BOOST_TEST(chi < 60);
    });
}

BOOST_AUTO_TEST_CASE(otherwise_runs_only_where_no_other_is_ready)
{
    over_processors([] {
        channel<int> a(1), b(1);
        bool ran = false;
        for (int i = 0; i != 100; ++i) {
            BOOST_TEST(select(on_receive(a), on_receive(b), otherwise([&] { ran = true; })) == 2u);
            BOOST_TEST(std::exchange(ran, false));
            b.send(1);
            BOOST_TEST(select(otherwise([&] { ran = true; }), on_receive(a), on_receive(b)) == 2u);
            BOOST_TEST(!ran);
        }
        BOOST_TEST(select(on_timeout(1h), otherwise()) == 1u);
        BOOST_TEST(select(on_timeout(0s), otherwise()) == 0u);
    });
}

// --- what a case does ---------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(on_receive_fills_a_variable_or_calls_a_function)
{
    over_processors([] {
        channel<std::unique_ptr<int>> ch(1);
        auto const fill = [&] { ch.send(std::make_unique<int>(5)); };
        fill();
        std::optional<std::unique_ptr<int>> sink(std::make_unique<int>(4));
        select(on_receive(ch, sink));
        BOOST_TEST(*sink.value() == 5);

        fill();
        int seen = 0;
        select(on_receive(ch, [&](std::optional<std::unique_ptr<int>> v) { seen = **v; }));
        BOOST_TEST(seen == 5);

        fill();
        select(on_receive(ch, [&] { ++seen; }));
        BOOST_TEST(seen == 6);

        fill();
        select(on_receive(receive_channel<std::unique_ptr<int>>(ch))); // a view of its own
        BOOST_TEST(ch.size() == 0u);

        fill();
        auto f = [&, p = std::make_unique<int>(1)](auto v) { seen += **v + *p; };
        select(on_receive(ch, std::move(f))); // a function that cannot be copied
        BOOST_TEST(seen == 12);

        // T need be neither default-constructible nor assignable.
        channel<counted> odd(1);
        odd.send(counted(1));
        std::optional<counted> odd_sink(std::in_place, 9);
        select(on_receive(odd, odd_sink));
        BOOST_TEST(odd_sink->value == 1);
    });
    BOOST_TEST(counted::live == 0);
}

BOOST_AUTO_TEST_CASE(cases_of_a_channel_of_nothing)
{
    over_processors([] {
        channel<void> ch(1);
        bool got = false;
        int ran = 0;
        BOOST_TEST(select(on_send(ch)) == 0u);
        BOOST_TEST(select(on_send(ch), on_receive(ch, got)) == 1u);
        BOOST_TEST(got);
        BOOST_TEST(select(on_send(ch, [&] { ++ran; })) == 0u);
        BOOST_TEST(select(on_receive(ch, [&](bool open) { ran += open ? 10 : 100; })) == 0u);
        select(on_send(ch));
        BOOST_TEST(select(on_receive(ch, [&] { ran += 1000; })) == 0u);
        BOOST_TEST(ran == 1011);
        ch.close();
        BOOST_TEST(select(on_receive(ch, got)) == 0u);
        BOOST_TEST(!got);
        BOOST_TEST((error_of([&] { select(on_send(ch)); }) == spindle::errc::channel_closed));
    });
}

BOOST_AUTO_TEST_CASE(a_closed_channel_is_ready)
{
    over_processors([] {
        channel<int> ch(2);
        ch.send(1);
        ch.close();
        std::optional<int> got;
        BOOST_TEST(select(on_receive(ch, got), otherwise()) == 0u);
        BOOST_TEST(got.value() == 1);
        for (int i = 0; i != 3; ++i) {
            got = 5;
            BOOST_TEST(select(on_receive(ch, got), otherwise()) == 0u);
            BOOST_TEST(!got);
        }
        bool ran = false;
        auto const code = error_of([&] { select(on_send(ch, 1, [&] { ran = true; })); });
        BOOST_TEST((code == spindle::errc::channel_closed));
        BOOST_TEST(!ran);
    });
}

BOOST_AUTO_TEST_CASE(closing_wakes_a_waiting_select)
{
    over_processors([] {
        channel<int> in, other, out;
        wait_group group;
        std::optional<int> got = 1;
        spindle::error_code code;
        auto v = std::make_unique<int>(1);
        channel<std::unique_ptr<int>> moving;
        group.go([&] { select(on_receive(other), on_receive(in, got)); });
        group.go([&] { code = error_of([&] { select(on_receive(other), on_send(out, 1)); }); });
        spindle::error_code moving_code;
        group.go([&] {
            moving_code = error_of(
                [&] { select(on_send(moving, std::move(v)), on_receive(other)); });
        });
        BOOST_TEST(until([&] { return receivers_of(other) == 3; }));
        in.close();
        out.close();
        moving.close();
        group.wait();
        BOOST_TEST(!got);
        BOOST_TEST((code == spindle::errc::channel_closed));
        BOOST_TEST((moving_code == spindle::errc::channel_closed));
        BOOST_TEST((v != nullptr));
        BOOST_TEST(nobody_waits(other));
    });
}

BOOST_AUTO_TEST_CASE(an_lvalue_is_copied_once_and_only_if_its_case_commits)
{
    over_processors([] {
        channel<traced> full(1), room(1);
        full.send(traced(0));
        traced const a(1);
        traced b(2);
        BOOST_TEST(select(on_send(full, a), on_send(full, b), on_send(room, b)) == 2u);
        BOOST_TEST(b.value == 2);
        BOOST_TEST(room.receive()->copies == 1);
        BOOST_TEST(full.receive()->copies == 0);

        // Taken by somebody else, while the select waits.
        channel<traced> nobody, taken;
        wait_group group;
        group.go([&] { select(on_send(nobody, a), on_send(taken, a)); });
        BOOST_TEST(until([&] { return senders_of(taken) == 1; }));
        auto const got = taken.receive();
        group.wait();
        BOOST_TEST(got->value == 1);
        BOOST_TEST(got->copies == 1);
        BOOST_TEST(a.value == 1);

        // Into the ring, where the select waits for room.
        channel<traced> ring(1);
        ring.send(traced(0));
        group.go([&] { select(on_send(nobody, b), on_send(ring, b)); });
        BOOST_TEST(until([&] { return senders_of(ring) == 1; }));
        ring.receive();
        group.wait();
        auto const next = ring.receive();
        BOOST_TEST(next->value == 2);
        BOOST_TEST(next->copies == 1);
        BOOST_TEST(b.value == 2);
    });
}

BOOST_AUTO_TEST_CASE(an_rvalue_is_moved_from_only_if_its_case_commits)
{
    over_processors([] {
        channel<traced> full(1), room(1), nobody, taken;
        full.send(traced(0));
        traced a(1), b(2);
        BOOST_TEST(select(on_send(full, std::move(a)), on_send(room, std::move(b))) == 1u);
        BOOST_TEST(a.value == 1);
        BOOST_TEST(b.value == -1);
        BOOST_TEST(room.receive()->copies == 0);

        traced c(3), d(4);
        wait_group group;
        group.go([&] { select(on_send(nobody, std::move(c)), on_send(taken, std::move(d))); });
        BOOST_TEST(until([&] { return senders_of(taken) == 1; }));
        BOOST_TEST(d.value == 4);
        auto const got = taken.receive();
        group.wait();
        BOOST_TEST(got->value == 4);
        BOOST_TEST(got->copies == 0);
        BOOST_TEST(c.value == 3);
        BOOST_TEST(d.value == -1);
    });
}

BOOST_AUTO_TEST_CASE(what_converts_is_sent)
{
    over_processors([] {
        channel<std::string> texts(2);
        char const* const word = "word";
        BOOST_TEST(select(on_send(texts, "literal")) == 0u);
        BOOST_TEST(select(on_send(texts, word)) == 0u);
        BOOST_TEST(texts.receive().value() == "literal");
        BOOST_TEST(texts.receive().value() == "word");
        channel<long> numbers(1);
        short const s = 7;
        BOOST_TEST(select(on_send(numbers, s)) == 0u);
        BOOST_TEST(numbers.receive().value() == 7);
        channel<std::shared_ptr<int const>> pointers(1);
        auto const p = std::make_shared<int>(3);
        BOOST_TEST(select(on_send(pointers, p)) == 0u);
        BOOST_TEST(**pointers.receive() == 3);
    });
}

BOOST_AUTO_TEST_CASE(what_converts_is_copied_and_stays_whole)
{
    over_processors([] {
        channel<std::string> full(1), nobody;
        channel<long> numbers(1), none;
        full.send("full");
        numbers.send(1);
        int n = 7;
        BOOST_TEST(
            select(
                on_send(full, "literal"), on_send(nobody, "literal"), on_send(numbers, 5),
                on_send(none, std::move(n)), otherwise())
            == 4u);
        BOOST_TEST(n == 7);
        BOOST_TEST(
            select(on_send(nobody, "literal"), on_send(none, 5), on_timeout(100us)) == 2u);
        BOOST_TEST(nobody_waits(nobody));
        BOOST_TEST(nobody_waits(none));
        BOOST_TEST(full.receive().value() == "full");
        BOOST_TEST(numbers.receive().value() == 1);

        // An rvalue that would convert by a move is not used up: neither where its
        // case loses, nor where it commits.
        using shared = std::shared_ptr<int const>;
        channel<shared> out(1), never;
        auto p = std::make_shared<int>(3);
        BOOST_TEST(select(on_send(never, std::move(p)), otherwise()) == 1u);
        BOOST_TEST(select(on_send(never, std::move(p)), on_timeout(100us)) == 1u);
        BOOST_TEST(p.use_count() == 1);
        BOOST_TEST(select(on_send(out, std::move(p))) == 0u);
        BOOST_TEST(p.use_count() == 2);
        BOOST_TEST(**out.receive() == 3);

        // An lvalue, taken by somebody else while the select waits.
        wait_group group;
        std::string_view const text = "converted";
        channel<std::string> taken;
        struct spelled {
            std::string text;
            operator std::string() const { return text; }
        } const word{"spelled"};
        group.go([&] { select(on_send(nobody, word), on_send(taken, word)); });
        BOOST_TEST(until([&] { return senders_of(taken) == 1; }));
        BOOST_TEST(taken.receive().value() == "spelled");
        group.wait();
        group.go([&] { select(on_send(nobody, text), on_send(taken, text)); });
        BOOST_TEST(until([&] { return senders_of(taken) == 1; }));
        BOOST_TEST(taken.receive().value() == "converted");
        group.wait();
        BOOST_TEST(nobody_waits(nobody));
    });
}

namespace {

struct base {
    virtual ~base() = default;
};
struct derived : base {};

template <class T, class Value>
concept can_be_sent = requires(channel<T> const& ch, Value&& v) {
    on_send(ch, std::forward<Value>(v));
};

// A conversion that uses its source up could not be taken back.
static_assert(can_be_sent<std::unique_ptr<base>, std::unique_ptr<base>>);
static_assert(!can_be_sent<std::unique_ptr<base>, std::unique_ptr<base>&>);
static_assert(!can_be_sent<std::unique_ptr<base>, std::unique_ptr<base> const>);
static_assert(!can_be_sent<std::unique_ptr<base>, std::unique_ptr<derived>>);
static_assert(!can_be_sent<std::unique_ptr<base>, std::unique_ptr<derived>&>);
static_assert(can_be_sent<std::shared_ptr<base>, std::shared_ptr<derived>>);
static_assert(can_be_sent<std::shared_ptr<base>, std::shared_ptr<derived>&>);
static_assert(can_be_sent<std::string, char const (&)[5]>);
static_assert(can_be_sent<long, int>);
static_assert(!can_be_sent<std::string, std::vector<int>>);

} // namespace

BOOST_AUTO_TEST_CASE(nil_channels_are_never_ready)
{
    over_processors([] {
        send_channel<int> out;
        receive_channel<int> in;
        channel<int> gone(1);
        auto const heir = std::move(gone); // moved from: nil
        BOOST_TEST(
            select(on_send(out, 1), on_receive(in), on_send(gone, 1), otherwise()) == 3u);
        BOOST_TEST(select(on_send(out, 1), on_receive(in), on_send(heir, 1)) == 2u);
        BOOST_TEST(select(on_send(out, 1), on_receive(in), on_timeout(100us)) == 2u);
    });
}

// --- times --------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(on_timeout_runs_when_its_time_has_come)
{
    over_processors([] {
        channel<int> never;
        auto const begin = steady_clock::now();
        bool ran = false;
        BOOST_TEST(select(on_receive(never), on_timeout(2ms, [&] { ran = true; })) == 1u);
        BOOST_TEST(ran);
        BOOST_TEST((steady_clock::now() - begin >= 2ms));
        BOOST_TEST(select(on_timeout(0s), on_receive(never)) == 0u);
        BOOST_TEST(select(on_timeout(-1h), on_receive(never)) == 0u);
        BOOST_TEST(select(on_timeout(steady_clock::time_point::min())) == 0u);
        BOOST_TEST(select(on_timeout(begin), on_receive(never)) == 0u);
        BOOST_TEST(select(on_timeout(200us)) == 0u);
        BOOST_TEST(nobody_waits(never));
    });
}

BOOST_AUTO_TEST_CASE(of_several_timeouts_the_nearest_runs)
{
    over_processors([] {
        channel<int> never;
        for (int i = 0; i != 20; ++i) {
            auto const soon = steady_clock::now() + 200us;
            BOOST_TEST(
                select(
                    on_timeout(1h), on_timeout(soon), on_receive(never),
                    on_timeout(std::chrono::hours::max()),
                    on_timeout(steady_clock::time_point::max()))
                == 1u);
            BOOST_TEST((steady_clock::now() >= soon));
        }
    });
}

BOOST_AUTO_TEST_CASE(a_timeout_that_loses_is_forgotten)
{
    over_processors([] {
        channel<int> ch;
        go([ch] {
            for (int i = 0; i != 200; ++i)
                ch.send(i);
            ch.close();
        });
        for (int i = 0;; ++i) {
            std::optional<int> got;
            BOOST_TEST(select(on_receive(ch, got), on_timeout(1h), on_timeout(2h)) == 0u);
            if (!got)
                break;
            BOOST_TEST(*got == i);
        }
        BOOST_TEST(
            select(on_timeout(steady_clock::time_point::max()), on_receive(ch)) == 1u);
    }); // on_scheduler looks for timers that were left behind
}

BOOST_AUTO_TEST_CASE(a_timeout_against_a_value)
{
    over_processors([] {
        // Whoever wins: the value is received, or still with its sender.
        for (std::size_t i = 0; i != scaled(500); ++i) {
            channel<int> ch;
            std::size_t sent = 0, got = 0;
            auto const when = steady_clock::now() + std::chrono::microseconds(i % 50);
            wait_group group;
            group.go([&] { sent = select(on_timeout(when), on_send(ch, 1)); });
            got = select(on_timeout(when), on_receive(ch));
            group.wait();
            BOOST_REQUIRE(sent == got);
            BOOST_REQUIRE(nobody_waits(ch));
        }
    });
}

// --- stops --------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_stop_ends_a_select_and_no_case_runs)
{
    over_processors([] {
        channel<int> in, out;
        std::atomic<bool> ran{false};
        auto f = spindle::spawn([&] {
            select(
                on_receive(in, [&] { ran = true; }), on_send(out, 1, [&] { ran = true; }),
                on_timeout(1h, [&] { ran = true; }));
        });
        BOOST_TEST(until([&] { return senders_of(out) == 1; }));
        f.request_stop();
        BOOST_TEST((error_of([&] { f.join(); }) == aborted));
        BOOST_TEST(!ran);
        BOOST_TEST(nobody_waits(in));
        BOOST_TEST(nobody_waits(out));

        // A cancellation point also where a case is ready; not with `otherwise`.
        channel<int> full(1);
        full.send(1);
        channel<void> go_on;
        std::atomic<bool> looked{false};
        auto g = spindle::spawn([&] {
            while (!this_fiber::stop_requested())
                this_fiber::yield();
            looked = select(on_receive(in), otherwise()) == 1;
            select(on_receive(full, [&] { ran = true; }));
        });
        g.request_stop();
        BOOST_TEST((error_of([&] { g.join(); }) == aborted));
        BOOST_TEST(looked);
        BOOST_TEST(!ran);
        BOOST_TEST(full.size() == 1u);
    });
}

BOOST_AUTO_TEST_CASE(with_no_case_it_waits_until_stopped)
{
    over_processors([] {
        for (int kind = 0; kind != 4; ++kind) {
            auto f = spindle::spawn([kind] {
                std::vector<select_case> none;
                switch (kind) {
                case 0:
                    select();
                    break;
                case 1:
                    select(none);
                    break;
                case 2:
                    select(on_receive(receive_channel<int>()), on_send(send_channel<int>(), 1));
                    break;
                default:
                    select(on_stop(std::stop_token()));
                }
            });
            BOOST_TEST(
                until([] { return fibers_in(spindle::detail::wait_reason::select) == 1; }));
            f.request_stop();
            BOOST_TEST((error_of([&] { f.join(); }) == aborted));
        }
    });
}

BOOST_AUTO_TEST_CASE(on_stop_with_the_fibers_own_token_runs_instead_of_throwing)
{
    over_processors([] {
        channel<int> never;
        std::atomic<std::size_t> ran{99};
        auto f = spindle::spawn([&](std::stop_token token) {
            int stops = 0;
            ran = select(on_receive(never), on_stop(token, [&] { ++stops; }));
            // Requested before, too.
            select(on_receive(never), on_stop(token, [&] { ++stops; }));
            select(
                on_receive(never), on_stop(this_fiber::get_stop_token(), [&] { ++stops; }),
                on_timeout(1h));
            return stops;
        });
        BOOST_TEST(until([&] { return receivers_of(never) == 1; }));
        f.request_stop();
        BOOST_TEST(f.join() == 3);
        BOOST_TEST(ran == 1u);
        BOOST_TEST(nobody_waits(never));
    });
}

BOOST_AUTO_TEST_CASE(on_stop_in_a_scope_hears_of_what_is_outside_and_not_of_what_is_inside)
{
    over_processors([] {
        channel<int> never;
        // The fiber's token, in a scope.
        auto f = spindle::spawn([&](std::stop_token token) {
            std::size_t ran = 99;
            spindle::within(1h, [&] {
                ran = select(on_receive(never), on_stop(token));
                // Requested before, too.
                ran += select(on_receive(never), on_stop(token), on_timeout(1h));
            });
            return ran;
        });
        BOOST_TEST(until([&] { return receivers_of(never) == 1; }));
        f.request_stop();
        BOOST_TEST(f.join() == 2u);
        // That of an outer scope, in an inner one.
        for (int by = 0; by != 3; ++by) {
            std::optional<spindle::cancel_handle> outer;
            auto g = spindle::spawn([&] {
                spindle::cancel_scope const first;
                spindle::cancel_scope const second;
                auto const token = this_fiber::get_stop_token();
                outer = by == 0 ? second.handle() : first.handle();
                spindle::cancel_scope const third;
                return select(on_receive(never), on_stop(token));
            });
            BOOST_TEST(until([&] { return receivers_of(never) == 1; }));
            if (by == 2)
                g.request_stop();
            else
                outer->cancel();
            BOOST_TEST(g.join() == 1u);
        }
        // A deadline inside says nothing to the fiber's token: it ends the select.
        auto h = spindle::spawn([&](std::stop_token token) {
            return error_of(
                [&] { spindle::within(2ms, [&] { select(on_receive(never), on_stop(token)); }); });
        });
        BOOST_TEST((h.join() == spindle::error_code(asio::error::timed_out)));
        BOOST_TEST(nobody_waits(never));
    });
}

// The stop comes by the scopes one after another, and requests the token last.
BOOST_AUTO_TEST_CASE(on_stop_in_a_scope_runs_whenever_the_stop_comes)
{
    over_processors([] {
        channel<int> never;
        for (std::size_t round = 0; round != scaled(500); ++round) {
            std::atomic<bool> in{false};
            auto f = spindle::spawn([&](std::stop_token token) {
                for (;;) {
                    spindle::cancel_scope const outer;
                    spindle::cancel_scope const inner;
                    in = true;
                    if (select(on_stop(token), on_timeout(0s)) == 0 ||
                        select(on_receive(never), on_stop(token), on_timeout(10us)) == 1)
                        return true;
                }
            });
            BOOST_REQUIRE(until([&] { return in.load(); }));
            for (std::size_t i = 0; i != round % 5; ++i)
                this_fiber::yield();
            f.request_stop();
            BOOST_REQUIRE(f.join());
        }
    });
}

BOOST_AUTO_TEST_CASE(on_stop_with_a_foreign_token)
{
    over_processors([] {
        channel<int> never;
        std::stop_source source;
        // From a fiber.
        wait_group group;
        std::atomic<std::size_t> ran{99};
        group.go([&] { ran = select(on_receive(never), on_stop(source.get_token())); });
        BOOST_TEST(until([&] { return receivers_of(never) == 1; }));
        source.request_stop();
        group.wait();
        BOOST_TEST(ran == 1u);
        // Requested before.
        BOOST_TEST(select(on_stop(source.get_token()), on_receive(never)) == 0u);
        // From another thread.
        std::stop_source other;
        std::thread t([&] {
            (void)until([&] { return receivers_of(never) == 1; });
            other.request_stop();
        });
        bool called = false;
        BOOST_TEST(
            select(on_receive(never), on_stop(other.get_token(), [&] { called = true; })) == 1u);
        BOOST_TEST(called);
        t.join();
        // With a foreign token the fiber's own stop throws.
        std::stop_source third;
        auto f = spindle::spawn([&] { select(on_receive(never), on_stop(third.get_token())); });
        BOOST_TEST(until([&] { return receivers_of(never) == 1; }));
        f.request_stop();
        BOOST_TEST((error_of([&] { f.join(); }) == aborted));
        BOOST_TEST(nobody_waits(never));
        BOOST_TEST(select(on_stop(third.get_token()), otherwise()) == 1u);
    });
}

BOOST_AUTO_TEST_CASE(a_stop_against_a_value)
{
    over_processors([] {
        tally consistent;
        for (std::size_t i = 0; i != scaled(1'000); ++i) {
            channel<int> ch;
            std::stop_source foreign;
            std::atomic<bool> got{false};
            bool const own = i % 2 == 0;
            auto f = spindle::spawn([&] {
                if (own)
                    select(on_receive(ch, [&] { got = true; }));
                else
                    got = select(on_receive(ch), on_stop(foreign.get_token())) == 0;
            });
            std::atomic<bool> sent{false};
            auto sender = spindle::spawn([&] {
                sent = select(on_send(ch, 1), on_stop(this_fiber::get_stop_token())) == 0;
            });
            if (i % 3 == 0)
                this_fiber::yield();
            if (own)
                f.request_stop();
            else
                foreign.request_stop();
            auto const code = error_of([&] { f.join(); });
            sender.request_stop();
            sender.join();
            consistent.check(sent == got && (own && !got ? code == aborted : !code));
            consistent.check(nobody_waits(ch));
        }
        BOOST_TEST(consistent.bad() == 0u);
    });
}

// --- shapes -------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_channel_may_appear_several_times_and_in_both_directions)
{
    over_processors([] {
        channel<int> ch;
        // Alone it does not meet itself.
        BOOST_TEST(select(on_send(ch, 1), on_receive(ch), otherwise()) == 2u);
        BOOST_TEST(
            select(on_send(ch, 1), on_receive(ch), on_send(ch, 2), on_timeout(100us)) == 3u);
        BOOST_TEST(nobody_waits(ch));
        for (bool const sends : {false, true}) {
            std::optional<int> got;
            std::atomic<std::size_t> ran{99};
            wait_group group;
            group.go([&] {
                ran = select(
                    on_receive(ch, got), on_send(ch, 1), on_receive(ch, got), on_send(ch, 2));
            });
            BOOST_TEST(until([&] { return senders_of(ch) == 2; }));
            BOOST_TEST(receivers_of(ch) == 2u);
            std::optional<int> back;
            if (sends)
                ch.send(3);
            else
                back = ch.receive();
            group.wait();
            BOOST_TEST(ran % 2 == (sends ? 0u : 1u));
            BOOST_TEST((sends ? got == 3 : back == static_cast<int>(ran + 1) / 2));
            BOOST_TEST(nobody_waits(ch));
        }
        // With room in it both are ready.
        channel<int> ring(2);
        ring.send(1);
        for (int i = 0; i != 20; ++i)
            BOOST_TEST(select(on_send(ring, 1), on_receive(ring)) < 2u);
        BOOST_TEST(ring.size() <= 2u);
    });
}

BOOST_AUTO_TEST_CASE(two_selects_that_face_each_other)
{
    over_processors([] {
        channel<int> a, b;
        constexpr auto rounds = scaled(2'000);
        std::array<long, 2> sent{}, got{};
        wait_group group;
        for (std::size_t me = 0; me != 2; ++me)
            group.go([&, me] {
                for (std::size_t i = 0; i != rounds; ++i) {
                    std::optional<int> v;
                    auto const value = static_cast<int>(i * 2 + me);
                    auto const ran = me == 0
                        ? select(on_send(a, value), on_receive(b, v))
                        : select(on_send(b, value), on_receive(a, v));
                    if (ran == 0)
                        sent[me] += value;
                    else
                        got[me] += v.value();
                }
            });
        group.wait();
        BOOST_TEST(sent[0] == got[1]);
        BOOST_TEST(sent[1] == got[0]);
        BOOST_TEST(nobody_waits(a));
        BOOST_TEST(nobody_waits(b));
    });
}

BOOST_AUTO_TEST_CASE(many_selects_over_the_same_channels)
{
    over_processors([] {
        constexpr std::size_t peers = 8;
        constexpr auto each = scaled(1'000);
        std::array<channel<std::size_t>, 3> const ch{
            channel<std::size_t>(0), channel<std::size_t>(1), channel<std::size_t>(0)};
        std::vector<std::atomic<int>> seen(peers * each);
        wait_group senders, receivers;
        for (std::size_t p = 0; p != peers; ++p) {
            senders.go([&, p] {
                for (std::size_t i = 0; i != each; ++i) {
                    auto const v = p * each + i;
                    // In different orders: locks are taken in one.
                    if (p % 2 == 0)
                        select(on_send(ch[0], v), on_send(ch[1], v), on_send(ch[2], v));
                    else
                        select(on_send(ch[2], v), on_send(ch[0], v), on_send(ch[1], v));
                }
            });
            receivers.go([&, p] {
                std::array<receive_channel<std::size_t>, 3> in{ch[p % 3], ch[(p + 1) % 3],
                                                              ch[(p + 2) % 3]};
                while (in[0] || in[1] || in[2]) {
                    std::optional<std::size_t> v;
                    auto const ran
                        = select(on_receive(in[0], v), on_receive(in[1], v), on_receive(in[2], v));
                    if (v)
                        ++seen[*v];
                    else
                        in[ran] = {};
                }
            });
        }
        senders.wait();
        for (auto const& c : ch)
            c.close();
        receivers.wait();
        BOOST_TEST(std::count(seen.begin(), seen.end(), 1) == static_cast<long>(seen.size()));
    });
}

BOOST_AUTO_TEST_CASE(a_cases_function_may_select)
{
    over_processors([] {
        channel<int> a(1), b(1), c;
        a.send(1);
        b.send(2);
        std::optional<int> inner;
        auto const ran = select(on_receive(a, [&](std::optional<int> v) {
            BOOST_TEST(v.value() == 1);
            // Nothing is held, and it may wait.
            go([c] { c.send(3); });
            BOOST_TEST(select(on_receive(c, [&] {
                BOOST_TEST(select(on_send(a, 4), otherwise()) == 0u);
                BOOST_TEST(select(on_receive(b, inner), on_receive(c)) == 0u);
            })) == 0u);
        }));
        BOOST_TEST(ran == 0u);
        BOOST_TEST(inner.value() == 2);
        BOOST_TEST(a.receive().value() == 4);
    });
}

// --- at run time --------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(cases_known_only_at_run_time)
{
    over_processors([] {
        // More than lie on the stack.
        for (std::size_t const n : {1u, 2u, 15u, 16u, 17u, 100u}) {
            std::vector<channel<int>> channels;
            std::vector<select_case> cases;
            std::vector<int> got(n, -1);
            for (std::size_t i = 0; i != n; ++i) {
                channels.emplace_back();
                cases.emplace_back(on_receive(
                    channels.back(), [&, i](std::optional<int> v) { got[i] = v.value_or(-2); }));
            }
            cases.emplace_back(on_timeout(1h));
            for (std::size_t round = 0; round != 3; ++round) { // the same ones again
                auto const which = (round * 7 + n / 2) % n;
                go([ch = channels[which], round] { ch.send(static_cast<int>(round)); });
                BOOST_TEST(select(cases) == which);
                BOOST_TEST(got[which] == static_cast<int>(round));
            }
            for (auto const& ch : channels)
                BOOST_TEST(nobody_waits(ch));
        }
    });
}

BOOST_AUTO_TEST_CASE(a_case_kept_holds_its_channel_and_its_value)
{
    over_processors([] {
        std::vector<select_case> cases;
        receive_channel<std::string> in;
        {
            channel<std::string> ch(1);
            in = ch;
            std::string const text = "a text that is too long for the object itself";
            cases.emplace_back(on_send(ch, text)); // a copy
        }
        BOOST_TEST(select(cases) == 0u);
        BOOST_TEST(in.receive()->size() == 45u);
        BOOST_TEST(select(cases) == 0u); // the copy is still there, or what is left of it
        BOOST_TEST(in.receive().has_value());

        channel<std::unique_ptr<int>> moving(1);
        auto p = std::make_unique<int>(1);
        std::vector<select_case> one;
        one.emplace_back(on_send(moving, std::move(p)));
        one.emplace_back(otherwise());
        auto moved = std::move(one);
        BOOST_TEST(select(moved) == 0u);
        BOOST_TEST(**moving.receive() == 1);

        channel<int> closed;
        closed.close();
        std::vector<select_case> sends;
        sends.emplace_back(on_send(closed, 1));
        BOOST_TEST((error_of([&] { select(sends); }) == spindle::errc::channel_closed));

        std::stop_source source;
        channel<int> never;
        std::vector<select_case> stops;
        stops.emplace_back(on_receive(never));
        stops.emplace_back(on_stop(source.get_token()));
        stops.emplace_back(on_timeout(100us));
        BOOST_TEST(select(stops) == 2u);
        BOOST_TEST(select(stops) == 2u); // its time has passed
        source.request_stop();
        BOOST_TEST(select(std::span(stops).first(2)) == 1u);
    });
}

// --- elsewhere than in a fiber ------------------------------------------------------------

BOOST_AUTO_TEST_CASE(on_plain_threads)
{
    channel<int> a, b(1);
    std::optional<int> got;
    BOOST_TEST(select(on_receive(a), otherwise()) == 1u);
    BOOST_TEST(select(on_receive(a), on_send(b, 1)) == 1u);
    BOOST_TEST(select(on_receive(a), on_receive(b, got)) == 1u);
    auto const begin = steady_clock::now();
    BOOST_TEST(select(on_receive(a), on_timeout(2ms)) == 1u);
    BOOST_TEST((steady_clock::now() - begin >= 2ms));
    BOOST_TEST(nobody_waits(a));
    {
        std::thread t([&] { select(on_send(a, 5), on_send(a, 5)); });
        BOOST_TEST(select(on_receive(a, got), on_timeout(1h)) == 0u);
        BOOST_TEST(got.value() == 5);
        t.join();
    }
    {
        std::stop_source source;
        std::thread t([&] {
            (void)until([&] { return receivers_of(a) == 1; });
            source.request_stop();
        });
        BOOST_TEST(select(on_receive(a), on_stop(source.get_token())) == 1u);
        t.join();
    }
    // With fibers on the other side.
    for (unsigned const n : processor_counts) {
        on_scheduler s(n);
        constexpr auto count = scaled(2'000);
        channel<std::size_t> to, from;
        std::vector<int> seen(count);
        std::thread t([&] {
            s.run([&] {
                std::size_t sent = 0, received = 0;
                while (sent != count || received != count) {
                    auto const out = sent != count ? send_channel<std::size_t>(from)
                                                   : send_channel<std::size_t>();
                    std::optional<std::size_t> v;
                    if (select(on_send(out, sent), on_receive(to, v)) == 0)
                        ++sent;
                    else
                        received += v.has_value();
                }
            });
        });
        std::size_t sent = 0, received = 0;
        while (sent != count || received != count) {
            auto const out
                = sent != count ? send_channel<std::size_t>(to) : send_channel<std::size_t>();
            std::optional<std::size_t> v;
            if (select(on_receive(from, v), on_send(out, sent), on_timeout(1h)) == 1)
                ++sent;
            else if (v)
                ++received, ++seen.at(*v);
        }
        t.join();
        BOOST_TEST(std::count(seen.begin(), seen.end(), 1) == static_cast<long>(count));
    }
}

BOOST_AUTO_TEST_CASE(in_a_handler_only_with_otherwise)
{
    on_scheduler s(2);
    channel<int> ch(1);
    spindle::error_code waits, ready;
    std::size_t ran = 99, ran_ready = 99;
    std::atomic<bool> over{false};
    asio::post(s->get_executor(), [&] {
        waits = error_of([&] { select(on_receive(ch)); });
        ran = select(on_receive(ch), otherwise());
        ready = error_of([&] { select(on_send(ch, 1)); }); // though it is ready
        ran_ready = select(on_send(ch, 2), on_timeout(1h), otherwise());
        over = true;
    });
    BOOST_TEST(eventually([&] { return over.load(); }));
    BOOST_TEST((waits == spindle::errc::not_in_fiber));
    BOOST_TEST((ready == spindle::errc::not_in_fiber));
    BOOST_TEST(ran == 1u);
    BOOST_TEST(ran_ready == 0u);
    BOOST_TEST(ch.receive().value() == 2);
    BOOST_TEST(nobody_waits(ch));
}

// --- exceptions ---------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(what_a_cases_function_throws_leaves_select)
{
    over_processors([] {
        channel<int> in(2), out(2), never;
        in.send(1);
        auto const fail = [] { throw std::runtime_error("no"); };
        BOOST_CHECK_THROW(select(on_receive(in, fail)), std::runtime_error);
        BOOST_TEST(in.size() == 0u); // it has committed
        BOOST_CHECK_THROW(select(on_send(out, 1, fail)), std::runtime_error);
        BOOST_TEST(out.size() == 1u);
        BOOST_CHECK_THROW(select(on_receive(in), otherwise(fail)), std::runtime_error);
        BOOST_CHECK_THROW(select(on_receive(never), on_timeout(100us, fail)), std::runtime_error);
        std::stop_source source;
        source.request_stop();
        BOOST_CHECK_THROW(
            select(on_receive(never), on_stop(source.get_token(), fail)), std::runtime_error);
        // After a wait.
        go([never] { never.send(1); });
        BOOST_CHECK_THROW(
            select(on_receive(in), on_receive(never, fail), on_timeout(1h)), std::runtime_error);
        BOOST_TEST(nobody_waits(never));
        BOOST_TEST(nobody_waits(in));
    });
}

BOOST_AUTO_TEST_CASE(a_move_that_throws_in_the_selecting_fiber_leaves_the_value_there)
{
    over_processors([] {
        channel<moody> room(1), never;
        moody v(1);
        moody::throw_at(1);
        BOOST_CHECK_THROW(select(on_send(room, std::move(v)), on_receive(never)), moody::refusal);
        BOOST_TEST(v.value == 1);
        BOOST_TEST(room.size() == 0u);
        BOOST_TEST(select(on_send(room, std::move(v))) == 0u);
        moody::throw_at(1);
        BOOST_CHECK_THROW(select(on_receive(room), on_receive(never)), moody::refusal);
        BOOST_TEST(room.size() == 1u);
        std::optional<moody> got;
        BOOST_TEST(select(on_receive(room, got)) == 0u);
        BOOST_TEST(got->value == 1);
        // A copy.
        moody::throw_at(1);
        BOOST_CHECK_THROW(select(on_send(room, *got), otherwise()), moody::refusal);
        BOOST_TEST(room.size() == 0u);
        BOOST_TEST(nobody_waits(never));
    });
    BOOST_TEST(moody::live == 0);
}

namespace {

// Its copies throw, if told to; its moves do not.
struct unique_now {
    explicit unique_now(int v) noexcept : value(v) {}
    unique_now(unique_now&&) noexcept = default;
    unique_now(unique_now const& other) : value(other.value)
    {
        if (refuses)
            throw moody::refusal();
    }

    int value;
    static inline std::atomic<bool> refuses{false};
};

} // namespace

// Those that were first in line begin anew: the ring has room, and the one behind them
// must not wait for a receiver that waits for it.
BOOST_AUTO_TEST_CASE(where_copies_throw_the_one_behind_gets_the_room)
{
    over_processors([] {
        for (int round = 0; round != 6; ++round) {
            auto const selects = static_cast<std::size_t>(round / 2) + 1;
            channel<unique_now> ring(1);
            channel<int> quit;
            ring.send(unique_now(0));
            unique_now const v(1);
            std::atomic<std::size_t> left{0};
            wait_group first, behind;
            for (std::size_t i = 0; i != selects; ++i) {
                first.go([&] { left += select(on_send(ring, v), on_receive(quit)); });
                BOOST_REQUIRE(until([&] { return senders_of(ring) == i + 1; }));
            }
            std::thread thread;
            auto const send = [&] { ring.send(unique_now(2)); };
            if (round % 2 == 0)
                behind.go(send);
            else
                thread = std::thread(send);
            BOOST_REQUIRE(until([&] { return senders_of(ring) == selects + 1; }));
            unique_now::refuses = true;
            BOOST_TEST(ring.receive()->value == 0);
            BOOST_TEST(ring.size() == 1u); // at once: nobody can overtake it
            behind.wait();
            if (thread.joinable())
                thread.join();
            unique_now::refuses = false;
            quit.close();
            first.wait();
            BOOST_TEST(left == selects);
            BOOST_TEST(ring.receive()->value == 2);
            BOOST_TEST(nobody_waits(ring));
            BOOST_TEST(nobody_waits(quit));
        }
    });
}

BOOST_AUTO_TEST_CASE(a_move_that_throws_in_a_peers_hands_begins_the_select_anew)
{
    over_processors([] {
        // A select that sends; its peer's receive throws.
        {
            channel<moody> ch, never;
            moody v(1);
            std::atomic<std::size_t> ran{99};
            wait_group group;
            group.go([&] { ran = select(on_receive(never), on_send(ch, std::move(v))); });
            BOOST_TEST(until([&] { return senders_of(ch) == 1; }));
            moody::throw_at(1);
            BOOST_CHECK_THROW(ch.receive(), moody::refusal);
            auto const got = ch.receive(); // the value is not lost
            group.wait();
            BOOST_TEST(got->value == 1);
            BOOST_TEST(ran == 1u);
            BOOST_TEST(nobody_waits(never));
        }
        // A select that receives; its peer's send throws.
        {
            channel<moody> ch, never;
            std::optional<moody> got;
            std::atomic<std::size_t> ran{99};
            wait_group group;
            group.go([&] { ran = select(on_receive(never), on_receive(ch, got)); });
            BOOST_TEST(until([&] { return receivers_of(ch) == 1; }));
            moody v(2);
            moody::throw_at(1);
            BOOST_CHECK_THROW(ch.send(std::move(v)), moody::refusal);
            BOOST_TEST(v.value == 2);
            ch.send(std::move(v));
            group.wait();
            BOOST_TEST(got->value == 2);
            BOOST_TEST(ran == 1u);
            BOOST_TEST(nobody_waits(never));
        }
        // Both select.
        {
            channel<moody> ch, never;
            moody v(3);
            wait_group group;
            std::atomic<std::size_t> ran{99};
            group.go([&] { ran = select(on_receive(never), on_send(ch, std::as_const(v))); });
            BOOST_TEST(until([&] { return senders_of(ch) == 1; }));
            moody::throw_at(1);
            std::optional<moody> got;
            BOOST_CHECK_THROW(
                select(on_receive(ch, got), on_receive(never)), moody::refusal);
            BOOST_TEST(select(on_receive(ch, got), on_receive(never)) == 0u);
            group.wait();
            BOOST_TEST(got->value == 3);
            BOOST_TEST(ran == 1u);
        }
        // A ring's room is refilled from the select: the receiver has its value.
        {
            channel<moody> ring(1), never;
            ring.send(moody(4));
            moody v(5);
            wait_group group;
            group.go([&] { select(on_receive(never), on_send(ring, std::move(v))); });
            BOOST_TEST(until([&] { return senders_of(ring) == 1; }));
            moody::throw_at(2);
            BOOST_TEST(ring.receive()->value == 4);
            BOOST_TEST(ring.receive()->value == 5);
            group.wait();
            BOOST_TEST(nobody_waits(never));
        }
    });
    BOOST_TEST(moody::live == 0);
}
