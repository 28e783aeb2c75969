//
// group/worker_pool.cpp
// ~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE group.worker_pool
#include <spindle/group/worker_pool.hpp>

#include <spindle/this_fiber.hpp>

#include <support/channel_fixture.hpp>
#include <support/every_step.hpp>

#include <boost/test/unit_test.hpp>

#include <atomic>
#include <chrono>
#include <memory>
#include <stdexcept>

using namespace spindle_test;
using namespace std::chrono_literals;
using spindle::worker_pool;
namespace this_fiber = spindle::this_fiber;

BOOST_AUTO_TEST_CASE(does_all_jobs)
{
    over_processors([] {
        for (std::size_t const capacity : {0u, 10u}) {
            std::atomic<int> sum{0};
            worker_pool<std::unique_ptr<int>> pool(
                4, [&](std::unique_ptr<int> i) { sum += *i; }, capacity);
            for (int i = 1; i <= 100; ++i)
                pool.submit(std::make_unique<int>(i));
            pool.close();
            pool.close();
            pool.wait();
            BOOST_TEST(sum == 5050);
            error_code ec;
            pool.submit(nullptr, ec);
            BOOST_TEST(ec == make_error_code(spindle::errc::channel_closed));
        }
    });
}

BOOST_AUTO_TEST_CASE(each_worker_has_its_own_function)
{
    over_processors([] {
        std::atomic<int> most{0};
        worker_pool<int> pool(3, [&, mine = 0](int) mutable {
            ++mine; // not shared
            for (auto m = most.load(); m < mine && !most.compare_exchange_weak(m, mine);)
                ;
            this_fiber::yield();
        });
        for (int i = 0; i != 30; ++i)
            pool.submit(1);
        pool.close();
        pool.wait();
        BOOST_TEST(most <= 30);
        BOOST_TEST(most >= 10);
    });
}

BOOST_AUTO_TEST_CASE(a_failure_closes_it_and_is_thrown)
{
    over_processors([] {
        worker_pool<int> pool(3, [](int i) {
            if (i == 7)
                throw std::runtime_error("7");
        });
        error_code ec;
        for (int i = 0; i != 1000 && !ec; ++i)
            pool.submit(int(i), ec);
        BOOST_TEST(ec == make_error_code(spindle::errc::channel_closed));
        BOOST_CHECK_THROW(pool.wait(), std::runtime_error);
    });
}

BOOST_AUTO_TEST_CASE(the_destructor_stops_the_workers)
{
    over_processors([] {
        std::atomic<int> stopped{0};
        {
            worker_pool<int> pool(2, [&](int) {
                stopped += error_of([] { this_fiber::sleep_for(1h); }) == aborted;
            });
            pool.submit(1);
            pool.submit(2);
        }
        BOOST_TEST(stopped == 2);
    });
}

BOOST_AUTO_TEST_CASE(needs_workers)
{
    over_processors([] {
        BOOST_CHECK_THROW(worker_pool<int>(0, [](int) {}), system_error);
    });
}

BOOST_AUTO_TEST_CASE(at_every_step)
{
    over_every_step([] {
        worker_pool<int> pool(2, [](int) { this_fiber::sleep_for(20us); });
        for (int i = 0; i != 3; ++i)
            pool.submit(1);
        pool.close();
        pool.wait();
    });
}
