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

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_BASE_CLOCK_HPP
