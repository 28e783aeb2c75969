//
// spindle/detail/sched/core.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// What the processors of one scheduler share: the queues' rules, stealing, and
// the count of what is alive.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_SCHED_CORE_HPP
#define SPINDLE_DETAIL_SCHED_CORE_HPP

#include <spindle/config.hpp>
#include <spindle/detail/base/atomic.hpp>
#include <spindle/detail/base/cache_line.hpp>
#include <spindle/detail/base/clock.hpp>
#include <spindle/detail/base/mutex.hpp>
#include <spindle/detail/sched/global_queue.hpp>
#include <spindle/detail/sched/latency.hpp>
#include <spindle/detail/sched/processor.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace spindle::detail {

// Who may touch what
//
//   global_      any thread
//   table_       slots are filled once, before count_ says so; never emptied
//   live_        any thread
//   callers_     any thread; who destroys the scheduler waits for it
//   watched_     written under watching_, read by any thread
//   processors   put_next, put_tail, pick and steal: the one that holds `p`
//
// Invariants
//
//   I1  Work is published first and announced after: every way in ends in
//       wake_one(), except put_tail(), which is for what gave up its turn while
//       its processor goes on picking.
//   I2  A machine that gives a processor up leaves its queue and lane empty,
//       or keeps running it.
//   I3  A thread that the scheduler does not join is a caller for as long as it
//       makes one of the scheduler's fibers run.
//
// Why it is correct
//
//   C   What was published may run, end, and have been the last thing that kept
//       the scheduler, while whoever published it is still on the way to wake_one().
//       That thread has counted itself before, and whoever finds that no fiber is
//       alive has seen it do so. It counts itself out with release, and as the last
//       thing; who waits for that acquires.
//
// Not done, and why
//
//   A list of all processors under a lock: thieves walk the table on each search;
//   a table that only grows needs no lock to be read.
//
// Evidence: test/sched/core.cpp
class SPINDLE_DECL core {
public:
    static constexpr unsigned max_processors = 1024;

    core() noexcept;
    virtual ~core();
    core(core const&) = delete;
    core& operator=(core const&) = delete;

    // The owner of `p`. `r` runs next here; what was to run next goes to the
    // end of the queue.
    void put_next(processor& p, runnable& r) noexcept
    {
        if (auto* const displaced = p.lane.put(r))
            put_tail(p, *displaced);
        if (!alone_.load(std::memory_order_relaxed))
            wake_one();
    }

    // The owner of `p`. `r` runs after what is queued here.
    void put_last(processor& p, runnable& r) noexcept
    {
        put_tail(p, r);
        if (!alone_.load(std::memory_order_relaxed))
            wake_one();
    }

    // The owner of `p`. As put_last, but for what has just had its turn.
    void put_tail(processor& p, runnable& r) noexcept
    {
        p.queue.push(r, [&](std::span<runnable* const> half) {
            p.stats.overflows.add();
            global_.push(half);
        });
    }

    // A thread on its way in (I3). From before the fiber can run.
    class caller {
    public:
        explicit caller(core& c) noexcept : core_(c)
        {
            c.callers_.fetch_add(1, std::memory_order_seq_cst); // against guest::closing_
        }
        caller(caller const&) = delete;
        caller& operator=(caller const&) = delete;
        ~caller() { core_.callers_.fetch_sub(1, std::memory_order_release); } // C

    private:
        core& core_;
    };

    // Any thread.
    void submit(runnable& r) noexcept
    {
        caller const here(*this);
        global_.push(r);
        wake_one();
    }

    // The owner of `p`. A fair share of the global queue: one to run now, the
    // others in p's queue. nullptr when there is nothing.
    runnable* take_global(processor& p) noexcept;

    // The owner of `p`, when p's queue is empty. Goes round the others once.
    runnable* steal(processor& p, time_point at) noexcept;

    // The owner of `p`. All that is queued here goes to the global queue.
    void give_up(processor& p) noexcept;

    // Any thread; behind a seq_cst fence good enough to go to sleep by.
    bool has_work_hint() const noexcept;

    // Any thread. Work was published: sees to it that somebody comes for it.
    virtual void wake_one() noexcept = 0;

    unsigned processor_count() const noexcept { return count_.load(std::memory_order_acquire); }
    processor& at(unsigned i) const noexcept { return *table_[i].load(std::memory_order_acquire); }
    std::size_t global_size_hint() const noexcept { return global_.size_hint(); }

    // Any thread. How many fibers have begun and not ended.
    void begin_life() noexcept { live_.fetch_add(1, std::memory_order_relaxed); }
    void end_life() noexcept
    {
        // Whoever sees zero sees all that the fibers did. seq_cst: on_last()
        // reads who waits for it.
        if (live_.fetch_sub(1, std::memory_order_seq_cst) == 1)
            on_last();
    }
    std::size_t live() const noexcept { return live_.load(std::memory_order_seq_cst); }

    // Any thread that holds no processor to count it there.
    void count_spawned() noexcept { spawned_.fetch_add(1, std::memory_order_relaxed); }
    void count_finished() noexcept { finished_.fetch_add(1, std::memory_order_relaxed); }

    // Any thread. False: there are bound fibers only, so far, and nobody comes for
    // what is queued.
    virtual bool runs_free_fibers() const noexcept { return true; }

    // Any thread. A free fiber begins, or has ended as its scheduler sees it.
    virtual void begin_work() noexcept {}
    virtual void end_work() noexcept {}

    // What is recorded of each fiber that becomes ready, and runs.
    enum watch_kind : unsigned {
        watch_latency = 1, // how long that took
        watch_trace = 2,   // all of it
    };

    // Any thread. Begins and ends it, for processors to come, too.
    void watch(watch_kind what, bool on) noexcept;

    // The same for all schedulers of the process, those to come included.
    static void watch_all(watch_kind what, bool on) noexcept;

    // The fiber room's, before main(): who is asked while a trace is being made.
    static void set_slice_watcher(run_permission w) noexcept { slice_watcher_ = w; }

    // Any thread. What is watched, and from when on. A fiber that became ready before
    // has no time of that.
    unsigned watched() const noexcept { return watched_.load(std::memory_order_relaxed); }
    time_point watched_since() const noexcept
    {
        return watched_since_.load(std::memory_order_relaxed);
    }

    // For fibers that began to run on threads without a processor: bound ones.
    latency_counters& latency_elsewhere() noexcept { return latency_; }
    latency_counters const& latency_elsewhere() const noexcept { return latency_; }

    // A number that no other scheduler of the process has had.
    unsigned number() const noexcept { return number_; }

    // Any thread. From now on every cancellable wait of every fiber fails.
    bool stopping() const noexcept { return stopping_.load(std::memory_order_seq_cst); }
    void set_stopping() noexcept { stopping_.store(true, std::memory_order_seq_cst); }

protected:
    // There is one processor, so that what its owner queues concerns nobody else.
    // Taken back before there is another one; an owner that sees that late has work,
    // and runs it.
    void set_alone(bool on) noexcept { alone_.store(on, std::memory_order_relaxed); }

    // Who destroys it, before anything goes that a caller may touch.
    void await_callers() const noexcept;

    void show_watched(processor& p) noexcept; // under watching_

    // One thread at a time. Fills the next slot of the table; false: it is full.
    bool add(processor& p) noexcept;

    std::uint64_t spawned_elsewhere() const noexcept
    {
        return spawned_.load(std::memory_order_relaxed);
    }
    std::uint64_t finished_elsewhere() const noexcept
    {
        return finished_.load(std::memory_order_relaxed);
    }

private:
    // The last live fiber has ended; others may have begun meanwhile.
    virtual void on_last() noexcept {}

    atomic<bool> alone_{false};
    global_queue global_;
    atomic<unsigned> count_{0};
    atomic<processor*> table_[max_processors] = {};
    alignas(cache_line_size) atomic<std::size_t> live_{0};
    alignas(cache_line_size) atomic<std::size_t> callers_{0};
    alignas(cache_line_size) atomic<bool> stopping_{false};
    atomic<std::uint64_t> spawned_{0};
    atomic<std::uint64_t> finished_{0};

    static run_permission slice_watcher_;

    mutex watching_; // leaf, inside the list of all cores
    atomic<unsigned> watched_{0};
    atomic<time_point> watched_since_{time_point::max()};
    latency_counters latency_;
    unsigned number_ = 0;
    core* previous_ = nullptr; // in the list of all, under its lock
    core* next_ = nullptr;
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_SCHED_CORE_HPP
