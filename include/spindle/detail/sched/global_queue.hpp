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
#include <memory>
#include <span>

namespace spindle::detail {

// Work from outside, overflow of the local queues, and what a processor
// leaves behind. A ring of pointers below a mutex, so that nothing touches the
// items themselves: they are cold, and each touch would be a cache miss under
// the lock. It grows when it is full; where there is no memory for that, items
// are linked to a list behind it, so that nothing ever fails. The size is kept
// beside it, so that a processor can see without the lock that there is nothing;
// it is stored before the lock is released, and the idle protocol
// (idle_state.hpp) makes it good enough to go to sleep by: the fence there
// orders it.
//
// Invariant: while the list is not empty, everything goes to its end; so the
// order is that of the pushes.
//
// Not done, and why: a lock-free list. Batches take the lock once for many
// items, and pop takes several at once, which an MPMC list cannot do cheaply. A
// linked list alone, as in Go: a yield among 1000 fibers took twice as long.
class global_queue {
public:
    global_queue() = default;
    global_queue(global_queue const&) = delete;
    global_queue& operator=(global_queue const&) = delete;

    // Any thread.
    void push(runnable& r) noexcept
    {
        auto* const one = &r;
        push(std::span<runnable* const>(&one, 1));
    }

    // Any thread. All of `items`, in their order, with one lock.
    SPINDLE_DECL void push(std::span<runnable* const> items) noexcept;

    // Any thread. Fills `room` with the oldest, and returns how many there were.
    // Does not lock when empty.
    SPINDLE_DECL std::size_t pop(std::span<runnable*> room) noexcept;

    // Any thread. May be out of date.
    std::size_t size_hint() const noexcept { return size_.load(std::memory_order_relaxed); }

    // For tests. The next n times the ring cannot grow.
    static void fail_next_growths(unsigned n) noexcept { growths_to_fail_ = n; }

private:
    static constexpr std::size_t first_capacity = 256;

    bool make_room(std::size_t n) noexcept;

    mutex mutex_; // leaf: nothing is called while it is held
    // All below: guarded by mutex_.
    std::unique_ptr<runnable*[]> ring_;
    std::size_t capacity_ = 0; // of ring_; a power of two
    std::size_t head_ = 0;     // entries [head_, tail_), entry i in ring_[i % capacity_]
    std::size_t tail_ = 0;
    runnable_list list_;
    alignas(cache_line_size) atomic<std::size_t> size_{0}; // written under mutex_

    static inline unsigned growths_to_fail_ = 0;
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_SCHED_GLOBAL_QUEUE_HPP
