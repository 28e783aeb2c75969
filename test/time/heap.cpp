//
// time/heap.cpp
// ~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE time.heap
#include <spindle/detail/base/random.hpp>
#include <spindle/detail/time/heap.hpp>

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <vector>

namespace {

using spindle::detail::random_generator;
using spindle::detail::time_point;
using spindle::detail::timer_heap;
using spindle::detail::timer_node;

time_point at(unsigned us)
{
    return time_point{} + std::chrono::microseconds(us);
}

} // namespace

BOOST_AUTO_TEST_SUITE(heap)

BOOST_AUTO_TEST_CASE(starts_empty)
{
    timer_heap h;
    BOOST_TEST(h.empty());
    BOOST_TEST(h.size() == 0u);
    BOOST_TEST(h.top() == nullptr);
    BOOST_TEST(h.pop_expired(time_point::max()) == nullptr);
}

BOOST_AUTO_TEST_CASE(gives_out_what_is_due_and_nothing_else)
{
    timer_heap h;
    std::array<timer_node, 3> nodes{{{at(30)}, {at(10)}, {at(20)}}};
    for (auto& n : nodes)
        h.push(n);
    BOOST_TEST(h.top() == &nodes[1]);
    BOOST_TEST(h.pop_expired(at(9)) == nullptr);
    BOOST_TEST(h.pop_expired(at(10)) == &nodes[1]);
    BOOST_TEST(!nodes[1].queued());
    BOOST_TEST(h.pop_expired(at(10)) == nullptr);
    BOOST_TEST(h.pop_expired(at(99)) == &nodes[2]);
    BOOST_TEST(h.pop_expired(at(99)) == &nodes[0]);
    BOOST_TEST(h.empty());
}

BOOST_AUTO_TEST_CASE(takes_a_node_back_after_it_left)
{
    timer_heap h;
    timer_node n{at(5)};
    h.push(n);
    BOOST_TEST(n.queued());
    h.erase(n);
    BOOST_TEST(!n.queued());
    n.when = at(7);
    h.push(n);
    BOOST_TEST(h.pop_expired(at(7)) == &n);
}

BOOST_AUTO_TEST_CASE(erases_first_middle_and_last)
{
    for (std::size_t gone = 0; gone != 30; ++gone) {
        timer_heap h;
        std::vector<timer_node> nodes(30);
        for (std::size_t i = 0; i != nodes.size(); ++i) {
            nodes[i].when = at(static_cast<unsigned>(i * 7 % 30));
            h.push(nodes[i]);
        }
        h.erase(nodes[gone]);
        BOOST_TEST(h.size() == 29u);
        time_point last{};
        while (auto* n = h.pop_expired(at(100))) {
            BOOST_TEST(n != &nodes[gone]);
            BOOST_TEST((last <= n->when));
            last = n->when;
        }
    }
}

// Against the plain way of doing it: a sorted vector.
BOOST_AUTO_TEST_CASE(agrees_with_a_sorted_list_whatever_is_done_to_it)
{
    random_generator random(42);
    timer_heap h;
    h.reserve(500);
    std::vector<timer_node> nodes(500);
    std::vector<time_point> expected;
    for (int step = 0; step != 50'000; ++step) {
        auto& n = nodes[random.below(500)];
        if (!n.queued()) {
            n.when = at(random.below(1000)); // many equal ones
            h.push(n);
            expected.insert(std::upper_bound(expected.begin(), expected.end(), n.when), n.when);
        } else if (random.below(4) != 0) {
            h.erase(n);
            expected.erase(std::lower_bound(expected.begin(), expected.end(), n.when));
        } else {
            auto const due = at(random.below(60));
            auto* const first = h.pop_expired(due);
            BOOST_REQUIRE((first != nullptr) == (expected.front() <= due));
            if (first) {
                BOOST_REQUIRE((first->when == expected.front()));
                expected.erase(expected.begin());
            }
        }
        BOOST_REQUIRE(h.size() == expected.size());
        if (!expected.empty())
            BOOST_REQUIRE((h.top()->when == expected.front()));
    }
}

BOOST_AUTO_TEST_SUITE_END()
