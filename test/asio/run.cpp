//
// asio/run.cpp
// ~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE asio.run
#include <spindle/go.hpp>
#include <spindle/run.hpp>
#include <spindle/sync/wait_group.hpp>
#include <spindle/this_fiber.hpp>

#include <support/child.hpp>
#include <support/cpu_time.hpp>
#include <support/fixture.hpp>

#include <boost/asio/post.hpp>
#include <boost/fiber/fiber.hpp>
#include <boost/test/unit_test.hpp>

#include <atomic>
#include <stdexcept>
#include <thread>

using namespace std::chrono_literals;

BOOST_AUTO_TEST_CASE(returns_what_the_function_returns)
{
    for (auto const n : spindle_test::processor_counts) {
        BOOST_TEST(spindle::run([] { return 42; }, {.processors = n}) == 42);
        spindle::run([] {}, {.processors = n});
        auto const p = spindle::run([] { return std::make_unique<int>(7); }, {.processors = n});
        BOOST_TEST(*p == 7);
    }
    spindle_test::check_nothing_left();
}

BOOST_AUTO_TEST_CASE(throws_what_leaves_the_function)
{
    for (auto const n : spindle_test::processor_counts)
        BOOST_CHECK_THROW(
            spindle::run([] { throw std::logic_error("out"); }, {.processors = n}),
            std::logic_error);
    spindle_test::check_nothing_left();
}

BOOST_AUTO_TEST_CASE(stops_the_other_fibers_and_waits_for_them)
{
    for (auto const n : spindle_test::processor_counts) {
        std::atomic<int> ended{0};
        spindle::run(
            [&] {
                for (int i = 0; i != 20; ++i)
                    spindle::go([&] {
                        try {
                            spindle::this_fiber::sleep_for(1h);
                        } catch (spindle::system_error const& e) {
                            if (e.code() == spindle::detail::operation_aborted())
                                ++ended;
                        }
                    });
                for (int i = 0; i != 100; ++i)
                    spindle::this_fiber::yield();
            },
            {.processors = n});
        BOOST_TEST(ended == 20);
    }
    spindle_test::check_nothing_left();
}

BOOST_AUTO_TEST_CASE(the_main_fiber_is_named_and_may_take_its_stop_token)
{
    spindle::run(
        [](std::stop_token token) {
            BOOST_TEST(spindle::this_fiber::name() == "main");
            BOOST_TEST(token.stop_possible());
        },
        {.processors = 2});
}

BOOST_AUTO_TEST_CASE(one_processor_runs_on_the_calling_thread)
{
    auto const caller = std::this_thread::get_id();
    spindle::run(
        [&] { BOOST_TEST((std::this_thread::get_id() == caller)); }, {.processors = 1});
}

BOOST_AUTO_TEST_CASE(boost_fiber_works_on_the_thread_afterwards)
{
    spindle::run([] {}, {.processors = 2});
    int ran = 0;
    boost::fibers::fiber([&] { ++ran; }).join();
    BOOST_TEST(ran == 1);
    spindle::run([] {}, {.processors = 1});
    boost::fibers::fiber([&] { ++ran; }).join();
    BOOST_TEST(ran == 2);
}

BOOST_AUTO_TEST_CASE(is_refused_in_a_fiber_of_either_kind)
{
    auto const refused = [](auto const& e) { return e.code() == spindle::errc::not_in_fiber; };
    spindle::run([&] {
        BOOST_CHECK_EXCEPTION(spindle::run([] {}), spindle::system_error, refused);
    });
    std::thread([&] {
        boost::fibers::fiber([&] {
            BOOST_CHECK_EXCEPTION(spindle::run([] {}), spindle::system_error, refused);
        }).join();
    }).join();
}

BOOST_AUTO_TEST_CASE(a_function_that_cannot_be_copied_in_leaves_nothing_behind)
{
    struct bad {
        bad() = default;
        bad(bad const&) { throw std::bad_alloc(); }
        void operator()() {}
    };
    for (auto const n : spindle_test::processor_counts) {
        bad const b;
        BOOST_CHECK_THROW(spindle::run(b, {.processors = n}), std::bad_alloc);
    }
    spindle_test::check_nothing_left();
}

// The grace is for fibers, and there are none.
BOOST_AUTO_TEST_CASE(a_handler_may_outlast_the_grace)
{
    for (auto const preempt_after : {1h + 0ms, 1ms}) { // its processor stays, or goes
        std::chrono::nanoseconds used{};
        spindle::run(
            [&] {
                boost::asio::post(spindle::this_fiber::get_executor(), [&] {
                    used = spindle_test::cpu_time_during(100ms);
                });
            },
            {.processors = 1, .preempt_after = preempt_after, .shutdown_grace = 10ms});
        BOOST_TEST((used < 50ms));
    }
    spindle_test::check_nothing_left();
}

// One processor's loop has ended, the other one's waits for that handler.
BOOST_AUTO_TEST_CASE(a_handler_at_the_end_costs_nothing)
{
    std::chrono::nanoseconds used{};
    spindle::run(
        [&] {
            auto& s = spindle::this_fiber::get_scheduler();
            (void)s.next_executor();
            auto const second = s.next_executor();
            spindle::this_fiber::sleep_for(2ms); // that one sleeps
            std::atomic<bool> begun{false};
            boost::asio::post(second, [&] {
                begun = true;
                std::this_thread::sleep_for(20ms); // more than the monitor's last looks
                used = spindle_test::cpu_time_during(100ms);
            });
            while (!begun)
                spindle::this_fiber::yield();
        },
        {.processors = 2, .preempt_after = 1ms});
    BOOST_TEST((used < 50ms));
    spindle_test::check_nothing_left();
}

#if !defined(SPINDLE_TEST_SANITIZED) // the child starts threads
BOOST_AUTO_TEST_CASE(a_fiber_that_does_not_leave_is_named_when_the_grace_is_over)
{
    auto const end = spindle_test::in_child([] {
        spindle::run(
            [] {
                spindle::go({.name = "stubborn"}, [] {
                    spindle::wait_group never(1);
                    never.wait();
                });
                spindle::this_fiber::yield();
            },
            {.processors = 2, .shutdown_grace = 50ms});
    });
    BOOST_TEST(end.by_signal(SIGABRT), end.text);
    BOOST_TEST(end.says("\"stubborn\""), end.text);
    BOOST_TEST(end.says("wait_group"), end.text);
}
#endif
