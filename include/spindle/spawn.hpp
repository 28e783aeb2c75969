//
// spindle/spawn.hpp
// ~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_SPAWN_HPP
#define SPINDLE_SPAWN_HPP

#include <spindle/config.hpp>
#include <spindle/detail/asio/classic_executor.hpp>
#include <spindle/detail/asio/spawn_fiber.hpp>
#include <spindle/detail/asio/spawn_stop.hpp>
#include <spindle/fiber.hpp>
#include <spindle/scheduler.hpp>
#include <spindle/spawn_options.hpp>

#include <boost/asio/append.hpp>
#include <boost/asio/associated_allocator.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/bind_allocator.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/execution/executor.hpp>
#include <boost/asio/execution/outstanding_work.hpp>
#include <boost/asio/is_executor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>

#include <exception>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace spindle {

namespace detail {

template <class R>
struct spawn_signature {
    static_assert(
        std::is_default_constructible_v<R>,
        "a completion handler gets a result even where the function threw: the result of a "
        "function that is spawned with a token must be default-constructible");
    using type = void(std::exception_ptr, R);
};

template <>
struct spawn_signature<void> {
    using type = void(std::exception_ptr);
};

template <class Executor>
using tracked = std::decay_t<decltype(boost::asio::prefer(
    std::declval<Executor const&>(), boost::asio::execution::outstanding_work.tracked))>;

// What runs in the fiber: the function, then the delivery of its result.
template <class Function, class Handler, class Executor>
class spawn_task {
    using result = fiber_function_result<Function>;
    using handler_executor = boost::asio::associated_executor_t<Handler, Executor>;

public:
    template <class F, class H>
    spawn_task(F&& f, H&& handler, Executor const& ex, std::shared_ptr<spawn_stop> stop)
        : function_(std::forward<F>(f)), handler_(std::forward<H>(handler)),
          executor_(boost::asio::prefer(
              boost::asio::get_associated_executor(handler_, ex),
              boost::asio::execution::outstanding_work.tracked)),
          stop_(std::move(stop))
    {
    }

    void operator()() noexcept
    {
        std::exception_ptr error;
        if constexpr (std::is_void_v<result>) {
            try {
                if (stop_)
                    stop_->begin();
                call_fiber_function(std::move(*function_));
            } catch (...) {
                error = std::current_exception();
            }
            finish();
            deliver(std::move(error));
        } else {
            std::optional<result> value;
            try {
                if (stop_)
                    stop_->begin();
                value.emplace(call_fiber_function(std::move(*function_)));
            } catch (...) {
                error = std::current_exception();
            }
            finish();
            if (value)
                deliver(std::move(error), std::move(*value));
            else
                deliver(std::move(error), result());
        }
    }

private:
    void finish() noexcept
    {
        if (stop_)
            stop_->end();
        function_.reset(); // what it captured is gone before anybody hears of the end
    }

    // Posted: the handler is somebody else's, and must not run on this stack. A
    // call of its own: Asio's thread-locals, and the fiber has parked before.
    template <class... Args>
    SPINDLE_NOINLINE void deliver(Args... args)
    {
        if (asio_core_of(*current_fiber())->closing())
            return; // as Asio does with what has not run when it goes away
        auto const allocator = boost::asio::get_associated_allocator(handler_);
        auto call = [handler = std::move(handler_), ... values = std::move(args)]() mutable {
            std::move(handler)(std::move(values)...);
        };
        boost::asio::post(
            executor_, boost::asio::bind_allocator(allocator, std::move(call)));
    }

    std::optional<Function> function_;
    Handler handler_;
    tracked<handler_executor> executor_;
    std::shared_ptr<spawn_stop> stop_;
};

// Nobody wants to hear of it: nothing is posted, and no work is tracked.
template <class Function>
struct detached_task {
    Function function;

    void operator()() noexcept
    {
        try {
            (void)call_fiber_function(std::move(function));
        } catch (...) {
            // Discarded, as everywhere in Asio.
        }
    }
};

template <class Handler>
inline constexpr bool is_detached
    = std::is_same_v<std::decay_t<Handler>, boost::asio::detail::detached_handler>;

struct spawn_initiation {
    void const* site;

    template <class Handler, class Executor, class Function>
    void operator()(
        Handler&& handler, Executor const& ex, place&& where, spawn_options&& options,
        Function&& fn) const
    {
        using function = std::decay_t<Function>;
        if constexpr (is_detached<Handler>) {
            start_task(
                std::move(where), std::move(options), site,
                detached_task<function>{std::forward<Function>(fn)});
        } else {
            auto stop = spawn_stop::connect(
                boost::asio::get_associated_cancellation_slot(handler));
            using task = spawn_task<function, std::decay_t<Handler>, Executor>;
            start_task(
                std::move(where), std::move(options), site,
                task(
                    std::forward<Function>(fn), std::forward<Handler>(handler), ex,
                    std::move(stop)));
        }
    }
};

template <class Executor, class Function, class Token>
auto spawn_at(
    Executor const& ex, place&& where, spawn_options&& options, Function&& fn, Token&& token,
    void const* site)
{
    using signature =
        typename spawn_signature<std::decay_t<fiber_function_result<Function>>>::type;
    return boost::asio::async_initiate<Token, signature>(
        spawn_initiation{site}, token, ex, std::move(where), std::move(options),
        std::forward<Function>(fn));
}

template <class T>
concept asio_executor
    = boost::asio::execution::is_executor_v<T> || boost::asio::is_executor<T>::value;

template <class T>
concept asio_context = std::is_convertible_v<T&, boost::asio::execution_context&>
    && requires(T& context) { context.get_executor(); };

template <class T>
concept spawned_function = fiber_function<std::decay_t<T>>;

} // namespace detail

/// Starts `fn` in a fiber on an Asio executor.
/**
 * On an io_context's executor, with whatever properties, and also inside an
 * `any_io_executor`, the fiber is *free*: any thread that runs the io_context
 * may run it, and no other. On every other executor (a strand, also one of
 * `io_context::strand`, a thread_pool's) it is *bound*: each of its slices runs
 * inside that executor, so a strand serialises it with the callbacks around it.
 *
 * @par Example
 * @code
 * acceptor.async_accept([&](error_code ec, tcp::socket s) {
 *     auto ex = s.get_executor();
 *     spindle::spawn(ex, [s = std::move(s)]() mutable { serve(s); }, asio::detached);
 * });
 * @endcode
 *
 * @param fn Takes nothing, or a `std::stop_token`. Never runs inside `spawn`; another
 * thread may have begun with it by the time that `spawn` returns. What it captured is
 * destroyed before the completion is delivered.
 *
 * @param token Completes with `void(std::exception_ptr)`, or
 * `void(std::exception_ptr, R)` where `fn` returns an `R`, on its associated
 * executor, else on `ex`. `asio::detached` discards exceptions.
 *
 * @par Cancellation
 * Any cancellation type on the token's slot stops the fiber.
 *
 * @par Outstanding work
 * The fiber is one unit of it, from here until its completion is delivered,
 * parked or not.
 *
 * @par Exceptions
 * `errc::no_stack_memory`; `invalid_argument` for an io_context that was made
 * without locking; what copying `fn` throws. Then nothing was started.
 *
 * @par Thread Safety
 * Safe, from any thread.
 *
 * @par Lifetime
 * A fiber that still waits when its execution context is destroyed is told so:
 * each wait fails with `operation_aborted`, and it runs to its end inside the
 * context's destructor. Destroy it on a thread's own stack.
 */
template <detail::asio_executor Executor, detail::spawned_function Function, class Token>
SPINDLE_CALLED_FROM_HERE auto spawn(
    Executor const& ex, spawn_options options, Function&& fn, Token&& token)
{
    auto const& modern = detail::as_modern(ex);
    return detail::spawn_at(
        modern, detail::place_of(modern), std::move(options), std::forward<Function>(fn),
        std::forward<Token>(token), detail::call_site());
}

/// As above, with the scheduler's options.
template <detail::asio_executor Executor, detail::spawned_function Function, class Token>
SPINDLE_CALLED_FROM_HERE auto spawn(Executor const& ex, Function&& fn, Token&& token)
{
    auto const& modern = detail::as_modern(ex);
    return detail::spawn_at(
        modern, detail::place_of(modern), {}, std::forward<Function>(fn),
        std::forward<Token>(token), detail::call_site());
}

/// Starts `fn` in a fiber on an io_context, a thread_pool, ...
template <detail::asio_context Context, detail::spawned_function Function, class Token>
SPINDLE_CALLED_FROM_HERE auto spawn(
    Context& context, spawn_options options, Function&& fn, Token&& token)
{
    auto const ex = context.get_executor();
    return detail::spawn_at(
        ex, detail::place_of(ex), std::move(options), std::forward<Function>(fn),
        std::forward<Token>(token), detail::call_site());
}

/// As above, with the scheduler's options.
template <detail::asio_context Context, detail::spawned_function Function, class Token>
SPINDLE_CALLED_FROM_HERE auto spawn(Context& context, Function&& fn, Token&& token)
{
    auto const ex = context.get_executor();
    return detail::spawn_at(
        ex, detail::place_of(ex), {}, std::forward<Function>(fn), std::forward<Token>(token),
        detail::call_site());
}

/// Starts `fn` in a fiber on a scheduler, from any thread.
template <detail::spawned_function Function, class Token>
SPINDLE_CALLED_FROM_HERE auto spawn(
    scheduler& sched, spawn_options options, Function&& fn, Token&& token)
{
    return detail::spawn_at(
        sched.get_executor(), detail::place{&detail::core_of(sched), nullptr},
        std::move(options), std::forward<Function>(fn), std::forward<Token>(token),
        detail::call_site());
}

/// As above, with the scheduler's options.
template <detail::spawned_function Function, class Token>
SPINDLE_CALLED_FROM_HERE auto spawn(scheduler& sched, Function&& fn, Token&& token)
{
    return detail::spawn_at(
        sched.get_executor(), detail::place{&detail::core_of(sched), nullptr}, {},
        std::forward<Function>(fn), std::forward<Token>(token), detail::call_site());
}

/// Starts `fn` in a fiber beside the calling one, and returns a handle to wait for it.
/**
 * On the same scheduler, and bound to the same executor if the caller is; and in
 * the caller's innermost `cancel_scope`, with which it is cancelled.
 *
 * @par Example
 * @code
 * auto sum = spindle::spawn([&] { return add(left); });
 * auto const rest = add(right);
 * return sum.join() + rest;
 * @endcode
 *
 * @par Exceptions
 * As `go`.
 */
template <detail::spawned_function Function>
[[nodiscard]] SPINDLE_CALLED_FROM_HERE auto spawn(spawn_options options, Function&& fn)
{
    return detail::spawn_joinable(
        detail::place_here(), std::move(options), std::forward<Function>(fn),
        detail::call_site());
}

/// As above, with the scheduler's options.
template <detail::spawned_function Function>
[[nodiscard]] SPINDLE_CALLED_FROM_HERE auto spawn(Function&& fn)
{
    return detail::spawn_joinable(
        detail::place_here(), {}, std::forward<Function>(fn), detail::call_site());
}

} // namespace spindle

#endif // SPINDLE_SPAWN_HPP
