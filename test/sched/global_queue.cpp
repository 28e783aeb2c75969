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
using spindle::detail::runnable_list;

struct item : runnable {
    int payload = 0; // not atomic on purpose: TSan sees a lost release here
};

} // namespace

BOOST_AUTO_TEST_SUITE(one_thread)

BOOST_AUTO_TEST_CASE(pops_nothing_from_empty)
{
    global_queue q;
    BOOST_TEST(q.size_hint() == 0u);
    BOOST_TEST(q.pop(10).empty());
}

BOOST_AUTO_TEST_CASE(pops_the_oldest_and_no_more_than_asked)
{
    global_queue q;
    std::array<item, 5> items;
    for (auto& i : items)
        q.push(i);
    BOOST_TEST(q.size_hint() == 5u);
    auto first = q.pop(2);
    BOOST_TEST(first.size() == 2u);
    BOOST_TEST(first.pop_front() == &items[0]);
    BOOST_TEST(first.pop_front() == &items[1]);
    BOOST_TEST(q.size_hint() == 3u);
    auto rest = q.pop(100);
    BOOST_TEST(rest.size() == 3u);
    BOOST_TEST(rest.pop_front() == &items[2]);
    BOOST_TEST(q.size_hint() == 0u);
    BOOST_TEST(q.pop(1).empty());
}

BOOST_AUTO_TEST_CASE(keeps_the_order_of_a_batch)
{
    global_queue q;
    std::array<item, 4> items;
    runnable_list batch;
    q.push(items[0]);
    batch.push_back(items[1]);
    batch.push_back(items[2]);
    q.push(std::move(batch));
    BOOST_TEST(batch.empty());
    q.push(runnable_list{});
    q.push(items[3]);
    auto all = q.pop(4);
    for (auto& i : items)
        BOOST_TEST(all.pop_front() == &i);
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
            runnable_list batch;
            for (std::size_t i = 0; i != n; ++i) {
                auto& it = items[producer * n + i];
                it.payload = 1;
                if (producer == 0) {
                    q.push(it);
                    continue;
                }
                batch.push_back(it);
                if (batch.size() == 7 || i == n - 1)
                    q.push(std::move(batch));
            }
        });
    for (int consumer = 0; consumer != 2; ++consumer)
        pool.emplace_back([&] {
            while (taken.load(std::memory_order_relaxed) != 2 * n) {
                auto some = q.pop(5);
                if (some.empty())
                    std::this_thread::yield();
                while (auto* r = some.pop_front()) {
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
