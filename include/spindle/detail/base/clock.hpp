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

#include <chrono>

namespace spindle::detail {

using clock = std::chrono::steady_clock;
using time_point = clock::time_point;
using duration = clock::duration;

inline time_point now() noexcept { return clock::now(); }

// now() + d, and max() where that is beyond what there is: hours::max() has no
// nanoseconds. Not before now().
template <class Rep, class Period>
time_point deadline_after(std::chrono::duration<Rep, Period> const& d)
{
    auto const start = now();
    using wide = std::chrono::duration<long double>;
    if (d <= d.zero())
        return start;
    if (wide(d) >= wide(time_point::max() - start))
        return time_point::max();
    return start + std::chrono::ceil<duration>(d);
}

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_BASE_CLOCK_HPP
