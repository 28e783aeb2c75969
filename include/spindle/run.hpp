//
// spindle/run.hpp
// ~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_RUN_HPP
#define SPINDLE_RUN_HPP

#include <spindle/config.hpp>
#include <spindle/detail/base/scope_exit.hpp>
#include <spindle/detail/fiber/hooks.hpp>
#include <spindle/fiber.hpp>
#include <spindle/scheduler.hpp>
#include <spindle/spawn.hpp>

#include <type_traits>
#include <utility>

namespace spindle {

/// Runs `fn` as the main fiber of a scheduler that lives as long.
/**
 * @par Example
 * @code
 * int main()
 * {
 *     return spindle::run([] {
 *         spindle::go([] { std::puts("hello"); });
 *         spindle::this_fiber::sleep_for(1ms);
 *         return 0;
 *     });
 * }
 * @endcode
 *
 * When `fn` returns, the other fibers are stopped and waited for (Go would kill
 * them). Returns what `fn` returns, or throws what left it.
 *
 * @par Blocking
 * The calling thread becomes one of the scheduler's until then, so with one
 * processor no other thread is started. Boost.Fiber's algorithm of that thread
 * is its round_robin afterwards. Throws `errc::not_in_fiber` when it is a fiber's.
 */
template <detail::spawned_function Function>
SPINDLE_CALLED_FROM_HERE auto run(Function&& fn, scheduler_options options = {})
    -> std::decay_t<detail::fiber_function_result<Function>>
{
    detail::require_thread();
    detail::runner runner(std::move(options));
    auto main_fiber = detail::spawn_joinable(
        detail::place{&runner.core(), nullptr}, {.name = "main"},
        [&runner, f = std::decay_t<Function>(std::forward<Function>(fn))]() mutable {
            detail::scope_exit const end([&] { runner.finish(); });
            return detail::call_fiber_function(std::move(f));
        },
        detail::call_site());
    runner.run();
    return main_fiber.join();
}

} // namespace spindle

#endif // SPINDLE_RUN_HPP
