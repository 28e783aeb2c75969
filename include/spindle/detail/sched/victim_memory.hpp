//
// spindle/detail/sched/victim_memory.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// What a thief remembers of one victim from look to look.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_SCHED_VICTIM_MEMORY_HPP
#define SPINDLE_DETAIL_SCHED_VICTIM_MEMORY_HPP

#include <spindle/config.hpp>
#include <spindle/detail/base/clock.hpp>
#include <spindle/detail/sched/local_queue.hpp>
#include <spindle/detail/sched/run_next.hpp>

#include <cstdint>

namespace spindle::detail {

// A short queue whose owner gets on with it is better left alone: its fibers work
// with each other, and taken apart they contend for the same few cache lines, each
// of which takes as long to fetch as one of them runs.
//
// One thread, the thief.
class victim_memory {
public:
    // From this length on there is work for two.
    static constexpr std::uint32_t long_queue = 16;

    // Whether to steal there: the queue is long, or nothing has left it for as long
    // as an item may lie in the lane.
    bool queue_waits(local_queue const& queue, time_point at) noexcept
    {
        auto const size = queue.size_hint();
        auto const left = queue.left_hint();
        if (size == 0 || size >= long_queue) {
            valid_ = false;
            return size != 0;
        }
        if (!valid_ || left != left_) {
            valid_ = true;
            left_ = left;
            since_ = at;
            return false;
        }
        return at - since_ >= run_next::steal_after;
    }

    run_next::observation lane;

private:
    time_point since_{};
    std::uint32_t left_ = 0; // entries, by then
    bool valid_ = false;
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_SCHED_VICTIM_MEMORY_HPP
