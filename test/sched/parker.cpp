//
// sched/parker.cpp
// ~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE sched.parker
#include <spindle/detail/sched/parker.hpp>

#include <boost/test/unit_test.hpp>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

namespace {

using spindle::detail::now;
using spindle::detail::parker;
using spindle::detail::time_point;

} // namespace

BOOST_AUTO_TEST_SUITE(token)

BOOST_AUTO_TEST_CASE(left_before_is_taken_at_once)
{
    parker p;
    p.unpark();
    p.park();
    p.unpark();
    BOOST_TEST(p.park_until(now()));
}

BOOST_AUTO_TEST_CASE(is_one_however_often_it_is_left)
{
    parker p;
    p.unpark();
    p.unpark();
    p.unpark();
    p.park();
    BOOST_TEST(!p.park_until(now()));
}

BOOST_AUTO_TEST_CASE(that_never_comes_is_not_waited_for_beyond_the_deadline)
{
    parker p;
    auto const deadline = now() + std::chrono::milliseconds(5);
    BOOST_TEST(!p.park_until(deadline));
    BOOST_TEST((now() >= deadline));
    BOOST_TEST(!p.park_until(time_point{}));
    p.unpark(); // after a timeout the next one counts
    BOOST_TEST(p.park_until(now()));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(threads)

// A lost wake-up hangs here.
BOOST_AUTO_TEST_CASE(wake_each_other_by_turns)
{
    constexpr int rounds = 10'000;
    parker ping, pong;
    int payload = 0; // not atomic on purpose: TSan sees a lost release here
    std::thread other([&] {
        for (int i = 0; i != rounds; ++i) {
            pong.park();
            ++payload;
            ping.unpark();
        }
    });
    for (int i = 0; i != rounds; ++i) {
        ++payload;
        pong.unpark();
        if (i % 2 == 0)
            ping.park();
        else
            BOOST_REQUIRE(ping.park_until(time_point::max()));
    }
    other.join();
    BOOST_TEST(payload == 2 * rounds);
}

// Deadlines that pass about when the token comes.
BOOST_AUTO_TEST_CASE(meet_a_timeout_without_losing_the_token)
{
    constexpr int rounds = 3'000;
    parker ping, pong;
    int payload = 0;
    std::thread other([&] {
        for (int i = 0; i != rounds; ++i) {
            pong.park();
            ++payload;
            ping.unpark();
        }
    });
    int timeouts = 0;
    for (int i = 0; i != rounds; ++i) {
        ++payload;
        pong.unpark();
        while (!ping.park_until(now() + std::chrono::microseconds(i % 20)))
            ++timeouts;
    }
    other.join();
    BOOST_TEST(payload == 2 * rounds);
    BOOST_TEST_MESSAGE("timeouts: " << timeouts);
}

BOOST_AUTO_TEST_CASE(may_all_wake_the_same_one)
{
    constexpr int wakers = 3;
    constexpr int rounds = 2'000;
    parker p;
    std::atomic<int> left{wakers * rounds};
    std::vector<std::thread> pool;
    for (int t = 0; t != wakers; ++t)
        pool.emplace_back([&] {
            for (int i = 0; i != rounds; ++i) {
                left.fetch_sub(1, std::memory_order_relaxed);
                p.unpark();
            }
        });
    while (left.load(std::memory_order_relaxed) != 0)
        p.park();
    for (auto& t : pool)
        t.join();
    BOOST_TEST(left.load() == 0);
}

BOOST_AUTO_TEST_SUITE_END()
