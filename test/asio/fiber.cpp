//
// asio/fiber.cpp
// ~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE asio.fiber
#include <spindle/fiber.hpp>
#include <spindle/spawn.hpp>
#include <spindle/this_fiber.hpp>

#include <support/child.hpp>
#include <support/fixture.hpp>

#include <boost/test/unit_test.hpp>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <thread>

using namespace std::chrono_literals;
using spindle_test::over_processors;

namespace {

bool aborted(spindle::system_error const& e)
{
    return e.code() == spindle::detail::operation_aborted();
}

} // namespace

BOOST_AUTO_TEST_CASE(join_gives_the_result_or_the_exception)
{
    over_processors([] {
        auto value = spindle::spawn([] { return std::make_unique<int>(5); });
        BOOST_TEST(*value.join() == 5);
        auto nothing = spindle::spawn([] {});
        nothing.join();
        auto bad = spindle::spawn([]() -> int { throw std::out_of_range("far"); });
        BOOST_CHECK_THROW(bad.join(), std::out_of_range);
    });
}

BOOST_AUTO_TEST_CASE(join_waits_for_a_fiber_that_runs)
{
    over_processors([] {
        for (int i = 0; i != 200; ++i) {
            auto f = spindle::spawn([i] {
                for (int k = 0; k != i % 7; ++k)
                    spindle::this_fiber::yield();
                return i;
            });
            BOOST_TEST(f.join() == i);
        }
    });
}

BOOST_AUTO_TEST_CASE(join_works_once_and_says_so)
{
    over_processors([] {
        spindle::fiber<> none;
        BOOST_TEST(!none.joinable());
        BOOST_CHECK_EXCEPTION(none.join(), spindle::system_error, [](auto const& e) {
            return e.code() == boost::system::errc::invalid_argument;
        });
        auto f = spindle::spawn([] {});
        BOOST_TEST(f.joinable());
        f.join();
        BOOST_TEST(!f.joinable());
        BOOST_CHECK_THROW(f.join(), spindle::system_error);
    });
}

BOOST_AUTO_TEST_CASE(the_destructor_stops_and_waits)
{
    over_processors([] {
        std::atomic<bool> stopped{false};
        {
            auto const f = spindle::spawn([&] {
                try {
                    spindle::this_fiber::sleep_for(1h);
                } catch (spindle::system_error const& e) {
                    stopped = aborted(e);
                    throw;
                }
            });
            spindle::this_fiber::yield();
        }
        BOOST_TEST(stopped);
    });
}

BOOST_AUTO_TEST_CASE(assignment_stops_and_waits_for_what_was_there)
{
    over_processors([] {
        std::atomic<bool> ended{false};
        auto f = spindle::spawn([&] {
            while (!spindle::this_fiber::stop_requested())
                spindle::this_fiber::yield();
            ended = true;
        });
        f = spindle::spawn([] {});
        BOOST_TEST(ended);
        f.join();
    });
}

BOOST_AUTO_TEST_CASE(a_detached_fiber_goes_on)
{
    over_processors([] {
        std::atomic<bool> ended{false};
        {
            auto f = spindle::spawn([&] {
                spindle::this_fiber::sleep_for(1ms);
                ended = true;
            });
            f.detach();
            BOOST_TEST(!f.joinable());
        }
        while (!ended)
            spindle::this_fiber::sleep_for(1ms);
    });
}

BOOST_AUTO_TEST_CASE(a_stop_of_the_one_that_joins_leaves_the_child_running_and_joinable)
{
    over_processors([] {
        std::atomic<bool> go_on{false};
        auto child = spindle::spawn([&] {
            while (!go_on)
                spindle::this_fiber::yield();
            return 3;
        });
        auto parent = spindle::spawn([&] { child.join(); });
        for (int i = 0; i != 10; ++i)
            spindle::this_fiber::yield();
        parent.request_stop();
        BOOST_CHECK_EXCEPTION(parent.join(), spindle::system_error, aborted);
        BOOST_TEST(child.joinable());
        go_on = true;
        BOOST_TEST(child.join() == 3);
    });
}

BOOST_AUTO_TEST_CASE(a_stop_before_the_fiber_begins_is_not_lost)
{
    over_processors([] {
        for (int i = 0; i != 100; ++i) {
            auto f = spindle::spawn([] { spindle::this_fiber::sleep_for(1h); });
            f.request_stop();
            BOOST_CHECK_EXCEPTION(f.join(), spindle::system_error, aborted);
        }
    });
}

BOOST_AUTO_TEST_CASE(a_plain_thread_may_join)
{
    spindle_test::on_scheduler s(2);
    auto f = s.run([] { return spindle::spawn([] { return 9; }); });
    BOOST_TEST(f.join() == 9);
}

BOOST_AUTO_TEST_CASE(a_stopped_fiber_that_nobody_joined_is_no_failure)
{
    std::atomic<int> unhandled{0};
    spindle_test::on_scheduler s(spindle::scheduler_options{
        .processors = 2,
        .unhandled_exception
        = [&](std::exception_ptr, spindle::fiber_info const&) { ++unhandled; }});
    s.run([] {
        auto const f = spindle::spawn([] { spindle::this_fiber::sleep_for(1h); });
        spindle::this_fiber::yield();
    });
    BOOST_TEST(unhandled == 0);
    s.run([] {
        auto const f = spindle::spawn([] { throw std::runtime_error("lost"); });
        spindle::this_fiber::yield();
    });
    BOOST_TEST(unhandled == 1);
}
