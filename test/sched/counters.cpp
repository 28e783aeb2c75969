//
// sched/counters.cpp
// ~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE sched.counters
#include <spindle/detail/sched/counters.hpp>

#include <boost/test/unit_test.hpp>

#include <atomic>
#include <cstdint>
#include <thread>

namespace {

using spindle::detail::counter_values;
using spindle::detail::counters;

} // namespace

BOOST_AUTO_TEST_SUITE(values)

BOOST_AUTO_TEST_CASE(start_at_zero_and_grow_one_by_one)
{
    counters c;
    BOOST_TEST((c.values() == counter_values{}));
    std::uint64_t n = 0;
    for (auto* one :
         {&c.spawned,
          &c.finished,
          &c.switches,
          &c.parks,
          &c.steals,
          &c.stolen,
          &c.overflows,
          &c.global_takes,
          &c.polls,
          &c.idles,
          &c.wakes})
        one->add(++n);
    counter_values const expected{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    BOOST_TEST((c.values() == expected));
}

BOOST_AUTO_TEST_CASE(add_up)
{
    counter_values sum{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    sum += counter_values{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    BOOST_TEST((sum == counter_values{2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}));
}

BOOST_AUTO_TEST_CASE(only_grow_for_a_reader)
{
    counters c;
    std::atomic<bool> stop{false};
    std::thread owner([&] {
        while (!stop.load(std::memory_order_relaxed))
            c.switches.add();
    });
    std::uint64_t last = 0;
    bool grew = true;
    for (int i = 0; i != 10'000; ++i) {
        auto const now = c.values().switches;
        grew = grew && now >= last;
        last = now;
    }
    stop.store(true, std::memory_order_relaxed);
    owner.join();
    BOOST_TEST(grew);
}

BOOST_AUTO_TEST_SUITE_END()
