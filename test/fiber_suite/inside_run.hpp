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

#include <spindle/algo/work_stealing.hpp>
#include <spindle/run.hpp>
#include <spindle/this_fiber.hpp>

#include <boost/fiber/operations.hpp>

#include <atomic>

namespace spindle_suite {

inline std::atomic<spindle::scheduler*> running{nullptr};

// The scheduler's own threads go on to install what they need.
inline void install_for_running()
{
    if (auto* const sched = running.load())
        boost::fibers::use_scheduling_algorithm<spindle::algo::work_stealing>(*sched);
}

inline int run_inside(
    unsigned processors, int (*program)(int, char**), int argc, char* argv[])
{
    return spindle::run(
        [=] {
            running = &spindle::this_fiber::get_scheduler();
            return program(argc, argv);
        },
        {.processors = processors, .stack_size = 1 << 20});
}

} // namespace spindle_suite

#endif // SPINDLE_TEST_FIBER_SUITE_INSIDE_RUN_HPP
