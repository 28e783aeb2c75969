//
// asio/this_fiber.cpp
// ~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE asio.this_fiber
#include <spindle/go.hpp>
#include <spindle/spawn.hpp>
#include <spindle/sync/wait_group.hpp>
#include <spindle/this_fiber.hpp>

#include <support/asio_fixture.hpp>

#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <boost/test/unit_test.hpp>

#include <atomic>
#include <chrono>
#include <set>
#include <stop_token>
#include <string>

using namespace spindle_test;
using namespace std::chrono_literals;
namespace this_fiber = spindle::this_fiber;
using std::chrono::steady_clock;

BOOST_AUTO_TEST_SUITE(this_fiber_)

BOOST_AUTO_TEST_CASE(on_a_plain_thread_only_waiting_works)
{
    auto const not_here = make_error_code(spindle::errc::not_in_fiber);
    BOOST_TEST(!this_fiber::is_fiber());
    this_fiber::yield();
    auto const begin = steady_clock::now();
    this_fiber::sleep_for(1ms);
    BOOST_TEST((steady_clock::now() - begin >= 1ms));
    BOOST_TEST((error_of([] { (void)this_fiber::get_id(); }) == not_here));
    BOOST_TEST((error_of([] { (void)this_fiber::name(); }) == not_here));
    BOOST_TEST((error_of([] { (void)this_fiber::get_executor(); }) == not_here));
    BOOST_TEST((error_of([] { (void)this_fiber::get_scheduler(); }) == not_here));
    BOOST_TEST((error_of([] { (void)this_fiber::get_stop_token(); }) == not_here));
    BOOST_TEST((error_of([] { (void)this_fiber::stop_requested(); }) == not_here));
}

BOOST_AUTO_TEST_CASE(in_a_handler_nothing_waits)
{
    asio::io_context ioc;
    auto const not_here = make_error_code(spindle::errc::not_in_fiber);
    asio::post(ioc, [&] {
        BOOST_TEST(!this_fiber::is_fiber());
        BOOST_TEST((error_of([] { this_fiber::yield(); }) == not_here));
        BOOST_TEST((error_of([] { this_fiber::sleep_for(1ms); }) == not_here));
    });
    ioc.run();
}

BOOST_AUTO_TEST_CASE(ids_are_never_used_twice)
{
    on_scheduler s(1u);
    s.run([] {
        std::set<this_fiber::id> ids{this_fiber::get_id()};
        for (int i = 0; i != 500; ++i)
            ids.insert(spindle::spawn([] { return this_fiber::get_id(); }).join());
        BOOST_TEST(ids.size() == 501u);
    });
}

BOOST_AUTO_TEST_CASE(a_fiber_knows_where_it_is)
{
    over_processors([](spindle::scheduler& sched) {
        tally t;
        spindle::wait_group group;
        for (int i = 0; i != 20; ++i)
            group.go([&] {
                t.check(this_fiber::is_fiber());
                t.check(&this_fiber::get_scheduler() == &sched);
                t.check(!this_fiber::stop_requested());
                t.check(this_fiber::name().empty());
                this_fiber::sleep_for(100us);
                this_fiber::yield();
                t.check(&this_fiber::get_scheduler() == &sched);
            });
        group.wait();
        BOOST_TEST(t.bad() == 0u);
    });
    asio::io_context ioc;
    spindle::spawn(
        ioc,
        [] {
            BOOST_TEST(
                (error_of([] { (void)this_fiber::get_scheduler(); })
                 == spindle::errc::not_in_fiber));
        },
        asio::detached);
    ioc.run();
}

BOOST_AUTO_TEST_CASE(a_stop_is_seen_and_calls_back)
{
    on_scheduler s(2u);
    s.run([] {
        std::atomic<int> called{0};
        auto child = spindle::spawn([&] {
            std::stop_callback const callback(
                this_fiber::get_stop_token(), [&] { called = 1; });
            BOOST_TEST((error_of([] { this_fiber::sleep_for(1h); }) == aborted));
            BOOST_TEST(this_fiber::stop_requested());
            while (called == 0)
                this_fiber::yield(); // no cancellation point
        });
        this_fiber::sleep_for(1ms);
        child.request_stop();
        child.join();
        BOOST_TEST(called == 1);
    });
}

// --- sleeping ---------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_sleep_is_never_too_short_and_ends)
{
    over_processors([] {
        tally t;
        spindle::wait_group group;
        auto const begin = steady_clock::now();
        for (unsigned i = 0; i != scaled(2'000); ++i)
            group.go([&, i] {
                auto const d = std::chrono::microseconds(i * 7919 % 10'000);
                auto const until = steady_clock::now() + d;
                this_fiber::sleep_for(d);
                t.check(steady_clock::now() >= until);
            });
        group.wait();
        BOOST_TEST(t.bad() == 0u);
        BOOST_TEST((steady_clock::now() - begin < 10s));
    });
}

BOOST_AUTO_TEST_CASE(sleepers_wake_beside_fibers_that_never_wait)
{
    over_processors([](spindle::scheduler& sched) {
        std::atomic<bool> done{false};
        spindle::wait_group group;
        for (unsigned i = 0; i != 2 * sched.processors(); ++i)
            group.go([&] {
                while (!done)
                    this_fiber::yield();
            });
        for (int i = 0; i != 20; ++i)
            this_fiber::sleep_for(500us);
        done = true;
        group.wait();
    });
}

BOOST_AUTO_TEST_CASE(odd_times_are_taken_as_they_are_meant)
{
    on_scheduler s(1u);
    s.run([] {
        this_fiber::sleep_for(-1h);
        this_fiber::sleep_for(0ns);
        this_fiber::sleep_until(steady_clock::time_point::min());
        this_fiber::sleep_for(std::chrono::duration<double, std::nano>(0.5));
        for (auto const longest : {true, false}) {
            auto child = spindle::spawn([&] {
                if (longest)
                    this_fiber::sleep_until(steady_clock::time_point::max());
                else
                    this_fiber::sleep_for(std::chrono::hours::max());
            });
            this_fiber::sleep_for(100us);
            child.request_stop();
            BOOST_TEST((error_of([&] { child.join(); }) == aborted));
        }
    });
}

BOOST_AUTO_TEST_SUITE_END()
