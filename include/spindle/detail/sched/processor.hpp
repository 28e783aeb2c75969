//
// spindle/detail/sched/processor.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// The right to run fibers: a local run queue with its fast lane, and what goes
// with it.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_SCHED_PROCESSOR_HPP
#define SPINDLE_DETAIL_SCHED_PROCESSOR_HPP

#include <spindle/detail/base/atomic.hpp>
#include <spindle/detail/base/cache_line.hpp>
#include <spindle/detail/base/clock.hpp>
#include <spindle/detail/base/random.hpp>
#include <spindle/detail/sched/counters.hpp>
#include <spindle/detail/sched/latency.hpp>
#include <spindle/detail/sched/local_queue.hpp>
#include <spindle/detail/sched/newborns.hpp>
#include <spindle/detail/sched/run_next.hpp>
#include <spindle/detail/sched/steal_order.hpp>
#include <spindle/detail/sched/victim_memory.hpp>

#include <chrono>
#include <cstddef>
#include <vector>

namespace spindle::detail {

class core;
class timer_queue;

// Asked after each slice of a run; false ends it, which without `more` it does anyway:
// then nothing waits here for a slice.
using run_permission = bool (*)(void* argument, bool more) noexcept;

// How many fibers run straight after each other before main has its turn.
inline constexpr unsigned slices_in_a_row = 61;

// Who may touch what
//
//   The machine that holds the processor is its owner and may touch all of it.
//   Any thread may steal from `queue` and `lane`, and read `stats` and `latency`.
//   `unwatched`, `may_go_on` and `slices` are core::watch()'s; the owner reads them.
//   `resting` belongs to the fiber room: fibers without a function, owner only.
struct processor {
    processor(core& c, unsigned index) : owner(c), unwatched(&c), id(index), random(index + 1) {}
    virtual ~processor() = default;
    processor(processor const&) = delete;
    processor& operator=(processor const&) = delete;

    // Owner only. What to run next from here: the fast lane, but not for ever; then
    // what was started last, but not always, or what has waited longest.
    runnable* pick() noexcept
    {
        if (bound.queue_first()) [[unlikely]] {
            if (auto* const r = pick_queued()) {
                bound.reset();
                return r;
            }
        }
        if (auto* const r = lane.take()) {
            bound.count();
            return r;
        }
        if (auto* const r = pick_queued()) {
            bound.reset();
            return r;
        }
        return nullptr;
    }

    // Any thread. Hints.
    bool empty_hint() const noexcept
    {
        return lane.empty_hint() && queue.size_hint() == 0 && fresh.empty_hint();
    }
    unsigned size_hint() const noexcept
    {
        return queue.size_hint() + fresh.size_hint() + !lane.empty_hint();
    }

    core& owner;
    // The owner, too, but null while somebody watches (core::watch()). Who asks whether
    // this processor is one of a fiber's scheduler compares it on the short way; so that
    // takes the long way then, and nobody pays for the question.
    atomic<core*> unwatched;
    // With what main runs fibers from here. While a trace is being made, there is somebody
    // to ask before each, who makes a note of it, and counts: one slice more than are run.
    atomic<run_permission> may_go_on{nullptr};
    atomic<unsigned> slices{slices_in_a_row};
    unsigned const id;
    fast_lane_bound bound;
    random_generator random;
    // The fiber room's: fibers without a function, newest first, all with stacks
    // of this size.
    std::size_t fiber_size = 0;
    runnable* resting = nullptr;
    std::size_t resting_count = 0;
    // The owner's last reading of the clock: good enough to say since when a
    // fiber waits, and free.
    time_point coarse_now = now();
    counters stats;
    latency_counters latency;
    run_next lane;
    local_queue queue;
    newborns fresh;
    // Where fibers sleep that run here; the asio room's.
    timer_queue* timers = nullptr;
    // As a thief: the order of its victims, and what it remembers of each.
    steal_order victims;
    std::vector<victim_memory> seen;

private:
    // What was woken, or has yielded, waits for a round of newborns at most; and the
    // oldest of those lies below a stream of new ones for so long only.
    runnable* pick_queued() noexcept
    {
        if (fresh.empty_hint()) [[likely]]
            return queue.try_pop();
        if (begun_ == slices_in_a_row) {
            begun_ = 0;
            if (auto* const r = queue.try_pop())
                return r;
        }
        ++begun_;
        auto* r = static_cast<runnable*>(nullptr);
        if (coarse_now - oldest_at_ < oldest_every) [[likely]] {
            r = fresh.pop_newest();
        } else {
            oldest_at_ = coarse_now;
            r = fresh.pop_oldest();
        }
        return r ? r : queue.try_pop();
    }

    // Each one so begun may be the root of a tree that is alive beside the others.
    static constexpr auto oldest_every = std::chrono::milliseconds(10);

    unsigned begun_ = 0; // newborns since the queue had its turn
    time_point oldest_at_ = coarse_now;
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_SCHED_PROCESSOR_HPP
