//
// base/random.cpp
// ~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE base.random
#include <spindle/detail/base/random.hpp>

#include <boost/test/unit_test.hpp>

#include <array>
#include <cstdint>
#include <vector>

namespace {

using spindle::detail::random_generator;

} // namespace

BOOST_AUTO_TEST_SUITE(generator)

BOOST_AUTO_TEST_CASE(equal_seeds_give_equal_sequences)
{
    random_generator a(7), b(7);
    for (int i = 0; i != 1000; ++i)
        BOOST_REQUIRE(a.next() == b.next());
}

BOOST_AUTO_TEST_CASE(neighbouring_seeds_part_at_once)
{
    random_generator a(7), b(8);
    int equal = 0;
    for (int i = 0; i != 1000; ++i)
        equal += a.next() == b.next();
    BOOST_TEST(equal == 0);
}

BOOST_AUTO_TEST_CASE(below_stays_below_and_meets_every_number)
{
    random_generator r(1);
    for (std::uint32_t n = 1; n != 20; ++n) {
        std::vector<int> met(n);
        for (int i = 0; i != 1000; ++i) {
            auto const k = r.below(n);
            BOOST_REQUIRE(k < n);
            ++met[k];
        }
        for (auto m : met)
            BOOST_TEST(m != 0);
    }
}

BOOST_AUTO_TEST_CASE(below_nothing_is_nothing)
{
    random_generator r(1);
    BOOST_TEST(r.below(0) == 0u);
}

BOOST_AUTO_TEST_CASE(every_bit_is_set_half_of_the_time)
{
    random_generator r(3);
    std::array<int, 32> set{};
    for (int i = 0; i != 10000; ++i) {
        auto const x = r.next();
        for (unsigned bit = 0; bit != 32; ++bit)
            set[bit] += (x >> bit) & 1;
    }
    for (auto s : set) {
        BOOST_TEST(s > 4700); // six standard deviations; the seed is fixed
        BOOST_TEST(s < 5300);
    }
}

BOOST_AUTO_TEST_SUITE_END()
