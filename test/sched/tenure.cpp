//
// sched/tenure.cpp
// ~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE sched.tenure
#include <spindle/detail/sched/tenure.hpp>

#include <boost/test/unit_test.hpp>

#include <atomic>
#include <chrono>
#include <thread>

using spindle::detail::has_heavy_barrier;
using spindle::detail::tenure;
using finding = tenure::finding;

BOOST_AUTO_TEST_SUITE(tenures)

namespace {

// What an entry finds.
finding come_in(tenure& t) { return t.enter() ? finding::nothing : t.settle(); }

} // namespace

BOOST_AUTO_TEST_CASE(who_is_inside_keeps_it)
{
    tenure t;
    (void)come_in(t);
    BOOST_TEST(t.inside());
    BOOST_TEST(!t.try_examine());
    BOOST_TEST((come_in(t) != finding::lost)); // and may come in again
    t.leave();
    BOOST_TEST(!t.inside());
}

BOOST_AUTO_TEST_CASE(who_is_outside_finds_it_gone)
{
    tenure t;
    (void)come_in(t);
    t.leave();
    BOOST_TEST(t.try_examine());
    BOOST_TEST(!t.try_examine()); // it is being taken
    BOOST_TEST(!t.call());
    t.take();
    BOOST_TEST(!t.try_examine());
    BOOST_TEST((come_in(t) == finding::lost));
    // It may have another one from here on.
    BOOST_TEST((come_in(t) != finding::lost));
    t.leave();
    BOOST_TEST(t.try_examine());
}

BOOST_AUTO_TEST_CASE(a_call_is_found_once)
{
    tenure t;
    BOOST_TEST(t.call());
    BOOST_TEST((come_in(t) == finding::called));
    BOOST_TEST((come_in(t) != finding::called));
    BOOST_TEST(t.call());
    t.leave();
    BOOST_TEST(t.try_examine()); // called or not
    t.take();
    BOOST_TEST((come_in(t) == finding::lost));
}

BOOST_AUTO_TEST_CASE(a_call_outlasts_a_question_that_was_withdrawn)
{
    tenure t;
    (void)come_in(t);
    BOOST_TEST(t.call());
    BOOST_TEST(!t.try_examine());
    BOOST_TEST((come_in(t) == finding::called));
}

BOOST_AUTO_TEST_CASE(who_is_watched_finds_so_each_time)
{
    tenure t;
    (void)come_in(t);
    t.watch(true);
    BOOST_TEST((come_in(t) == finding::watched));
    BOOST_TEST((come_in(t) == finding::watched));
    t.leave();
    BOOST_TEST(t.try_examine());
    t.take();
    BOOST_TEST((come_in(t) == finding::lost));
    t.watch(false);
    BOOST_TEST((come_in(t) == (has_heavy_barrier ? finding::nothing : finding::watched)));
}

// A machine that comes and goes, and a monitor that takes what it can: the plain
// counter belongs to whoever has the processor.
BOOST_AUTO_TEST_CASE(one_of_two_threads_has_it)
{
    for (int round = 0; round != 20; ++round) {
        tenure t;
        long processor = 0, by_machine = 0;
        std::atomic<bool> started{false};
        std::thread machine([&] {
            while (come_in(t) != finding::lost) {
                ++processor;
                ++by_machine;
                t.leave();
                started.store(true, std::memory_order_relaxed);
            }
            t.leave();
        });
        while (!started.load(std::memory_order_relaxed))
            std::this_thread::yield();
        while (!t.try_examine())
            if (round % 2 == 1)
                (void)t.call();
        ++processor;
        t.take();
        ++processor;
        machine.join();
        BOOST_TEST(processor == by_machine + 2);
    }
}

BOOST_AUTO_TEST_SUITE_END()
