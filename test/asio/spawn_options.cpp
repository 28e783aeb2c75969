//
// asio/spawn_options.cpp
// ~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE asio.spawn_options
#include <spindle/go.hpp>
#include <spindle/spawn_options.hpp>
#include <spindle/sync/wait_group.hpp>
#include <spindle/this_fiber.hpp>

#include <support/fixture.hpp>

#include <boost/test/unit_test.hpp>

#include <cstring>

BOOST_AUTO_TEST_CASE(a_name_is_the_fibers_own_and_the_next_life_has_none)
{
    spindle_test::over_processors([] {
        for (int i = 0; i != 3; ++i) {
            spindle::spawn({.name = "reader"}, [] {
                BOOST_TEST(spindle::this_fiber::name() == "reader");
            }).join();
            spindle::spawn([] { BOOST_TEST(spindle::this_fiber::name().empty()); }).join();
        }
    });
}

BOOST_AUTO_TEST_CASE(a_stack_size_is_there_to_use)
{
    spindle_test::over_processors([] {
        for (std::size_t const size : {16u << 10, 64u << 10, 1u << 20, 32u << 20})
            spindle::spawn({.stack_size = size}, [size] {
                // All but what the context and this frame take.
                auto const bytes = size - (8u << 10);
                auto* const p = static_cast<char*>(__builtin_alloca(bytes));
                std::memset(p, 1, bytes);
                BOOST_TEST(p[bytes / 2] == 1);
            }).join();
    });
}

BOOST_AUTO_TEST_CASE(a_stack_size_out_of_bounds_is_refused_and_nothing_starts)
{
    spindle_test::over_processors([] {
        for (std::size_t const size : {std::size_t{1}, std::size_t{16383}, (std::size_t{1} << 30) + 1}) {
            bool ran = false;
            BOOST_CHECK_EXCEPTION(
                spindle::go({.stack_size = size}, [&] { ran = true; }), spindle::system_error,
                [](auto const& e) { return e.code() == boost::system::errc::invalid_argument; });
            spindle::this_fiber::yield();
            BOOST_TEST(!ran);
        }
    });
}
