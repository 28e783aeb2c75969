//
// support/cpu_time.hpp
// ~~~~~~~~~~~~~~~~~~~~
// What the whole process has used so far.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_TEST_SUPPORT_CPU_TIME_HPP
#define SPINDLE_TEST_SUPPORT_CPU_TIME_HPP

#include <chrono>
#include <ctime>
#include <thread>

namespace spindle_test {

inline std::chrono::nanoseconds cpu_time()
{
    timespec t;
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
}

// Meanwhile the caller sleeps.
inline std::chrono::nanoseconds cpu_time_in(std::chrono::milliseconds time)
{
    auto const before = cpu_time();
    std::this_thread::sleep_for(time);
    return cpu_time() - before;
}

} // namespace spindle_test

#endif // SPINDLE_TEST_SUPPORT_CPU_TIME_HPP
