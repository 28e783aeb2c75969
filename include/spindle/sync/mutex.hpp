//
// spindle/sync/mutex.hpp
// ~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_SYNC_MUTEX_HPP
#define SPINDLE_SYNC_MUTEX_HPP

#include <spindle/config.hpp>
#include <spindle/detail/base/atomic.hpp>
#include <spindle/detail/base/clock.hpp>
#include <spindle/detail/sync/async_lock.hpp>
#include <spindle/detail/sync/mutex_core.hpp>

#include <chrono>
#include <cstddef>
#include <mutex>
#include <utility>

namespace spindle {

/// One fiber at a time.
/**
 * As `std::mutex`, for fibers: who has to wait parks, and its thread runs others.
 * Use it with `std::lock_guard`, `std::unique_lock`, `std::scoped_lock`.
 *
 * It may be held while the fiber waits for something else, and the fiber may
 * unlock it on another thread than it locked it on. Who waits longest is served
 * first, but those that run may overtake it a few times: so a busy mutex does not
 * cost a switch each time, and nobody starves.
 *
 * @par Example
 * @code
 * spindle::mutex m;
 * std::map<int, session> sessions; // under m
 *
 * void close(int id)
 * {
 *     std::lock_guard const guard(m);
 *     sessions.erase(id);
 * }
 * @endcode
 *
 * @par Blocking
 * `lock()` parks the calling fiber; on a plain thread it blocks the thread.
 *
 * @par Cancellation
 * `lock()` is not a cancellation point. `async_lock()` honours its token's slot.
 *
 * @par Thread Safety
 * @e Distinct @e objects: Safe.@n
 * @e Shared @e objects: Safe, from fibers of any scheduler, from plain threads
 * and, but for `lock()` where it would wait, from handlers.
 *
 * @par Lifetime
 * Must not be destroyed while somebody owns it or waits for it: the process ends
 * with a message. May be destroyed by whoever was the last to unlock it.
 */
class mutex {
public:
    mutex() noexcept = default;
    mutex(mutex const&) = delete;
    mutex& operator=(mutex const&) = delete;

    /// Waits until nobody owns the mutex, and owns it.
    /**
     * @pre The caller does not own it.
     *
     * @throws system_error `errc::not_in_fiber` in a completion handler,
     * whether it would have to wait or not: use `try_lock()` or `async_lock()` there.
     */
    void lock() { core_.lock(); }

    /// Owns the mutex, if nobody does. Never waits.
    [[nodiscard]] bool try_lock() noexcept
    {
        detail::explored_point();
        return core_.try_lock();
    }

    /// Lets it go, to one who waits for it if there is any.
    /**
     * @pre The mutex is locked: else the process ends with a message.
     */
    void unlock() noexcept { core_.unlock(); }

    /// Locks from a callback or a coroutine.
    /**
     * Completes with `void(error_code, std::unique_lock<mutex>)`. The lock owns
     * the mutex from before the handler is queued, unless there is an error, which
     * can only be `operation_aborted`. Honours the token's associated executor,
     * allocator, cancellation slot (any type) and immediate executor.
     *
     * @par Example
     * @code
     * auto lock = co_await m.async_lock(asio::use_awaitable);
     * @endcode
     *
     * @par Lifetime
     * The mutex stays until the handler was called. A handler that is destroyed
     * without being called unlocks it.
     */
    template <class CompletionToken>
    auto async_lock(CompletionToken&& token)
    {
        return detail::async_lock<std::unique_lock<mutex>, detail::mutex_waiter>(
            *this, core_, std::forward<CompletionToken>(token));
    }

private:
    detail::mutex_core core_;
};

/// A mutex that one can try to lock for a while.
/**
 * As `mutex`, and as `std::timed_mutex`.
 *
 * @par Cancellation
 * `lock()` is not a cancellation point. `try_lock_for()` and `try_lock_until()`
 * are, whether they have to wait or not.
 */
class timed_mutex {
public:
    timed_mutex() noexcept = default;
    timed_mutex(timed_mutex const&) = delete;
    timed_mutex& operator=(timed_mutex const&) = delete;

    /// Waits until nobody owns the mutex, and owns it. As `mutex::lock`.
    void lock() { core_.lock(); }

    /// Owns the mutex, if nobody does. Never waits.
    [[nodiscard]] bool try_lock() noexcept
    {
        detail::explored_point();
        return core_.try_lock();
    }

    /// Waits until nobody owns the mutex, and owns it; for at most `d`.
    /**
     * @returns Whether the caller owns it now.
     *
     * @throws system_error `operation_aborted` if the fiber was, or is then, asked
     * to stop; `errc::not_in_fiber` in a completion handler.
     */
    template <class Rep, class Period>
    [[nodiscard]] bool try_lock_for(std::chrono::duration<Rep, Period> const& d)
    {
        return core_.lock_until(detail::deadline_after(d));
    }

    /// As `try_lock_for`, until `deadline`, of any clock.
    template <class Clock, class Duration>
    [[nodiscard]] bool try_lock_until(std::chrono::time_point<Clock, Duration> const& deadline)
    {
        return detail::wait_until_deadline(
            deadline, [this](detail::time_point t) { return core_.lock_until(t); });
    }

    /// Lets it go, to one who waits for it if there is any. As `mutex::unlock`.
    void unlock() noexcept { core_.unlock(); }

    /// Locks from a callback or a coroutine. As `mutex::async_lock`.
    /**
     * Completes with `void(error_code, std::unique_lock<timed_mutex>)`.
     */
    template <class CompletionToken>
    auto async_lock(CompletionToken&& token)
    {
        return detail::async_lock<std::unique_lock<timed_mutex>, detail::mutex_waiter>(
            *this, core_, std::forward<CompletionToken>(token));
    }

private:
    detail::mutex_core core_;
};

/// A mutex that its owner may lock again.
/**
 * As `std::recursive_mutex`: it is free again after as many calls of `unlock()`.
 * The owner is a fiber, whatever thread it runs on; outside of fibers it is a
 * thread.
 *
 * @par Blocking, Cancellation, Thread Safety, Lifetime
 * As `mutex`. It has no `async_lock()`: a handler is nobody who could own it.
 */
class recursive_mutex {
public:
    recursive_mutex() noexcept = default;
    recursive_mutex(recursive_mutex const&) = delete;
    recursive_mutex& operator=(recursive_mutex const&) = delete;

    /// Waits until nobody else owns the mutex, and owns it once more.
    /**
     * @throws system_error `errc::not_in_fiber` in a completion handler: use
     * `try_lock()` there.
     */
    SPINDLE_DECL void lock();

    /// Owns the mutex once more, if nobody else does. Never waits.
    [[nodiscard]] SPINDLE_DECL bool try_lock() noexcept;

    /// Undoes one `lock()`.
    /**
     * @pre The caller owns it: else the process ends with a message.
     */
    SPINDLE_DECL void unlock() noexcept;

private:
    bool enter_again() noexcept;
    void enter() noexcept;

    detail::mutex_core core_;
    detail::atomic<void const*> owner_{nullptr}; // the caller's own, or somebody else's
    std::size_t depth_ = 0;                      // the owner's
};

} // namespace spindle

#endif // SPINDLE_SYNC_MUTEX_HPP
