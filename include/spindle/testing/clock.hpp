//
// spindle/testing/clock.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_TESTING_CLOCK_HPP
#define SPINDLE_TESTING_CLOCK_HPP

#include <spindle/detail/base/clock.hpp>

#include <chrono>

namespace spindle::testing {

/// The clock that sleeps and deadlines go by.
/**
 * Inside `explore` it is the run's own, which stands still while a fiber can run; anywhere
 * else it is `std::chrono::steady_clock`. Its time points are those of `steady_clock`, so
 * they go wherever those go: `ch.receive_until(testing::clock::now() + 1s, ec)`.
 */
struct clock {
    using duration = std::chrono::steady_clock::duration;
    using rep = duration::rep;
    using period = duration::period;
    using time_point = std::chrono::steady_clock::time_point;
    static constexpr bool is_steady = true;

    /// The time.
    static time_point now() noexcept { return spindle::detail::time_of_waits(); }
};

} // namespace spindle::testing

#endif // SPINDLE_TESTING_CLOCK_HPP
