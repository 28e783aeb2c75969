//
// sched/local_queue.cpp
// ~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE sched.local_queue
#include <spindle/detail/sched/local_queue.hpp>

#include <boost/test/unit_test.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <mutex>
#include <span>
#include <thread>
#include <utility>
#include <vector>

namespace {

using spindle::detail::local_queue;
using spindle::detail::runnable;
using spindle::detail::runnable_list;
using half = std::span<runnable* const>;
using small_queue = spindle::detail::basic_local_queue<4>;

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

std::size_t not_taken_once(std::vector<item> const& items)
{
    std::size_t wrong = 0;
    for (auto& i : items)
        wrong += i.taken.load(std::memory_order_relaxed) != 1 || i.payload != 2;
    return wrong;
}

} // namespace

BOOST_AUTO_TEST_SUITE(owner)

BOOST_AUTO_TEST_CASE(pops_in_push_order)
{
    local_queue q;
    std::array<item, 3> items;
    for (auto& i : items)
        BOOST_TEST(q.try_push(i));
    for (auto& i : items)
        BOOST_TEST(q.try_pop() == &i);
    BOOST_TEST(q.try_pop() == nullptr);
}

BOOST_AUTO_TEST_CASE(refuses_when_full)
{
    local_queue q;
    std::vector<item> items(local_queue::capacity + 1);
    for (std::size_t i = 0; i != local_queue::capacity; ++i)
        BOOST_TEST(q.try_push(items[i]));
    BOOST_TEST(!q.try_push(items.back()));
    BOOST_TEST(q.try_pop() == &items.front());
    BOOST_TEST(q.try_push(items.back()));
}

BOOST_AUTO_TEST_CASE(goes_round_the_ring)
{
    small_queue q;
    std::array<item, 3> items;
    for (int round = 0; round != 10; ++round) {
        for (auto& i : items)
            BOOST_TEST(q.try_push(i));
        for (auto& i : items)
            BOOST_TEST(q.try_pop() == &i);
    }
}

BOOST_AUTO_TEST_CASE(pushes_without_the_sink_while_there_is_room)
{
    small_queue q;
    std::array<item, 4> items;
    for (auto& i : items)
        q.push(i, [](half) { BOOST_ERROR("overflow of a queue with room"); });
    BOOST_TEST(q.size_hint() == 4u);
}

BOOST_AUTO_TEST_CASE(hands_the_older_half_and_the_new_one_to_the_sink)
{
    small_queue q;
    std::array<item, 5> items;
    for (std::size_t i = 0; i != 4; ++i)
        q.try_push(items[i]);
    int calls = 0;
    std::vector<runnable*> out;
    q.push(items[4], [&](half taken) {
        ++calls;
        out.assign(taken.begin(), taken.end());
    });
    BOOST_TEST(calls == 1);
    BOOST_TEST((out == std::vector<runnable*>{&items[0], &items[1], &items[4]}));
    BOOST_TEST(q.try_pop() == &items[2]);
    BOOST_TEST(q.try_pop() == &items[3]);
    BOOST_TEST(q.try_pop() == nullptr);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(thief)

BOOST_AUTO_TEST_CASE(takes_nothing_from_empty)
{
    local_queue q, mine;
    BOOST_TEST(q.steal_half(mine) == nullptr);
}

BOOST_AUTO_TEST_CASE(takes_half_rounded_up)
{
    local_queue q, mine;
    std::array<item, 5> items;
    for (auto& i : items)
        q.try_push(i);
    BOOST_TEST(q.steal_half(mine) == &items[2]);
    BOOST_TEST(mine.size_hint() == 2u);
    BOOST_TEST(q.size_hint() == 2u);
    BOOST_TEST(mine.try_pop() == &items[0]);
    BOOST_TEST(mine.try_pop() == &items[1]);
}

BOOST_AUTO_TEST_CASE(takes_half_of_a_full_queue)
{
    small_queue q, mine;
    std::array<item, 4> items;
    for (auto& i : items)
        q.try_push(i);
    BOOST_TEST(q.steal_half(mine) == &items[1]);
    BOOST_TEST(mine.try_pop() == &items[0]);
    BOOST_TEST(q.size_hint() == 2u);
}

// I3, with real threads. Meant for TSan; cheap enough to run everywhere.
BOOST_AUTO_TEST_CASE(every_item_is_taken_once)
{
    constexpr std::size_t n = 100'000;
    constexpr int thieves = 3;
    std::vector<item> items(n);
    std::vector<local_queue> queues(1 + thieves);
    auto& q = queues[0];
    std::atomic<bool> stop{false};
    std::atomic<int> started{0};

    std::vector<std::thread> threads;
    for (std::size_t me = 1; me <= thieves; ++me)
        threads.emplace_back([&, me] {
            // From the thief before as well, so that what was stolen is
            // stolen again.
            auto& mine = queues[me];
            started.fetch_add(1, std::memory_order_relaxed);
            while (!stop.load(std::memory_order_acquire)) {
                for (std::size_t victim = 0; victim != me; ++victim)
                    if (auto* r = queues[victim].steal_half(mine)) {
                        take(r);
                        while (auto* more = mine.try_pop())
                            take(more);
                    }
            }
        });
    while (started.load(std::memory_order_relaxed) != thieves)
        std::this_thread::yield();

    for (auto& i : items) {
        i.payload = 1;
        while (!q.try_push(i))
            if (auto* r = q.try_pop())
                take(r);
    }
    while (auto* r = q.try_pop())
        take(r);
    stop.store(true, std::memory_order_release);
    for (auto& t : threads)
        t.join();
    BOOST_TEST(not_taken_once(items) == 0u);
}

// The overflow's CAS against the thieves'. The tiny queue is full all the time.
BOOST_AUTO_TEST_CASE(every_item_is_taken_once_with_overflow)
{
    constexpr std::size_t n = 100'000;
    constexpr int thieves = 2;
    std::vector<item> items(n);
    small_queue q;
    std::mutex mutex;
    runnable_list global; // guarded by mutex
    std::atomic<bool> stop{false};
    std::atomic<int> started{0};

    std::vector<std::thread> threads;
    for (int i = 0; i != thieves; ++i)
        threads.emplace_back([&] {
            small_queue mine;
            started.fetch_add(1, std::memory_order_relaxed);
            while (!stop.load(std::memory_order_acquire)) {
                if (auto* r = q.steal_half(mine))
                    take(r);
                while (auto* r = mine.try_pop())
                    take(r);
                std::lock_guard<std::mutex> lock(mutex);
                while (auto* r = global.pop_front())
                    take(r);
            }
        });
    while (started.load(std::memory_order_relaxed) != thieves)
        std::this_thread::yield();

    for (auto& i : items) {
        i.payload = 1;
        q.push(i, [&](half taken) {
            std::lock_guard<std::mutex> lock(mutex);
            for (auto* r : taken)
                global.push_back(*r);
        });
    }
    while (auto* r = q.try_pop())
        take(r);
    stop.store(true, std::memory_order_release);
    for (auto& t : threads)
        t.join();
    while (auto* r = global.pop_front())
        take(r);
    BOOST_TEST(not_taken_once(items) == 0u);
}

BOOST_AUTO_TEST_SUITE_END()
