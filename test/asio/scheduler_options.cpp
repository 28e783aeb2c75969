//
// asio/scheduler_options.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE asio.scheduler_options
#include <spindle/run.hpp>
#include <spindle/scheduler.hpp>
#include <spindle/scheduler_options.hpp>

#include <support/asio_fixture.hpp>

#include <boost/test/unit_test.hpp>

#include <chrono>
#include <cstddef>
#include <cstdlib>

using namespace spindle_test;
using spindle::scheduler_options;

BOOST_AUTO_TEST_SUITE(scheduler_options_)

BOOST_AUTO_TEST_CASE(what_is_out_of_bounds_is_refused)
{
    auto const bad = make_error_code(boost::system::errc::invalid_argument);
    for (auto const& o :
         {scheduler_options{.processors = 1025}, scheduler_options{.stack_size = 16 * 1024 - 1},
          scheduler_options{.stack_size = (std::size_t{1} << 30) + 1},
          scheduler_options{.shutdown_grace = std::chrono::seconds(-1)}})
        BOOST_TEST((error_of([&] { spindle::scheduler const s(o); }) == bad));
    check_nothing_left();
}

BOOST_AUTO_TEST_CASE(zero_processors_are_those_of_the_environment_or_of_the_machine)
{
    ::unsetenv("SPINDLE_PROCESSORS");
    BOOST_TEST(spindle::scheduler().processors() >= 1u);
    ::setenv("SPINDLE_PROCESSORS", "3", 1);
    BOOST_TEST(spindle::scheduler().processors() == 3u);
    BOOST_TEST(spindle::scheduler({.processors = 2}).processors() == 2u);
    for (auto const* const text : {"0", "-1", "x", "3x", "1025", "99999999999999999999", " 2"}) {
        ::setenv("SPINDLE_PROCESSORS", text, 1);
        BOOST_TEST_CONTEXT(text)
        BOOST_TEST(
            (error_of([] { spindle::scheduler const s; })
             == make_error_code(boost::system::errc::invalid_argument)));
    }
    ::setenv("SPINDLE_PROCESSORS", "", 1);
    BOOST_TEST(spindle::scheduler().processors() >= 1u);
    ::unsetenv("SPINDLE_PROCESSORS");
}

BOOST_AUTO_TEST_CASE(the_stack_size_is_every_fibers)
{
    auto const deep = spindle::run(
        [] {
            char volatile big[3 << 20];
            for (std::size_t i = 0; i < sizeof big; i += 4096)
                big[i] = 1;
            return big[4096] == 1;
        },
        {.processors = 1, .stack_size = 4 << 20});
    BOOST_TEST(deep);
}

BOOST_AUTO_TEST_SUITE_END()
