//
// spindle/cancel/cancel_scope.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_CANCEL_CANCEL_SCOPE_HPP
#define SPINDLE_CANCEL_CANCEL_SCOPE_HPP

#include <spindle/config.hpp>
#include <spindle/detail/base/clock.hpp>
#include <spindle/detail/fiber/record.hpp>
#include <spindle/detail/fiber/scope.hpp>

#include <chrono>
#include <memory>
#include <optional>
#include <stop_token>
#include <type_traits>
#include <utility>

namespace spindle {

/// Why a scope is cancelled: `none`, `cancelled`, `deadline`, `enclosing`.
/**
 * `none`: it is not. `cancelled`: somebody has called `cancel()`, or requested the
 * stop of the token that it was made of. `deadline`: its own time is up.
 * `enclosing`: a scope around it was cancelled, or its fiber was asked to stop.
 * What came first stays.
 */
using cancel_reason = detail::scope_reason;

/// Says what value is meant. Its address is its name: make it a constant.
template <class T>
class key {
public:
    constexpr key() noexcept = default;
    key(key const&) = delete;
    key& operator=(key const&) = delete;

private:
    char name_ = 0; // so that no two share an address
};

/// A `cancel_scope` as seen from elsewhere; outlives it.
/**
 * @par Thread Safety
 * @e Distinct @e objects: Safe.@n
 * @e Shared @e objects: Safe, but for assignment.
 */
class cancel_handle {
public:
    /// Of no scope: `cancel()` does nothing.
    cancel_handle() noexcept = default;

    /// As `cancel_scope::cancel()`; nothing once the scope is gone.
    void cancel() const noexcept
    {
        if (state_)
            state_->cancel(cancel_reason::cancelled);
    }

    /// As `cancel_scope::reason()`; keeps what it was when the scope went.
    [[nodiscard]] cancel_reason reason() const noexcept
    {
        return state_ ? state_->reason_for_users() : cancel_reason::none;
    }

    /// As `cancel_scope::stop_token()`; of no scope: one that nobody can request.
    [[nodiscard]] std::stop_token stop_token() const
    {
        return state_ ? state_->token() : std::stop_token();
    }

private:
    friend class cancel_scope;
    friend class task_group;

    explicit cancel_handle(detail::scope_ptr state) noexcept : state_(std::move(state)) {}

    detail::scope_ptr state_;
};

/// What this fiber waits for in it is cancelled together. Go's context.
/**
 * From where it is made to where it goes, everything that its fiber waits for,
 * and what `spawn(fn)`, `task_group::spawn` and `start` begin there, ends with
 * `operation_aborted` once the scope is cancelled, or its time is up. It owns no
 * fiber and never waits; `task_group` does.
 *
 * Scopes nest. Cancelling one cancels those inside of it, so the nearest deadline
 * wins. Like a stop, a cancellation is for good: each later cancellable wait in
 * the scope fails at once. One that leaves the scope is as before.
 *
 * A fiber that was spawned in the scope and is left by `operation_aborted` after
 * the scope was cancelled has *stopped*; it has not failed.
 *
 * @par Example
 * @code
 * spindle::cancel_scope scope(2s);
 * auto const other = spindle::spawn([&] { fetch(mirror); });
 * fetch(origin);  // throws operation_aborted when 2 s are over; so does the other
 * @endcode
 *
 * @par Blocking
 * Never, neither in the constructor nor in the destructor.
 *
 * @par Cancellation
 * Asking the fiber itself to stop cancels the scopes that it has open. `shielded`
 * keeps out what comes from outside of it.
 *
 * @par Thread Safety
 * `cancel`, `reason`, `stop_token` and `handle`: from any thread. Made, given
 * values and destroyed by one fiber, the last one first; anything else ends the
 * process with a message.
 *
 * @par Lifetime
 * One that goes uncancelled hands what was begun in it, and goes on, to the scope
 * around it. A handle may outlive it.
 *
 * @par Errors
 * The constructors throw `errc::not_in_fiber` outside a fiber, and `bad_alloc`.
 */
class cancel_scope {
public:
    /// Without a deadline.
    cancel_scope() : cancel_scope(std::chrono::steady_clock::time_point::max()) {}

    /// Cancelled at `deadline`; at once if that has passed. `max()`: never.
    SPINDLE_DECL explicit cancel_scope(std::chrono::steady_clock::time_point deadline);

    /// Cancelled when `d` is over.
    template <class Rep, class Period>
    explicit cancel_scope(std::chrono::duration<Rep, Period> const& d)
        : cancel_scope(detail::deadline_after(d))
    {
    }

    /// Cancelled with `token`.
    SPINDLE_DECL explicit cancel_scope(std::stop_token token);

    cancel_scope(cancel_scope const&) = delete;
    cancel_scope& operator=(cancel_scope const&) = delete;

    /// Leaves the scope.
    SPINDLE_DECL ~cancel_scope();

    /// Cancels it, and the scopes inside.
    /**
     * From any thread, also in a handler, more than once. Does not wait for those
     * who are cancelled. Callbacks of stop tokens run in here.
     */
    void cancel() const noexcept { state_->cancel(cancel_reason::cancelled); }

    /// Why it is cancelled; `none` if it is not.
    [[nodiscard]] cancel_reason reason() const noexcept { return state_->reason(); }

    /// For what takes a `std::stop_token`. Requested when the scope is cancelled.
    [[nodiscard]] std::stop_token stop_token() const { return state_->token(); }

    /// For those who may cancel it; outlives it.
    [[nodiscard]] cancel_handle handle() const noexcept { return cancel_handle(state_); }

    /// Those who are in the scope see `value` from here on, and what they start.
    /**
     * Hides an outer scope's value, and one set before. Values are for what goes
     * along with a request, such as its id, and not for arguments.
     */
    template <class T>
    void set(key<T> const& k, std::type_identity_t<T> value)
    {
        state_->values.push(
            *std::make_unique<detail::value_of<T>>(&k, std::move(value)).release());
    }

private:
    struct request {
        detail::scope_state* state;
        void operator()() const noexcept { state->cancel(cancel_reason::cancelled); }
    };

    detail::scope_ptr state_;
    std::optional<std::stop_callback<request>> callback_; // goes first
};

namespace detail {

SPINDLE_DECL void const* find_value(void const* key) noexcept;

} // namespace detail

namespace this_fiber {

/// The value that the innermost scope has for `k`; nullptr if none has one.
/**
 * Stays where it is while the fiber is in that scope. Values come along with
 * `spawn(fn)`, `task_group::spawn` and `go`. On a plain thread and in a handler:
 * nullptr.
 *
 * @code
 * inline constexpr spindle::key<std::string> request_id;
 *
 * spindle::cancel_scope scope;
 * scope.set(request_id, "4711");
 * if (auto const* id = spindle::this_fiber::value(request_id))
 *     log(*id);
 * @endcode
 */
template <class T>
[[nodiscard]] T const* value(key<T> const& k) noexcept
{
    return static_cast<T const*>(detail::find_value(&k));
}

} // namespace this_fiber

} // namespace spindle

#endif // SPINDLE_CANCEL_CANCEL_SCOPE_HPP
