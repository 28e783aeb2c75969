//
// fiber_suite/inside_run.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~
// The whole test program in the main fiber of spindle::run.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_TEST_FIBER_SUITE_INSIDE_RUN_HPP
#define SPINDLE_TEST_FIBER_SUITE_INSIDE_RUN_HPP

#include <fiber_suite/hook.hpp>

#include <spindle/run.hpp>

namespace spindle_suite {

// The scheduler's own threads go on to install what they need. Threads of the
// tests' own keep Boost.Fiber's algorithm: the main fiber waits for them by
// std::thread::join(), and with it the processor that would run their fibers.
inline void install_for_running() {}

inline int run_inside(
    unsigned processors, int (*program)(int, char**), int argc, char* argv[])
{
    return spindle::run(
        [=] { return program(argc, argv); }, {.processors = processors, .stack_size = 1 << 20});
}

} // namespace spindle_suite

#endif // SPINDLE_TEST_FIBER_SUITE_INSIDE_RUN_HPP
