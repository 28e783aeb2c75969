//
// sched/run_next.cpp
// ~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE sched.run_next
#include <spindle/detail/sched/run_next.hpp>

#include <boost/test/unit_test.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <thread>
#include <vector>

namespace {

using spindle::detail::fast_lane_bound;
using spindle::detail::run_next;
using spindle::detail::runnable;
using spindle::detail::time_point;

struct item : runnable {
    int payload = 0; // not atomic on purpose: TSan sees a lost release here
    std::atomic<int> taken{0};
};

void take(runnable* r)
{
    auto* const i = static_cast<item*>(r);
    i->payload += 1;
    i->taken.fetch_add(1, std::memory_order_relaxed);
}

// A moment, so many microseconds after some other.
time_point at(int us)
{
    return time_point{} + std::chrono::hours(1) + std::chrono::microseconds(us);
}

} // namespace

BOOST_AUTO_TEST_SUITE(owner)

BOOST_AUTO_TEST_CASE(takes_what_it_put_once)
{
    run_next lane;
    item a;
    BOOST_TEST(lane.take() == nullptr);
    BOOST_TEST(lane.empty_hint());
    BOOST_TEST(lane.put(a) == nullptr);
    BOOST_TEST(!lane.empty_hint());
    BOOST_TEST(lane.take() == &a);
    BOOST_TEST(lane.take() == nullptr);
}

BOOST_AUTO_TEST_CASE(is_given_what_it_displaced)
{
    run_next lane;
    item a, b;
    lane.put(a);
    BOOST_TEST(lane.put(b) == &a);
    BOOST_TEST(lane.take() == &b);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(thief)

BOOST_AUTO_TEST_CASE(takes_nothing_at_first_sight)
{
    run_next lane;
    run_next::observation seen;
    item a;
    BOOST_TEST(lane.steal(seen, at(0)) == nullptr);
    lane.put(a);
    BOOST_TEST(lane.steal(seen, at(1000)) == nullptr);
    BOOST_TEST(lane.take() == &a);
}

BOOST_AUTO_TEST_CASE(takes_what_has_lain_long_enough)
{
    run_next lane;
    run_next::observation seen;
    item a;
    lane.put(a);
    BOOST_TEST(lane.steal(seen, at(0)) == nullptr);
    BOOST_TEST(lane.steal(seen, at(2)) == nullptr);
    BOOST_TEST(lane.steal(seen, at(3)) == &a);
    BOOST_TEST(lane.steal(seen, at(9)) == nullptr);
    BOOST_TEST(lane.take() == nullptr);
}

BOOST_AUTO_TEST_CASE(is_not_fooled_by_a_pair_in_ping_pong)
{
    run_next lane;
    run_next::observation seen;
    item a;
    for (int i = 0; i != 10; ++i) {
        lane.put(a); // the same address each time
        BOOST_TEST(lane.steal(seen, at(10 * i)) == nullptr);
        BOOST_TEST(lane.take() == &a);
    }
}

BOOST_AUTO_TEST_CASE(forgets_an_item_when_it_met_none)
{
    run_next lane;
    run_next::observation seen;
    item a;
    lane.put(a);
    BOOST_TEST(lane.steal(seen, at(0)) == nullptr);
    lane.take();
    BOOST_TEST(lane.steal(seen, at(5)) == nullptr);
    lane.put(a);
    BOOST_TEST(lane.steal(seen, at(6)) == nullptr);
    BOOST_TEST(lane.steal(seen, at(9)) == &a);
}

BOOST_AUTO_TEST_CASE(has_a_memory_of_its_own)
{
    run_next lane;
    run_next::observation first, second;
    item a;
    lane.put(a);
    BOOST_TEST(lane.steal(first, at(0)) == nullptr);
    BOOST_TEST(lane.steal(second, at(5)) == nullptr);
    BOOST_TEST(lane.steal(first, at(6)) == &a);
}

// I2, with real threads and a clock that makes every second look good enough.
BOOST_AUTO_TEST_CASE(and_owner_take_every_item_once)
{
    constexpr std::size_t n = 100'000;
    constexpr int thieves = 2;
    std::vector<item> items(n);
    run_next lane;
    std::atomic<bool> stop{false};
    std::atomic<int> started{0};

    std::vector<std::thread> threads;
    for (int t = 0; t != thieves; ++t)
        threads.emplace_back([&] {
            run_next::observation seen;
            started.fetch_add(1, std::memory_order_relaxed);
            for (int i = 0; !stop.load(std::memory_order_acquire); i = (i + 3) % 1'000'000'000)
                if (auto* r = lane.steal(seen, at(i)))
                    take(r);
        });
    while (started.load(std::memory_order_relaxed) != thieves)
        std::this_thread::yield();

    for (std::size_t i = 0; i != n; ++i) {
        items[i].payload = 1;
        if (auto* r = lane.put(items[i]))
            take(r);
        if (i % 3 == 0)
            if (auto* r = lane.take())
                take(r);
    }
    if (auto* r = lane.take())
        take(r);
    stop.store(true, std::memory_order_release);
    for (auto& t : threads)
        t.join();

    std::size_t wrong = 0;
    for (auto& i : items)
        wrong += i.taken.load(std::memory_order_relaxed) != 1 || i.payload != 2;
    BOOST_TEST(wrong == 0u);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(bound)

BOOST_AUTO_TEST_CASE(lets_the_queue_go_first_after_sixteen)
{
    fast_lane_bound b;
    for (int round = 0; round != 3; ++round) {
        for (unsigned i = 0; i != 16; ++i) {
            BOOST_TEST(!b.queue_first());
            b.count();
        }
        BOOST_TEST(b.queue_first());
        b.count(); // the queue had nothing: still its turn
        BOOST_TEST(b.queue_first());
        b.reset();
    }
}

BOOST_AUTO_TEST_CASE(counts_only_consecutive_picks)
{
    fast_lane_bound b;
    for (int i = 0; i != 100; ++i) {
        b.count();
        if (i % 10 == 9)
            b.reset();
        BOOST_TEST(!b.queue_first());
    }
}

BOOST_AUTO_TEST_SUITE_END()
