//
// cancel/within.cpp
// ~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE cancel.within
#include <spindle/cancel/within.hpp>

#include <spindle/cancel/shielded.hpp>
#include <spindle/spawn.hpp>
#include <spindle/this_fiber.hpp>

#include <support/asio_fixture.hpp>

#include <boost/asio/error.hpp>
#include <boost/test/unit_test.hpp>

#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>

using namespace spindle_test;
using namespace std::chrono_literals;
namespace this_fiber = spindle::this_fiber;

namespace {

error_code const late = asio::error::timed_out;

void sleep_for_ever() { this_fiber::sleep_for(1h); }

} // namespace

BOOST_AUTO_TEST_CASE(what_is_in_time_returns)
{
    over_processors([] {
        BOOST_TEST(spindle::within(1h, [] { return 7; }) == 7);
        BOOST_TEST(*spindle::within(1h, [] { return std::make_unique<int>(7); }) == 7);
        int x = 0;
        int& same = spindle::within(1h, [&]() -> int& { return x; });
        BOOST_TEST(&same == &x);
        spindle::within(1h, [] { this_fiber::sleep_for(10us); });
        error_code ec = aborted;
        BOOST_TEST(spindle::within(1h, [] { return 7; }, ec) == 7);
        BOOST_TEST(!ec);
    });
}

BOOST_AUTO_TEST_CASE(what_is_late_times_out)
{
    over_processors([] {
        BOOST_TEST(error_of([] { spindle::within(1ms, sleep_for_ever); }) == late);
        auto const when = std::chrono::steady_clock::now() + 1ms;
        BOOST_TEST(error_of([&] { spindle::within(when, sleep_for_ever); }) == late);
        BOOST_TEST(error_of([] { spindle::within(0s, sleep_for_ever); }) == late);
        error_code ec;
        spindle::within(1ms, sleep_for_ever, ec);
        BOOST_TEST(ec == late);
        auto const s = spindle::within(
            when,
            [] {
                sleep_for_ever();
                return std::string("x");
            },
            ec);
        BOOST_TEST(s.empty());
        BOOST_TEST(ec == late);
        BOOST_CHECK_NO_THROW(this_fiber::sleep_for(10us)); // it is over
    });
}

BOOST_AUTO_TEST_CASE(what_returns_late_stands)
{
    over_processors([] {
        auto const n = spindle::within(1ms, [] {
            BOOST_TEST(error_of(sleep_for_ever) == aborted);
            return 7;
        });
        BOOST_TEST(n == 7);
    });
}

BOOST_AUTO_TEST_CASE(other_exceptions_pass)
{
    over_processors([] {
        BOOST_CHECK_THROW(
            spindle::within(0s, [] { throw std::runtime_error("x"); }), std::runtime_error);
        error_code ec;
        BOOST_CHECK_THROW(
            spindle::within(0s, [] { throw std::runtime_error("x"); }, ec), std::runtime_error);
        BOOST_TEST(
            error_of([] {
                spindle::within(0s, [] { throw system_error(error_code(asio::error::eof)); });
            })
            == error_code(asio::error::eof));
        BOOST_TEST(
            error_of([] {
                spindle::within(1h, [] { throw system_error(aborted); });
            })
            == aborted);
    });
}

BOOST_AUTO_TEST_CASE(only_the_one_whose_time_is_up_says_so)
{
    over_processors([] {
        error_code inside;
        BOOST_TEST(
            error_of([&] {
                spindle::within(1ms, [&] {
                    inside = error_of([] { spindle::within(1h, sleep_for_ever); });
                    throw system_error(inside);
                });
            })
            == late);
        BOOST_TEST(inside == aborted);
        BOOST_TEST(
            error_of([] {
                spindle::within(1h, [] { spindle::within(1ms, sleep_for_ever); });
            })
            == late);
    });
}

BOOST_AUTO_TEST_CASE(a_stop_is_no_timeout)
{
    over_processors([] {
        auto child = spindle::spawn([] { spindle::within(1h, sleep_for_ever); });
        this_fiber::yield();
        child.request_stop();
        BOOST_TEST(error_of([&] { child.join(); }) == aborted);
    });
}

BOOST_AUTO_TEST_CASE(children_are_limited_too)
{
    over_processors([] {
        BOOST_TEST(
            error_of([] {
                spindle::within(1ms, [] {
                    auto child = spindle::spawn(sleep_for_ever);
                    spindle::shielded([&] { child.join(); });
                });
            })
            == late);
    });
}

BOOST_AUTO_TEST_CASE(is_for_fibers)
{
    BOOST_TEST(
        error_of([] { spindle::within(1h, [] {}); })
        == make_error_code(spindle::errc::not_in_fiber));
}
