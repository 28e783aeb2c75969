//
// testing/everything_in_fibers.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// A program as it was, and the line. Boost.Process' own tests: test/process_suite.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE testing.everything_in_fibers
#include <spindle/testing/everything_in_fibers.hpp>
#include <spindle/this_fiber.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/test/unit_test.hpp>

#include <chrono>
#include <set>

namespace {

std::multiset<unsigned> ran;

} // namespace

BOOST_AUTO_TEST_CASE(a_case_that_runs_an_io_context)
{
    boost::asio::io_context ioc;
    auto fired = false;
    boost::asio::steady_timer timer(ioc, std::chrono::milliseconds(1));
    timer.async_wait([&](boost::system::error_code ec) { fired = !ec; });
    ioc.run();
    BOOST_TEST(fired);
    BOOST_TEST(spindle::this_fiber::is_fiber());
    ran.insert(spindle::this_fiber::get_scheduler().processors());
}

BOOST_AUTO_TEST_SUITE(a_suite)

BOOST_AUTO_TEST_CASE(a_later_one)
{
    BOOST_TEST(spindle::this_fiber::is_fiber());
    BOOST_TEST((ran == std::multiset<unsigned>{1, 2, 4, 8}));
}

BOOST_AUTO_TEST_SUITE_END()
