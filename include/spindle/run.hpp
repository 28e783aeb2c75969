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
 * Blocks the calling thread. Throws `errc::not_in_fiber` when it is a fiber's.
 */
template <detail::spawned_function Function>
SPINDLE_CALLED_FROM_HERE auto run(Function&& fn, scheduler_options options = {})
    -> std::decay_t<detail::fiber_function_result<Function>>
{
    detail::require_thread();
    scheduler sched(std::move(options));
    auto main_fiber = detail::spawn_joinable(
        detail::place{&detail::core_of(sched), nullptr}, {.name = "main"},
        std::forward<Function>(fn), detail::call_site());
    return main_fiber.join();
}

} // namespace spindle

#endif // SPINDLE_RUN_HPP
