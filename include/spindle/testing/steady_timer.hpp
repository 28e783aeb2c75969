//
// spindle/testing/steady_timer.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_TESTING_STEADY_TIMER_HPP
#define SPINDLE_TESTING_STEADY_TIMER_HPP

#include <spindle/config.hpp>
#include <spindle/error.hpp>
#include <spindle/testing/clock.hpp>

#include <spindle/detail/base/clock.hpp>
#include <spindle/detail/base/spin_lock.hpp>
#include <spindle/detail/sync/async_wait.hpp>
#include <spindle/detail/sync/wait_queue.hpp>
#include <spindle/detail/time/timer_queue.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/execution_context.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <type_traits>
#include <utility>

namespace spindle::testing {

namespace detail {

// The waits of one timer. All of them have the same deadline; to set another one ends them.
class SPINDLE_DECL timer_state final : spindle::detail::timer_entry {
public:
    timer_state() noexcept;
    ~timer_state();
    timer_state(timer_state const&) = delete;
    timer_state& operator=(timer_state const&) = delete;

    clock::time_point expiry() const noexcept { return expiry_; }
    std::size_t expires_at(clock::time_point t);
    std::size_t cancel() noexcept;
    std::size_t cancel_one() noexcept;

    // Before a wait begins.
    void arm();

    // For async_wait(). Asio's timers know no immediate completion.
    using always_posted = void;
    bool must_wait() noexcept { return !passed_ && clock::now() < expiry_; }
    spindle::detail::spin_lock lock;
    spindle::detail::wait_queue waiters;

private:
    void disarm() noexcept;
    std::size_t end(spindle::detail::wait_result why, std::size_t most) noexcept;

    clock::time_point expiry_{};
    bool passed_ = false;                            // under the lock
    spindle::detail::timer_queue* timers_ = nullptr; // where it is armed
    spindle::detail::atomic<bool> left_{true};       // the queue has, once it is due
};

} // namespace detail

/// An `asio::basic_waitable_timer` that goes by `testing::clock`.
/**
 * Inside `explore` its waits end when the run's time has come that far, anywhere else they
 * do in real time. For code that takes the type of its timers as a parameter:
 *
 * @par Example
 * @code
 * template <class Timer = asio::steady_timer>
 * class session { ... Timer deadline_; ... };
 *
 * spindle::testing::explore([] { session<spindle::testing::steady_timer> s(...); ... });
 * @endcode
 *
 * @par Cancellation
 * As Asio's: `cancel`, `cancel_one`, `expires_at` and `expires_after` end waits with
 * `operation_aborted`, and the token's cancellation slot ends its own.
 *
 * @par Thread Safety
 * @e Distinct @e objects: Safe.@n
 * @e Shared @e objects: Unsafe.
 */
template <class Executor = boost::asio::any_io_executor>
class basic_steady_timer {
public:
    using executor_type = Executor;
    using clock_type = clock;
    using duration = clock::duration;
    using time_point = clock::time_point;

    template <class Other>
    struct rebind_executor {
        using other = basic_steady_timer<Other>;
    };

    /// A timer without a deadline.
    explicit basic_steady_timer(executor_type const& ex)
        : executor_(ex), state_(std::make_unique<detail::timer_state>())
    {
    }
    basic_steady_timer(executor_type const& ex, time_point t) : basic_steady_timer(ex)
    {
        expires_at(t);
    }
    basic_steady_timer(executor_type const& ex, duration d) : basic_steady_timer(ex)
    {
        expires_after(d);
    }

    /// The same, of a context's executor.
    template <class Context>
    requires std::is_convertible_v<Context&, boost::asio::execution_context&>
    explicit basic_steady_timer(Context& context)
        : basic_steady_timer(executor_type(context.get_executor()))
    {
    }
    template <class Context, class When>
    requires std::is_convertible_v<Context&, boost::asio::execution_context&>
    basic_steady_timer(Context& context, When when)
        : basic_steady_timer(executor_type(context.get_executor()), when)
    {
    }

    /// Its waits go along. What is moved from may only be assigned to and destroyed.
    basic_steady_timer(basic_steady_timer&&) noexcept = default;
    basic_steady_timer& operator=(basic_steady_timer&&) noexcept = default;

    /// Ends all waits with `operation_aborted`.
    ~basic_steady_timer() = default;

    /// Its executor.
    executor_type get_executor() const noexcept { return executor_; }

    /// The deadline.
    time_point expiry() const noexcept { return state_->expiry(); }

    /// Sets the deadline, and ends the waits for the one before. How many those were.
    std::size_t expires_at(time_point t) { return state_->expires_at(t); }
    std::size_t expires_after(duration d)
    {
        return state_->expires_at(spindle::detail::deadline_after(d));
    }

    /// Ends all waits. How many those were.
    std::size_t cancel() { return state_->cancel(); }

    /// Ends the wait that began first.
    std::size_t cancel_one() { return state_->cancel_one(); }

    /// Waits for the deadline: `void(error_code)`.
    template <class Token>
    auto async_wait(Token&& token)
    {
        return boost::asio::async_initiate<Token, void(error_code)>(initiate(*this), token);
    }

private:
    class initiate {
    public:
        using executor_type = Executor;

        explicit initiate(basic_steady_timer& t) noexcept : timer_(&t) {}
        executor_type get_executor() const noexcept { return timer_->executor_; }

        template <class Handler>
        void operator()(Handler&& handler) const
        {
            timer_->state_->arm();
            auto bound = with_default_executor(std::forward<Handler>(handler));
            using operation = spindle::detail::wait_operation<
                detail::timer_state&, std::decay_t<decltype(bound)>>;
            operation::make(std::move(bound), *timer_->state_).start();
        }

    private:
        // A handler without an executor of its own has the timer's.
        template <class Handler>
        auto with_default_executor(Handler&& handler) const
        {
            auto ex = boost::asio::get_associated_executor(handler, timer_->executor_);
            return boost::asio::bind_executor(std::move(ex), std::forward<Handler>(handler));
        }

        basic_steady_timer* timer_;
    };

    executor_type executor_;
    std::unique_ptr<detail::timer_state> state_;
};

using steady_timer = basic_steady_timer<>;

} // namespace spindle::testing

#endif // SPINDLE_TESTING_STEADY_TIMER_HPP
