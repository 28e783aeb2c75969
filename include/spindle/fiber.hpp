//
// spindle/fiber.hpp
// ~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_FIBER_HPP
#define SPINDLE_FIBER_HPP

#include <spindle/config.hpp>
#include <spindle/detail/asio/spawn_fiber.hpp>
#include <spindle/detail/asio/spawn_stop.hpp>
#include <spindle/error.hpp>

#include <boost/intrusive_ptr.hpp>
#include <boost/smart_ptr/intrusive_ref_counter.hpp>
#include <boost/system/errc.hpp>

#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

namespace spindle {

namespace detail {

// What a fiber and its handle share. One waits at most: the handle's owner.
class SPINDLE_DECL join_state : public boost::intrusive_ref_counter<join_state> {
public:
    virtual ~join_state() = default;

    // The fiber. `e` null: it returned.
    void finish(std::exception_ptr e, bool stopped) noexcept;

    // The handle's owner. Waits until the fiber has ended; a stop of the waiting
    // fiber ends the wait if `cancellable`, and then it returns false.
    bool wait(bool cancellable);

    bool finished() const noexcept { return done_.load(std::memory_order_acquire); }

    std::exception_ptr error;  // valid once finished
    bool was_stopped = false;  // the error is the fiber's stop, and no failure
    asio_core* core = nullptr; // whose unhandled_exception hears of a lost error
    spawn_stop stop;

private:
    class waiting;

    // The waiter, if it is still there, and that one if one is named.
    waiting* take(waiting* expected) noexcept;

    spin_lock lock_;
    atomic<bool> done_{false};
    waiting* waiter_ = nullptr; // under lock_
};

template <class R>
struct join_result : join_state {
    std::optional<R> value;
};

template <>
struct join_result<void> : join_state {};

template <class Function, class R>
struct joinable_task {
    std::optional<Function> function;
    boost::intrusive_ptr<join_result<R>> state;

    void operator()() noexcept
    {
        std::exception_ptr error;
        auto stopped = false;
        state->stop.begin();
        try {
            if constexpr (std::is_void_v<R>)
                call_fiber_function(std::move(*function));
            else
                state->value.emplace(call_fiber_function(std::move(*function)));
        } catch (...) {
            error = std::current_exception();
            stopped = left_by_stop();
        }
        state->stop.end();
        function.reset();
        leave_scopes(*current_fiber());
        state->finish(std::move(error), stopped);
    }
};

template <class Function>
auto spawn_joinable(place&& where, spawn_options&& options, Function&& fn, void const* site);

// An error that nobody will ever see.
SPINDLE_DECL void lost(join_state& s) noexcept;

} // namespace detail

/// A handle to a fiber: joins it, stops it, and never leaves it behind.
/**
 * Made by `spindle::spawn(fn)`. Like `std::jthread`, its destructor stops the
 * fiber and waits for it.
 *
 * @par Example
 * @code
 * auto answer = spindle::spawn([] { return compute(); });
 * use(answer.join());
 * @endcode
 *
 * @par Blocking
 * `join()` and the destructor park the calling fiber; on a plain thread they
 * block it.
 *
 * @par Thread Safety
 * @e Distinct @e objects: Safe.@n
 * @e Shared @e objects: Unsafe, but for `request_stop()`.
 */
template <class R = void>
class [[nodiscard]] fiber {
public:
    /// No fiber.
    fiber() noexcept = default;

    fiber(fiber&&) noexcept = default;

    /// Stops and waits for the fiber that it had.
    fiber& operator=(fiber&& other) noexcept
    {
        fiber gone(std::move(*this));
        state_ = std::move(other.state_);
        return *this;
    }

    /// Stops the fiber and waits for it.
    /**
     * The fiber's own stop is discarded; any other exception that nobody has
     * joined goes to `scheduler_options::unhandled_exception`. Not a
     * cancellation point.
     */
    ~fiber()
    {
        if (!state_)
            return;
        request_stop();
        (void)state_->wait(false);
        if (state_->error && !state_->was_stopped)
            detail::lost(*state_);
    }

    /// True if there is a fiber to join.
    [[nodiscard]] bool joinable() const noexcept { return state_ != nullptr; }

    /// Waits for the fiber; returns its result, or throws what left it.
    /**
     * A fiber that was stopped ends with `operation_aborted`, if it lets that
     * exception out.
     *
     * @par Cancellation
     * A cancellation point: when the caller is stopped it throws
     * `operation_aborted`, and the fiber goes on and is still joinable.
     *
     * @throws system_error `invalid_argument` when there is no fiber,
     * `errc::not_in_fiber` in a completion handler.
     */
    R join()
    {
        if (!state_)
            detail::throw_error(
                make_error_code(boost::system::errc::invalid_argument),
                "this spindle::fiber has no fiber: it was joined, detached or moved from");
        if (!state_->wait(true))
            detail::throw_error(detail::operation_aborted());
        auto const state = std::move(state_);
        if (state->error)
            std::rethrow_exception(std::move(state->error)); // ours alone from here on
        if constexpr (!std::is_void_v<R>)
            return std::move(*state->value);
    }

    /// Asks the fiber to stop; does not wait.
    void request_stop() noexcept
    {
        if (state_)
            state_->stop.request();
    }

    /// Lets the fiber go on alone. Its result and its exception are dropped.
    void detach() noexcept { state_.reset(); }

private:
    template <class Function>
    friend auto detail::spawn_joinable(
        detail::place&&, spawn_options&&, Function&&, void const* site);

    explicit fiber(boost::intrusive_ptr<detail::join_result<R>> state) noexcept
        : state_(std::move(state))
    {
    }

    boost::intrusive_ptr<detail::join_result<R>> state_;
};

namespace detail {

template <class Function>
auto spawn_joinable(place&& where, spawn_options&& options, Function&& fn, void const* site)
{
    using function = std::decay_t<Function>;
    using result = std::decay_t<fiber_function_result<Function>>;
    boost::intrusive_ptr<join_result<result>> state(new join_result<result>);
    state->core = where.core;
    start_task(
        std::move(where), std::move(options), site,
        joinable_task<function, result>{std::forward<Function>(fn), state}, inherits::scope);
    return fiber<result>(std::move(state));
}

} // namespace detail

} // namespace spindle

#endif // SPINDLE_FIBER_HPP
