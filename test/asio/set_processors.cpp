//
// asio/set_processors.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE asio.set_processors
#include <spindle/asio/use_fiber.hpp>
#include <spindle/go.hpp>
#include <spindle/run.hpp>
#include <spindle/scheduler.hpp>
#include <spindle/spawn.hpp>
#include <spindle/sync/wait_group.hpp>
#include <spindle/this_fiber.hpp>

#include <support/asio_fixture.hpp>
#include <support/cpu_time.hpp>

#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <boost/test/unit_test.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

using namespace spindle_test;
using namespace std::chrono_literals;
namespace this_fiber = spindle::this_fiber;

BOOST_AUTO_TEST_SUITE(set_processors)

namespace {

// So many fibers run at the same time: they wait for each other without parking. Fails
// by hanging where there are fewer processors; quick hogs are not retaken.
void run_together(unsigned n)
{
    std::atomic<unsigned> here{0};
    spindle::wait_group group;
    for (unsigned i = 0; i != n; ++i)
        group.go([&] {
            ++here;
            while (here < n)
                std::this_thread::yield();
        });
    group.wait();
}

} // namespace

BOOST_AUTO_TEST_CASE(more_processors_run_more_fibers)
{
    on_scheduler s({.processors = 1, .preempt_after = 1h, .shutdown_grace = 30s});
    for (unsigned const n : {1u, 2u, 5u, 8u}) {
        s->set_processors(n);
        BOOST_TEST(s->processors() == n);
        s.run([&] { run_together(n); });
        BOOST_TEST(s->stats().processors == n);
    }
    std::set<void const*> contexts;
    for (unsigned i = 0; i != 16; ++i)
        contexts.insert(&asio::query(s->next_executor(), asio::execution::context));
    BOOST_TEST(contexts.size() == 8u);
}

BOOST_AUTO_TEST_CASE(fewer_run_fewer)
{
    on_scheduler s(8u);
    s.run([] { run_together(8); });
    s->set_processors(2);
    s.run([] {
        // Once the others have noticed, no more than two run at any time.
        std::atomic<int> inside{0}, most{0};
        for (int tries = 0; tries != 100; ++tries) {
            most = 0;
            spindle::wait_group group;
            for (int i = 0; i != 20; ++i)
                group.go([&] {
                    auto const n = ++inside;
                    for (auto m = most.load(); m < n;)
                        most.compare_exchange_weak(m, n);
                    std::this_thread::sleep_for(20us);
                    --inside;
                });
            group.wait();
            if (most <= 2)
                break;
            this_fiber::sleep_for(1ms);
        }
        BOOST_TEST(most <= 2);
    });
    BOOST_TEST(s->stats().processors == 2u);
    s->set_processors(8);
    s.run([] { run_together(8); });
}

BOOST_AUTO_TEST_CASE(what_was_made_on_a_processor_stays_when_that_goes)
{
    on_scheduler s(4u);
    std::vector<spindle::scheduler::executor_type> executors;
    for (int i = 0; i != 4; ++i)
        executors.push_back(s->next_executor());
    std::atomic<int> rounds{0}, slept{0}, rang{0};
    std::atomic<bool> enough{false};
    spindle::wait_group ready(12);
    for (auto const& ex : executors) {
        spindle::spawn(
            *s,
            [&, ex] {
                auto [x, y] = connected_locally(ex);
                std::array<char, 1> c{'a'};
                ready.done();
                while (!enough) {
                    asio::async_write(x, asio::buffer(c), spindle::use_fiber);
                    asio::async_read(y, asio::buffer(c), spindle::use_fiber);
                    ++rounds;
                }
            },
            asio::detached);
        spindle::spawn(
            *s,
            [&, ex] {
                asio::steady_timer timer(ex);
                ready.done();
                while (!enough) {
                    timer.expires_after(100us);
                    timer.async_wait(spindle::use_fiber);
                    ++rang;
                }
            },
            asio::detached);
        spindle::spawn(
            *s,
            [&] {
                ready.done();
                while (!enough) {
                    this_fiber::sleep_for(100us);
                    ++slept;
                }
            },
            asio::detached);
    }
    ready.wait();
    for (unsigned const n : {1u, 4u, 2u, 3u, 1u}) {
        s->set_processors(n);
        auto const r = rounds.load(), l = slept.load(), t = rang.load();
        BOOST_TEST(
            eventually([&] { return rounds > r + 20 && slept > l + 20 && rang > t + 20; }));
    }
    enough = true;
    s->join();
}

BOOST_AUTO_TEST_CASE(handlers_still_run_where_no_fibers_do)
{
    on_scheduler s(2u);
    (void)s->next_executor();
    auto const second = s->next_executor();
    s->set_processors(1);
    for (int i = 0; i != 20; ++i) {
        std::atomic<bool> ran{false};
        asio::post(second, [&] { spindle::go([&] { ran = true; }); });
        BOOST_TEST(eventually([&] { return ran.load(); }));
    }
}

BOOST_AUTO_TEST_CASE(a_handler_that_throws_there_is_reported)
{
    std::atomic<int> thrown{0};
    on_scheduler s(
        {.processors = 2, .unhandled_exception = [&](auto const&...) { ++thrown; }});
    (void)s->next_executor();
    auto const second = s->next_executor();
    s->set_processors(1);
    s.run([] { this_fiber::sleep_for(2ms); });
    for (int i = 0; i != 3; ++i) {
        asio::post(second, [] { throw std::runtime_error("there"); });
        BOOST_TEST(eventually([&] { return thrown == i + 1; }));
    }
    std::atomic<bool> ran{false};
    asio::post(second, [&] { ran = true; });
    BOOST_TEST(eventually([&] { return ran.load(); }));
}

BOOST_AUTO_TEST_CASE(up_and_down_while_fibers_run)
{
    for (int round = 0; round != 3; ++round) {
        on_scheduler s(2u);
        std::atomic<int> ended{0};
        std::atomic<bool> enough{false};
        std::thread resizes([&] {
            for (unsigned i = 0; !enough; ++i)
                s->set_processors(i * 7 % 6 + 1);
        });
        int const n = static_cast<int>(scaled(3000));
        s.run([&] {
            spindle::wait_group group;
            for (int i = 0; i != n; ++i)
                group.go([&] {
                    this_fiber::yield();
                    this_fiber::sleep_for(10us);
                    ++ended;
                });
            s->set_processors(3); // a fiber may, too
            group.wait();
        });
        enough = true;
        resizes.join();
        BOOST_TEST(ended == n);
    }
}

BOOST_AUTO_TEST_CASE(it_may_end_at_any_size)
{
    for (unsigned const n : {1u, 2u, 4u})
        for (unsigned const to : {1u, 3u, 8u}) {
            spindle::run(
                [&] {
                    auto& s = this_fiber::get_scheduler();
                    s.set_processors(to);
                    this_fiber::yield();
                },
                {.processors = n});
            spindle::scheduler s({.processors = n});
            s.set_processors(to);
        }
    check_nothing_left();
}

BOOST_AUTO_TEST_CASE(retired_ones_use_no_cpu)
{
    on_scheduler s(4u);
    s->set_processors(1);
    s.run([] { this_fiber::sleep_for(1ms); });
    BOOST_TEST((cpu_time_in(100ms) < 10ms));
}

BOOST_AUTO_TEST_CASE(numbers_out_of_bounds_are_refused)
{
    // The rescue of a hog would take one of the threads.
    on_scheduler s({.processors = 2, .max_threads = 4, .preempt_after = 1h});
    auto const invalid = make_error_code(boost::system::errc::invalid_argument);
    BOOST_TEST((error_of([&] { s->set_processors(0); }) == invalid));
    BOOST_TEST((error_of([&] { s->set_processors(1025); }) == invalid));
    BOOST_TEST((error_of([&] { s->set_processors(5); }) == spindle::errc::thread_limit));
    BOOST_TEST(s->processors() == 2u);
    s->set_processors(4);
    BOOST_TEST(s->processors() == 4u);
}

BOOST_AUTO_TEST_SUITE_END()
