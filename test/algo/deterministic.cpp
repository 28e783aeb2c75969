//
// algo/deterministic.cpp
// ~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE algo.deterministic
#include <spindle/algo/deterministic.hpp>
#include <spindle/chan/channel.hpp>
#include <spindle/go.hpp>
#include <spindle/sync/mutex.hpp>
#include <spindle/testing/clock.hpp>
#include <spindle/this_fiber.hpp>
#include <support/child.hpp>
#include <support/fixture.hpp>
#include <support/stock_api.hpp>

#include <boost/fiber/all.hpp>
#include <boost/test/unit_test.hpp>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <mutex>
#include <set>
#include <string>
#include <thread>

using namespace spindle_test;
using namespace std::chrono_literals;
using spindle::algo::deterministic;
using spindle::algo::deterministic_options;

namespace {

bool anybody_alive()
{
    using namespace spindle::detail;
    auto any = false;
    for_each_record(
        [](fiber_record& g, void* p) { *static_cast<bool*>(p) |= life_of(g) != 0; }, &any);
    return any;
}

// On a new thread with the algorithm.
template <class Function>
void on_thread(deterministic_options options, Function fn)
{
    std::thread([&] {
        boost::fibers::use_scheduling_algorithm<deterministic>(options);
        fn();
        // Spindle's own are on their way out, at most.
        while (anybody_alive())
            boost::this_fiber::yield();
    }).join();
    check_nothing_left();
}

// The order in which fibers of both kinds came by.
std::string order_of(deterministic_options options)
{
    std::string order;
    boost::fibers::unbuffered_channel<int> over; // who has pushed may be inside for a while
    spindle::mutex m;
    auto const run = [&](char c) {
        for (int i = 0; i != 4; ++i) {
            std::lock_guard const guard(m);
            order += c;
        }
        over.push(1);
    };
    on_thread(options, [&] {
        boost::fibers::fiber a([&] { run('a'); }), b([&] { run('b'); });
        spindle::go([&] { run('c'); });
        spindle::go([&] { run('d'); });
        for (int i = 0; i != 4; ++i)
            over.value_pop();
        a.join();
        b.join();
    });
    return order;
}

} // namespace

BOOST_AUTO_TEST_CASE(runs_all_of_boost_fiber)
{
    for (auto const priorities : {false, true})
        for (std::uint64_t seed = 1; seed != 6; ++seed)
            on_thread({.seed = seed, .priorities = priorities}, [] { all_of_boost_fiber(false); });
}

BOOST_AUTO_TEST_CASE(the_seed_decides_the_order)
{
    for (auto const priorities : {false, true}) {
        std::set<std::string> orders;
        for (std::uint64_t seed = 1; seed != 30; ++seed) {
            deterministic_options const options{.seed = seed, .priorities = priorities};
            auto const order = order_of(options);
            BOOST_TEST(order.size() == 16u);
            BOOST_TEST(order_of(options) == order);
            orders.insert(order);
        }
        BOOST_TEST(orders.size() > 10u);
    }
}

BOOST_AUTO_TEST_CASE(time_passes_while_main_waits)
{
    auto const began = std::chrono::steady_clock::now();
    on_thread({}, [] {
        auto const start = spindle::testing::clock::now();
        boost::fibers::fiber f([] {
            spindle::channel<int> ch;
            spindle::go([ch] {
                spindle::this_fiber::sleep_for(1h);
                ch.send(1);
            });
            ch.receive();
        });
        f.join();
        BOOST_TEST((spindle::testing::clock::now() - start == 1h));
    });
    BOOST_TEST((std::chrono::steady_clock::now() - began < 1min));
}

BOOST_AUTO_TEST_CASE(a_deadlock_ends_the_process_and_names_the_fibers)
{
    auto const end = in_child([] {
        boost::fibers::use_scheduling_algorithm<deterministic>();
        spindle::channel<int> ch;
        boost::fibers::fiber f([ch] { ch.receive(); });
        f.join();
    });
    BOOST_TEST(end.by_signal(SIGABRT));
    BOOST_TEST(end.says("all fibers wait"), end.text);
    BOOST_TEST(end.says("waiting: channel receive"), end.text);
}
