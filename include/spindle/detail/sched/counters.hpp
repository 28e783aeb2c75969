//
// spindle/detail/sched/counters.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// What one processor has done so far: its owner writes, anyone reads.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_SCHED_COUNTERS_HPP
#define SPINDLE_DETAIL_SCHED_COUNTERS_HPP

#include <spindle/detail/base/atomic.hpp>
#include <spindle/detail/base/cache_line.hpp>

#include <cstdint>

namespace spindle::detail {

// One number. One writer at a time, so a load and a store do, where an RMW
// would lock the line on every switch. Readers see each counter grow, and no
// order between two of them.
class counter {
public:
    // Owner only.
    void add(std::uint64_t n = 1) noexcept
    {
        value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
    }

    // Any thread.
    std::uint64_t get() const noexcept { return value_.load(std::memory_order_relaxed); }

private:
    atomic<std::uint64_t> value_{0};
};

// The same as plain numbers, to add up over processors.
struct counter_values {
    std::uint64_t spawned = 0;
    std::uint64_t finished = 0;
    std::uint64_t switches = 0;
    std::uint64_t parks = 0;
    std::uint64_t steals = 0;
    std::uint64_t stolen = 0;
    std::uint64_t overflows = 0;
    std::uint64_t global_takes = 0;
    std::uint64_t polls = 0;
    std::uint64_t idles = 0;
    std::uint64_t wakes = 0;

    counter_values& operator+=(counter_values const& o) noexcept
    {
        spawned += o.spawned;
        finished += o.finished;
        switches += o.switches;
        parks += o.parks;
        steals += o.steals;
        stolen += o.stolen;
        overflows += o.overflows;
        global_takes += o.global_takes;
        polls += o.polls;
        idles += o.idles;
        wakes += o.wakes;
        return *this;
    }

    bool operator==(counter_values const&) const = default;
};

// On lines of their own: readers must not slow down a neighbour.
struct alignas(cache_line_size) counters {
    counter spawned;      // fibers made here
    counter finished;     // fibers that ended here
    counter switches;     // slices begun
    counter parks;        // slices that ended by parking
    counter steals;       // successful thefts by this processor
    counter stolen;       // fibers taken in them
    counter overflows;    // halves moved to the global queue
    counter global_takes; // fibers taken from the global queue
    counter polls;        // looks at the poller
    counter idles;        // times gone idle
    counter wakes;        // others woken

    // Any thread.
    counter_values values() const noexcept
    {
        counter_values v;
        v.spawned = spawned.get();
        v.finished = finished.get();
        v.switches = switches.get();
        v.parks = parks.get();
        v.steals = steals.get();
        v.stolen = stolen.get();
        v.overflows = overflows.get();
        v.global_takes = global_takes.get();
        v.polls = polls.get();
        v.idles = idles.get();
        v.wakes = wakes.get();
        return v;
    }
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_SCHED_COUNTERS_HPP
