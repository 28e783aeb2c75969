//
// spindle/detail/base/clock.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// The one clock of the scheduler, its timers and its tests.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_BASE_CLOCK_HPP
#define SPINDLE_DETAIL_BASE_CLOCK_HPP

#include <spindle/config.hpp>
#include <spindle/detail/base/atomic.hpp>

#include <chrono>
#include <type_traits>

namespace spindle::detail {

using clock = std::chrono::steady_clock;
using time_point = clock::time_point;
using duration = clock::duration;

inline time_point now() noexcept { return clock::now(); }

// Null, but while a schedule is explored somewhere in the process
// (asio/deterministic_core.hpp): then it tells the time of the calling thread.
struct time_source {
    time_point (*read)() noexcept;
};
extern SPINDLE_DECL atomic<time_source const*> other_time;

// What deadlines of waits count from, and are compared with.
inline time_point time_of_waits() noexcept
{
    auto const* const other = other_time.load(std::memory_order_relaxed); // a constant
    return other ? other->read() : now();
}

// At least d, in the clock's units. Not below zero, and max() where d is more than
// that can say: hours::max() has no nanoseconds.
template <class Rep, class Period>
duration at_least(std::chrono::duration<Rep, Period> const& d)
{
    using wide = std::chrono::duration<long double>;
    if (d <= d.zero())
        return duration::zero();
    return wide(d) < wide(duration::max()) ? std::chrono::ceil<duration>(d) : duration::max();
}

// time_of_waits() + d, and max() where that is beyond what there is. Not before that.
template <class Rep, class Period>
time_point deadline_after(std::chrono::duration<Rep, Period> const& d)
{
    auto const start = time_of_waits();
    auto const length = at_least(d);
    return length < time_point::max() - start ? start + length : time_point::max();
}

// try_until(t) up to a deadline of any clock: it says whether it had what it waits
// for by the time t of ours. Clocks that can be set are asked again, unless ours runs
// ahead of them.
template <class Clock, class Duration, class TryUntil>
bool wait_until_deadline(
    std::chrono::time_point<Clock, Duration> const& deadline, TryUntil try_until)
{
    if constexpr (std::is_same_v<std::chrono::time_point<Clock, Duration>, time_point>) {
        return try_until(deadline);
    } else {
        do {
            if (try_until(deadline_after(deadline - Clock::now())))
                return true;
        } while (!other_time.load(std::memory_order_relaxed) && Clock::now() < deadline);
        return false;
    }
}

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_BASE_CLOCK_HPP
