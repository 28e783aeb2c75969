//
// sched/steal_order.cpp
// ~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE sched.steal_order
#include <spindle/detail/base/random.hpp>
#include <spindle/detail/sched/steal_order.hpp>

#include <boost/test/unit_test.hpp>

#include <cstdint>
#include <set>
#include <vector>

namespace {

using spindle::detail::random_generator;
using spindle::detail::steal_order;

std::vector<std::uint32_t> positions(steal_order const& order, std::uint32_t random)
{
    std::vector<std::uint32_t> all;
    for (auto w = order.start(random); !w.done(); w.next())
        all.push_back(w.position());
    return all;
}

} // namespace

BOOST_AUTO_TEST_SUITE(walk)

BOOST_AUTO_TEST_CASE(visits_every_processor_once)
{
    random_generator random(1);
    for (std::uint32_t n = 1; n != 70; ++n) {
        steal_order const order(n);
        for (int i = 0; i != 50; ++i) {
            auto const all = positions(order, random.next());
            BOOST_REQUIRE(all.size() == n);
            std::set<std::uint32_t> const distinct(all.begin(), all.end());
            BOOST_REQUIRE(distinct.size() == n);
            BOOST_REQUIRE(*distinct.rbegin() == n - 1);
        }
    }
}

BOOST_AUTO_TEST_CASE(is_done_at_once_without_processors)
{
    steal_order const order;
    BOOST_TEST(order.count() == 0u);
    BOOST_TEST(order.start(12345).done());
}

BOOST_AUTO_TEST_CASE(starts_everywhere_and_takes_every_stride)
{
    steal_order const order(8); // strides 1, 3, 5, 7
    random_generator random(1);
    std::set<std::vector<std::uint32_t>> orders;
    for (int i = 0; i != 2000; ++i)
        orders.insert(positions(order, random.next()));
    BOOST_TEST(orders.size() == 8u * 4u);
}

BOOST_AUTO_TEST_CASE(follows_a_change_of_the_count)
{
    steal_order order(3);
    order.reset(10);
    BOOST_TEST(positions(order, 7).size() == 10u);
    order.reset(1);
    BOOST_TEST(positions(order, 7).size() == 1u);
}

BOOST_AUTO_TEST_SUITE_END()
