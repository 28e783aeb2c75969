//
// spindle/detail/sched/global_queue.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// The run queue that all processors of a scheduler share.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_SCHED_GLOBAL_QUEUE_HPP
#define SPINDLE_DETAIL_SCHED_GLOBAL_QUEUE_HPP

#include <spindle/config.hpp>
#include <spindle/detail/base/atomic.hpp>
#include <spindle/detail/base/cache_line.hpp>
#include <spindle/detail/base/mutex.hpp>
#include <spindle/detail/sched/runnable.hpp>

#include <cstddef>
#include <cstdint>

namespace spindle::detail {

// Work from outside, overflow of the local queues, and what a processor
// leaves behind. An intrusive FIFO below a mutex: nothing allocates, so
// nothing fails. The size is kept beside it, so that a processor can see
// without the lock that there is nothing; it is stored before the lock is
// released, and the idle protocol (idle_state.hpp) makes it good enough to go
// to sleep by: the fence there orders it.
//
// Not done, and why: a lock-free list. Batches take the lock once for many
// items, and pop takes several at once, which an MPMC list cannot do cheaply.
class global_queue {
public:
    global_queue() = default;
    global_queue(global_queue const&) = delete;
    global_queue& operator=(global_queue const&) = delete;

    // Any thread.
    SPINDLE_DECL void push(runnable& r) noexcept;

    // Any thread. All of `list`, in its order, with one lock.
    SPINDLE_DECL void push(runnable_list&& list) noexcept;

    // Any thread. Up to `max` of the oldest. Does not lock when empty.
    SPINDLE_DECL runnable_list pop(std::uint32_t max) noexcept;

    // Any thread. May be out of date.
    std::size_t size_hint() const noexcept { return size_.load(std::memory_order_relaxed); }

private:
    mutex mutex_;        // leaf: nothing is called while it is held
    runnable_list list_; // guarded by mutex_
    alignas(cache_line_size) atomic<std::size_t> size_{0}; // written under mutex_
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_SCHED_GLOBAL_QUEUE_HPP
