//
// spindle/detail/sync/shared_mutex_core.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// Many readers or one writer.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_SYNC_SHARED_MUTEX_CORE_HPP
#define SPINDLE_DETAIL_SYNC_SHARED_MUTEX_CORE_HPP

#include <spindle/config.hpp>
#include <spindle/detail/base/atomic.hpp>
#include <spindle/detail/base/spin_lock.hpp>
#include <spindle/detail/fiber/hooks.hpp>
#include <spindle/detail/sync/wait_queue.hpp>

#include <cstdint>

namespace spindle::detail {

struct waiting_reader : queued_waiter {};
struct waiting_writer : queued_waiter {};

// Shape
//
//   word_      writing    a writer owns the mutex
//              waiting    somebody is in a queue
//              reading    times the number of readers that own it
//   readers_, writers_    who waits, below lock_
//
//   A reader comes in unless somebody writes or waits; a writer if nobody owns it.
//   Whoever lets go last, and finds `waiting`, hands the mutex over below lock_: a
//   writer to all readers that wait, and if there are none to the next writer; the
//   last reader to the next writer. So a writer stops new readers, and waits for
//   those that were inside before it, and for each writer before it with one
//   batch of readers; a reader waits for one writer.
//
// Who may touch what
//
//   word_      any thread while `waiting` is clear. While it is set: readers that
//              are not the last take themselves off; all else is below lock_
//   the queues whoever holds lock_
//
// Invariants
//
//   I1  Somebody is in a queue: `waiting` is set, and the mutex is owned.
//   I2  A reader is in a queue: a writer owns the mutex, or waits for it.
//
// Why it is correct
//
//   Q  `waiting` is set by a compare-exchange that fails if the mutex was let go
//      meanwhile, with lock_ held until the waiter has parked. Who lets go last
//      and finds `waiting` takes lock_, so it finds all who wait.
//   L  Only an asynchronous operation leaves a queue without the mutex. Behind it
//      left_queue() takes lock_ and restores I1 and I2: what a writer that is gone
//      kept waiting comes in. The last reader looks at the word again once it has
//      lock_.
//   D  The mutex may be destroyed by whoever was the last to let go of it. Who
//      wakes somebody touches nothing after it has released lock_, and until then
//      that one is still inside lock().
//   Acquire where the mutex is got and release where it is let go carry what it
//   protects. The last reader acquires what the other readers released, and hands
//   that over by the wake-up.
//
// Not done, and why
//
//   Letting a writer be overtaken as in mutex: writers are few where this is the
//   right thing to use. A reader count for each processor: a writer would have to
//   look at all of them, and the mutex would take a cache line for each.
//
// Evidence: test/sync/shared_mutex.cpp, test/sync/async_lock.cpp
class SPINDLE_DECL shared_mutex_core {
public:
    shared_mutex_core() noexcept = default;
    shared_mutex_core(shared_mutex_core const&) = delete;
    shared_mutex_core& operator=(shared_mutex_core const&) = delete;
    ~shared_mutex_core()
    {
        if (word_.load(std::memory_order_relaxed) != 0) [[unlikely]]
            destroyed_in_use();
    }

    // Throws not_in_fiber where one must not wait.
    void lock()
    {
        auto* const self = waiting_fiber();
        if (!try_lock()) [[unlikely]]
            lock_slow(self);
    }

    bool try_lock() noexcept
    {
        word_type free = 0;
        return take(free, writing);
    }

    // The writer.
    void unlock() noexcept
    {
        word_type word = writing;
        if (!let_go(word, 0)) [[unlikely]]
            unlock_slow(word);
    }

    // Throws not_in_fiber where one must not wait.
    void lock_shared()
    {
        auto* const self = waiting_fiber();
        if (!try_lock_shared()) [[unlikely]]
            lock_shared_slow(self);
    }

    bool try_lock_shared() noexcept
    {
        auto word = word_.load(std::memory_order_relaxed);
        while ((word & (writing | waiting)) == 0)
            if (take(word, word + reading))
                return true;
        return false;
    }

    // A reader.
    void unlock_shared() noexcept
    {
        auto word = word_.load(std::memory_order_relaxed);
        while ((word & (writing | waiting)) == 0 && word >= reading) [[likely]]
            if (let_go(word, word - reading))
                return;
        unlock_shared_slow();
    }

    // An asynchronous operation. True: it has what it came for; false: it is in a
    // queue, and may be over already.
    bool lock_or_queue(waiting_writer& w) noexcept;
    bool lock_or_queue(waiting_reader& r) noexcept;

    // One that was withdrawn.
    void left_queue() noexcept;

    spin_lock& queue_lock() noexcept { return lock_; }

private:
    using word_type = std::uint64_t;
    static constexpr word_type writing = 1, waiting = 2, reading = 4;

    bool take(word_type& from, word_type to) noexcept
    {
        return word_.compare_exchange_strong(
            from, to, std::memory_order_acquire, std::memory_order_relaxed);
    }

    bool let_go(word_type& from, word_type to) noexcept
    {
        return word_.compare_exchange_strong(
            from, to, std::memory_order_release, std::memory_order_relaxed);
    }

    void lock_slow(fiber_record* self);
    void lock_shared_slow(fiber_record* self);
    bool take_or_announce(bool shared) noexcept;
    void unlock_slow(word_type word) noexcept;
    void unlock_shared_slow() noexcept;
    void hand_to_writer() noexcept;
    wait_queue_of<waiting_reader> take_readers() noexcept;
    [[noreturn]] static void destroyed_in_use() noexcept;

    atomic<word_type> word_{0};
    spin_lock lock_; // above the locks of run queues and timers
    wait_queue_of<waiting_reader> readers_;
    wait_queue_of<waiting_writer> writers_;
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_SYNC_SHARED_MUTEX_CORE_HPP
