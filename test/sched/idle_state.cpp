//
// sched/idle_state.cpp
// ~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE sched.idle_state
#include <spindle/detail/sched/idle_state.hpp>
#include <spindle/detail/sched/parker.hpp>

#include <boost/test/unit_test.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <thread>
#include <vector>

namespace {

using spindle::detail::idle_state;
using spindle::detail::parker;

constexpr auto none = idle_state::none;

} // namespace

BOOST_AUTO_TEST_SUITE(transitions)

BOOST_AUTO_TEST_CASE(start_with_all_awake_and_nobody_to_wake)
{
    idle_state s(3);
    BOOST_TEST(s.idle_hint() == 0u);
    BOOST_TEST(s.searching_hint() == 0u);
    BOOST_TEST(s.processor_to_wake() == none);
    for (unsigned i = 0; i != 3; ++i)
        BOOST_TEST(!s.is_idle_hint(i));
}

BOOST_AUTO_TEST_CASE(wake_the_one_that_went_last_awake_and_searching)
{
    idle_state s(3);
    BOOST_TEST(s.begin_idle(0, false)); // nobody searches: look again
    BOOST_TEST(s.begin_idle(2, false));
    BOOST_TEST(s.idle_hint() == 2u);
    BOOST_TEST(s.is_idle_hint(2));
    BOOST_TEST(s.processor_to_wake() == 2u);
    BOOST_TEST(!s.is_idle_hint(2));
    BOOST_TEST(s.idle_hint() == 1u);
    BOOST_TEST(s.searching_hint() == 1u);
}

BOOST_AUTO_TEST_CASE(wake_one_at_a_time)
{
    idle_state s(3);
    BOOST_TEST(s.begin_idle(0, false));
    BOOST_TEST(s.begin_idle(1, false));
    BOOST_TEST(s.processor_to_wake() == 1u);
    BOOST_TEST(s.processor_to_wake() == none); // 1 is searching
    BOOST_TEST(s.end_search());                // and was the last: wakes the next
    BOOST_TEST(s.processor_to_wake() == 0u);
    BOOST_TEST(s.end_search());
    BOOST_TEST(s.processor_to_wake() == none); // all are awake
}

BOOST_AUTO_TEST_CASE(let_no_more_than_half_search)
{
    for (unsigned n = 1; n != 9; ++n) {
        idle_state s(n);
        unsigned searching = 0;
        while (s.try_begin_search())
            ++searching;
        BOOST_TEST(searching == (n + 1) / 2);
        BOOST_TEST(s.searching_hint() == searching);
        while (--searching != 0)
            BOOST_TEST(!s.end_search());
        BOOST_TEST(s.end_search());
    }
}

BOOST_AUTO_TEST_CASE(tell_the_last_searcher_to_look_again)
{
    idle_state s(4);
    BOOST_TEST(s.try_begin_search());
    BOOST_TEST(s.try_begin_search());
    BOOST_TEST(!s.begin_idle(0, true)); // one is still searching
    BOOST_TEST(s.begin_idle(1, true));
    BOOST_TEST(s.searching_hint() == 0u);
    BOOST_TEST(s.idle_hint() == 2u);
}

BOOST_AUTO_TEST_CASE(tell_whoever_leaves_nobody_searching_to_look_again)
{
    idle_state s(2);
    BOOST_TEST(s.try_begin_search());
    BOOST_TEST(!s.try_begin_search()); // the other is refused
    BOOST_TEST(s.end_search());
    BOOST_TEST(s.begin_idle(1, false));
}

BOOST_AUTO_TEST_CASE(come_back_by_oneself)
{
    idle_state s(3);
    for (unsigned i = 0; i != 3; ++i)
        BOOST_TEST(s.begin_idle(i, false));
    BOOST_TEST(s.end_idle(1, true));
    BOOST_TEST(s.searching_hint() == 1u);
    BOOST_TEST(s.idle_hint() == 2u);
    BOOST_TEST(s.end_search());
    BOOST_TEST(s.processor_to_wake() == 2u); // the order is kept
    BOOST_TEST(s.end_search());
    BOOST_TEST(s.end_idle(0, false));
    BOOST_TEST(s.searching_hint() == 0u);
    BOOST_TEST(s.idle_hint() == 0u);
}

BOOST_AUTO_TEST_CASE(know_that_a_waker_was_faster)
{
    idle_state s(1);
    BOOST_TEST(s.begin_idle(0, false));
    BOOST_TEST(s.processor_to_wake() == 0u);
    BOOST_TEST(!s.end_idle(0, true));
    BOOST_TEST(s.searching_hint() == 1u); // once, by the waker
    BOOST_TEST(s.idle_hint() == 0u);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(threads)

// End to end: processors that sleep whenever they find nothing, submitters
// that give them one item at a time and wait until it has run. If an item
// lies while all sleep, this hangs.
BOOST_AUTO_TEST_CASE(leave_no_work_while_all_sleep)
{
    constexpr unsigned processors = 3;
    constexpr unsigned submitters = 2;
    constexpr int rounds = 5'000;

    struct box {
        std::atomic<int> full{0};
        int payload = 0; // not atomic on purpose: TSan sees a lost release here
    };

    idle_state s(processors);
    std::array<parker, processors> parkers;
    std::array<box, submitters> boxes;
    std::array<parker, submitters> done;
    std::atomic<bool> stop{false};

    auto const notify = [&] {
        auto const id = s.processor_to_wake();
        if (id != none)
            parkers[id].unpark();
    };
    auto const find = [&] {
        for (auto& b : boxes)
            if (b.full.load(std::memory_order_relaxed) != 0)
                return true;
        return false;
    };
    // The number of the box taken; submitters when there was nothing.
    auto const take = [&] {
        for (unsigned i = 0; i != submitters; ++i)
            if (boxes[i].full.load(std::memory_order_relaxed) != 0
                && boxes[i].full.exchange(0, std::memory_order_acquire) != 0)
                return i;
        return submitters;
    };

    std::vector<std::thread> pool;
    for (unsigned id = 0; id != processors; ++id)
        pool.emplace_back([&, id] {
            bool searching = false;
            while (!stop.load(std::memory_order_acquire)) {
                if (!searching)
                    searching = s.try_begin_search();
                auto const i = searching ? take() : submitters;
                if (i != submitters) {
                    searching = false;
                    if (s.end_search())
                        notify();
                    ++boxes[i].payload;
                    done[i].unpark();
                    continue;
                }
                auto const look_again = s.begin_idle(id, searching);
                searching = false;
                if (look_again && find()) {
                    if (!s.end_idle(id, true))
                        parkers[id].park();
                    searching = true;
                    continue;
                }
                parkers[id].park();
                searching = true;
            }
        });
    std::vector<std::thread> clients;
    for (unsigned i = 0; i != submitters; ++i)
        clients.emplace_back([&, i] {
            for (int r = 0; r != rounds; ++r) {
                ++boxes[i].payload;
                boxes[i].full.store(1, std::memory_order_release);
                notify();
                done[i].park();
            }
        });
    for (auto& t : clients)
        t.join();
    stop.store(true, std::memory_order_release);
    for (auto& p : parkers)
        p.unpark();
    for (auto& t : pool)
        t.join();
    for (auto& b : boxes)
        BOOST_TEST(b.payload == 2 * rounds);
}

BOOST_AUTO_TEST_SUITE_END()
