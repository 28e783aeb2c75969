//
// time/ticker.cpp
// ~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE time.ticker
#include <spindle/chan/select.hpp>
#include <spindle/sync/wait_group.hpp>
#include <spindle/this_fiber.hpp>
#include <spindle/time/ticker.hpp>

#include <support/asio_fixture.hpp>
#include <support/fixture.hpp>

#include <boost/asio/use_future.hpp>
#include <boost/test/unit_test.hpp>

#include <chrono>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using spindle_test::error_of;
using spindle_test::over_processors;
using clock_type = std::chrono::steady_clock;

BOOST_AUTO_TEST_CASE(after_brings_the_time_once)
{
    over_processors([] {
        auto const start = clock_type::now();
        auto const ch = spindle::after(5ms);
        auto const at = ch.receive();
        BOOST_REQUIRE(at.has_value());
        BOOST_TEST((*at - start >= 5ms));
        spindle::error_code ec;
        BOOST_TEST(!ch.try_receive(ec));
        BOOST_TEST(ec == boost::asio::error::would_block);
        BOOST_TEST(!ch.is_closed());
    });
}

BOOST_AUTO_TEST_CASE(what_nobody_takes_waits_in_the_channel)
{
    auto const ch = spindle::after(1ms);
    BOOST_TEST(spindle_test::eventually([&] { return ch.size() == 1; }));
    BOOST_TEST(ch.receive().has_value());
}

BOOST_AUTO_TEST_CASE(a_time_that_has_passed_comes_at_once)
{
    BOOST_TEST(spindle::after(0ms).receive().has_value());
    BOOST_TEST(spindle::after(-1h).receive().has_value());
}

BOOST_AUTO_TEST_CASE(never_is_never)
{
    auto const ch = spindle::after(std::chrono::hours::max());
    spindle::error_code ec;
    BOOST_TEST(!ch.receive_for(2ms, ec));
    BOOST_TEST(ec == boost::asio::error::timed_out);
}

BOOST_AUTO_TEST_CASE(ticks_are_in_step_with_the_first)
{
    over_processors([] {
        auto const start = clock_type::now();
        auto const ticks = spindle::ticker(2ms);
        for (int i = 1; i <= 5; ++i) {
            auto const at = ticks.receive();
            BOOST_REQUIRE(at.has_value());
            BOOST_TEST((*at - start >= i * 2ms));
        }
    });
}

BOOST_AUTO_TEST_CASE(a_late_ticker_drops_ticks)
{
    auto const ticks = spindle::ticker(1ms);
    BOOST_TEST(spindle_test::eventually([&] { return ticks.size() == 1; }));
    auto const start = clock_type::now();
    while (clock_type::now() - start < 20ms)
        std::this_thread::yield();
    BOOST_TEST(ticks.size() == 1u);
    BOOST_TEST((*ticks.receive() <= start + 20ms)); // the oldest was kept
    // The next is in time, and not one of those that were missed.
    auto const next = *ticks.receive();
    BOOST_TEST((next - start >= 20ms));
}

BOOST_AUTO_TEST_CASE(a_ticker_that_cannot_tick_is_refused)
{
    BOOST_TEST(
        error_of([] { (void)spindle::ticker(0ms); }) == boost::system::errc::invalid_argument);
    BOOST_TEST(
        error_of([] { (void)spindle::ticker(-1ms); }) == boost::system::errc::invalid_argument);
}

BOOST_AUTO_TEST_CASE(dropping_the_last_handle_stops_it_at_any_moment)
{
    for (int i = 0; i != 2000; ++i) {
        auto const ticks = spindle::ticker(10us);
        auto const once = spindle::after(std::chrono::microseconds(i % 50));
        if (i % 3 == 0)
            (void)ticks.receive();
    }
    // ASan: nothing is leaked, and nothing is used that is gone.
}

BOOST_AUTO_TEST_CASE(copies_and_views_keep_it)
{
    auto a = spindle::ticker(1ms);
    auto b = a;
    a = {};
    BOOST_TEST(b.receive().has_value());
}

BOOST_AUTO_TEST_CASE(selects_and_asynchronous_receivers_take_ticks)
{
    over_processors([] {
        auto const ticks = spindle::ticker(1ms);
        auto const end = spindle::after(10ms);
        int n = 0;
        while (spindle::select(spindle::on_receive(ticks), spindle::on_receive(end)) == 0)
            ++n;
        BOOST_TEST(n > 0);
        BOOST_TEST(n <= 11);
    });
    auto const once = spindle::after(1ms);
    BOOST_TEST(once.async_receive(boost::asio::use_future).get().has_value());
}

BOOST_AUTO_TEST_CASE(many_fibers_each_with_a_deadline_of_its_own)
{
    over_processors([] {
        spindle::channel<int> never;
        spindle::wait_group group;
        spindle_test::tally late;
        for (int i = 0; i != 200; ++i)
            group.go([&, i] {
                auto const end = spindle::after(std::chrono::milliseconds(i % 10));
                late.check(
                    spindle::select(spindle::on_receive(never), spindle::on_receive(end)) == 1);
            });
        group.wait();
        BOOST_TEST(late.good() == 200u);
    });
}
