//
// spindle/cancel/shielded.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_CANCEL_SHIELDED_HPP
#define SPINDLE_CANCEL_SHIELDED_HPP

#include <spindle/config.hpp>
#include <spindle/detail/fiber/scope.hpp>

#include <functional>
#include <utility>

namespace spindle {

namespace detail {

class shield {
public:
    SPINDLE_DECL shield();
    SPINDLE_DECL ~shield();
    shield(shield const&) = delete;
    shield& operator=(shield const&) = delete;

private:
    scope_ptr const state_;
};

} // namespace detail

/// Runs `fn` to its end: a stop, or a scope's cancellation, is seen after it.
/**
 * For what must be done whatever happens: to say goodbye to a peer, to roll back.
 * What `spawn(fn)`, `task_group::spawn` and `start` begin in there is shielded,
 * too, until `fn` has returned; then it belongs to the scope around. A
 * `cancel_scope` or `within` inside works as ever, and is how to limit it:
 *
 * @code
 * spindle::shielded([&] {
 *     spindle::within(1s, [&] { send_goodbye(socket); });
 * });
 * @endcode
 *
 * @returns what `fn` returns.
 *
 * @throws system_error `errc::not_in_fiber` outside a fiber; what `fn` throws.
 */
template <class Function>
decltype(auto) shielded(Function&& fn)
{
    detail::shield const here;
    return std::invoke(std::forward<Function>(fn));
}

} // namespace spindle

#endif // SPINDLE_CANCEL_SHIELDED_HPP
