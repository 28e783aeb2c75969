//
// spindle/go.hpp
// ~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_GO_HPP
#define SPINDLE_GO_HPP

#include <spindle/config.hpp>
#include <spindle/detail/asio/spawn_fiber.hpp>
#include <spindle/spawn_options.hpp>

#include <functional>
#include <tuple>
#include <type_traits>
#include <utility>

namespace spindle {

namespace detail {

template <class Function, class... Args>
struct go_task {
    Function function;
    [[no_unique_address]] std::tuple<Args...> arguments;

    void operator()() noexcept
    {
        try {
            if constexpr (sizeof...(Args) == 0)
                (void)call_fiber_function(std::move(function));
            else
                (void)std::apply(std::move(function), std::move(arguments));
        } catch (...) {
            if (!left_by_stop())
                unhandled_here();
        }
    }
};

} // namespace detail

/// Starts a fiber that nobody waits for.
/**
 * It starts beside the caller: on the same scheduler, and bound to the same
 * executor if the calling fiber is. It never runs inside `go`; another processor may
 * have begun with it by the time that `go` returns. On this processor it runs next: of
 * those that were started and have not run, the newest is first.
 *
 * @par Example
 * @code
 * spindle::go([&jobs](int first) { jobs.fetch_add(first); }, 42);
 * spindle::go({.name = "worker"}, work);
 * @endcode
 *
 * @param fn Called with decayed copies of `args`. Without arguments it may take
 * a `std::stop_token`, the fiber's.
 *
 * @par Scopes
 * It outlives the caller, and so it is in no `cancel_scope` of the caller's; but
 * it has the values that the caller sees.
 *
 * @par Exceptions
 * One that leaves `fn` goes to `scheduler_options::unhandled_exception`, unless
 * it is the fiber's stop. `go` itself throws `errc::not_in_fiber` on a thread
 * that runs no fiber and no handler of a known io_context, `errc::no_stack_memory`
 * when the system has no memory for a stack, and what copying throws; then
 * nothing was started.
 *
 * @par Blocking
 * Never.
 *
 * @par Thread Safety
 * Safe.
 */
template <class Function, class... Args>
    requires(sizeof...(Args) == 0 ? detail::fiber_function<std::decay_t<Function>>
                                  : std::is_invocable_v<std::decay_t<Function>, std::decay_t<Args>...>)
SPINDLE_CALLED_FROM_HERE void go(spawn_options options, Function&& fn, Args&&... args)
{
    detail::start_task(
        detail::place_here(), std::move(options), detail::call_site(),
        detail::go_task<std::decay_t<Function>, std::decay_t<Args>...>{
            std::forward<Function>(fn), {std::forward<Args>(args)...}},
        detail::inherits::values);
}

/// As above, with the scheduler's options.
template <class Function, class... Args>
    requires(sizeof...(Args) == 0 ? detail::fiber_function<std::decay_t<Function>>
                                  : std::is_invocable_v<std::decay_t<Function>, std::decay_t<Args>...>)
SPINDLE_CALLED_FROM_HERE void go(Function&& fn, Args&&... args)
{
    detail::start_task(
        detail::place_here(), {}, detail::call_site(),
        detail::go_task<std::decay_t<Function>, std::decay_t<Args>...>{
            std::forward<Function>(fn), {std::forward<Args>(args)...}},
        detail::inherits::values);
}

} // namespace spindle

#endif // SPINDLE_GO_HPP
