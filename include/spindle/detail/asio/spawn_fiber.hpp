//
// spindle/detail/asio/spawn_fiber.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// The compiled half of everything that starts a fiber.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_ASIO_SPAWN_FIBER_HPP
#define SPINDLE_DETAIL_ASIO_SPAWN_FIBER_HPP

#include <spindle/config.hpp>
#include <spindle/detail/asio/place.hpp>
#include <spindle/detail/fiber/fiber_pool.hpp>
#include <spindle/detail/fiber/park.hpp>
#include <spindle/detail/fiber/stop.hpp>
#include <spindle/spawn_options.hpp>

#include <functional>
#include <stop_token>
#include <type_traits>
#include <utility>

namespace spindle::detail {

// The address of the code that calls the function which calls this: where a
// fiber was spawned, without a string or a macro.
#if defined(__GNUC__)
[[gnu::noinline]] inline void const* call_site() noexcept
{
    return __builtin_extract_return_addr(__builtin_return_address(0));
}
#define SPINDLE_CALLED_FROM_HERE [[gnu::always_inline]] inline
#else
inline void const* call_site() noexcept { return nullptr; }
#define SPINDLE_CALLED_FROM_HERE inline
#endif

// A resting fiber for that place, with its name and size.
[[nodiscard]] SPINDLE_DECL fiber_record& prepare_fiber(
    place const& where, spawn_options&& options, void const* site);

// Gives it back: its task could not be made.
SPINDLE_DECL void discard_fiber(fiber_record& g) noexcept;

// In a catch block of the running fiber, which nobody waits for.
SPINDLE_DECL void unhandled_here() noexcept;

// What a fiber has of the one that starts it.
enum class inherits {
    nothing,
    values, // those of its scopes
    scope,  // it is in the innermost one, too
};

// Before it starts.
inline void inherit(fiber_record& g, fiber_record const* from, inherits what) noexcept
{
    if (!from || what == inherits::nothing)
        return;
    if (from->scope && what == inherits::scope)
        begin_in_scope(g, *from->scope);
    else
        inherit_values(g, *from);
}

// `in`: a scope for it other than the spawner's.
template <class Task>
fiber_record& start_task(
    place&& where, spawn_options&& options, void const* site, Task&& task,
    inherits what = inherits::nothing, scope_state* in = nullptr)
{
    auto& g = prepare_fiber(where, std::move(options), site);
    try {
        set_task(g, std::forward<Task>(task));
    } catch (...) {
        discard_fiber(g);
        throw;
    }
    if (in)
        begin_in_scope(g, *in);
    else
        inherit(g, where.spawner, what);
    start_fiber(g, *where.core, where.bound.release());
    return g;
}

// A fiber's function takes nothing, or the fiber's std::stop_token.
template <class Function>
concept takes_stop_token = std::is_invocable_v<Function, std::stop_token>;

template <class Function>
concept fiber_function = takes_stop_token<Function> || std::is_invocable_v<Function>;

template <class Function>
decltype(auto) call_fiber_function(Function&& f)
{
    if constexpr (takes_stop_token<Function>)
        return std::invoke(std::forward<Function>(f), stop_token_of(*current_fiber()));
    else
        return std::invoke(std::forward<Function>(f));
}

template <class Function>
using fiber_function_result
    = decltype(call_fiber_function(std::declval<std::decay_t<Function>>()));
} // namespace spindle::detail

#endif // SPINDLE_DETAIL_ASIO_SPAWN_FIBER_HPP
