//
// sched/chooser.cpp
// ~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE sched.chooser
#include <spindle/detail/sched/chooser.hpp>

#include <boost/test/unit_test.hpp>

#include <array>
#include <cstdint>
#include <set>
#include <vector>

using spindle::detail::chooser;
using strategy = chooser::strategy;

BOOST_AUTO_TEST_CASE(the_same_seed_chooses_the_same)
{
    for (auto const how : {strategy::random, strategy::priorities}) {
        auto const run = [how](std::uint64_t seed) {
            chooser c(seed, how, 3);
            std::vector<chooser::priority> p;
            for (int i = 0; i != 5; ++i)
                p.push_back(c.first_priority());
            std::vector<std::size_t> chosen;
            for (int i = 0; i != 200; ++i) {
                chosen.push_back(c.choose(p));
                if (c.at_change())
                    p[chosen.back()] = c.lowest();
            }
            return chosen;
        };
        std::set<std::vector<std::size_t>> all;
        for (std::uint64_t seed = 0; seed != 20; ++seed) {
            BOOST_TEST((run(seed) == run(seed)));
            all.insert(run(seed));
        }
        BOOST_TEST(all.size() > 10u);
    }
}

BOOST_AUTO_TEST_CASE(random_takes_each_as_often)
{
    chooser c(1, strategy::random, 0);
    std::array<chooser::priority, 4> const p{};
    std::array<int, 4> times{};
    for (int i = 0; i != 40'000; ++i)
        ++times[c.choose(p)];
    for (auto const n : times) {
        BOOST_TEST(n > 9'500);
        BOOST_TEST(n < 10'500);
    }
    BOOST_TEST(!c.at_change());
}

BOOST_AUTO_TEST_CASE(priorities_take_the_highest)
{
    chooser c(1, strategy::priorities, 1);
    for (int i = 0; i != 100; ++i) {
        std::vector<chooser::priority> p;
        for (int k = 0; k != 5; ++k)
            p.push_back(c.first_priority());
        auto const i_best = c.choose(p);
        for (auto const other : p)
            BOOST_TEST(other <= p[i_best]);
        // The lowest is below all first ones, and below those that were it before.
        p[i_best] = c.lowest();
        BOOST_TEST(c.choose(p) != i_best);
        BOOST_TEST(p[i_best] > c.lowest());
        BOOST_TEST(c.first_priority() > p[i_best]);
    }
}

BOOST_AUTO_TEST_CASE(priorities_change_as_often_as_asked)
{
    std::set<int> first; // when
    for (std::uint64_t seed = 0; seed != 200; ++seed)
        for (auto const depth : {1u, 2u, 5u}) {
            chooser c(seed, strategy::priorities, depth);
            std::array<chooser::priority, 2> const p{1, 2};
            auto changes = 0u;
            for (int i = 0; i != 10'000; ++i) {
                (void)c.choose(p);
                while (c.at_change()) {
                    if (changes++ == 0)
                        first.insert(i);
                }
            }
            BOOST_TEST(changes == depth - 1);
        }
    BOOST_TEST(first.size() > 100u);
    BOOST_TEST(*first.begin() < 5);
    BOOST_TEST(*first.rbegin() > 1000);
}

BOOST_AUTO_TEST_CASE(what_is_left_to_chance_happens_as_often_as_asked)
{
    chooser c(1, strategy::random, 0);
    auto often = 0;
    for (int i = 0; i != 10'000; ++i) {
        BOOST_TEST(!c.happens(0));
        BOOST_TEST(c.happens(1));
        often += c.happens(0.25);
    }
    BOOST_TEST(often > 2'300);
    BOOST_TEST(often < 2'700);
}
