//
// spindle/detail/sync/mutex_core.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// What all mutexes are made of.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_SYNC_MUTEX_CORE_HPP
#define SPINDLE_DETAIL_SYNC_MUTEX_CORE_HPP

#include <spindle/config.hpp>
#include <spindle/detail/base/atomic.hpp>
#include <spindle/detail/base/clock.hpp>
#include <spindle/detail/base/spin_lock.hpp>
#include <spindle/detail/fiber/stop.hpp>
#include <spindle/detail/sync/wait_queue.hpp>

#include <cstdint>

namespace spindle::detail {

// Somebody in a mutex's queue.
struct mutex_waiter : queued_waiter {
    bool entitled = false; // is given the mutex, rather than woken to compete for it
    bool owns = false;     // was given it
};

// Shape
//
//   word_    locked    somebody owns the mutex
//            waiting   the queue may have somebody in it
//            woken     one was taken out of it and is on the way to compete
//   queue_   who waits, below lock_
//
//   lock:    free? take it. Else spin for a moment, then queue up and park.
//   unlock:  nobody waits, or one is on the way: clear `locked`. Else take the
//            first out of the queue. It is woken, and competes with whoever comes
//            meanwhile: a fiber that runs can lock and unlock often in the time
//            that one needs to be scheduled. If it was overtaken it goes to the
//            front of the queue; and is entitled:
//            the next unlock leaves the mutex locked and gives it to that one.
//
// Who may touch what
//
//   word_    any thread sets `locked`, and owns the mutex if it was clear; only the
//            owner clears it or sets `woken`, only who was woken clears that;
//            `waiting` is set below lock_, and cleared by the owner below lock_
//   queue_   whoever holds lock_
//
// Invariants
//
//   I1  Whoever is in the queue finds `locked` set and `waiting` set, or has one
//       before it that is on the way: the next unlock looks into the queue, or the
//       one on the way will, by its own unlock.
//   I2  At most one is on the way.
//   I3  Those who come later overtake a waiter while it is on the way, and it is on
//       the way at most once before it is handed the mutex.
//
// Why it is correct
//
//   Q  A waiter sets `waiting` by a compare-exchange that fails if `locked` was
//      cleared, with lock_ held until it has parked. An unlock that finds
//      `waiting` takes lock_, so finds the waiter parked and in the queue. One
//      that comes before the compare-exchange lets it fail.
//   W  Who is woken either takes the mutex and clears `woken` in one step, or
//      queues up again and clears it in one step that fails unless `locked` is
//      set: then that owner's unlock finds `waiting`. It does so also where it is
//      about to give up, so no wake-up is lost in it.
//   L  A waiter that leaves the queue otherwise, by its deadline, a stop or a
//      cancellation, leaves `waiting` behind. The next unlock finds the queue
//      empty and clears it.
//   D  The mutex may be destroyed by the next owner once it has unlocked it. An
//      unlock that finds nobody to wake lets go of lock_ first and of the mutex
//      last. One that wakes somebody touches nothing after it has let go of
//      lock_, and until then the one that it wakes is still inside lock().
//   S  Setting `locked` where it is set changes nothing. So lock() sets it by one
//      instruction, whatever the other flags say. A compare-exchange fails as long
//      as somebody is on the way, which may be long: until whoever runs gives way.
//   Acquire where `locked` is set and release where it is cleared carry what the
//   mutex protects; where it is handed over, lock_ and the wake-up do.
//
// Not done, and why
//
//   Go's mode of starvation, begun by a waiter that has waited for 1 ms: a fiber
//   that yields inside its section could overtake thousands of times in each
//   millisecond, and read the clock for it. Handing over always: each lock of a
//   busy mutex would cost a switch, for ever (a convoy). Clearing `locked` by one
//   instruction as well, and looking at the rest after it: the mutex may be gone by
//   then (D). doc/design/mutex.adoc.
//
// Evidence: test/model/mutex.cpp, test/sync/mutex.cpp, test/sync/timed_mutex.cpp,
// test/sync/async_lock.cpp
class SPINDLE_DECL mutex_core {
public:
    mutex_core() noexcept = default;
    mutex_core(mutex_core const&) = delete;
    mutex_core& operator=(mutex_core const&) = delete;
    ~mutex_core()
    {
        if (word_.load(std::memory_order_relaxed) != 0) [[unlikely]]
            destroyed_in_use();
    }

    // Throws not_in_fiber where one must not wait.
    void lock()
    {
        auto* const self = waiting_fiber();
        if (!take_free()) [[unlikely]]
            (void)wait_for_lock(self, time_point::max(), cancellable::no);
    }

    // Also throws operation_aborted.
    [[nodiscard]] bool lock_until(time_point deadline)
    {
        auto* const self = waiting_fiber_unless_stopped();
        return take_free() || lock_until_slow(self, deadline);
    }

    bool try_lock() noexcept { return try_take(0); }

    // The owner.
    void unlock() noexcept
    {
        auto word = locked;
        if (!word_.compare_exchange_strong(
                word, 0, std::memory_order_release, std::memory_order_relaxed)) [[unlikely]]
            unlock_slow(word);
    }

    // An asynchronous operation, which is always handed the mutex. True: it owns
    // the mutex; false: it is in the queue, and may be over already.
    bool lock_or_queue(mutex_waiter& w) noexcept;

    spin_lock& queue_lock() noexcept { return lock_; }

private:
    using word_type = std::uint32_t;
    static constexpr word_type locked = 1, waiting = 2, woken = 4;

    bool take_free() noexcept
    {
        return (word_.fetch_or(locked, std::memory_order_acquire) & locked) == 0; // S
    }

    // Clears the flags `mine` in the same step.
    bool try_take(word_type mine) noexcept
    {
        auto word = word_.load(std::memory_order_relaxed);
        while ((word & locked) == 0)
            if (take(word, (word & ~mine) | locked))
                return true;
        return false;
    }

    bool take(word_type& from, word_type to) noexcept
    {
        return word_.compare_exchange_strong(
            from, to, std::memory_order_acquire, std::memory_order_relaxed);
    }

    bool lock_until_slow(fiber_record* self, time_point deadline);
    wait_result wait_for_lock(fiber_record* self, time_point deadline, cancellable c);
    bool take_or_announce(word_type mine) noexcept;
    void unlock_slow(word_type word) noexcept;
    [[noreturn]] static void destroyed_in_use() noexcept;

    atomic<word_type> word_{0};
    spin_lock lock_; // above the locks of run queues and timers
    wait_queue_of<mutex_waiter> queue_;
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_SYNC_MUTEX_CORE_HPP
