//
// spindle/sync/latch.hpp
// ~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_SYNC_LATCH_HPP
#define SPINDLE_SYNC_LATCH_HPP

#include <spindle/config.hpp>
#include <spindle/detail/sync/async_wait.hpp>
#include <spindle/detail/sync/countdown.hpp>

#include <cstddef>
#include <limits>
#include <utility>

namespace spindle {

/// A gate that opens once, when it was counted down to zero.
/**
 * As `std::latch`. For work that comes and goes in rounds use `wait_group` or
 * `barrier`.
 *
 * @par Example
 * @code
 * spindle::latch ready(3);
 * for (int i = 0; i != 3; ++i)
 *     spindle::go([&, i] {
 *         load(i);
 *         ready.arrive_and_wait(); // all are loaded
 *         serve(i);
 *     });
 * @endcode
 *
 * @par Blocking
 * `wait()` and `arrive_and_wait()` park the calling fiber; on a plain thread they
 * block the thread. The others never wait.
 *
 * @par Cancellation
 * Not a cancellation point: the next cancellable wait reports the stop.
 * `async_wait()` can be cancelled.
 *
 * @par Thread Safety
 * @e Distinct @e objects: Safe.@n
 * @e Shared @e objects: Safe, from fibers of any scheduler, from plain threads
 * and, but for `wait()` and `arrive_and_wait()`, from handlers.
 *
 * @par Lifetime
 * May be destroyed as soon as all waits have returned, and all handlers of
 * `async_wait()` were called.
 */
class latch {
public:
    /// Constructs with `expected` arrivals to wait for.
    /**
     * @pre `0 <= expected`, and at most `max()`: else the process ends with a
     * message.
     */
    explicit latch(std::ptrdiff_t expected) noexcept : count_(checked(expected)) {}

    latch(latch const&) = delete;
    latch& operator=(latch const&) = delete;

    /// The most arrivals that a latch can wait for.
    static constexpr std::ptrdiff_t max() noexcept
    {
        return std::numeric_limits<std::ptrdiff_t>::max();
    }

    /// Arrives `n` times, and does not wait.
    /**
     * @pre `0 <= n`, and at most what is left: else the process ends with a message.
     */
    SPINDLE_DECL void count_down(std::ptrdiff_t n = 1) noexcept;

    /// Whether the gate is open.
    [[nodiscard]] bool try_wait() const noexcept { return count_.is_zero(); }

    /// Waits until the gate is open.
    /**
     * @throws system_error `errc::not_in_fiber` in a completion handler: use
     * `try_wait()` or `async_wait()` there.
     */
    void wait() const { count_.wait(detail::wait_reason::latch); }

    /// Arrives `n` times, and waits until the gate is open.
    /**
     * @pre As `count_down()`.
     *
     * @throws system_error `errc::not_in_fiber` in a completion handler, which has
     * then not arrived.
     */
    SPINDLE_DECL void arrive_and_wait(std::ptrdiff_t n = 1);

    /// Completes when the gate is open.
    /**
     * The signature is `void(error_code)`; the one error is `operation_aborted`,
     * where the token's cancellation slot is emitted, whatever the type. Honours
     * the token's executor, immediate executor and allocator.
     */
    template <class CompletionToken>
    auto async_wait(CompletionToken&& token)
    {
        return detail::async_wait(count_, std::forward<CompletionToken>(token));
    }

private:
    SPINDLE_DECL static std::size_t checked(std::ptrdiff_t expected) noexcept;

    mutable detail::countdown count_;
};

} // namespace spindle

#endif // SPINDLE_SYNC_LATCH_HPP
