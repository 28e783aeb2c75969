//
// algo/work_stealing.cpp
// ~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE algo.work_stealing
#include <spindle/algo/work_stealing.hpp>

#include <support/fixture.hpp>
#include <support/stock_api.hpp>

#include <spindle/this_fiber.hpp>

#include <boost/fiber/all.hpp>
#include <boost/test/unit_test.hpp>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

using namespace spindle_test;
using namespace std::chrono_literals;

BOOST_AUTO_TEST_CASE(runs_all_of_boost_fiber_on_a_schedulers_threads)
{
    over_processors([] { all_of_boost_fiber(); });
}

BOOST_AUTO_TEST_CASE(runs_all_of_boost_fiber_from_a_thread_of_the_users)
{
    for (auto const n : processor_counts)
        BOOST_TEST_CONTEXT(n << " processors")
        {
            on_scheduler s(n);
            std::thread([&] {
                boost::fibers::use_scheduling_algorithm<spindle::algo::work_stealing>(*s);
                all_of_boost_fiber();
            }).join();
        }
}

BOOST_AUTO_TEST_CASE(sends_the_fibers_of_a_thread_to_the_processors)
{
    on_scheduler s(2);
    std::thread([&] {
        boost::fibers::use_scheduling_algorithm<spindle::algo::work_stealing>(*s);
        auto const here = std::this_thread::get_id();
        std::atomic<int> wrong{0};
        std::vector<boost::fibers::fiber> fibers;
        for (int i = 0; i != 100; ++i)
            fibers.emplace_back([&] {
                wrong += std::this_thread::get_id() == here;
                wrong += &spindle::this_fiber::get_scheduler() != &s.get();
            });
        for (auto& f : fibers)
            f.join();
        BOOST_TEST(wrong == 0);
    }).join();
}

BOOST_AUTO_TEST_CASE(serves_several_threads_at_once)
{
    on_scheduler s(2);
    std::atomic<int> ran{0};
    std::vector<std::thread> threads;
    for (int t = 0; t != 3; ++t)
        threads.emplace_back([&] {
            boost::fibers::use_scheduling_algorithm<spindle::algo::work_stealing>(*s);
            for (int i = 0; i != 100; ++i)
                ran += boost::fibers::async([] { return 1; }).get();
        });
    for (auto& t : threads)
        t.join();
    BOOST_TEST(ran == 300);
}

BOOST_AUTO_TEST_CASE(is_replaced_by_another_algorithm_and_comes_back)
{
    on_scheduler s(1);
    std::thread([&] {
        for (int i = 0; i != 3; ++i) {
            boost::fibers::use_scheduling_algorithm<spindle::algo::work_stealing>(*s);
            BOOST_TEST(boost::fibers::async([] { return 1; }).get() == 1);
            boost::fibers::use_scheduling_algorithm<boost::fibers::algo::round_robin>();
            BOOST_TEST(boost::fibers::async([] { return 2; }).get() == 2);
        }
    }).join();
}
