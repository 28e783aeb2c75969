//
// spindle/cancel/within.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_CANCEL_WITHIN_HPP
#define SPINDLE_CANCEL_WITHIN_HPP

#include <spindle/cancel/cancel_scope.hpp>
#include <spindle/config.hpp>
#include <spindle/error.hpp>

#include <boost/system/errc.hpp>

#include <functional>
#include <type_traits>
#include <utility>

namespace spindle {

namespace detail {

// Of what has left a function that was run in that scope.
inline bool is_timeout(system_error const& e, cancel_scope const& scope) noexcept
{
    return e.code() == operation_aborted() && scope.reason() == cancel_reason::deadline;
}

inline error_code timed_out() noexcept
{
    return {boost::system::errc::timed_out, boost::system::system_category()};
}

template <class Limit, class Function>
std::invoke_result_t<Function> run_within(Limit const& limit, Function&& fn)
{
    cancel_scope const scope(limit);
    try {
        return std::invoke(std::forward<Function>(fn));
    } catch (system_error const& e) {
        if (is_timeout(e, scope))
            throw_error(timed_out());
        throw;
    }
}

template <class Limit, class Function>
std::invoke_result_t<Function> run_within(Limit const& limit, Function&& fn, error_code& ec)
{
    using result = std::invoke_result_t<Function>;
    static_assert(
        std::is_void_v<result> || std::is_default_constructible_v<result>,
        "within(d, fn, ec) returns something also where the time was up: the result of fn must "
        "be default-constructible");
    cancel_scope const scope(limit);
    try {
        ec.clear();
        return std::invoke(std::forward<Function>(fn));
    } catch (system_error const& e) {
        if (!is_timeout(e, scope))
            throw;
    }
    ec = timed_out();
    return result();
}

} // namespace detail

/// Runs `fn` in a `cancel_scope` of that length.
/**
 * @par Example
 * @code
 * auto const n = spindle::within(5s, [&] {
 *     return socket.async_read_some(buffer, spindle::use_fiber);
 * });
 * @endcode
 *
 * @returns what `fn` returns, also if that was late.
 *
 * @throws system_error `asio::error::timed_out` if this time was up, before
 * anything else has cancelled `fn`, and `fn` was left by `operation_aborted`. Every
 * other exception of `fn` as it is: where a limit further out was hit, it is that
 * `within` which says so. `errc::not_in_fiber` outside a fiber.
 *
 * @par Blocking
 * As `fn`: a deadline asks, and what is waited for answers.
 */
template <class Rep, class Period, class Function>
std::invoke_result_t<Function> within(
    std::chrono::duration<Rep, Period> const& d, Function&& fn)
{
    return detail::run_within(d, std::forward<Function>(fn));
}

/// As above, until a point in time.
template <class Function>
std::invoke_result_t<Function> within(
    std::chrono::steady_clock::time_point deadline, Function&& fn)
{
    return detail::run_within(deadline, std::forward<Function>(fn));
}

/// As above, but its own timeout goes to `ec`, and a default-constructed result is returned.
template <class Rep, class Period, class Function>
std::invoke_result_t<Function> within(
    std::chrono::duration<Rep, Period> const& d, Function&& fn, error_code& ec)
{
    return detail::run_within(d, std::forward<Function>(fn), ec);
}

/// As above, until a point in time.
template <class Function>
std::invoke_result_t<Function> within(
    std::chrono::steady_clock::time_point deadline, Function&& fn, error_code& ec)
{
    return detail::run_within(deadline, std::forward<Function>(fn), ec);
}

} // namespace spindle

#endif // SPINDLE_CANCEL_WITHIN_HPP
