//
// sched/global_queue.cpp
// ~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE sched.global_queue
#include <spindle/detail/sched/global_queue.hpp>

#include <boost/test/unit_test.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <thread>
#include <utility>
#include <vector>

namespace {

using spindle::detail::global_queue;
using spindle::detail::runnable;

struct item : runnable {
    int payload = 0; // not atomic on purpose: TSan sees a lost release here
};

std::vector<runnable*> pop(global_queue& q, std::size_t max)
{
    std::vector<runnable*> room(max);
    room.resize(q.pop(room));
    return room;
}

} // namespace

BOOST_AUTO_TEST_SUITE(one_thread)

BOOST_AUTO_TEST_CASE(pops_nothing_from_empty)
{
    global_queue q;
    BOOST_TEST(q.size_hint() == 0u);
    BOOST_TEST(pop(q, 10).empty());
}

BOOST_AUTO_TEST_CASE(pops_the_oldest_and_no_more_than_asked)
{
    global_queue q;
    std::array<item, 5> items;
    for (auto& i : items)
        q.push(i);
    BOOST_TEST(q.size_hint() == 5u);
    BOOST_TEST((pop(q, 2) == std::vector<runnable*>{&items[0], &items[1]}));
    BOOST_TEST(q.size_hint() == 3u);
    BOOST_TEST((pop(q, 100) == std::vector<runnable*>{&items[2], &items[3], &items[4]}));
    BOOST_TEST(q.size_hint() == 0u);
    BOOST_TEST(pop(q, 1).empty());
}

BOOST_AUTO_TEST_CASE(keeps_the_order_of_a_batch)
{
    global_queue q;
    std::array<item, 4> items;
    std::array<runnable*, 2> const batch{&items[1], &items[2]};
    q.push(items[0]);
    q.push(batch);
    q.push(std::span<runnable* const>());
    q.push(items[3]);
    BOOST_TEST(
        (pop(q, 4) == std::vector<runnable*>{&items[0], &items[1], &items[2], &items[3]}));
}

BOOST_AUTO_TEST_CASE(grows_in_the_middle_of_its_ring)
{
    global_queue q;
    std::vector<item> items(5'000);
    std::size_t in = 0, out = 0;
    while (out != items.size()) {
        for (int i = 0; i != 5 && in != items.size(); ++i)
            q.push(items[in++]);
        for (auto* r : pop(q, 2))
            BOOST_REQUIRE(r == &items[out++]);
    }
}

BOOST_AUTO_TEST_CASE(keeps_everything_in_order_without_memory)
{
    global_queue q;
    std::array<item, 6> items;
    global_queue::fail_next_growths(2);
    q.push(items[0]); // to the list: the ring was refused
    q.push(items[1]);
    BOOST_TEST((pop(q, 1) == std::vector<runnable*>{&items[0]}));
    q.push(items[2]);
    BOOST_TEST((pop(q, 2) == std::vector<runnable*>{&items[1], &items[2]}));
    q.push(items[3]); // refused once more
    BOOST_TEST((pop(q, 1) == std::vector<runnable*>{&items[3]}));
    q.push(items[4]); // to the ring
    q.push(items[5]);
    BOOST_TEST(q.size_hint() == 2u);
    BOOST_TEST((pop(q, 5) == std::vector<runnable*>{&items[4], &items[5]}));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(threads)

BOOST_AUTO_TEST_CASE(every_item_comes_out_once)
{
    constexpr std::size_t n = 20'000;
    std::vector<item> items(2 * n);
    global_queue q;
    std::atomic<std::size_t> taken{0};

    std::vector<std::thread> pool;
    for (std::size_t producer = 0; producer != 2; ++producer)
        pool.emplace_back([&, producer] {
            std::vector<runnable*> batch;
            for (std::size_t i = 0; i != n; ++i) {
                auto& it = items[producer * n + i];
                it.payload = 1;
                if (producer == 0) {
                    q.push(it);
                    continue;
                }
                batch.push_back(&it);
                if (batch.size() == 7 || i == n - 1) {
                    q.push(batch);
                    batch.clear();
                }
            }
        });
    for (int consumer = 0; consumer != 2; ++consumer)
        pool.emplace_back([&] {
            while (taken.load(std::memory_order_relaxed) != 2 * n) {
                auto const some = pop(q, 5);
                if (some.empty())
                    std::this_thread::yield();
                for (auto* r : some) {
                    static_cast<item*>(r)->payload += 1;
                    taken.fetch_add(1, std::memory_order_relaxed);
                }
            }
        });
    for (auto& t : pool)
        t.join();

    std::size_t wrong = 0;
    for (auto& i : items)
        wrong += i.payload != 2;
    BOOST_TEST(wrong == 0u);
    BOOST_TEST(q.size_hint() == 0u);
}

BOOST_AUTO_TEST_SUITE_END()
