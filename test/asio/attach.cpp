//
// asio/attach.cpp
// ~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE asio.attach
#include <spindle/attach.hpp>
#include <spindle/go.hpp>
#include <spindle/scheduler.hpp>
#include <spindle/spawn.hpp>

#include <support/asio_fixture.hpp>

#include <boost/asio/detached.hpp>
#include <boost/asio/strand.hpp>
#include <boost/test/unit_test.hpp>

#include <cstddef>
#include <stdexcept>
#include <string>

using namespace spindle_test;

BOOST_AUTO_TEST_SUITE(attach)

BOOST_AUTO_TEST_CASE(its_options_are_those_of_the_fibers)
{
    std::string heard;
    {
        asio::io_context ioc;
        spindle::attach(
            ioc, {.stack_size = 4 << 20,
                  .unhandled_exception = [&](std::exception_ptr, spindle::fiber_info const& info) {
                      heard = info.name;
                  }});
        bool deep = false;
        spindle::spawn(
            ioc,
            [&] {
                char volatile big[3 << 20];
                for (std::size_t i = 0; i < sizeof big; i += 4096)
                    big[i] = 1;
                deep = big[4096] == 1;
                spindle::go({.name = "loud"}, [] { throw std::runtime_error("x"); });
            },
            asio::detached);
        ioc.run();
        BOOST_TEST(deep);
    }
    BOOST_TEST(heard == "\"loud\"");
    check_nothing_left();
}

BOOST_AUTO_TEST_CASE(once_and_before_the_first_spawn)
{
    auto const bad = make_error_code(boost::system::errc::invalid_argument);
    asio::io_context twice, late, late_bound, wrong;
    spindle::attach(twice, {});
    BOOST_TEST((error_of([&] { spindle::attach(twice, {}); }) == bad));
    spindle::spawn(late, [] {}, asio::detached);
    BOOST_TEST((error_of([&] { spindle::attach(late, {}); }) == bad));
    spindle::spawn(asio::make_strand(late_bound), [] {}, asio::detached);
    BOOST_TEST((error_of([&] { spindle::attach(late_bound, {}); }) == bad));
    BOOST_TEST((error_of([&] { spindle::attach(wrong, {.stack_size = 1}); }) == bad));
    spindle::attach(wrong, {}); // the refused one has left nothing behind
    late.run();
    late_bound.run();

    spindle::scheduler sched({.processors = 1});
    auto& own = static_cast<asio::io_context&>(sched.get_executor().context());
    BOOST_TEST((error_of([&] { spindle::attach(own, {}); }) == bad));
}

BOOST_AUTO_TEST_SUITE_END()
