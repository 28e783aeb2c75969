//
// sched/monitor_policy.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE sched.monitor_policy
#include <spindle/detail/sched/monitor_policy.hpp>

#include <boost/test/unit_test.hpp>

#include <chrono>

using namespace std::chrono_literals;
using spindle::detail::duration;
using spindle::detail::monitor_policy;
using spindle::detail::time_point;
using look = monitor_policy::look;
using verdict = monitor_policy::verdict;

BOOST_AUTO_TEST_SUITE(policy)

namespace {

// One processor, and a clock that the test sets.
struct watched {
    monitor_policy policy{20us, 10ms};
    look l{.is = look::running, .work = true};
    time_point at{1s};
    duration last_pause{};

    verdict after(duration d)
    {
        at += d;
        auto const v = policy.judge(0, l, at);
        last_pause = policy.pause();
        return v;
    }
};

} // namespace

BOOST_AUTO_TEST_CASE(a_blocking_call_keeps_its_processor_for_two_looks)
{
    watched w;
    (void)w.after(0us);
    w.l.blocking = 1;
    BOOST_TEST((w.after(5ms) == verdict::leave)); // it may have begun just now
    BOOST_TEST((w.after(10us) == verdict::leave));
    BOOST_TEST((w.after(10us) == verdict::hand_off));
    BOOST_TEST((w.after(20us) == verdict::hand_off)); // until it is done
    w.policy.done(0, w.at);
    BOOST_TEST((w.after(10us) == verdict::leave));
}

BOOST_AUTO_TEST_CASE(another_call_begins_anew)
{
    watched w;
    for (int i = 0; i != 10; ++i) {
        w.l.blocking += 2;
        w.l.blocking |= 1;
        BOOST_TEST((w.after(1ms) == verdict::leave));
    }
}

BOOST_AUTO_TEST_CASE(where_nothing_waits_nothing_is_taken)
{
    watched w;
    w.l.work = false;
    w.l.blocking = 1;
    for (int i = 0; i != 10; ++i)
        BOOST_TEST((w.after(10ms) == verdict::leave));
    w.l.work = true; // it has lasted long enough already
    BOOST_TEST((w.after(1us) == verdict::hand_off));
}

BOOST_AUTO_TEST_CASE(a_hog_is_preempted_and_who_switches_is_not)
{
    watched w;
    (void)w.after(0us);
    BOOST_TEST((w.after(9ms) == verdict::leave));
    BOOST_TEST((w.after(1ms) == verdict::preempt));
    BOOST_TEST((w.policy.since(0, w.at) == 10ms));
    w.policy.done(0, w.at);
    BOOST_TEST((w.after(9ms) == verdict::leave));
    for (int i = 0; i != 100; ++i) {
        ++w.l.slices;
        ++w.l.rounds;
        BOOST_TEST((w.after(9ms) == verdict::leave));
    }
}

BOOST_AUTO_TEST_CASE(who_switches_and_never_looks_at_asio_is_called)
{
    watched w;
    (void)w.after(0us);
    verdict last{};
    int calls = 0;
    for (int i = 0; i != 20; ++i) {
        ++w.l.slices;
        last = w.after(1ms);
        if (last == verdict::call) {
            ++calls;
            w.policy.done(0, w.at);
        }
    }
    BOOST_TEST(calls == 2);
}

BOOST_AUTO_TEST_CASE(who_does_not_answer_is_replaced_and_then_retaken)
{
    watched w;
    w.l.is = look::woken;
    (void)w.after(0us);
    BOOST_TEST((w.after(50us) == verdict::leave));
    BOOST_TEST((w.after(50us) == verdict::wake_another));
    w.policy.done(0, w.at);
    BOOST_TEST((w.after(100us) == verdict::leave)); // once
    BOOST_TEST((w.after(10ms) == verdict::preempt));
}

BOOST_AUTO_TEST_CASE(who_sleeps_is_let_alone_unless_its_alarm_rings_in_vain)
{
    watched w;
    w.l.is = look::asleep;
    w.l.work = false;
    for (int i = 0; i != 5; ++i)
        BOOST_TEST((w.after(10ms) == verdict::leave));
    w.l.work = true; // a deadline has passed
    BOOST_TEST((w.after(10ms) == verdict::leave));
    BOOST_TEST((w.after(10ms) == verdict::preempt));
}

BOOST_AUTO_TEST_CASE(pauses_are_short_while_calls_last_and_long_else)
{
    watched w;
    (void)w.after(0us);
    BOOST_TEST((w.last_pause == 10ms)); // not before it is needed
    w.l.blocking = 2; // one has been
    (void)w.after(10ms);
    BOOST_TEST((w.last_pause == 10ms));
    w.l.blocking = 3;
    (void)w.after(10ms);
    BOOST_TEST((w.last_pause == 20us)); // one more look
    (void)w.after(20us);
    BOOST_TEST((w.last_pause == 20us)); // it lasts
    w.l.blocking = 4;
    for (int i = 0; i != 50; ++i)
        (void)w.after(20us);
    BOOST_TEST((w.last_pause == 20us));
    for (int i = 0; i != 20; ++i) {
        ++w.l.slices;
        (void)w.after(w.last_pause);
    }
    BOOST_TEST((w.last_pause == 10ms));
}

BOOST_AUTO_TEST_CASE(for_one_that_is_back_pauses_are_short_for_a_while)
{
    watched w;
    (void)w.after(0us);
    BOOST_TEST((w.last_pause == 10ms));
    w.policy.look_often();
    for (int i = 0; i != 50; ++i) {
        ++w.l.slices;
        (void)w.after(w.last_pause);
        BOOST_TEST((w.last_pause == 20us));
    }
    for (int i = 0; i != 20; ++i) {
        ++w.l.slices;
        (void)w.after(w.last_pause);
    }
    BOOST_TEST((w.last_pause == 10ms));
}

BOOST_AUTO_TEST_CASE(a_call_that_nothing_waits_for_is_no_reason_to_hurry)
{
    watched w;
    w.l.work = false;
    w.l.blocking = 1;
    for (int i = 0; i != 100; ++i)
        (void)w.after(w.last_pause);
    BOOST_TEST((w.last_pause == 10ms));
    w.l.work = true;
    (void)w.after(w.last_pause);
    BOOST_TEST((w.last_pause == 20us));
}

BOOST_AUTO_TEST_CASE(short_calls_get_one_more_look_each_pause)
{
    watched w;
    (void)w.after(0us);
    for (int i = 0; i != 20; ++i) {
        w.l.blocking += 2;
        w.l.blocking |= 1;
        (void)w.after(w.last_pause);
        BOOST_TEST((w.last_pause == (i % 2 == 0 ? 20us : duration(10ms))));
    }
}

BOOST_AUTO_TEST_CASE(who_was_missed_is_looked_at_again_soon_but_not_for_ever)
{
    watched w;
    (void)w.after(0us);
    for (int i = 0; i != 2; ++i) {
        int soon = 0;
        BOOST_TEST((w.after(10ms) == verdict::preempt));
        for (;;) {
            w.policy.missed(0);
            BOOST_TEST((w.after(w.last_pause) == verdict::preempt));
            if (w.last_pause != 20us)
                break;
            BOOST_REQUIRE(++soon < 1000);
        }
        BOOST_TEST(soon > 50);
        w.policy.done(0, w.at);
        BOOST_TEST((w.after(1ms) == verdict::leave));
        BOOST_TEST((w.last_pause == 10ms));
    }
}

BOOST_AUTO_TEST_CASE(when_all_have_slept_for_long_it_sleeps_too)
{
    watched w;
    w.l.is = look::asleep;
    w.l.work = false;
    int looks = 0;
    do {
        (void)w.after(10ms);
        BOOST_REQUIRE(++looks < 100);
    } while (w.last_pause != duration::max());
    BOOST_TEST(looks >= 5);
    ++w.l.slices; // somebody was there in between
    (void)w.after(10ms);
    BOOST_TEST((w.last_pause == 10ms));
}

BOOST_AUTO_TEST_CASE(who_is_absent_is_let_alone)
{
    watched w;
    w.l.is = look::absent;
    for (int i = 0; i != 5; ++i)
        BOOST_TEST((w.after(10ms) == verdict::leave));
}

BOOST_AUTO_TEST_SUITE_END()
