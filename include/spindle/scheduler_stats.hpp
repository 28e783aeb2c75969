//
// spindle/scheduler_stats.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_SCHEDULER_STATS_HPP
#define SPINDLE_SCHEDULER_STATS_HPP

#include <spindle/config.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace spindle {

/// How many fibers of a scheduler are in which state.
/**
 * Each fiber is looked at once, one after another, while they run: one that moves on
 * meanwhile is counted where it was seen.
 */
struct fiber_states {
    std::size_t created = 0;  ///< spawned, and have not run yet
    std::size_t runnable = 0; ///< ready again, and wait for a processor or for their executor
    std::size_t running = 0;  ///< on a thread
    std::size_t blocking = 0; ///< in a call inside `blocking`
    std::size_t waiting = 0;  ///< parked: for a channel, a lock, an operation, a time, ...
    std::size_t dead = 0;     ///< over; of the whole process, kept for the next `spawn`

    /// Those that are alive.
    [[nodiscard]] std::size_t alive() const noexcept
    {
        return created + runnable + running + blocking + waiting;
    }

    bool operator==(fiber_states const&) const = default;
};

/// How long fibers that were ready have waited until they ran.
/**
 * Empty unless it is measured: `scheduler_options::measure_latency`.
 */
struct latency_histogram {
    static constexpr std::size_t bucket_count = 36;

    /// `counts[i]`: of less than 2^i ns, and not of less than 2^(i-1). The last: all the rest.
    std::array<std::uint64_t, bucket_count> counts{};

    /// All of them together.
    std::chrono::nanoseconds total{};

    /// What the latencies in a bucket are less than; `max()` for the last one.
    [[nodiscard]] static constexpr std::chrono::nanoseconds bound(std::size_t bucket) noexcept
    {
        return bucket + 1 < bucket_count ? std::chrono::nanoseconds(std::int64_t{1} << bucket)
                                         : std::chrono::nanoseconds::max();
    }

    /// How many there are.
    [[nodiscard]] std::uint64_t count() const noexcept
    {
        std::uint64_t n = 0;
        for (auto const c : counts)
            n += c;
        return n;
    }

    /// What a share of them is less than: the bound of the bucket that the share ends in.
    /**
     * `quantile(0.99)`. Zero when there are none.
     */
    [[nodiscard]] std::chrono::nanoseconds quantile(double share) const noexcept
    {
        auto const all = count();
        if (all == 0)
            return {};
        std::uint64_t n = 0;
        for (std::size_t i = 0; i + 1 < bucket_count; ++i) {
            n += counts[i];
            if (static_cast<double>(n) >= share * static_cast<double>(all))
                return bound(i);
        }
        return bound(bucket_count - 1);
    }

    bool operator==(latency_histogram const&) const = default;
};

/// What one processor does, and has done so far.
struct processor_stats {
    enum class activity {
        busy,    ///< runs fibers or handlers, or looks for some
        idle,    ///< has nothing to do, and sleeps
        retired, ///< is one too many since `set_processors`: serves its io_context alone
    };

    unsigned id = 0;                ///< from 0 on
    activity is = activity::busy;
    std::size_t queued = 0;         ///< fibers in its run queue now
    std::uint64_t spawned = 0;      ///< fibers started here
    std::uint64_t finished = 0;     ///< fibers that ended here
    std::uint64_t switches = 0;     ///< times that a fiber was given a thread
    std::uint64_t parks = 0;        ///< times that a fiber waited
    std::uint64_t steals = 0;       ///< times that it took from another one
    std::uint64_t stolen = 0;       ///< fibers that it took so
    std::uint64_t overflows = 0;    ///< times that its full queue gave half to the global one
    std::uint64_t global_takes = 0; ///< times that it took from the global queue
    std::uint64_t polls = 0;        ///< turns that it gave to Asio
    std::uint64_t idles = 0;        ///< times that it went to sleep
    latency_histogram latency;      ///< of fibers that ran here
};

/// What a scheduler does, and has done so far: for each processor, and summed.
/**
 * Each number is right at some moment of the call, and not all at the same one. What
 * has happened is counted from the start, and never less.
 *
 * @par Example
 * @code
 * auto const s = sched.stats();
 * std::cout << s.states.waiting << " of " << s.fibers << " fibers wait\n";
 * spindle::write_prometheus(std::cout, s); // <spindle/observe/prometheus.hpp>
 * @endcode
 */
struct scheduler_stats {
    std::size_t fibers = 0;            ///< alive now
    fiber_states states;               ///< and what they are doing
    std::size_t queued = 0;            ///< in the run queues now
    std::size_t queued_globally = 0;   ///< of those, in the one that all processors share
    unsigned processors = 0;           ///< that run fibers
    unsigned idle_processors = 0;      ///< of those, asleep now
    unsigned searching_processors = 0; ///< of those, looking for work now
    unsigned threads = 0;       ///< alive now: its own, and the one that called `run`
    unsigned spare_threads = 0; ///< of those, without a processor, and at rest
    std::uint64_t spawned = 0;  ///< fibers started from this scheduler's threads
    std::uint64_t finished = 0; ///< fibers that ended on them
    std::uint64_t switches = 0; ///< times that a fiber was given a thread
    std::uint64_t parks = 0;    ///< times that a fiber waited
    std::uint64_t steals = 0;   ///< times that a processor took from another one
    std::uint64_t stolen = 0;   ///< fibers that were taken so
    std::uint64_t overflows = 0;    ///< times that a full run queue gave half to the global one
    std::uint64_t global_takes = 0; ///< times that a processor took from the global queue
    std::uint64_t polls = 0;        ///< turns that Asio was given
    std::uint64_t idles = 0;        ///< times that a processor went to sleep
    std::uint64_t wakes = 0;        ///< sleeping processors that were woken for work
    std::uint64_t handoffs = 0;     ///< processors that a call inside `blocking` has lost
    std::uint64_t preemptions = 0;  ///< processors that other fibers and handlers have lost
    bool measures_latency = false;  ///< now
    latency_histogram latency;      ///< of all its fibers, bound ones included
    std::vector<processor_stats> by_processor;
};

} // namespace spindle

#endif // SPINDLE_SCHEDULER_STATS_HPP
