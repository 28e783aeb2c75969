//
// cancel/allocations.cpp
// ~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE cancel.allocations
#include <spindle/cancel/cancel_scope.hpp>
#include <spindle/cancel/shielded.hpp>
#include <spindle/cancel/within.hpp>
#include <spindle/go.hpp>
#include <spindle/sync/wait_group.hpp>
#include <spindle/this_fiber.hpp>

#include <support/allocations.hpp>
#include <support/fixture.hpp>

#include <boost/test/unit_test.hpp>

#include <chrono>
#include <cstddef>

// What a scope costs, and that a fiber without one pays nothing for them.

namespace {

using spindle_test::allocations;
using namespace std::chrono_literals;

constexpr std::size_t rounds = 100;

// Of `rounds` calls, once a hundred have been made.
template <class Function>
std::size_t allocations_of(Function fn)
{
    std::size_t made = 0;
    spindle_test::on_scheduler s(spindle_test::without_rescue(1));
    s.run([&] {
        for (std::size_t i = 0; i != rounds; ++i)
            fn();
        auto const before = allocations.load();
        for (std::size_t i = 0; i != rounds; ++i)
            fn();
        made = allocations.load() - before;
    });
    return made;
}

constexpr std::size_t one_each = spindle_test::sanitized ? 0 : rounds;

} // namespace

BOOST_AUTO_TEST_CASE(a_fiber_without_scopes_allocates_nothing)
{
    BOOST_TEST(
        allocations_of([] {
            spindle::wait_group group;
            group.go([] { spindle::this_fiber::yield(); });
            group.wait();
        })
        == 0u);
}

BOOST_AUTO_TEST_CASE(neither_does_one_that_is_started_in_a_scope)
{
    std::size_t made = 1;
    spindle_test::on_scheduler s(spindle_test::without_rescue(1));
    s.run([&] {
        spindle::cancel_scope scope;
        static constexpr spindle::key<int> k;
        scope.set(k, 1);
        auto const start = [] {
            spindle::wait_group group;
            group.go([] { (void)spindle::this_fiber::value(k); });
            group.wait();
        };
        for (std::size_t i = 0; i != rounds; ++i)
            start();
        auto const before = allocations.load();
        for (std::size_t i = 0; i != rounds; ++i)
            start();
        made = allocations.load() - before;
    });
    BOOST_TEST(made == 0u);
}

BOOST_AUTO_TEST_CASE(a_scope_is_one_allocation)
{
    BOOST_TEST(allocations_of([] { spindle::cancel_scope const scope; }) == one_each);
    BOOST_TEST(allocations_of([] { spindle::cancel_scope const scope(1h); }) == one_each);
    BOOST_TEST(allocations_of([] { spindle::within(1h, [] {}); }) == one_each);
    BOOST_TEST(allocations_of([] { spindle::shielded([] {}); }) == one_each);
}
