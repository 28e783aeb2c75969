//
// spindle/sync/condition_variable.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_SYNC_CONDITION_VARIABLE_HPP
#define SPINDLE_SYNC_CONDITION_VARIABLE_HPP

#include <spindle/config.hpp>
#include <spindle/detail/base/clock.hpp>
#include <spindle/detail/sync/async_relock.hpp>
#include <spindle/detail/sync/condition_core.hpp>
#include <spindle/error.hpp>

#include <boost/asio/async_result.hpp>
#include <boost/system/errc.hpp>

#include <chrono>
#include <condition_variable>
#include <stop_token>
#include <utility>

namespace spindle {

/// Waits until somebody says that something has changed.
/**
 * As `std::condition_variable_any`: for locks of this library's mutexes, and any
 * other that has `lock()` and `unlock()`. It never wakes anybody spuriously, but
 * what was waited for may have changed again before the mutex is locked: wait in a
 * loop, or with a predicate.
 *
 * @par Example
 * @code
 * spindle::mutex m;
 * spindle::condition_variable changed;
 * std::deque<job> jobs; // under m
 *
 * job next()
 * {
 *     std::unique_lock lock(m);
 *     changed.wait(lock, [&] { return !jobs.empty(); });
 *     auto j = std::move(jobs.front());
 *     jobs.pop_front();
 *     return j;
 * }
 * @endcode
 *
 * @par Blocking
 * The waits park the calling fiber; on a plain thread they block the thread. Callbacks
 * and coroutines use `async_wait`.
 *
 * @par Cancellation
 * The waits are cancellation points: they lock the mutex, then throw
 * `operation_aborted`. Those that take a `std::stop_token` return where that is
 * asked to stop; where it is the fiber's own, or that of a scope that the fiber has
 * open, they do not throw for a stop that requests it.
 *
 * @par Thread Safety
 * @e Distinct @e objects: Safe.@n
 * @e Shared @e objects: Safe, from fibers of any scheduler, from plain threads
 * and, but for the waits that block, from handlers.
 *
 * @par Lifetime
 * May be destroyed once all who wait have been notified, even if they have not
 * returned: the destructor waits until they have left it. Must not be destroyed
 * while somebody waits un-notified: the process ends with a message.
 *
 * @par Exceptions
 * All waits throw `system_error`: `operation_aborted`, as said; and
 * `errc::not_in_fiber` in a completion handler, with the lock held as before. What
 * the lock's `lock()` and `unlock()` throw goes through.
 */
class condition_variable {
public:
    condition_variable() noexcept = default;
    condition_variable(condition_variable const&) = delete;
    condition_variable& operator=(condition_variable const&) = delete;

    /// Wakes the one that waits longest.
    void notify_one() noexcept
    {
        detail::explored_point();
        core_.notify_one();
    }

    /// Wakes all that wait.
    void notify_all() noexcept
    {
        detail::explored_point();
        core_.notify_all();
    }

    /// Unlocks, waits until it is notified, and locks.
    template <class Lock>
    void wait(Lock& lock)
    {
        (void)wait_for_notice(lock, detail::time_point::max(), {});
    }

    /// Waits until `pred()`.
    template <class Lock, class Predicate>
    void wait(Lock& lock, Predicate pred)
    {
        while (!pred())
            wait(lock);
    }

    /// As `wait`, until `deadline`, of any clock.
    template <class Lock, class Clock, class Duration>
    std::cv_status wait_until(
        Lock& lock, std::chrono::time_point<Clock, Duration> const& deadline)
    {
        return notified_by(lock, deadline, {}) ? std::cv_status::no_timeout
                                               : std::cv_status::timeout;
    }

    /// Waits until `pred()`, or until `deadline`.
    /**
     * @returns `pred()`.
     */
    template <class Lock, class Clock, class Duration, class Predicate>
    bool wait_until(
        Lock& lock, std::chrono::time_point<Clock, Duration> const& deadline, Predicate pred)
    {
        while (!pred())
            if (!notified_by(lock, deadline, {}))
                return pred();
        return true;
    }

    /// As `wait`, for at most `d`.
    template <class Lock, class Rep, class Period>
    std::cv_status wait_for(Lock& lock, std::chrono::duration<Rep, Period> const& d)
    {
        return wait_until(lock, detail::deadline_after(d));
    }

    /// Waits until `pred()`, for at most `d`.
    /**
     * @returns `pred()`.
     */
    template <class Lock, class Rep, class Period, class Predicate>
    bool wait_for(Lock& lock, std::chrono::duration<Rep, Period> const& d, Predicate pred)
    {
        return wait_until(lock, detail::deadline_after(d), std::move(pred));
    }

    /// Waits until `pred()`, or until `token` is asked to stop.
    /**
     * @returns `pred()`.
     */
    template <class Lock, class Predicate>
    bool wait(Lock& lock, std::stop_token token, Predicate pred)
    {
        return wait_until(lock, std::move(token), detail::time_point::max(), std::move(pred));
    }

    /// Waits until `pred()`, until `token` is asked to stop, or until `deadline`.
    /**
     * @returns `pred()`.
     */
    template <class Lock, class Clock, class Duration, class Predicate>
    bool wait_until(
        Lock& lock, std::stop_token token,
        std::chrono::time_point<Clock, Duration> const& deadline, Predicate pred)
    {
        if (token.stop_requested())
            return pred();
        while (!pred())
            if (!notified_by(lock, deadline, token) || token.stop_requested())
                return pred();
        return true;
    }

    /// Waits until `pred()`, until `token` is asked to stop, for at most `d`.
    /**
     * @returns `pred()`.
     */
    template <class Lock, class Rep, class Period, class Predicate>
    bool wait_for(
        Lock& lock, std::stop_token token, std::chrono::duration<Rep, Period> const& d,
        Predicate pred)
    {
        return wait_until(lock, std::move(token), detail::deadline_after(d), std::move(pred));
    }

    /// Unlocks, waits until it is notified, and locks; for callbacks and coroutines.
    /**
     * Completes with `void(error_code, Lock)`. `lock` is a `std::unique_lock` of
     * what has `async_lock`, or a `std::shared_lock` of a `shared_mutex`, and owns
     * it. It is unlocked before this returns, and the handler gets it locked, also
     * with the only error there is: `operation_aborted`, when the token's
     * cancellation slot was emitted (any type) before a notice came.
     *
     * @code
     * std::unique_lock lock = co_await m.async_lock(use_awaitable);
     * while (jobs.empty())
     *     lock = co_await changed.async_wait(std::move(lock), use_awaitable);
     * @endcode
     *
     * @throws system_error `operation_not_permitted` if `lock` owns nothing. What
     * the initiation throws: then the mutex is unlocked, and nobody waits.
     *
     * @par Thread Safety
     * Any thread, fiber or handler that may unlock the mutex.
     *
     * @par Lifetime
     * The condition variable must not be destroyed before the wait was notified or
     * cancelled, nor while its cancellation slot can be emitted; the mutex not
     * before the handler has the lock.
     */
    template <class Lock, class CompletionToken>
    auto async_wait(Lock lock, CompletionToken&& token)
    {
        if (!lock.owns_lock())
            detail::throw_error(
                make_error_code(boost::system::errc::operation_not_permitted),
                "condition_variable::async_wait() takes a lock that owns its mutex");
        return boost::asio::async_initiate<CompletionToken, void(error_code, Lock)>(
            detail::initiate_condition_wait(), token, &core_, std::move(lock));
    }

private:
    template <class Lock, class Clock, class Duration>
    bool notified_by(
        Lock& lock, std::chrono::time_point<Clock, Duration> const& deadline,
        std::stop_token const& token)
    {
        return detail::wait_until_deadline(deadline, [&](detail::time_point t) {
            return wait_for_notice(lock, t, token);
        });
    }

    // False: the deadline came first.
    template <class Lock>
    bool wait_for_notice(Lock& lock, detail::time_point deadline, std::stop_token const& token)
    {
        auto const result = [&] {
            detail::condition_wait w(core_, deadline);
            lock.unlock();
            return w.wait(token);
        }();
        lock.lock();
        if (result == detail::wait_result::aborted)
            detail::throw_error(detail::operation_aborted());
        return result != detail::wait_result::timed_out;
    }

    detail::condition_core core_;
};

} // namespace spindle

#endif // SPINDLE_SYNC_CONDITION_VARIABLE_HPP
