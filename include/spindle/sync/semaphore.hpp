//
// spindle/sync/semaphore.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_SYNC_SEMAPHORE_HPP
#define SPINDLE_SYNC_SEMAPHORE_HPP

#include <spindle/config.hpp>
#include <spindle/detail/base/atomic.hpp>
#include <spindle/detail/base/clock.hpp>
#include <spindle/detail/base/spin_lock.hpp>
#include <spindle/detail/fiber/stop.hpp>
#include <spindle/detail/sync/async_wait.hpp>
#include <spindle/detail/sync/wait_queue.hpp>

#include <chrono>
#include <cstddef>
#include <limits>
#include <utility>

namespace spindle {

namespace detail {

// Shape
//
//   word_      the permits, times two, plus one where somebody may wait
//   waiters    who waits, under lock
//
// Who may touch what
//
//   word_      any thread. Marked: permits are taken under lock only, and only by
//              or for the first in the queue
//   waiters    under lock
//
// Invariants
//
//   I1  Whoever is in the queue, outside the lock: the word is marked, and there is
//       no permit, or a release() is on its way to the lock.
//   I2  A permit is in the word, or with one who has acquired it.
//
// Why it is correct
//
//   A waiter marks the word by a compare-exchange that fails where there is a
//   permit to take. So a release() that does not see the mark has left a permit
//   that the waiter sees; one that sees it takes the lock, and gives what there is
//   to those in the queue, in order: it takes the permit and the waiter out in one
//   critical section. So a stop, a deadline and a cancellation, which take a waiter
//   out under the same lock, lose no permit and waste none.
//   A mark without a waiter, of one who has left, is taken off by the next one who
//   holds the lock.
//   Release by release() and acquire by whoever takes a permit carry what was done
//   before; where release() takes it for a waiter, its lock and the wake-up do.
//
// Evidence: test/sync/semaphore.cpp
class semaphore_core {
public:
    explicit semaphore_core(std::size_t permits) noexcept : word_(permits * one) {}

    // Any thread. False: there is none, or others were first.
    [[nodiscard]] bool try_acquire() noexcept
    {
        auto word = word_.load(std::memory_order_relaxed);
        while (word >= one && (word & mark) == 0)
            if (word_.compare_exchange_weak(
                    word, word - one, std::memory_order_acquire, std::memory_order_relaxed))
                return true;
        return word > mark && try_acquire_marked();
    }

    // Of the waiting_fiber(). False: not by then. Throws operation_aborted, and for
    // a deadline what timers_for() does.
    SPINDLE_DECL bool acquire_slow(fiber_record* self, time_point deadline);

    // Any thread.
    void release(std::size_t n) noexcept
    {
        if ((word_.fetch_add(n * one, std::memory_order_release) & mark) != 0) [[unlikely]]
            hand_out();
    }

    std::size_t permits() const noexcept { return word_.load(std::memory_order_relaxed) / one; }

    // For async_wait(). Takes a permit, unless it says true.
    SPINDLE_DECL bool must_wait() noexcept;
    void give_back() noexcept { release(1); }

    spin_lock lock;
    wait_queue waiters;

private:
    SPINDLE_DECL bool try_acquire_marked() noexcept;
    SPINDLE_DECL void hand_out() noexcept;

    // With the lock held. Takes a permit if there is one, and leaves the mark at
    // `then`; else at `otherwise`.
    bool take_one(std::size_t then, std::size_t otherwise) noexcept;

    static constexpr std::size_t one = 2;
    static constexpr std::size_t mark = 1;

    atomic<std::size_t> word_;
};

// Ends the process with a message.
[[noreturn]] SPINDLE_DECL void bad_permits(
    char const* where, std::ptrdiff_t n, std::ptrdiff_t most) noexcept;

} // namespace detail

/// A number of permits, for as many as may do something at a time.
/**
 * As `std::counting_semaphore`, but that who waits is served first come, first
 * served: nobody who comes later, and no `try_acquire()`, takes a permit that
 * somebody waits for.
 *
 * @par Example
 * @code
 * spindle::counting_semaphore<> connections(16);
 * void query(request const& r)
 * {
 *     connections.acquire(); // parks while 16 are under way
 *     ask(r);
 *     connections.release();
 * }
 * @endcode
 *
 * @par Blocking
 * `acquire()` and the timed forms park the calling fiber; on a plain thread they
 * block the thread. `try_acquire()` and `release()` never wait. Where nobody waits,
 * each is one atomic read-modify-write.
 *
 * @par Cancellation
 * `acquire()` and the timed forms are cancellation points, whether they would wait or
 * not: the fiber has then no permit.
 *
 * @par Thread Safety
 * @e Distinct @e objects: Safe.@n
 * @e Shared @e objects: Safe, from fibers of any scheduler and from plain threads;
 * `try_acquire()`, `release()` and `async_acquire()` from handlers, too. Who
 * releases need not have acquired.
 *
 * @par Lifetime
 * As `std::counting_semaphore`: must outlive every call, `release()` too; and every
 * handler of `async_acquire()`.
 *
 * @tparam LeastMaxValue The most permits there are at a time.
 */
template <std::ptrdiff_t LeastMaxValue = std::numeric_limits<std::ptrdiff_t>::max()>
class counting_semaphore {
    static_assert(LeastMaxValue >= 0, "a semaphore has no fewer than no permits");

public:
    /// Constructs with `desired` permits.
    /**
     * @pre `0 <= desired && desired <= max()`: else the process ends with a message.
     */
    explicit counting_semaphore(std::ptrdiff_t desired) noexcept : core_(checked(desired)) {}

    counting_semaphore(counting_semaphore const&) = delete;
    counting_semaphore& operator=(counting_semaphore const&) = delete;

    /// The most permits there are at a time.
    static constexpr std::ptrdiff_t max() noexcept { return LeastMaxValue; }

    /// Gives `n` permits back, or makes them.
    /**
     * @pre `0 <= n`, and there are then no more than `max()`: else the process ends
     * with a message.
     */
    void release(std::ptrdiff_t n = 1) noexcept
    {
        if (n < 0 || n > max() - static_cast<std::ptrdiff_t>(core_.permits())) [[unlikely]]
            detail::bad_permits("counting_semaphore::release", n, max());
        core_.release(static_cast<std::size_t>(n));
    }

    /// Takes a permit, and waits for it.
    /**
     * @throws system_error `boost::asio::error::operation_aborted` if the fiber was
     * asked to stop, `errc::not_in_fiber` in a completion handler.
     */
    void acquire()
    {
        (void)acquire_until(detail::time_point::max());
    }

    /// Takes a permit if there is one, and nobody waits for it.
    [[nodiscard]] bool try_acquire() noexcept
    {
        detail::explored_point();
        return core_.try_acquire();
    }

    /// Takes a permit, and waits for it until `deadline`.
    /**
     * @returns False: there was none by then.
     *
     * @throws system_error As `acquire()`.
     */
    template <class Clock, class Duration>
    [[nodiscard]] bool try_acquire_until(std::chrono::time_point<Clock, Duration> const& deadline)
    {
        return detail::wait_until_deadline(
            deadline, [this](detail::time_point t) { return acquire_until(t); });
    }

    /// Takes a permit, and waits for it as long as `d`.
    /**
     * @returns False: there was none in that time.
     *
     * @throws system_error As `acquire()`.
     */
    template <class Rep, class Period>
    [[nodiscard]] bool try_acquire_for(std::chrono::duration<Rep, Period> const& d)
    {
        return acquire_until(detail::deadline_after(d));
    }

    /// Completes when it has taken a permit.
    /**
     * The signature is `void(error_code)`; the one error is `operation_aborted`,
     * where the token's cancellation slot is emitted, whatever the type, and there
     * is then no permit. Waits in the same queue as all others. Honours the token's
     * executor, immediate executor and allocator. A handler that is destroyed
     * without being called gives its permit back.
     *
     * @par Example
     * @code
     * co_await connections.async_acquire(boost::asio::use_awaitable);
     * @endcode
     */
    template <class CompletionToken>
    auto async_acquire(CompletionToken&& token)
    {
        return detail::async_wait(core_, std::forward<CompletionToken>(token));
    }

private:
    bool acquire_until(detail::time_point deadline)
    {
        auto* const self = detail::waiting_fiber_unless_stopped();
        return core_.try_acquire() || core_.acquire_slow(self, deadline);
    }

    static std::size_t checked(std::ptrdiff_t desired) noexcept
    {
        if (desired < 0 || desired > max()) [[unlikely]]
            detail::bad_permits("counting_semaphore", desired, max());
        return static_cast<std::size_t>(desired);
    }

    detail::semaphore_core core_;
};

/// A semaphore with one permit at most: a signal that is taken once.
using binary_semaphore = counting_semaphore<1>;

} // namespace spindle

#endif // SPINDLE_SYNC_SEMAPHORE_HPP
