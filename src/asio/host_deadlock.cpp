//
// asio/host_deadlock.cpp
// ~~~~~~~~~~~~~~~~~~~~~~
// All fibers are asleep, and nobody is left to wake one.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/asio/asio_access.hpp>
#include <spindle/detail/asio/host.hpp>
#include <spindle/detail/base/asymmetric_barrier.hpp>
#include <spindle/detail/fiber/dump.hpp>
#include <spindle/detail/fiber/machine_list.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>
#include <new>
#include <vector>

namespace spindle::detail {

// Shape
//
//   The monitor asks, when it is about to sleep for good: so nobody else pays. Where a
//   thread without a processor keeps it from knowing, it asks again (L). It declares a
//   deadlock if at one moment
//
//     a  fibers are alive
//     b  each processor sleeps with no deadline, has nothing queued, and nothing is
//        pending in its io_context but our own guard, and an alarm that is older than
//        what it was set for
//     c  each thread of the process is one of the host's that runs no fiber and is in
//        no call, or a bystander that nobody has called
//     d  each fiber waits
//
// Why it is correct
//
//   Where all of that holds at the same moment nothing can happen any more: what makes
//   a fiber ready is a fiber, a handler, a sleeper or another thread, and there is
//   none; so it stays like that, and the moment may be found by looking twice.
//   E  A processor that wakes up, polls, or switches counts that; so does one on its
//      way to sleep, after it has said that it sleeps. The sum is the same before and
//      after the look: nobody did any of these meanwhile, what was seen at different
//      times was so at one. A heavy barrier on each side: the counts are plain stores.
//   P  A pinned fiber has no processor, and two may wake each other while nobody else
//      is awake: so its machine counts each slice before it begins it.
//   H  A handler counts as work of its io_context until it has returned, and an
//      operation until its handler has.
//   D  Who makes a fiber ready says so in its state before anything else, wherever it
//      puts the fiber then: to the one thread of a pinned one, too.
//   T  The threads are listed first: what one of them did before it ended, or became a
//      bystander, is in the queues that are looked at after. A fiber that has called a
//      bystander did so before its processor slept, so the call is seen.
//
// Why none is missed
//
//   L  A wake-up of one of the host's threads calls the monitor, and it looks again. A
//      thread that is not the host's may end, or become a bystander, and call nobody; so
//      may one that a fiber is pinned to. So where b holds, and the rest could not be
//      said, the monitor looks again by itself, after pauses that double for as long as
//      no processor wakes up: of 10 ms at first, since most such threads are on their
//      way out, and at last of 30 s, which is no load, for those that stay.
//
// Not done, and why
//
//   Dropping the guard, and asking poll() whether it stops: the same question to the
//   same counter, but by the machine that has the io_context, which would have to be
//   woken, and would be inside an io_context that is stopped while others post to it.
//   Finding those that are stuck while others run: that is find_leaks().
//
// Evidence: test/observe/deadlock.cpp, case by case

namespace {

constexpr duration first_pause = std::chrono::milliseconds(10);
constexpr duration longest_pause = std::chrono::seconds(30);

} // namespace

std::uint64_t host::epoch() const noexcept
{
    std::uint64_t sum = 0;
    for (unsigned i = 0; i != processor_count(); ++i) {
        auto const& s = at(i).stats;
        sum += s.switches.get() + s.polls.get() + s.idles.get();
    }
    return sum;
}

std::uint64_t host::pinned_slices() const noexcept
{
    std::lock_guard guard(moves_);
    std::uint64_t sum = 0;
    for (auto const& m : machines_)
        sum += m->pinned_slices_.get();
    return sum;
}

// b, but for the machines.
bool host::asleep_for_good() const noexcept
{
    for (unsigned i = 0; i != processor_count(); ++i) {
        auto& p = processor_at(i);
        auto const alarm = time_point(duration(static_cast<duration::rep>(peek(&p.alarm_at_)))) !=
                           time_point::max();
        if (p.sleepers_.earliest_hint() != time_point::max() ||
            p.sleeps_until_.load(std::memory_order_relaxed) != time_point::max() ||
            p.away_.load(std::memory_order_seq_cst) ||
            p.interrupted_.load(std::memory_order_seq_cst) ||
            asio_work_hint(p.asio_) > 1 + (alarm ? 1 : 0))
            return false;
    }
    return all_asleep();
}

// c
bool host::machines_rest() const
{
    std::vector<long> threads, passive;
    if (!list_threads(threads)) // T
        return false;
    bystander::list(passive);
    std::vector<machine_sight> machines;
    machine_entry::list(machines);
    std::vector<machine const*> mine;
    {
        std::lock_guard guard(moves_);
        for (auto const& m : machines_)
            mine.push_back(reinterpret_cast<machine const*>(peek(&m->machine_)));
        for (unsigned i = 0; i != processor_count(); ++i)
            if (auto const* const m = processor_at(i).runs_here)
                // Its processor says until when it sleeps.
                std::erase_if(machines, [&](auto const& s) {
                    if (s.of != m || s.fiber || s.blocking)
                        return false;
                    std::erase(threads, s.thread);
                    return true;
                });
    }
    for (auto const& s : machines)
        if (s.hired && !s.fiber && !s.blocking && !s.stock &&
            std::find(mine.begin(), mine.end(), s.of) != mine.end())
            std::erase(threads, s.thread);
    return std::all_of(threads.begin(), threads.end(), [&](long t) {
        return std::find(passive.begin(), passive.end(), t) != passive.end();
    });
}

// d
bool host::fibers_wait() const
{
    return collect_fibers(
               {.stacks = false, .only = this},
               [](fiber_sight const& s) {
                   return s.state != fiber_state::waiting || s.reason == wait_reason::none;
               })
        .empty();
}

// c, d
bool host::at_rest() const
{
    return machines_rest() && fibers_wait() && asleep_for_good() && live() != 0;
}

// The monitor, with nothing held. For how long it may sleep, if nobody calls it; max():
// for ever.
duration host::look_for_deadlock() noexcept
{
    if ((!options_.deadlock && !inside_run_) || live() == 0 || !asleep_for_good())
        return duration::max();
    heavy_barrier(); // E
    auto const awake = epoch();
    auto const before = awake + pinned_slices();
    if (before == deadlocked_at_)
        return duration::max();
    auto const pause = pause_until_sure(awake);
    try {
        if (!at_rest())
            return pause;
        heavy_barrier();
        if (epoch() + pinned_slices() != before)
            return pause;
        deadlocked_at_ = before;
        report_deadlock();
        return duration::max();
    } catch (std::bad_alloc const&) {
        return pause; // it is still there when there is memory again
    }
}

// L
duration host::pause_until_sure(std::uint64_t epoch) noexcept
{
    unsure_pause_ = epoch == unsure_at_ ? std::min(2 * unsure_pause_, longest_pause) : first_pause;
    unsure_at_ = epoch;
    return unsure_pause_;
}

void host::report_deadlock()
{
    if (options_.deadlock) {
        options_.deadlock();
        return;
    }
    std::fprintf(
        stderr, "spindle: fatal: all fibers are asleep, and nothing is left that could wake one\n");
    print_live_fibers();
    std::terminate();
}

} // namespace spindle::detail
