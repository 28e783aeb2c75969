//
// chan/channel.cpp
// ~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE chan.channel
#include <spindle/chan/channel.hpp>
#include <spindle/spawn.hpp>
#include <spindle/sync/wait_group.hpp>
#include <spindle/this_fiber.hpp>

#include <support/asio_fixture.hpp>
#include <support/channel_fixture.hpp>

#include <boost/system/errc.hpp>
#include <boost/test/unit_test.hpp>

#include <atomic>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <iterator>
#include <limits>
#include <new>
#include <optional>
#include <ranges>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

using namespace spindle_test;
using namespace spindle_test::outcomes;
using namespace std::chrono_literals;
namespace this_fiber = spindle::this_fiber;
using spindle::channel;
using spindle::close_guard;
using spindle::receive_channel;
using spindle::send_channel;
using spindle::detail::wait_reason;

BOOST_AUTO_TEST_SUITE(channel_)

namespace {

using clock_type = spindle::testing::clock;
constexpr std::size_t capacities[] = {0, 1, 2, 3, 7, 64, 100, 128};

// What leaves f, as a text.
template <class Function>
std::string text_of(Function&& f)
{
    try {
        f();
    } catch (system_error const& e) {
        return e.what();
    }
    return {};
}

bool contains(std::string const& text, char const* what)
{
    return text.find(what) != std::string::npos;
}

} // namespace

// --- handles ----------------------------------------------------------------------

namespace {

template <class From, class To>
constexpr bool converts = std::is_convertible_v<From, To>;

using ch_int = channel<int>;
using send_int = send_channel<int>;
using receive_int = receive_channel<int>;

static_assert(converts<ch_int, send_int> && converts<ch_int, receive_int>);
static_assert(!std::is_constructible_v<ch_int, receive_int>);
static_assert(!std::is_constructible_v<ch_int, send_int>);
static_assert(!std::is_constructible_v<send_int, receive_int>);
static_assert(!std::is_constructible_v<receive_int, send_int>);
static_assert(!std::is_constructible_v<receive_int, channel<long>>);
static_assert(!converts<int, ch_int> && !converts<ch_int, bool>);
static_assert(!std::is_default_constructible_v<close_guard<int>>);
static_assert(!std::is_copy_constructible_v<close_guard<int>>);
static_assert(std::is_nothrow_default_constructible_v<send_int>);
static_assert(std::is_nothrow_default_constructible_v<receive_channel<void>>);
static_assert(std::copyable<ch_int> && std::copyable<send_int> && std::copyable<receive_int>);
static_assert(std::copyable<channel<boxed>> && std::copyable<channel<void>>);
static_assert(std::is_nothrow_move_constructible_v<ch_int>);
static_assert(std::same_as<ch_int::value_type, int>);

template <class C>
concept sends = requires(C c, int v, error_code ec) {
    c.send(v);
    c.try_send(v, ec);
    c.send_for(v, 1s, ec);
    c.close();
};
template <class C>
concept receives = requires(C c, error_code ec) {
    c.receive();
    c.try_receive(ec);
    c.receive_for(1s, ec);
    c.begin();
};
static_assert(sends<ch_int> && receives<ch_int>);
static_assert(sends<send_int> && !receives<send_int>);
static_assert(!sends<receive_int> && receives<receive_int>);

// Only what can be copied is sent by reference.
template <class C, class V>
concept sends_a = requires(C c, V v) { c.send(std::forward<V>(v)); };
static_assert(sends_a<ch_int, int&> && sends_a<ch_int, int const&>);
static_assert(sends_a<channel<boxed>, boxed> && !sends_a<channel<boxed>, boxed&>);

using iterator = spindle::channel_iterator<int>;
static_assert(std::input_iterator<iterator>);
static_assert(std::input_iterator<spindle::channel_iterator<boxed>>);
static_assert(std::input_iterator<spindle::channel_iterator<void>>);
static_assert(std::sentinel_for<std::default_sentinel_t, iterator>);
static_assert(!std::copyable<iterator> && !std::forward_iterator<iterator>);
static_assert(std::ranges::input_range<ch_int const>);
static_assert(std::ranges::input_range<receive_int>);
static_assert(!std::ranges::range<send_int>);

} // namespace

BOOST_AUTO_TEST_CASE(copies_stand_for_the_same_channel)
{
    channel<int> a(2), b(2);
    auto const copy = a;
    BOOST_TEST((a == copy));
    BOOST_TEST((a != b));
    send_channel<int> const out = a;
    receive_channel<int> const in = copy;
    BOOST_TEST((out == send_channel<int>(copy)));
    BOOST_TEST((out != send_channel<int>(b)));
    BOOST_TEST((in == a));
    BOOST_TEST((in == out)); // of the same channel
    out.send(1);
    BOOST_TEST(copy.size() == 1u);
    BOOST_TEST(in.size() == 1u);
    BOOST_TEST((in.receive() == 1));
    a = b;
    BOOST_TEST((a == b));
    BOOST_TEST((a != copy));
    auto& self = a;
    a = self;
    BOOST_TEST((a == b));
}

BOOST_AUTO_TEST_CASE(a_moved_from_handle_is_nil)
{
    channel<int> a(1);
    BOOST_TEST(static_cast<bool>(a));
    auto b = std::move(a);
    BOOST_TEST(!a);
    BOOST_TEST(static_cast<bool>(b));
    BOOST_TEST((a == send_channel<int>()));
    BOOST_TEST((a == receive_channel<int>()));
    BOOST_TEST((a != b));
    a = std::move(b);
    BOOST_TEST(static_cast<bool>(a));
    BOOST_TEST(!b);
    auto& self = a;
    a = std::move(self);
    BOOST_TEST(static_cast<bool>(a));
    a.send(1);
    BOOST_TEST((a.receive() == 1));
}

BOOST_AUTO_TEST_CASE(tells_its_size_its_capacity_and_whether_it_is_closed)
{
    for (auto const n : capacities) {
        channel<int> ch(n);
        BOOST_TEST(ch.capacity() == n);
        BOOST_TEST(ch.size() == 0u);
        BOOST_TEST(!ch.is_closed());
        for (std::size_t i = 0; i != n; ++i) {
            ch.send(static_cast<int>(i));
            BOOST_TEST(ch.size() == i + 1);
        }
        ch.close();
        BOOST_TEST(ch.is_closed());
        BOOST_TEST(ch.size() == n);
        BOOST_TEST(receive_channel<int>(ch).is_closed());
        BOOST_TEST(send_channel<int>(ch).capacity() == n);
    }
    BOOST_TEST(send_channel<int>().capacity() == 0u);
    BOOST_TEST(send_channel<int>().size() == 0u);
    BOOST_TEST(!receive_channel<int>().is_closed());
}

BOOST_AUTO_TEST_CASE(a_capacity_for_which_there_is_no_memory_is_bad_alloc)
{
    auto volatile much = std::numeric_limits<std::size_t>::max();
    BOOST_CHECK_THROW(channel<int>{much}, std::bad_alloc);
}

// --- the ring ---------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(as_many_values_fit_in_as_it_was_made_for_and_come_out_in_order)
{
    for (auto const n : capacities)
        BOOST_TEST_CONTEXT("capacity " << n)
        {
            channel<boxed> ch(n);
            int in = 0, out = 0;
            error_code ec;
            for (std::size_t round = 0; round != 5; ++round) { // round and round the ring
                while (ch.try_send(box(in), ec)) {
                    BOOST_REQUIRE(!ec);
                    ++in;
                }
                BOOST_TEST((ec == would_block));
                BOOST_TEST(ch.size() == n);
                for (std::size_t i = 0; i != n - n / 3; ++i) {
                    ec = stale;
                    auto const v = ch.try_receive(ec);
                    BOOST_REQUIRE(!ec);
                    BOOST_REQUIRE(**v == out++);
                }
            }
            while (auto const v = ch.try_receive(ec))
                BOOST_REQUIRE(**v == out++);
            BOOST_TEST((ec == would_block));
            BOOST_TEST(in == out);
        }
}

BOOST_AUTO_TEST_CASE(each_value_arrives_once_and_those_of_one_sender_in_order)
{
    constexpr int senders = 4, receivers = 4, each = static_cast<int>(scaled(1'000));
    struct item {
        int sender;
        boxed n;
    };
    over_processors([] {
        for (auto const n : {0u, 1u, 3u, 128u}) {
            channel<item> ch(n);
            tally t;
            std::atomic<long> sum{0};
            spindle::wait_group sending, all;
            for (int s = 0; s != senders; ++s)
                sending.go([&, s] {
                    for (int i = 1; i <= each; ++i)
                        ch.send({s, box(i)});
                });
            for (int r = 0; r != receivers; ++r)
                all.go([&] {
                    int last[senders] = {};
                    for (auto& v : ch) {
                        t.check(*v.n > last[v.sender]);
                        last[v.sender] = *v.n;
                        sum += *v.n;
                    }
                });
            sending.wait();
            ch.close();
            all.wait();
            BOOST_TEST(t.bad() == 0u);
            BOOST_TEST(t.good() == std::size_t{senders} * each);
            BOOST_TEST(sum == long{senders} * each * (each + 1) / 2);
        }
    });
}

BOOST_AUTO_TEST_CASE(what_lies_in_a_dropped_channel_is_destroyed_once)
{
    for (auto const n : {1u, 3u, 7u, 128u}) {
        {
            channel<counted> ch(n);
            error_code ec;
            // The values lie across the end of the ring.
            for (unsigned i = 0; i != n / 2 + 1; ++i)
                ch.send(counted(0));
            for (unsigned i = 0; i != n / 2 + 1; ++i)
                (void)ch.receive();
            while (ch.try_send(counted(1), ec))
                ;
            BOOST_TEST(counted::live == static_cast<int>(n));
            auto const copy = ch;
            if (n % 2)
                ch.close();
            ch = channel<counted>();
            BOOST_TEST(counted::live == static_cast<int>(n));
        }
        BOOST_TEST(counted::live == 0);
    }
}

// --- values that are difficult to carry ---------------------------------------------

BOOST_AUTO_TEST_CASE(carries_what_has_no_default_constructor_and_cannot_be_assigned)
{
    over_processors([] {
        for (auto const n : {0u, 3u}) {
            channel<counted> ch(n);
            auto sender = spindle::spawn([&] {
                close_guard const closing(ch);
                for (int i = 0; i != 20; ++i)
                    ch.send(counted(i));
            });
            int next = 0;
            while (auto const v = ch.receive())
                BOOST_REQUIRE(v->value == next++);
            BOOST_TEST(next == 20);
            sender.join();
        }
    });
    BOOST_TEST(counted::live == 0);
}

BOOST_AUTO_TEST_CASE(over_aligned_values_lie_where_they_must)
{
    over_processors([] {
        for (auto const n : {0u, 3u}) {
            channel<wide> ch(n);
            tally t;
            auto receiver = spindle::spawn([&] {
                for (auto& v : ch)
                    t.check(v.in_place());
            });
            for (int i = 0; i != 20; ++i)
                ch.send(wide(i));
            ch.close();
            receiver.join();
            BOOST_TEST(t.good() == 20u);
            BOOST_TEST(t.bad() == 0u);
        }
    });
}

BOOST_AUTO_TEST_CASE(a_reference_is_copied_first)
{
    channel<std::string> ch(4);
    std::string const text = "some text that does not fit into a string";
    error_code ec;
    ch.send(text);
    ch.send(text, ec);
    BOOST_TEST(!ec);
    BOOST_TEST(ch.try_send(text, ec));
    BOOST_TEST(ch.send_for(text, 0s, ec));
    BOOST_TEST(!ch.send_until(text, clock_type::now(), ec));
    for (int i = 0; i != 4; ++i)
        BOOST_TEST((ch.receive() == text));
    ch.send("a literal");
    BOOST_TEST((ch.receive() == "a literal"));
}

BOOST_AUTO_TEST_CASE(a_channel_of_void_counts)
{
    channel<void> ch(std::numeric_limits<std::size_t>::max()); // of no memory
    error_code ec;
    for (int i = 0; i != 1'000; ++i)
        ch.send();
    BOOST_TEST(ch.size() == 1'000u);
    BOOST_TEST(ch.try_send(ec));
    BOOST_TEST(ch.send_for(0s, ec));
    BOOST_TEST(ch.send_until(never, ec));
    BOOST_TEST(ch.receive());
    BOOST_TEST(ch.receive(ec));
    BOOST_TEST(!ec);
    BOOST_TEST(ch.try_receive(ec));
    BOOST_TEST(ch.receive_for(0s, ec));
    BOOST_TEST(ch.receive_until(never, ec));
    ch.close();
    int left = 0;
    for (auto const v : ch) {
        static_assert(std::same_as<decltype(v), std::monostate const>);
        ++left;
    }
    BOOST_TEST(left == 1'003 - 5);
    BOOST_TEST(!ch.receive());
    BOOST_TEST(!ch.receive(ec));
    BOOST_TEST(!ec);
    BOOST_TEST(!ch.try_receive(ec));
    BOOST_TEST((ec == closed));
    BOOST_TEST(!ch.receive_for(1h, ec));
    BOOST_TEST((ec == closed));
    BOOST_TEST((error_of([&] { ch.send(); }) == closed));
    ch.send(ec);
    BOOST_TEST((ec == closed));
    BOOST_TEST(!ch.try_send(ec));
    BOOST_TEST((ec == closed));

    channel<std::monostate> same(std::numeric_limits<std::size_t>::max());
    same.send({});
    BOOST_TEST((same.receive() == std::monostate()));
}

BOOST_AUTO_TEST_CASE(a_channel_of_void_without_room_is_a_rendezvous)
{
    over_processors([] {
        channel<void> there, back;
        int plain = 0;
        auto other = spindle::spawn([&] {
            while (there.receive()) {
                ++plain;
                back.send();
            }
        });
        for (int i = 0; i != 100; ++i) {
            there.send();
            BOOST_REQUIRE(back.receive());
            BOOST_REQUIRE(plain == i + 1);
        }
        there.close();
        other.join();
        error_code ec;
        BOOST_TEST(!back.try_send(ec));
        BOOST_TEST((ec == would_block));
        BOOST_TEST(!back.receive_for(1ms, ec));
        BOOST_TEST((ec == timed_out));
        BOOST_TEST(!back.send_for(1ms, ec));
        BOOST_TEST((ec == timed_out));
    });
}

// --- waiting ------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(without_room_a_send_waits_for_its_receiver)
{
    over_processors([] {
        channel<boxed> ch;
        int plain = 0;
        auto sender = spindle::spawn([&] {
            ch.send(box(1));
            return plain; // the receiver was there
        });
        BOOST_REQUIRE(until([&] { return senders_of(ch) == 1; }));
        BOOST_TEST(ch.size() == 0u);
        BOOST_TEST(ch.capacity() == 0u);
        plain = 7;
        BOOST_TEST(**ch.receive() == 1);
        BOOST_TEST(sender.join() == 7);
    });
}

BOOST_AUTO_TEST_CASE(a_receive_waits_for_its_sender)
{
    over_processors([] {
        for (auto const n : {0u, 1u, 3u}) {
            channel<boxed> ch(n);
            auto receiver = spindle::spawn([&] { return **ch.receive(); });
            BOOST_REQUIRE(until([&] { return receivers_of(ch) == 1; }));
            ch.send(box(5));
            BOOST_TEST(receiver.join() == 5);
        }
    });
}

BOOST_AUTO_TEST_CASE(receivers_are_served_in_the_order_in_which_they_came)
{
    over_processors([] {
        for (auto const n : {0u, 3u}) {
            channel<boxed> ch(n);
            std::vector<spindle::fiber<int>> receivers;
            for (std::size_t i = 0; i != 10; ++i) {
                receivers.push_back(spindle::spawn([&] { return **ch.receive(); }));
                BOOST_REQUIRE(until([&] { return receivers_of(ch) == i + 1; }));
            }
            for (int i = 0; i != 10; ++i)
                ch.send(box(i));
            for (int i = 0; i != 10; ++i)
                BOOST_TEST(receivers[static_cast<std::size_t>(i)].join() == i);
        }
    });
}

BOOST_AUTO_TEST_CASE(senders_are_served_in_the_order_in_which_they_came)
{
    over_processors([] {
        for (auto const n : {0u, 1u, 3u}) {
            channel<boxed> ch(n);
            int next = 0;
            while (next != static_cast<int>(n))
                ch.send(box(next++));
            std::vector<spindle::fiber<>> senders;
            for (std::size_t i = 0; i != 10; ++i, ++next) {
                senders.push_back(spindle::spawn([&, next] { ch.send(box(next)); }));
                BOOST_REQUIRE(until([&] { return senders_of(ch) == i + 1; }));
            }
            for (int i = 0; i != next; ++i)
                BOOST_REQUIRE(**ch.receive() == i);
            for (auto& s : senders)
                s.join();
            BOOST_TEST(ch.size() == 0u);
        }
    });
}

BOOST_AUTO_TEST_CASE(a_value_goes_to_the_one_who_waits_whoever_runs_first)
{
    over_processors([] {
        channel<int> ch(4);
        auto receiver = spindle::spawn([&] { return ch.receive().value(); });
        BOOST_REQUIRE(until([&] { return receivers_of(ch) == 1; }));
        error_code ec;
        BOOST_TEST(ch.try_send(1, ec));
        BOOST_TEST(receivers_of(ch) == 0u);
        BOOST_TEST(ch.try_send(2, ec));
        BOOST_TEST((ch.try_receive(ec) == 2)); // 1 is taken
        BOOST_TEST(ch.size() == 0u);
        BOOST_TEST(receiver.join() == 1);
    });
}

BOOST_AUTO_TEST_CASE(a_receive_makes_room_for_the_one_who_waits_and_for_no_other)
{
    over_processors([] {
        channel<int> ch(2);
        ch.send(1);
        ch.send(2);
        auto sender = spindle::spawn([&] { ch.send(3); });
        BOOST_REQUIRE(until([&] { return senders_of(ch) == 1; }));
        error_code ec;
        BOOST_TEST((ch.try_receive(ec) == 1));
        BOOST_TEST(senders_of(ch) == 0u);
        BOOST_TEST(ch.size() == 2u);
        BOOST_TEST(!ch.try_send(4, ec));
        BOOST_TEST((ec == would_block));
        BOOST_TEST((ch.try_receive(ec) == 2));
        BOOST_TEST((ch.try_receive(ec) == 3));
        sender.join();
    });
}

BOOST_AUTO_TEST_CASE(may_be_dropped_as_soon_as_the_last_operation_returns)
{
    over_processors([] {
        for (std::size_t i = 0; i != scaled(500); ++i) {
            spindle::fiber<> other;
            {
                channel<boxed> ch(i % 2);
                other = spindle::spawn([ch] { ch.send(box(1)); });
                BOOST_REQUIRE(ch.receive());
            }
            other.join();
        }
    });
}

// --- closing ------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(close_wakes_all_receivers)
{
    over_processors([] {
        for (auto const n : {0u, 3u}) {
            channel<boxed> ch(n);
            std::vector<spindle::fiber<bool>> receivers;
            for (int i = 0; i != 20; ++i)
                receivers.push_back(spindle::spawn([&, i] {
                    error_code ec = stale;
                    switch (i % 4) {
                    case 0:
                        return !ch.receive();
                    case 1:
                        return !ch.receive(ec) && !ec;
                    case 2:
                        return !ch.receive_for(1h, ec) && ec == closed;
                    default:
                        return ch.begin() == ch.end();
                    }
                }));
            BOOST_REQUIRE(until([&] { return receivers_of(ch) == 20; }));
            ch.close();
            BOOST_TEST(receivers_of(ch) == 0u);
            for (auto& r : receivers)
                BOOST_TEST(r.join());
        }
    });
}

BOOST_AUTO_TEST_CASE(close_wakes_all_senders_and_they_keep_their_values)
{
    over_processors([] {
        for (auto const n : {0u, 3u}) {
            channel<boxed> ch(n);
            for (unsigned i = 0; i != n; ++i)
                ch.send(box(static_cast<int>(i)));
            std::vector<spindle::fiber<bool>> senders;
            for (int i = 0; i != 20; ++i)
                senders.push_back(spindle::spawn([&, i] {
                    auto v = box(i);
                    error_code ec = stale;
                    switch (i % 3) {
                    case 0:
                        ec = error_of([&] { ch.send(std::move(v)); });
                        break;
                    case 1:
                        ch.send(std::move(v), ec);
                        break;
                    default:
                        (void)ch.send_for(std::move(v), 1h, ec);
                    }
                    return ec == closed && v && *v == i;
                }));
            BOOST_REQUIRE(until([&] { return senders_of(ch) == 20; }));
            ch.close();
            BOOST_TEST(senders_of(ch) == 0u);
            for (auto& s : senders)
                BOOST_TEST(s.join());
            for (unsigned i = 0; i != n; ++i)
                BOOST_TEST(**ch.receive() == static_cast<int>(i)); // what lay in it is there
            BOOST_TEST(!ch.receive());
        }
    });
}

BOOST_AUTO_TEST_CASE(what_lies_in_a_closed_channel_can_be_received)
{
    channel<int> ch(7);
    for (int i = 0; i != 5; ++i)
        ch.send(i);
    ch.close();
    error_code ec = stale;
    BOOST_TEST((ch.receive() == 0));
    BOOST_TEST((ch.receive(ec) == 1));
    BOOST_TEST(!ec);
    BOOST_TEST((ch.try_receive(ec) == 2));
    BOOST_TEST((ch.receive_for(0s, ec) == 3));
    BOOST_TEST((ch.receive_until(never, ec) == 4));
    BOOST_TEST(ch.size() == 0u);
    BOOST_TEST(!ch.receive());
    ec = stale;
    BOOST_TEST(!ch.receive(ec));
    BOOST_TEST(!ec); // closed and empty is no error
    BOOST_TEST(!ch.try_receive(ec));
    BOOST_TEST((ec == closed));
    BOOST_TEST(!ch.receive_for(1h, ec));
    BOOST_TEST((ec == closed));
    BOOST_TEST(!ch.receive_until(never, ec));
    BOOST_TEST((ec == closed));
    for (int const v : ch)
        BOOST_TEST(v == -1);
}

BOOST_AUTO_TEST_CASE(nothing_can_be_sent_to_a_closed_channel)
{
    for (auto const n : {0u, 3u}) {
        channel<boxed> ch(n);
        ch.close();
        auto v = box(1);
        error_code ec;
        BOOST_TEST((error_of([&] { ch.send(std::move(v)); }) == closed));
        ch.send(std::move(v), ec);
        BOOST_TEST((ec == closed));
        ec = {};
        BOOST_TEST(!ch.try_send(std::move(v), ec));
        BOOST_TEST((ec == closed));
        ec = {};
        BOOST_TEST(!ch.send_for(std::move(v), 1h, ec));
        BOOST_TEST((ec == closed));
        ec = {};
        BOOST_TEST(!ch.send_until(std::move(v), never, ec));
        BOOST_TEST((ec == closed));
        BOOST_TEST((ec == boost::system::errc::broken_pipe));
        BOOST_REQUIRE(v);
        BOOST_TEST(*v == 1);
    }
}

BOOST_AUTO_TEST_CASE(to_close_twice_is_an_error_that_says_what_to_do)
{
    channel<int> ch(1);
    ch.close();
    BOOST_TEST((error_of([&] { ch.close(); }) == closed));
    BOOST_TEST((error_of([&] { send_channel<int>(ch).close(); }) == closed));
    auto const text = text_of([&] { ch.close(); });
    BOOST_TEST(contains(text, "close() of a channel that is closed"), text);
    BOOST_TEST(contains(text, "one side closes it, once"), text);
}

BOOST_AUTO_TEST_CASE(to_close_a_nil_channel_is_an_error_that_says_why)
{
    auto const invalid = boost::system::errc::invalid_argument;
    BOOST_TEST((error_of([] { send_channel<int>().close(); }) == invalid));
    channel<void> ch;
    auto const there = std::move(ch);
    BOOST_TEST((error_of([&] { ch.close(); }) == invalid));
    auto const text = text_of([&] { ch.close(); });
    BOOST_TEST(contains(text, "default-constructed, or moved from"), text);
}

BOOST_AUTO_TEST_CASE(one_of_many_who_close_it_does)
{
    over_processors([] {
        for (std::size_t round = 0; round != scaled(200); ++round) {
            channel<int> ch;
            tally t;
            spindle::wait_group group;
            for (int i = 0; i != 4; ++i)
                group.go([&] {
                    auto const ec = error_of([&] { ch.close(); });
                    t.check(!ec);
                });
            group.wait();
            BOOST_REQUIRE(t.good() == 1u);
        }
    });
}

BOOST_AUTO_TEST_CASE(a_close_guard_closes_on_every_way_out)
{
    channel<int> a, b, c, d, e;
    {
        close_guard const closing(a);
        close_guard const of_a_view(send_channel<int>{b});
        BOOST_TEST(!a.is_closed());
    }
    BOOST_TEST(a.is_closed());
    BOOST_TEST(b.is_closed());
    try {
        close_guard const closing(c);
        throw std::runtime_error("out");
    } catch (std::runtime_error const&) {
    }
    BOOST_TEST(c.is_closed());
    {
        close_guard const closing(d);
        d.close(); // somebody else has
    }
    BOOST_TEST(d.is_closed());
    {
        close_guard const of_nothing(send_channel<int>{});
    }
    {
        auto moved = e;
        close_guard const closing(moved);
        auto const gone = std::move(moved); // it has a handle of its own
    }
    BOOST_TEST(e.is_closed());
    over_processors([] {
        channel<int> ch, gate;
        auto f = spindle::spawn([&] {
            close_guard const closing(ch);
            (void)gate.receive();
        });
        BOOST_REQUIRE(until([&] { return receivers_of(gate) == 1; }));
        BOOST_TEST(!ch.is_closed());
        f.request_stop();
        BOOST_TEST(!ch.receive());
        BOOST_TEST((error_of([&] { f.join(); }) == aborted));
    });
}

// --- nil channels -------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(nobody_is_ever_ready_on_a_nil_channel)
{
    send_channel<boxed> out;
    receive_channel<boxed> in;
    channel<boxed> both;
    auto const there = std::move(both);
    error_code ec;
    auto v = box(1);
    BOOST_TEST(!out.try_send(std::move(v), ec));
    BOOST_TEST((ec == would_block));
    BOOST_TEST(!both.try_send(std::move(v), ec));
    BOOST_TEST((ec == would_block));
    BOOST_TEST(!in.try_receive(ec));
    BOOST_TEST((ec == would_block));
    BOOST_TEST(!both.try_receive(ec));
    BOOST_TEST((ec == would_block));
    auto const timed = [&] {
        for (auto const d : {-1ms, 0ms, 1ms}) {
            ec = {};
            auto const begin = clock_type::now();
            BOOST_TEST(!out.send_for(std::move(v), d, ec));
            BOOST_TEST((ec == timed_out));
            ec = {};
            BOOST_TEST(!in.receive_for(d, ec));
            BOOST_TEST((ec == timed_out));
            ec = {};
            BOOST_TEST(!both.receive_until(clock_type::now() + d, ec));
            BOOST_TEST((ec == timed_out));
            if (d > 0ms)
                BOOST_TEST((clock_type::now() - begin >= 3 * d));
        }
    };
    timed(); // a plain thread
    over_processors(timed);
    BOOST_REQUIRE(v);
    channel<void> signals;
    auto const moved = std::move(signals);
    BOOST_TEST(!signals.try_send(ec));
    BOOST_TEST((ec == would_block));
    BOOST_TEST(!signals.try_receive(ec));
    BOOST_TEST((ec == would_block));
}

BOOST_AUTO_TEST_CASE(who_waits_on_a_nil_channel_waits_until_a_stop)
{
    over_processors([] {
        std::vector<spindle::fiber<bool>> fibers;
        fibers.push_back(spindle::spawn([] {
            auto v = box(3);
            return error_of([&] { send_channel<boxed>().send(std::move(v)); }) == aborted && v;
        }));
        fibers.push_back(spindle::spawn([] {
            error_code ec;
            return !receive_channel<int>().receive(ec) && ec == aborted;
        }));
        fibers.push_back(spindle::spawn([] {
            return error_of([] {
                for (int const v : receive_channel<int>())
                    (void)v;
            }) == aborted;
        }));
        fibers.push_back(spindle::spawn([] {
            error_code ec;
            return !send_channel<void>().send_until(never, ec) && ec == aborted;
        }));
        fibers.push_back(spindle::spawn([] {
            error_code ec;
            return !receive_channel<void>().receive_for(1h, ec) && ec == aborted;
        }));
        BOOST_REQUIRE(until([&] { return fibers_in(wait_reason::nil_channel) == 5; }));
        for (auto& f : fibers)
            f.request_stop();
        for (auto& f : fibers)
            BOOST_TEST(f.join());
    });
}

// --- with a limit -------------------------------------------------------------------

namespace {

void limits_hold()
{
    channel<boxed> ch(1);
    error_code ec = stale;
    auto v = box(1);

    // There is room, there is a value: no deadline is too early.
    BOOST_TEST(ch.send_until(std::move(v), clock_type::time_point::min(), ec));
    BOOST_TEST(!ec);
    BOOST_TEST(!v);
    ec = stale;
    BOOST_TEST(**ch.receive_until(clock_type::time_point::min(), ec) == 1);
    BOOST_TEST(!ec);
    BOOST_TEST(ch.send_for(box(2), -1h, ec));

    v = box(3);
    for (auto const d : {-1h, 0h}) {
        BOOST_TEST(!ch.send_for(std::move(v), d, ec));
        BOOST_TEST((ec == timed_out));
        BOOST_TEST(!ch.send_until(std::move(v), clock_type::now() + d, ec));
        BOOST_TEST((ec == timed_out));
    }
    auto begin = clock_type::now();
    BOOST_TEST(!ch.send_for(std::move(v), 2ms, ec));
    BOOST_TEST((ec == timed_out));
    BOOST_TEST((clock_type::now() - begin >= 2ms));
    begin = clock_type::now();
    BOOST_TEST(!ch.send_until(std::move(v), begin + 2ms, ec));
    BOOST_TEST((ec == timed_out));
    BOOST_TEST((clock_type::now() - begin >= 2ms));
    BOOST_TEST(senders_of(ch) == 0u);
    BOOST_REQUIRE(v);
    BOOST_TEST(*v == 3);

    BOOST_TEST(**ch.receive() == 2);
    for (auto const d : {-1h, 0h}) {
        ec = {};
        BOOST_TEST(!ch.receive_for(d, ec));
        BOOST_TEST((ec == timed_out));
    }
    begin = clock_type::now();
    BOOST_TEST(!ch.receive_for(std::chrono::duration<double, std::milli>(1.5), ec));
    BOOST_TEST((ec == timed_out));
    BOOST_TEST((clock_type::now() - begin >= 1500us));
    BOOST_TEST(receivers_of(ch) == 0u);
    BOOST_TEST((asio::error::timed_out == ec));

    // What timed out has left no trace.
    ch.send(std::move(v));
    BOOST_TEST(**ch.receive() == 3);
}

} // namespace

BOOST_AUTO_TEST_CASE(a_limit_ends_the_wait_and_the_sender_keeps_its_value)
{
    over_processors(&limits_hold);
    limits_hold(); // a plain thread
}

BOOST_AUTO_TEST_CASE(a_limit_may_be_beyond_all_times)
{
    over_processors([] {
        for (int how = 0; how != 4; ++how) {
            channel<boxed> ch;
            auto receiver = spindle::spawn([&] {
                error_code ec = stale;
                auto const v = how == 0 ? ch.receive_until(never, ec)
                    : how == 1          ? ch.receive_for(std::chrono::hours::max(), ec)
                    : how == 2          ? ch.receive_for(clock_type::duration::max(), ec)
                                        : ch.receive_for(1h, ec);
                return !ec && v ? **v : -1;
            });
            BOOST_REQUIRE(until([&] { return receivers_of(ch) == 1; }));
            ch.send(box(how));
            BOOST_TEST(receiver.join() == how);

            auto sender = spindle::spawn([&] {
                error_code ec = stale;
                auto const sent = how == 0
                    ? ch.send_until(box(how), never, ec)
                    : how == 1 ? ch.send_for(box(how), std::chrono::hours::max(), ec)
                    : how == 2 ? ch.send_for(box(how), clock_type::duration::max(), ec)
                               : ch.send_for(box(how), 1h, ec);
                return sent && !ec;
            });
            BOOST_REQUIRE(until([&] { return senders_of(ch) == 1; }));
            BOOST_TEST(**ch.receive() == how);
            BOOST_TEST(sender.join());
        }
    });
}

BOOST_AUTO_TEST_CASE(limits_that_race_with_the_other_side_lose_nothing)
{
    over_processors([] {
        constexpr int each = static_cast<int>(scaled(2'000));
        for (auto const n : {0u, 2u}) {
            channel<boxed> ch(n);
            tally sent, received;
            spindle::wait_group sending, receiving;
            for (int s = 0; s != 3; ++s)
                sending.go([&] {
                    for (int i = 0; i != each; ++i) {
                        auto v = box(i);
                        error_code ec;
                        auto const ok
                            = ch.send_for(std::move(v), std::chrono::microseconds(i % 20), ec);
                        sent.check(ok);
                        if (ok != !v || ok == (ec == timed_out))
                            throw std::logic_error("a value was lost, or is there twice");
                    }
                });
            for (int r = 0; r != 3; ++r)
                receiving.go([&] {
                    for (int i = 0;; ++i) {
                        error_code ec;
                        auto const v = ch.receive_for(std::chrono::microseconds(i % 20), ec);
                        received.check(v.has_value());
                        if (ec == closed)
                            break;
                    }
                });
            sending.wait();
            ch.close();
            receiving.wait();
            BOOST_TEST(sent.good() + sent.bad() == 3u * each);
            BOOST_TEST(sent.good() == received.good());
        }
    });
}

// --- range-for ------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(leaving_a_loop_loses_nothing)
{
    over_processors([] {
        for (auto const n : {0u, 1u, 5u}) {
            channel<counted> ch(n);
            auto sender = spindle::spawn([ch] {
                close_guard const closing(ch);
                for (int i = 0; i != 10; ++i)
                    ch.send(counted(i));
            });
            int next = 0;
            while (next != 10)
                for (auto& v : ch) {
                    BOOST_REQUIRE(v.value == next++);
                    if (next % 3 == 0)
                        break;
                }
            BOOST_TEST(!ch.receive());
            sender.join();
            BOOST_TEST(counted::live == 0);
        }
    });
}

BOOST_AUTO_TEST_CASE(an_iterator_holds_its_value)
{
    channel<boxed> ch(4);
    for (int i = 0; i != 4; ++i)
        ch.send(box(i));
    ch.close();
    auto i = ch.begin();
    BOOST_TEST(ch.size() == 3u);
    BOOST_TEST(**i == 0);
    BOOST_TEST(*i->get() == 0);
    auto j = std::move(i);
    BOOST_TEST(**j == 0);
    j++;
    BOOST_TEST(**j == 1);
    i = std::move(j);
    BOOST_TEST(**++i == 2);
    auto const mine = std::move(*i); // the values are the loop's to take
    BOOST_TEST(*mine == 2);
    ++i;
    BOOST_TEST(**i == 3);
    BOOST_TEST((i != ch.end()));
    ++i;
    BOOST_TEST((i == std::default_sentinel));
}

BOOST_AUTO_TEST_CASE(an_iterator_keeps_the_channel)
{
    over_processors([] {
        std::optional<spindle::channel_iterator<int>> i;
        {
            channel<int> ch(2);
            ch.send(1);
            ch.send(2);
            ch.close();
            i.emplace(ch.begin());
        }
        BOOST_TEST(**i == 1);
        BOOST_TEST(*++*i == 2);
        BOOST_TEST((++*i == std::default_sentinel));
    });
}

// --- stops ----------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_stop_ends_a_receive_and_the_next_receiver_is_served)
{
    over_processors([] {
        for (int how = 0; how != 4; ++how) {
            channel<boxed> ch;
            auto const receive = [&, how] {
                error_code ec;
                switch (how) {
                case 0:
                    return error_of([&] { (void)ch.receive(); });
                case 1:
                    (void)ch.receive(ec);
                    break;
                case 2:
                    (void)ch.receive_for(1h, ec);
                    break;
                default:
                    return error_of([&] {
                        for (auto& v : ch)
                            (void)v;
                    });
                }
                return ec;
            };
            auto first = spindle::spawn(receive);
            BOOST_REQUIRE(until([&] { return receivers_of(ch) == 1; }));
            auto second = spindle::spawn([&] { return **ch.receive(); });
            BOOST_REQUIRE(until([&] { return receivers_of(ch) == 2; }));
            first.request_stop();
            BOOST_TEST((first.join() == aborted));
            BOOST_TEST(receivers_of(ch) == 1u);
            ch.send(box(how));
            BOOST_TEST(second.join() == how);
        }
    });
}

BOOST_AUTO_TEST_CASE(a_stop_ends_a_send_and_the_value_stays)
{
    over_processors([] {
        for (auto const n : {0u, 1u})
            for (int how = 0; how != 3; ++how) {
                channel<boxed> ch(n);
                if (n)
                    ch.send(box(0));
                auto first = spindle::spawn([&] {
                    auto v = box(1);
                    error_code ec;
                    switch (how) {
                    case 0:
                        ec = error_of([&] { ch.send(std::move(v)); });
                        break;
                    case 1:
                        ch.send(std::move(v), ec);
                        break;
                    default:
                        (void)ch.send_for(std::move(v), 1h, ec);
                    }
                    return ec == aborted && v && *v == 1;
                });
                BOOST_REQUIRE(until([&] { return senders_of(ch) == 1; }));
                auto second = spindle::spawn([&] { ch.send(box(2)); });
                BOOST_REQUIRE(until([&] { return senders_of(ch) == 2; }));
                first.request_stop();
                BOOST_TEST(first.join());
                BOOST_TEST(senders_of(ch) == 1u);
                if (n)
                    BOOST_TEST(**ch.receive() == 0);
                BOOST_TEST(**ch.receive() == 2);
                second.join();
            }
    });
}

BOOST_AUTO_TEST_CASE(a_stop_is_seen_even_where_there_is_nothing_to_wait_for)
{
    over_processors([] {
        channel<int> full(2), empty(2), done(2), gate;
        full.send(1);
        done.close();
        tally t;
        auto f = spindle::spawn([&] {
            error_code ec;
            t.check(!gate.receive(ec) && ec == aborted);
            for (int i = 0; i != 3; ++i) { // it is sticky
                t.check(error_of([&] { (void)full.receive(); }) == aborted);
                ec = {};
                t.check(!full.receive(ec) && ec == aborted);
                ec = {};
                t.check(!full.receive_for(1h, ec) && ec == aborted);
                ec = {};
                t.check(!full.receive_until(clock_type::now(), ec) && ec == aborted);
                t.check(error_of([&] { empty.send(1); }) == aborted);
                ec = {};
                empty.send(1, ec);
                t.check(ec == aborted);
                ec = {};
                t.check(!empty.send_for(1, 1h, ec) && ec == aborted);
                ec = {};
                t.check(!done.receive(ec) && ec == aborted);
                t.check(error_of([&] { done.send(1); }) == aborted);
                t.check(error_of([&] { (void)full.begin(); }) == aborted);
            }
            // These are no cancellation points.
            t.check(empty.try_send(7, ec) && !ec);
            t.check(empty.try_receive(ec) == 7);
        });
        BOOST_REQUIRE(until([&] { return receivers_of(gate) == 1; }));
        f.request_stop();
        f.join();
        BOOST_TEST(t.bad() == 0u);
        BOOST_TEST(t.good() == 33u);
        BOOST_TEST(full.size() == 1u);
        BOOST_TEST(empty.size() == 0u);
    });
}

BOOST_AUTO_TEST_CASE(a_stopped_fiber_that_goes_on_trying_starves_nobody)
{
    over_processors([] {
        channel<int> ch;
        std::atomic<bool> other_ran{false};
        auto f = spindle::spawn([&] {
            error_code ec;
            while (!other_ran)
                (void)ch.receive(ec);
        });
        BOOST_REQUIRE(until([&] { return receivers_of(ch) == 1; }));
        f.request_stop();
        spindle::spawn([&] { other_ran = true; }).join();
        f.join();
    });
}

BOOST_AUTO_TEST_CASE(stops_that_race_with_the_other_side_lose_nothing)
{
    over_processors([] {
        for (std::size_t round = 0; round != scaled(500); ++round) {
            channel<boxed> ch(round % 2);
            std::atomic<int> sent{0}, received{0};
            std::vector<spindle::fiber<>> fibers;
            for (int i = 0; i != 2; ++i) {
                fibers.push_back(spindle::spawn([&] {
                    auto v = box(1);
                    error_code ec;
                    ch.send(std::move(v), ec);
                    sent += !ec;
                    if (!ec != !v)
                        throw std::logic_error("a value was lost, or is there twice");
                }));
                fibers.push_back(spindle::spawn([&] {
                    error_code ec;
                    received += ch.receive(ec).has_value();
                }));
            }
            for (auto& f : fibers) {
                if ((round / 2) % 2)
                    this_fiber::yield();
                f.request_stop();
            }
            for (auto& f : fibers)
                f.join();
            error_code ec;
            while (ch.try_receive(ec))
                ++received;
            BOOST_REQUIRE(sent == received);
        }
    });
}

BOOST_AUTO_TEST_SUITE_END()
