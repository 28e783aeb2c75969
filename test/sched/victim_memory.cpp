//
// sched/victim_memory.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE sched.victim_memory
#include <spindle/detail/sched/victim_memory.hpp>

#include <boost/test/unit_test.hpp>

#include <array>
#include <chrono>

using namespace std::chrono_literals;
using namespace spindle::detail;

BOOST_AUTO_TEST_SUITE(victims)

namespace {

constexpr auto soon = run_next::steal_after / 2;

struct watched {
    std::array<runnable, victim_memory::long_queue> items;
    local_queue queue;
    victim_memory memory;
    time_point at{1s};

    void push(std::size_t n)
    {
        for (std::size_t i = 0; i != n; ++i)
            BOOST_TEST_REQUIRE(queue.try_push(items[i]));
    }
    bool waits_after(duration d) { return memory.queue_waits(queue, at += d); }
};

} // namespace

BOOST_AUTO_TEST_CASE(an_empty_queue_never_waits)
{
    watched w;
    for (int i = 0; i != 3; ++i)
        BOOST_TEST(!w.waits_after(1s));
}

BOOST_AUTO_TEST_CASE(a_short_one_waits_once_it_has_stood_still)
{
    watched w;
    w.push(2);
    BOOST_TEST(!w.waits_after(1s));
    BOOST_TEST(!w.waits_after(soon));
    BOOST_TEST(w.waits_after(soon));
    BOOST_TEST(w.waits_after(soon)); // a thief that was outrun comes again
}

BOOST_AUTO_TEST_CASE(what_moves_is_let_alone)
{
    watched w;
    w.push(2);
    for (int i = 0; i != 100; ++i) {
        BOOST_TEST(!w.waits_after(1ms));
        auto* const r = w.queue.try_pop();
        BOOST_TEST_REQUIRE(w.queue.try_push(*r));
    }
    BOOST_TEST(!w.waits_after(1ms));
    BOOST_TEST(w.waits_after(1ms));
}

BOOST_AUTO_TEST_CASE(what_comes_to_an_empty_one_is_new)
{
    watched w;
    w.push(1);
    BOOST_TEST(!w.waits_after(1s));
    auto* const r = w.queue.try_pop();
    BOOST_TEST(!w.waits_after(1s));
    BOOST_TEST_REQUIRE(w.queue.try_push(*r));
    BOOST_TEST(!w.waits_after(1s));
    BOOST_TEST(w.waits_after(1s));
}

BOOST_AUTO_TEST_CASE(a_long_one_waits_at_once)
{
    watched w;
    w.push(victim_memory::long_queue);
    BOOST_TEST(w.waits_after(0s));
    (void)w.queue.try_pop();
    BOOST_TEST(!w.waits_after(0s));
}

BOOST_AUTO_TEST_SUITE_END()
