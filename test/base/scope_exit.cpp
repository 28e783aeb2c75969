//
// base/scope_exit.cpp
// ~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE base.scope_exit
#include <spindle/detail/base/scope_exit.hpp>

#include <boost/test/unit_test.hpp>

#include <memory>
#include <stdexcept>
#include <utility>

namespace {

using spindle::detail::scope_exit;

} // namespace

BOOST_AUTO_TEST_SUITE(leaving)

BOOST_AUTO_TEST_CASE(calls_the_function_at_the_end_of_the_scope)
{
    int calls = 0;
    {
        scope_exit guard([&] { ++calls; });
        BOOST_TEST(calls == 0);
    }
    BOOST_TEST(calls == 1);
}

BOOST_AUTO_TEST_CASE(calls_the_function_when_an_exception_passes)
{
    int calls = 0;
    try {
        scope_exit guard([&] { ++calls; });
        throw std::runtime_error("out");
    } catch (std::runtime_error const&) {
    }
    BOOST_TEST(calls == 1);
}

BOOST_AUTO_TEST_CASE(calls_nothing_once_released)
{
    int calls = 0;
    {
        scope_exit guard([&] { ++calls; });
        guard.release();
    }
    BOOST_TEST(calls == 0);
}

BOOST_AUTO_TEST_CASE(takes_a_function_that_only_moves)
{
    int result = 0;
    {
        scope_exit guard([&, p = std::make_unique<int>(3)] { result = *p; });
    }
    BOOST_TEST(result == 3);
}

BOOST_AUTO_TEST_SUITE_END()
