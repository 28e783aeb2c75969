//
// spindle/detail/sync/condition_core.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// The part of a condition variable that does not depend on the mutex.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_SYNC_CONDITION_CORE_HPP
#define SPINDLE_DETAIL_SYNC_CONDITION_CORE_HPP

#include <spindle/config.hpp>
#include <spindle/detail/base/atomic.hpp>
#include <spindle/detail/base/clock.hpp>
#include <spindle/detail/base/spin_lock.hpp>
#include <spindle/detail/fiber/hooks.hpp>
#include <spindle/detail/sync/wait_queue.hpp>

#include <cstddef>
#include <stop_token>

namespace spindle::detail {

// Who may touch what
//
//   waiters   whoever holds lock
//   inside_   who waits in a fiber or a thread, on its way in and out; the destructor
//
// Why it is correct
//
//   Q  A waiter is in the queue before it unlocks the mutex, so who changes what
//      it waits for below the mutex, and then notifies, finds it. It parks after
//      that: whoever took it out before owes no wake-up (wait_queue.hpp, E).
//   D  Who was notified may still be on its way out when the variable goes: the
//      destructor waits until it has left, which it does before it locks the
//      mutex, since the destructor may be called below that. One that waits
//      asynchronously is out of the queue when it is notified, and touches the
//      variable no more, unless its slot is emitted.
//   T  A stop_callback takes its own waiter out, after the token says
//      stop_requested(). The waiter looks at the token below the lock, in the queue:
//      it sees the stop, or the callback finds it parked. The callback goes, and is
//      waited for, before the waiter leaves the variable: D holds for it, too.
//
// Not done, and why
//
//   Moving those that notify_all() wakes to the mutex's queue, so that they do not
//   all run at once to find it locked: it would have to know the mutex of each.
//
// Evidence: test/sync/condition_variable.cpp
class SPINDLE_DECL condition_core {
public:
    condition_core() noexcept = default;
    condition_core(condition_core const&) = delete;
    condition_core& operator=(condition_core const&) = delete;
    ~condition_core();

    void notify_one() noexcept;
    void notify_all() noexcept;

    // For async_wait().
    spin_lock lock; // above the locks of run queues and timers
    wait_queue waiters;
    static constexpr bool must_wait() noexcept { return true; }

private:
    friend class condition_wait;

    atomic<std::size_t> inside_{0};
};

// One wait: in the queue from its construction on.
class SPINDLE_DECL condition_wait {
public:
    // Below the mutex. Throws not_in_fiber where the caller must not wait.
    condition_wait(condition_core& c, time_point deadline);
    condition_wait(condition_wait const&) = delete;
    condition_wait& operator=(condition_wait const&) = delete;
    ~condition_wait();

    // Once the mutex was unlocked. `done` also where the token was asked to stop.
    wait_result wait(std::stop_token const& token) noexcept;

private:
    // Around the waiter's life.
    struct presence {
        explicit presence(condition_core& c) noexcept;
        ~presence();

        condition_core& core;
    };

    void token_stopped() noexcept;

    presence inside_;
    blocked_waiter<> waiter_;
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_SYNC_CONDITION_CORE_HPP
