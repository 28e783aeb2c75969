//
// spindle/sync/shared_mutex.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_SYNC_SHARED_MUTEX_HPP
#define SPINDLE_SYNC_SHARED_MUTEX_HPP

#include <spindle/config.hpp>
#include <spindle/detail/sync/async_lock.hpp>
#include <spindle/detail/sync/shared_mutex_core.hpp>

#include <mutex>
#include <shared_mutex>
#include <utility>

namespace spindle {

/// Many readers at a time, or one writer.
/**
 * As `std::shared_mutex`, for fibers. Use it with `std::unique_lock` and
 * `std::shared_lock`.
 *
 * A writer that waits stops new readers; when a writer is done, all readers that
 * wait by then come in, and after them the next writer. So neither starves: a
 * writer waits for the readers inside, and for one batch of readers for each writer
 * before it; a reader for a few writers. For the same reason a reader must not lock
 * it once more: it would wait for a writer that waits for it.
 *
 * @par Example
 * @code
 * spindle::shared_mutex m;
 * std::map<std::string, address> routes; // under m
 *
 * address find(std::string const& name)
 * {
 *     std::shared_lock const lock(m);
 *     return routes.at(name);
 * }
 *
 * void set(std::string const& name, address a)
 * {
 *     std::unique_lock const lock(m);
 *     routes[name] = a;
 * }
 * @endcode
 *
 * @par Blocking
 * `lock()` and `lock_shared()` park the calling fiber; on a plain thread they block
 * the thread.
 *
 * @par Cancellation
 * These are not cancellation points. `async_lock()` and `async_lock_shared()`
 * honour their token's slot.
 *
 * @par Thread Safety
 * @e Distinct @e objects: Safe.@n
 * @e Shared @e objects: Safe, from fibers of any scheduler, from plain threads
 * and, but for locks that would wait, from handlers.
 *
 * @par Lifetime
 * Must not be destroyed while somebody owns it or waits for it: the process ends
 * with a message. May be destroyed by whoever was the last to let it go.
 */
class shared_mutex {
public:
    shared_mutex() noexcept = default;
    shared_mutex(shared_mutex const&) = delete;
    shared_mutex& operator=(shared_mutex const&) = delete;

    /// Waits until nobody owns the mutex, and owns it alone.
    /**
     * @pre The caller owns it in neither way.
     *
     * @throws system_error `errc::not_in_fiber` in a completion handler,
     * whether it would have to wait or not: use `try_lock()` or `async_lock()` there.
     */
    void lock() { core_.lock(); }

    /// Owns the mutex alone, if nobody owns it. Never waits.
    [[nodiscard]] bool try_lock() noexcept
    {
        detail::explored_point();
        return core_.try_lock();
    }

    /// Lets it go after `lock()`.
    /**
     * @pre A writer owns it: else the process ends with a message.
     */
    void unlock() noexcept { core_.unlock(); }

    /// Waits until no writer owns the mutex or waits for it, and owns it with others.
    /**
     * @pre The caller owns it in neither way.
     *
     * @throws system_error `errc::not_in_fiber` in a completion handler,
     * whether it would have to wait or not: use `try_lock_shared()` or `async_lock_shared()` there.
     */
    void lock_shared() { core_.lock_shared(); }

    /// Owns the mutex with others, if no writer owns it or waits for it. Never waits.
    [[nodiscard]] bool try_lock_shared() noexcept
    {
        detail::explored_point();
        return core_.try_lock_shared();
    }

    /// Lets it go after `lock_shared()`.
    /**
     * @pre A reader owns it: else the process ends with a message.
     */
    void unlock_shared() noexcept { core_.unlock_shared(); }

    /// Locks as a writer, from a callback or a coroutine.
    /**
     * Completes with `void(error_code, std::unique_lock<shared_mutex>)`; otherwise
     * as `mutex::async_lock`.
     */
    template <class CompletionToken>
    auto async_lock(CompletionToken&& token)
    {
        return detail::async_lock<std::unique_lock<shared_mutex>, detail::waiting_writer>(
            *this, core_, std::forward<CompletionToken>(token));
    }

    /// Locks as a reader, from a callback or a coroutine.
    /**
     * Completes with `void(error_code, std::shared_lock<shared_mutex>)`; otherwise
     * as `mutex::async_lock`.
     */
    template <class CompletionToken>
    auto async_lock_shared(CompletionToken&& token)
    {
        return detail::async_lock<std::shared_lock<shared_mutex>, detail::waiting_reader>(
            *this, core_, std::forward<CompletionToken>(token));
    }

private:
    detail::shared_mutex_core core_;
};

} // namespace spindle

#endif // SPINDLE_SYNC_SHARED_MUTEX_HPP
