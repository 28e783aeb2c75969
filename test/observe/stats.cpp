//
// observe/stats.cpp
// ~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE observe.stats
#include <spindle/observe/stats.hpp>

#include <spindle/attach.hpp>
#include <spindle/blocking.hpp>
#include <spindle/sync/wait_group.hpp>
#include <spindle/this_fiber.hpp>

#include <support/fixture.hpp>

#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/strand.hpp>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

namespace asio = boost::asio;
using spindle::get_stats;

BOOST_AUTO_TEST_SUITE(of_a_users_io_context)

BOOST_AUTO_TEST_CASE(are_zero_where_no_fiber_was)
{
    asio::io_context ioc;
    auto const s = get_stats(ioc);
    BOOST_TEST(s.fibers == 0u);
    BOOST_TEST(s.by_processor.empty());
}

BOOST_AUTO_TEST_CASE(tell_what_its_fibers_do)
{
    asio::io_context ioc;
    spindle::wait_group gate(1);
    for (int i = 0; i != 3; ++i)
        spindle::spawn(ioc, [&] { gate.wait(); }, asio::detached);
    BOOST_TEST(get_stats(ioc).states.created == 3u);
    ioc.poll();
    auto s = get_stats(ioc);
    BOOST_TEST(s.fibers == 3u);
    BOOST_TEST(s.states.waiting == 3u);
    BOOST_TEST(s.states.alive() == 3u);
    BOOST_TEST(s.parks == 3u);
    BOOST_TEST(s.processors == 1u);
    BOOST_TEST(s.idle_processors == 1u);
    BOOST_TEST((s.by_processor.at(0).is == spindle::processor_stats::activity::idle));
    spindle::spawn(
        ioc,
        [&] {
            auto const during = get_stats(ioc);
            BOOST_TEST(during.states.running == 1u);
            BOOST_TEST(during.idle_processors == 0u);
        },
        asio::detached);
    ioc.poll();
    gate.done();
    BOOST_TEST(get_stats(ioc).states.runnable == 3u);
    ioc.run();
    s = get_stats(ioc);
    BOOST_TEST(s.fibers == 0u);
    BOOST_TEST(s.finished == 4u);
    BOOST_TEST(s.states.alive() == 0u);
    BOOST_TEST(s.states.dead >= 4u);
}

BOOST_AUTO_TEST_CASE(count_the_threads_of_blocking_calls)
{
    asio::io_context ioc;
    std::atomic<bool> called{false}, may_return{false};
    spindle::spawn(
        ioc,
        [&] {
            spindle::blocking([&] {
                called.store(true);
                while (!may_return.load())
                    std::this_thread::yield();
            });
        },
        asio::detached);
    ioc.poll();
    while (!called.load())
        std::this_thread::yield();
    auto const s = get_stats(ioc);
    BOOST_TEST(s.states.blocking == 1u);
    BOOST_TEST(s.states.waiting == 0u);
    BOOST_TEST(s.threads == 1u);
    may_return.store(true);
    ioc.run();
}

BOOST_AUTO_TEST_CASE(have_the_latency_that_was_asked_for)
{
    for (int way = 0; way != 2; ++way) {
        asio::io_context ioc;
        if (way == 0)
            spindle::attach(ioc, {.measure_latency = true});
        else
            spindle::measure_latency(ioc, true);
        spindle::spawn(
            ioc,
            [] {
                for (int i = 0; i != 10; ++i)
                    spindle::spawn([] {}).join();
            },
            asio::detached);
        auto const strand = asio::make_strand(ioc);
        spindle::spawn(strand, [] { spindle::this_fiber::yield(); }, asio::detached);
        std::this_thread::sleep_for(std::chrono::milliseconds(2)); // for that long they wait
        std::vector<std::thread> threads;
        for (int i = 0; i != 3; ++i)
            threads.emplace_back([&] { ioc.run(); });
        for (auto& t : threads)
            t.join();
        auto const s = get_stats(ioc);
        BOOST_TEST(s.measures_latency);
        // Each fiber, the strand's yield, and the joins that found their child not over.
        BOOST_TEST(s.latency.count() >= 1u + 10u + 2u);
        BOOST_TEST(s.latency.count() <= 1u + 10u + 10u + 2u);
        BOOST_TEST((s.latency.quantile(1.0) > std::chrono::milliseconds(2)));
        spindle::measure_latency(ioc, false);
        BOOST_TEST(!get_stats(ioc).measures_latency);
    }
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_CASE(stats_of_a_schedulers_io_context_are_the_schedulers)
{
    spindle_test::on_scheduler s(2u);
    s.run([&] {
        auto& ioc = s->get_executor().context();
        BOOST_TEST(get_stats(ioc).states.running == 1u);
        BOOST_TEST(get_stats(ioc).processors == 2u);
        spindle::measure_latency(ioc, true);
        BOOST_TEST(s->stats().measures_latency);
    });
}
