//
// support/cpu_time.hpp
// ~~~~~~~~~~~~~~~~~~~~
// What this process has computed so far: it does not depend on who else does.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_TEST_SUPPORT_CPU_TIME_HPP
#define SPINDLE_TEST_SUPPORT_CPU_TIME_HPP

#include <spindle/this_fiber.hpp>

#include <chrono>
#include <ctime>
#include <thread>

namespace spindle_test {

inline std::chrono::nanoseconds cpu_time() noexcept
{
    timespec t;
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
}

// What the others compute while the calling thread sleeps.
inline std::chrono::nanoseconds cpu_time_during(std::chrono::nanoseconds pause)
{
    auto const before = cpu_time();
    std::this_thread::sleep_for(pause);
    return cpu_time() - before;
}

// Sleeps until this process has computed for so long. From a fiber, while others compute.
inline void sleep_while_others_compute(std::chrono::nanoseconds time)
{
    auto const end = cpu_time() + time;
    while (cpu_time() < end)
        spindle::this_fiber::sleep_for(std::chrono::milliseconds(1));
}

} // namespace spindle_test

#endif // SPINDLE_TEST_SUPPORT_CPU_TIME_HPP
