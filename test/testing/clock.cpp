//
// testing/clock.cpp
// ~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE testing.clock
#include <spindle/run.hpp>
#include <spindle/testing/clock.hpp>
#include <spindle/testing/explore.hpp>
#include <spindle/this_fiber.hpp>

#include <boost/test/unit_test.hpp>

#include <chrono>
#include <thread>
#include <type_traits>

using namespace std::chrono_literals;
using spindle::testing::clock;
using steady = std::chrono::steady_clock;

static_assert(std::is_same_v<clock::time_point, steady::time_point>);
static_assert(clock::is_steady);

BOOST_AUTO_TEST_CASE(outside_it_is_the_steady_clock)
{
    auto const before = steady::now();
    auto const now = clock::now();
    BOOST_TEST((before <= now && now <= steady::now()));
}

BOOST_AUTO_TEST_CASE(inside_it_begins_alike_and_stands_still)
{
    clock::time_point first{};
    spindle::testing::explore(
        [&] {
            if (first == clock::time_point{})
                first = clock::now();
            BOOST_TEST((clock::now() == first));
            std::this_thread::sleep_for(1ms);
            BOOST_TEST((clock::now() == first));
            spindle::this_fiber::sleep_for(1ns);
            BOOST_TEST((clock::now() - first == 1ns));
        },
        5);
}

BOOST_AUTO_TEST_CASE(other_threads_keep_their_time_meanwhile)
{
    spindle::testing::explore(
        [] {
            auto const mine = clock::now();
            std::thread([&] {
                auto const before = steady::now();
                BOOST_TEST((clock::now() >= before));
                spindle::run(
                    [&] {
                        BOOST_TEST((clock::now() >= before));
                        spindle::this_fiber::sleep_for(1ms);
                        BOOST_TEST((steady::now() - before >= 1ms));
                        return 0;
                    },
                    {.processors = 1});
            }).join();
            BOOST_TEST((clock::now() == mine));
        },
        3);
}
