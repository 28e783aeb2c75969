//
// spindle/time/ticker.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_TIME_TICKER_HPP
#define SPINDLE_TIME_TICKER_HPP

#include <spindle/chan/channel.hpp>
#include <spindle/config.hpp>
#include <spindle/detail/base/clock.hpp>

#include <chrono>

namespace spindle {

namespace detail {

// `period` zero: once.
SPINDLE_DECL receive_channel<time_point> make_timer_channel(time_point first, duration period);

[[noreturn]] SPINDLE_DECL void refuse_ticker();

} // namespace detail

/// A channel that brings the time, once, after `d`.
/**
 * For a `select` that a deadline of its own would not fit, where the same
 * deadline is for several of them. In one select, and in `receive_for`, a limit
 * costs less: `on_timeout`.
 *
 * Does not close. Dropping the last handle to it cancels the timer.
 *
 * @par Example
 * @code
 * auto const deadline = spindle::after(5s);
 * for (;;)
 *     switch (spindle::select(spindle::on_receive(lines, line), spindle::on_receive(deadline))) {
 *     case 0: ...
 *     case 1: return;
 *     }
 * @endcode
 *
 * @throws system_error `errc::thread_limit` where the thread that keeps these
 * timers, one in a process, can not be started.
 *
 * @par Thread Safety
 * Any thread, fiber or handler.
 */
template <class Rep, class Period>
[[nodiscard]] receive_channel<std::chrono::steady_clock::time_point> after(
    std::chrono::duration<Rep, Period> const& d)
{
    return detail::make_timer_channel(detail::deadline_after(d), {});
}

/// A channel that brings the time every `d`.
/**
 * Ticks that nobody takes in time are dropped, all but one; the next one comes
 * when it is due, not later. Dropping the last handle stops it, and wakes
 * nobody.
 *
 * @throws system_error `invalid_argument` where `d` is not positive; as `after`.
 */
template <class Rep, class Period>
[[nodiscard]] receive_channel<std::chrono::steady_clock::time_point> ticker(
    std::chrono::duration<Rep, Period> const& d)
{
    auto const period = detail::at_least(d);
    if (period == period.zero())
        detail::refuse_ticker();
    return detail::make_timer_channel(detail::deadline_after(period), period);
}

} // namespace spindle

#endif // SPINDLE_TIME_TICKER_HPP
