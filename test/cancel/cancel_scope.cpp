//
// cancel/cancel_scope.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE cancel.cancel_scope
#include <spindle/cancel/cancel_scope.hpp>

#include <spindle/asio/start.hpp>
#include <spindle/asio/use_fiber.hpp>
#include <spindle/cancel/shielded.hpp>
#include <spindle/chan/channel.hpp>
#include <spindle/chan/select.hpp>
#include <spindle/go.hpp>
#include <spindle/spawn.hpp>
#include <spindle/this_fiber.hpp>

#include <support/channel_fixture.hpp>
#include <support/child.hpp>
#include <support/expect.hpp>

#include <boost/asio/buffer.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/test/unit_test.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <random>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

using namespace spindle_test;
using namespace std::chrono_literals;
using spindle::cancel_reason;
using spindle::cancel_scope;
namespace this_fiber = spindle::this_fiber;

BOOST_TEST_DONT_PRINT_LOG_VALUE(spindle::cancel_reason)

namespace {

error_code sleep_for_ever()
{
    return error_of([] { this_fiber::sleep_for(1h); });
}

} // namespace

// --- one fiber --------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_wait_in_it_ends_when_it_is_cancelled)
{
    over_processors([] {
        cancel_scope const scope;
        BOOST_TEST(scope.reason() == cancel_reason::none);
        spindle::go([handle = scope.handle()] { handle.cancel(); });
        BOOST_TEST(sleep_for_ever() == aborted);
        BOOST_TEST(scope.reason() == cancel_reason::cancelled);
        BOOST_TEST(this_fiber::stop_requested());
        BOOST_TEST(sleep_for_ever() == aborted); // it is for good
        BOOST_TEST(!spindle::detail::stop_requested(*spindle::detail::current_fiber()));
    });
}

BOOST_AUTO_TEST_CASE(a_wait_after_it_is_as_before)
{
    over_processors([] {
        {
            cancel_scope const scope;
            scope.cancel();
            scope.cancel();
            BOOST_TEST(sleep_for_ever() == aborted);
        }
        BOOST_TEST(!this_fiber::stop_requested());
        BOOST_CHECK_NO_THROW(this_fiber::sleep_for(10us));
    });
}

BOOST_AUTO_TEST_CASE(a_deadline_cancels)
{
    over_processors([] {
        auto const start = spindle::testing::clock::now();
        cancel_scope const scope(2ms);
        BOOST_TEST(sleep_for_ever() == aborted);
        BOOST_TEST((spindle::testing::clock::now() - start >= 2ms));
        BOOST_TEST(scope.reason() == cancel_reason::deadline);
    });
}

BOOST_AUTO_TEST_CASE(a_deadline_that_has_passed_cancels_at_once)
{
    over_processors([] {
        cancel_scope const scope(0s);
        BOOST_TEST(scope.reason() == cancel_reason::deadline);
        cancel_scope const past(std::chrono::steady_clock::time_point::min());
        BOOST_TEST(past.reason() == cancel_reason::enclosing); // that was first
    });
}

BOOST_AUTO_TEST_CASE(the_nearest_deadline_wins)
{
    over_processors([] {
        {
            cancel_scope const outer(1h);
            cancel_scope const inner(1ms);
            BOOST_TEST(sleep_for_ever() == aborted);
            BOOST_TEST(inner.reason() == cancel_reason::deadline);
            BOOST_TEST(outer.reason() == cancel_reason::none);
        }
        {
            cancel_scope const outer(1ms);
            cancel_scope const inner(1h);
            BOOST_TEST(sleep_for_ever() == aborted);
            BOOST_TEST(outer.reason() == cancel_reason::deadline);
            BOOST_TEST(inner.reason() == cancel_reason::enclosing);
        }
    });
}

BOOST_AUTO_TEST_CASE(cancelling_an_outer_one_cancels_those_inside_and_not_the_other_way)
{
    over_processors([] {
        cancel_scope const first;
        {
            cancel_scope const second;
            {
                cancel_scope const third;
                second.cancel();
                BOOST_TEST(third.reason() == cancel_reason::enclosing);
                cancel_scope const late;
                BOOST_TEST(late.reason() == cancel_reason::enclosing);
            }
            BOOST_TEST(sleep_for_ever() == aborted);
        }
        BOOST_TEST(first.reason() == cancel_reason::none);
        BOOST_CHECK_NO_THROW(this_fiber::sleep_for(10us));
    });
}

BOOST_AUTO_TEST_CASE(a_wait_is_told_once)
{
    over_processors([] {
        using namespace spindle::detail;
        struct counting : stop_hook {
            counting()
                : stop_hook{[](stop_hook& h) noexcept { ++static_cast<counting&>(h).told; }}
            {
            }
            int told = 0;
        } hook;
        auto& self = *current_fiber();
        cancel_scope const outer;
        cancel_scope const inner;
        BOOST_TEST(hook_wait(self, hook));
        inner.cancel();
        BOOST_TEST(hook.told == 1);
        outer.cancel();
        request_stop(self, life_of(self));
        unhook_wait(self, hook);
        BOOST_TEST(hook.told == 1);
    });
}

BOOST_AUTO_TEST_CASE(the_first_reason_stays)
{
    over_processors([] {
        cancel_scope const outer;
        cancel_scope const inner;
        inner.cancel();
        outer.cancel();
        BOOST_TEST(inner.reason() == cancel_reason::cancelled);
    });
}

BOOST_AUTO_TEST_CASE(a_handle_outlives_it)
{
    over_processors([] {
        spindle::cancel_handle none, used, unused;
        none.cancel();
        BOOST_TEST(none.reason() == cancel_reason::none);
        {
            cancel_scope const outer;
            used = outer.handle();
            cancel_scope const inner;
            unused = inner.handle();
            outer.cancel();
        }
        {
            cancel_scope const scope;
            unused = scope.handle();
        }
        unused.cancel(); // too late
        used.cancel();
        BOOST_TEST(unused.reason() == cancel_reason::none);
        BOOST_TEST(used.reason() == cancel_reason::cancelled);
        BOOST_TEST(used.stop_token().stop_requested());
        BOOST_TEST(!unused.stop_token().stop_requested());
    });
}

BOOST_AUTO_TEST_CASE(stopping_the_fiber_cancels_its_scopes)
{
    over_processors([] {
        std::atomic<bool> in{false};
        auto child = spindle::spawn([&] {
            cancel_scope const outer;
            cancel_scope const inner;
            in = true;
            expect(sleep_for_ever() == aborted);
            expect(inner.reason() == cancel_reason::enclosing);
            expect(outer.reason() == cancel_reason::enclosing);
            cancel_scope const late;
            expect(late.reason() == cancel_reason::enclosing);
        });
        BOOST_TEST(until([&] { return in.load(); }));
        child.request_stop();
        child.join();
    });
}

BOOST_AUTO_TEST_CASE(is_for_fibers)
{
    auto const in_vain = [] { cancel_scope const scope; };
    BOOST_TEST(error_of(in_vain) == make_error_code(spindle::errc::not_in_fiber));
    over_processors([&](spindle::scheduler& sched) {
        std::atomic<bool> done{false};
        error_code ec;
        asio::post(sched.get_executor(), [&] {
            ec = error_of(in_vain);
            done = true;
        });
        BOOST_TEST(until([&] { return done.load(); }));
        BOOST_TEST(ec == make_error_code(spindle::errc::not_in_fiber));
    });
}

#if !defined(SPINDLE_TEST_SANITIZED) // the child starts threads
BOOST_AUTO_TEST_CASE(the_last_one_goes_first)
{
    auto const end = in_child([] {
        spindle::run([] {
            auto outer = std::make_unique<cancel_scope>();
            cancel_scope const inner;
            outer.reset();
        });
    });
    BOOST_TEST(end.by_signal(SIGABRT));
    BOOST_TEST(end.says("not in the order of nesting"));
    auto const kept = in_child([] {
        spindle::run([] { spindle::go([] { (void)new cancel_scope; }); });
    });
    BOOST_TEST(kept.by_signal(SIGABRT));
    BOOST_TEST(kept.says("inside a cancel_scope of its own"));
}
#endif

// --- from anywhere ----------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(is_cancelled_from_threads_handlers_and_timers)
{
    over_processors([](spindle::scheduler& sched) {
        {
            cancel_scope const scope;
            std::thread other([&] { scope.cancel(); });
            BOOST_TEST(sleep_for_ever() == aborted);
            other.join();
        }
        {
            cancel_scope const scope;
            asio::post(sched.get_executor(), [handle = scope.handle()] { handle.cancel(); });
            BOOST_TEST(sleep_for_ever() == aborted);
        }
        {
            asio::steady_timer timer(sched.get_executor(), 100us);
            cancel_scope const scope;
            timer.async_wait([handle = scope.handle()](error_code) { handle.cancel(); });
            BOOST_TEST(sleep_for_ever() == aborted);
        }
    });
}

BOOST_AUTO_TEST_CASE(a_stop_token_cancels_it)
{
    over_processors([] {
        std::stop_source source;
        {
            cancel_scope const scope(source.get_token());
            spindle::go([&] { source.request_stop(); });
            BOOST_TEST(sleep_for_ever() == aborted);
            BOOST_TEST(scope.reason() == cancel_reason::cancelled);
        }
        cancel_scope const late(source.get_token());
        BOOST_TEST(late.reason() == cancel_reason::cancelled);
    });
}

BOOST_AUTO_TEST_CASE(its_stop_token_hears_of_it_and_of_the_fibers_stop)
{
    over_processors([] {
        int heard = 0;
        {
            cancel_scope const scope;
            BOOST_TEST((this_fiber::get_stop_token() == scope.stop_token()));
            std::stop_callback const callback(scope.stop_token(), [&] { ++heard; });
            scope.cancel();
            BOOST_TEST(heard == 1);
            scope.cancel();
        }
        BOOST_TEST(heard == 1);
        {
            cancel_scope const outer;
            cancel_scope const inner;
            std::stop_callback const callback(inner.stop_token(), [&] { ++heard; });
            outer.cancel();
            BOOST_TEST(heard == 2);
        }
        std::atomic<bool> in{false}, called{false};
        auto child = spindle::spawn([&] {
            cancel_scope const scope;
            std::stop_callback const callback(scope.stop_token(), [&] { called = true; });
            in = true;
            expect(until([&] { return called.load(); }));
        });
        BOOST_TEST(until([&] { return in.load(); }));
        child.request_stop();
        child.join();
    });
}

BOOST_AUTO_TEST_CASE(a_child_hears_of_it_through_its_own_stop_token)
{
    over_processors([] {
        cancel_scope const scope;
        std::atomic<bool> in{false}, called{false};
        auto child = spindle::spawn([&](std::stop_token token) {
            std::stop_callback const callback(token, [&] { called = true; });
            in = true;
            expect(until([&] { return called.load(); }));
            expect(sleep_for_ever() == aborted);
        });
        BOOST_TEST(until([&] { return in.load(); }));
        scope.cancel();
        spindle::shielded([&] { child.join(); });
        auto late = spindle::spawn([](std::stop_token token) {
            expect(token.stop_requested());
            expect((token == this_fiber::get_stop_token()));
        });
        spindle::shielded([&] { late.join(); });
    });
}

BOOST_AUTO_TEST_CASE(a_select_with_a_case_for_its_token_does_not_throw)
{
    over_processors([] {
        cancel_scope const scope(1ms);
        spindle::channel<int> silent;
        std::optional<int> v;
        BOOST_TEST(
            spindle::select(
                spindle::on_receive(silent, v), spindle::on_stop(this_fiber::get_stop_token()))
            == 1u);
        BOOST_TEST(
            error_of([&] { spindle::select(spindle::on_receive(silent, v)); }) == aborted);
    });
}

// --- those who were begun in it -----------------------------------------------------------

BOOST_AUTO_TEST_CASE(children_are_cancelled_with_it_and_their_children_too)
{
    over_processors([] {
        std::atomic<int> waiting{0}, ended{0};
        cancel_scope const scope;
        auto const leaf = [&] {
            ++waiting;
            ended += sleep_for_ever() == aborted;
        };
        auto branch = [&] {
            cancel_scope const own;
            std::vector<spindle::fiber<>> all;
            for (int i = 0; i != 5; ++i)
                all.push_back(spindle::spawn(leaf));
            leaf();
            spindle::shielded([&] {
                for (auto& f : all)
                    f.join();
            });
            expect(own.reason() == cancel_reason::enclosing);
        };
        std::vector<spindle::fiber<>> all;
        for (int i = 0; i != 5; ++i)
            all.push_back(spindle::spawn(branch));
        BOOST_TEST(until([&] { return waiting == 30; }));
        scope.cancel();
        spindle::shielded([&] {
            for (auto& f : all)
                f.join();
        });
        BOOST_TEST(ended == 30);
    });
}

BOOST_AUTO_TEST_CASE(a_child_that_is_begun_too_late_waits_for_nothing)
{
    over_processors([] {
        cancel_scope const scope;
        scope.cancel();
        auto child = spindle::spawn([] { return sleep_for_ever(); });
        spindle::shielded([&] { BOOST_TEST(child.join() == aborted); });
    });
}

BOOST_AUTO_TEST_CASE(a_child_of_an_outer_one_is_not_cancelled_with_the_inner)
{
    over_processors([] {
        cancel_scope const outer;
        spindle::channel<int> ch;
        auto child = spindle::spawn([&] { return ch.receive(); });
        {
            cancel_scope const inner;
            inner.cancel();
        }
        ch.send(7);
        BOOST_TEST(child.join().value() == 7);
    });
}

BOOST_AUTO_TEST_CASE(go_is_not_cancelled_with_it)
{
    over_processors([] {
        spindle::channel<int> ch, out;
        {
            cancel_scope const scope;
            spindle::go([=] { out.send(ch.receive().value()); });
            scope.cancel();
        }
        ch.send(7);
        BOOST_TEST(out.receive().value() == 7);
    });
}

BOOST_AUTO_TEST_CASE(neither_is_what_is_spawned_on_an_executor)
{
    over_processors([] {
        spindle::channel<int> ch, out;
        {
            cancel_scope const scope;
            spindle::spawn(
                this_fiber::get_executor(), [=] { out.send(ch.receive().value()); },
                asio::detached);
            scope.cancel();
        }
        ch.send(7);
        BOOST_TEST(out.receive().value() == 7);
    });
}

BOOST_AUTO_TEST_CASE(one_that_goes_uncancelled_hands_its_children_on)
{
    over_processors([] {
        cancel_scope const outer;
        std::vector<spindle::fiber<error_code>> all;
        spindle::cancel_handle middle;
        {
            cancel_scope const between;
            middle = between.handle();
            {
                cancel_scope const inner;
                for (int i = 0; i != 3; ++i)
                    all.push_back(spindle::spawn([] { return sleep_for_ever(); }));
            }
            for (int i = 0; i != 3; ++i)
                all.push_back(spindle::spawn([] { return sleep_for_ever(); }));
        }
        middle.cancel(); // gone
        this_fiber::yield();
        outer.cancel();
        for (auto& f : all)
            spindle::shielded([&] { BOOST_TEST(f.join() == aborted); });
    });
}

BOOST_AUTO_TEST_CASE(a_grandchild_that_is_spawned_after_the_scope_has_gone_belongs_to_the_outer)
{
    over_processors([] {
        cancel_scope const outer;
        spindle::channel<int> go_on;
        spindle::fiber<error_code> grandchild;
        std::atomic<bool> spawned{false};
        auto const child = [&] {
            auto const scope = std::make_unique<cancel_scope>();
            return spindle::spawn([&] {
                go_on.receive();
                grandchild = spindle::spawn([] { return sleep_for_ever(); });
                spawned = true;
            });
        }();
        go_on.send(1);
        BOOST_TEST(until([&] { return spawned.load(); }));
        outer.cancel();
        spindle::shielded([&] { BOOST_TEST(grandchild.join() == aborted); });
    });
}

// The child's chain goes through the scope that has gone; what the user sees of that stays.
BOOST_AUTO_TEST_CASE(one_that_has_gone_uncancelled_stays_so)
{
    over_processors([] {
        cancel_scope const outer;
        spindle::cancel_handle gone;
        std::stop_token before;
        spindle::fiber<> child;
        {
            cancel_scope const inner;
            gone = inner.handle();
            before = inner.stop_token();
            child = spindle::spawn([] { (void)sleep_for_ever(); });
        }
        outer.cancel();
        spindle::shielded([&] { child.join(); });
        BOOST_TEST(gone.reason() == cancel_reason::none);
        BOOST_TEST(!before.stop_requested());
        BOOST_TEST(!gone.stop_token().stop_requested());
    });
}

BOOST_AUTO_TEST_CASE(without_an_outer_one_the_children_go_on_alone)
{
    over_processors([] {
        spindle::channel<int> ch;
        spindle::fiber<std::optional<int>> child;
        {
            cancel_scope const scope;
            child = spindle::spawn([&] { return ch.receive(); });
        }
        ch.send(7);
        BOOST_TEST(child.join().value() == 7);
    });
}

BOOST_AUTO_TEST_CASE(a_child_that_is_left_by_its_scopes_cancellation_has_stopped)
{
    int unhandled = 0;
    {
        on_scheduler s(spindle::scheduler_options{
            .processors = 1,
            .unhandled_exception = [&](std::exception_ptr, auto&&...) { ++unhandled; }});
        s.run([] {
            cancel_scope const scope;
            auto child = spindle::spawn([] { this_fiber::sleep_for(1h); });
            this_fiber::yield();
            scope.cancel();
            child = {}; // and nobody has joined it
        });
    }
    BOOST_TEST(unhandled == 0);
    {
        on_scheduler s(spindle::scheduler_options{
            .processors = 1,
            .unhandled_exception = [&](std::exception_ptr, auto&&...) { ++unhandled; }});
        s.run([] {
            spindle::go([] {
                cancel_scope const own;
                own.cancel();
                this_fiber::sleep_for(1h); // nobody has asked the fiber
            });
        });
    }
    BOOST_TEST(unhandled == 1);
}

BOOST_AUTO_TEST_CASE(an_operation_that_was_started_in_it_is_cancelled_with_it)
{
    over_processors([] {
        auto sockets = connected_locally(this_fiber::get_executor());
        auto& a = sockets.first;
        std::array<char, 8> data;
        cancel_scope const scope;
        auto reading = spindle::start(a.async_read_some(asio::buffer(data), asio::deferred));
        BOOST_TEST(!reading.ready());
        spindle::shielded([&] {
            scope.cancel(); // the fiber waits for nothing
            error_code ec;
            reading.get(ec);
            BOOST_TEST(ec == aborted);
        });
        reading.start(a.async_read_some(asio::buffer(data), asio::deferred));
        BOOST_TEST(reading.ready());
    });
}

BOOST_AUTO_TEST_CASE(an_operation_is_started_again_and_again)
{
    over_processors([] {
        auto sockets = connected_locally(this_fiber::get_executor());
        auto& a = sockets.first;
        auto& b = sockets.second;
        std::array<char, 8> data;
        cancel_scope const outer;
        {
            cancel_scope const scope;
            auto reading = spindle::start(a.async_read_some(asio::buffer(data), asio::deferred));
            auto other = spindle::start(b.async_read_some(asio::buffer(data), asio::deferred));
            for (int i = 0; i != 3; ++i) {
                b.async_write_some(asio::buffer("x", 1), spindle::use_fiber);
                BOOST_TEST(reading.get() == 1u);
                reading.start(a.async_read_some(asio::buffer(data), asio::deferred));
            }
            scope.cancel();
            spindle::shielded([&] {
                for (auto* const op : {&reading, &other}) {
                    error_code ec;
                    op->get(ec);
                    BOOST_TEST(ec == aborted);
                }
            });
        }
        BOOST_TEST(outer.reason() == cancel_reason::none);
    });
}

BOOST_AUTO_TEST_CASE(an_operation_outlives_the_scope_that_it_was_started_in)
{
    over_processors([] {
        auto sockets = connected_locally(this_fiber::get_executor());
        auto& a = sockets.first;
        auto& b = sockets.second;
        std::array<char, 8> data;
        std::optional<spindle::operation<void(error_code, std::size_t)>> reading;
        {
            cancel_scope const scope;
            reading.emplace(a.async_read_some(asio::buffer(data), asio::deferred));
        }
        b.async_write_some(asio::buffer("x", 1), spindle::use_fiber);
        BOOST_TEST(reading->get() == 1u);
        cancel_scope const outer;
        {
            cancel_scope const scope;
            reading->start(a.async_read_some(asio::buffer(data), asio::deferred));
        }
        outer.cancel();
        error_code ec;
        reading->get(ec);
        BOOST_TEST(ec == aborted);
    });
}

BOOST_AUTO_TEST_CASE(children_of_a_bound_fiber)
{
    over_threads([](asio::io_context& ioc, unsigned threads) {
        tally ended;
        for (int i = 0; i != 20; ++i)
            spindle::spawn(
                asio::make_strand(ioc),
                [&] {
                    cancel_scope const scope(1ms);
                    auto child = spindle::spawn([&] { ended.check(sleep_for_ever() == aborted); });
                    ended.check(sleep_for_ever() == aborted);
                    spindle::shielded([&] { child.join(); });
                },
                asio::detached);
        run_on(ioc, threads);
        BOOST_TEST(ended.good() == 40u);
        BOOST_TEST(ended.bad() == 0u);
    });
}

// --- values -------------------------------------------------------------------------------

namespace {

constexpr spindle::key<std::string> name;
constexpr spindle::key<std::string> other_name;
constexpr spindle::key<int> number;

} // namespace

BOOST_AUTO_TEST_CASE(values_are_seen_inside_and_hide_those_outside)
{
    over_processors([] {
        BOOST_TEST(this_fiber::value(number) == nullptr);
        cancel_scope outer;
        outer.set(number, 1);
        outer.set(name, "one");
        BOOST_TEST(*this_fiber::value(number) == 1);
        BOOST_TEST(this_fiber::value(other_name) == nullptr);
        auto const* const first = this_fiber::value(name);
        {
            cancel_scope inner;
            inner.set(number, 2);
            BOOST_TEST(*this_fiber::value(number) == 2);
            BOOST_TEST(this_fiber::value(name) == first);
            inner.set(number, 3);
            BOOST_TEST(*this_fiber::value(number) == 3);
        }
        BOOST_TEST(*this_fiber::value(number) == 1);
        BOOST_TEST(*first == "one");
    });
    BOOST_TEST(this_fiber::value(number) == nullptr);
}

BOOST_AUTO_TEST_CASE(values_go_along_with_what_is_started)
{
    over_processors([] {
        spindle::channel<std::string> out;
        auto const tell = [=] {
            auto const* const v = this_fiber::value(name);
            out.send(v ? *v : "nothing");
        };
        {
            cancel_scope scope;
            scope.set(name, "request 7");
            spindle::spawn([&] { spindle::spawn(tell).detach(); }).join();
            BOOST_TEST(out.receive().value() == "request 7");
            spindle::go([=] {
                cancel_scope const own;
                spindle::go([=] { spindle::go(tell); });
            });
        }
        BOOST_TEST(out.receive().value() == "request 7");
        spindle::go(tell);
        BOOST_TEST(out.receive().value() == "nothing"); // nor on the same fibers again
    });
}

BOOST_AUTO_TEST_CASE(values_end_with_the_last_who_can_see_them)
{
    constexpr static spindle::key<counted> what;
    over_processors([] {
        spindle::channel<int> go_on;
        spindle::fiber<> child;
        {
            cancel_scope scope;
            scope.set(what, counted(1));
            scope.set(what, counted(2));
            child = spindle::spawn([&] {
                go_on.receive();
                expect(this_fiber::value(what)->value == 2);
            });
            BOOST_TEST(counted::live == 2);
        }
        BOOST_TEST(counted::live == 2);
        go_on.send(1);
        child.join();
        BOOST_TEST(counted::live == 0);
    });
}

// --- races --------------------------------------------------------------------------------

// A receive and a cancellation at the same time: the value is received or still
// there, never both, never lost.
BOOST_AUTO_TEST_CASE(a_receive_and_a_cancellation_have_one_winner)
{
    for (auto const n : processor_counts)
        BOOST_TEST_CONTEXT(n << " processors")
        {
            on_scheduler s(n);
            s.run([] {
                constexpr int rounds = scaled(4000);
                std::minstd_rand random;
                spindle::channel<int> ch, ready;
                int received = 0, sent = 0, wrong = 0;
                for (int i = 0; i != rounds; ++i) {
                    auto const pause = random() % 3;
                    spindle::cancel_handle handle;
                    std::atomic<bool> known{false};
                    auto receiver = spindle::spawn([&] {
                        cancel_scope const scope;
                        handle = scope.handle();
                        known = true;
                        error_code ec;
                        auto const v = ch.receive(ec);
                        wrong += v ? *v != i : ec != aborted;
                        return v.has_value();
                    });
                    auto canceller = spindle::spawn([&] {
                        while (!known)
                            this_fiber::yield();
                        if (pause == 1)
                            this_fiber::yield();
                        handle.cancel();
                    });
                    error_code ec;
                    bool out = false;
                    if (pause == 0)
                        this_fiber::yield();
                    if (ch.try_send(int(i), ec))
                        out = true;
                    canceller.join();
                    auto const in = receiver.join();
                    sent += out;
                    received += in;
                    wrong += in != out;
                }
                BOOST_TEST(wrong == 0);
                BOOST_TEST(sent == received);
            });
        }
}

namespace {

void grow(spindle::channel<spindle::cancel_handle> const& handles, unsigned seed, int depth)
{
    std::minstd_rand random(seed);
    std::vector<spindle::fiber<>> all;
    {
        cancel_scope const scope;
        error_code ec;
        handles.try_send(scope.handle(), ec);
        for (int i = 0; i != 2 && depth != 0; ++i) {
            auto child = spindle::spawn(
                [&handles, seed = unsigned(random()), depth] { grow(handles, seed, depth - 1); });
            if (random() % 2 == 0)
                all.push_back(std::move(child));
            else
                child.detach();
        }
        if (random() % 2 == 0)
            (void)error_of([] { this_fiber::sleep_for(10us); });
    }
    if (random() % 2 == 0)
        this_fiber::sleep_for(1h); // until the one at the top is cancelled
}

} // namespace

// Scopes are opened, closed and handed on, children begin and end, while others
// cancel what they can get hold of.
BOOST_AUTO_TEST_CASE(at_any_moment)
{
    for (auto const n : processor_counts)
        BOOST_TEST_CONTEXT(n << " processors")
        {
            on_scheduler s(n);
            s.run([] {
                std::minstd_rand random;
                for (int round = 0; round != int(scaled(60)); ++round) {
                    cancel_scope const top;
                    spindle::channel<spindle::cancel_handle> handles(64);
                    std::vector<spindle::fiber<>> all;
                    for (int i = 0; i != 8; ++i)
                        all.push_back(spindle::spawn([&, seed = unsigned(random())] { grow(handles, seed, 3); }));
                    for (int i = 0; i != 20; ++i) {
                        error_code ec;
                        if (auto const h = handles.try_receive(ec))
                            h->cancel();
                        if (i % 3 == 0)
                            this_fiber::yield();
                    }
                    top.cancel();
                    spindle::shielded([&] {
                        for (auto& f : all)
                            (void)error_of([&] { f.join(); });
                    });
                    // Those that nobody has joined have `handles` in view.
                    auto& core = spindle::detail::core_of(this_fiber::get_scheduler());
                    BOOST_TEST(until([&] { return core.live() == 1; }));
                }
            });
        }
}
