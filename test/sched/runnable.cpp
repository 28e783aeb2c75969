//
// sched/runnable.cpp
// ~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE sched.runnable
#include <spindle/detail/sched/runnable.hpp>

#include <boost/test/unit_test.hpp>

#include <array>
#include <utility>

namespace {

using spindle::detail::runnable;
using spindle::detail::runnable_list;

} // namespace

BOOST_AUTO_TEST_SUITE(list)

BOOST_AUTO_TEST_CASE(starts_empty)
{
    runnable_list l;
    BOOST_TEST(l.empty());
    BOOST_TEST(l.size() == 0u);
    BOOST_TEST(l.front() == nullptr);
    BOOST_TEST(l.pop_front() == nullptr);
}

BOOST_AUTO_TEST_CASE(gives_back_in_order_and_unlinked)
{
    std::array<runnable, 3> items;
    runnable_list l;
    for (auto& i : items)
        l.push_back(i);
    BOOST_TEST(l.size() == 3u);
    for (auto& i : items) {
        BOOST_TEST(l.front() == &i);
        BOOST_TEST(l.pop_front() == &i);
        BOOST_TEST(i.next == nullptr);
    }
    BOOST_TEST(l.empty());
    l.push_back(items[0]); // the tail was forgotten as well
    BOOST_TEST(l.pop_front() == &items[0]);
}

BOOST_AUTO_TEST_CASE(appends_behind_the_last_and_empties_the_other)
{
    std::array<runnable, 4> items;
    runnable_list a, b;
    a.push_back(items[0]);
    b.push_back(items[1]);
    b.push_back(items[2]);
    a.append(std::move(b));
    BOOST_TEST(b.empty());
    BOOST_TEST(b.size() == 0u);
    BOOST_TEST(a.size() == 3u);
    a.push_back(items[3]);
    for (auto& i : items)
        BOOST_TEST(a.pop_front() == &i);
}

BOOST_AUTO_TEST_CASE(appends_to_nothing_and_nothing)
{
    runnable item;
    runnable_list a, b, c;
    b.push_back(item);
    a.append(std::move(b));
    a.append(std::move(c));
    BOOST_TEST(a.size() == 1u);
    BOOST_TEST(a.pop_front() == &item);
}

BOOST_AUTO_TEST_CASE(is_empty_when_moved_from)
{
    std::array<runnable, 2> items;
    runnable_list a;
    a.push_back(items[0]);
    runnable_list b(std::move(a));
    BOOST_TEST(a.empty());
    BOOST_TEST(b.size() == 1u);
    runnable_list c;
    c = std::move(b);
    BOOST_TEST(b.empty());
    a.push_back(items[1]);
    BOOST_TEST(a.pop_front() == &items[1]);
    BOOST_TEST(c.pop_front() == &items[0]);
}

BOOST_AUTO_TEST_SUITE_END()
