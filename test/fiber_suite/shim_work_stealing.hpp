//
// fiber_suite/shim_work_stealing.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// spindle::algo::work_stealing on every thread, all for one scheduler.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <fiber_suite/hook.hpp>

#include <spindle/algo/work_stealing.hpp>

#include <boost/fiber/operations.hpp>

#include <atomic>

void spindle_suite::install()
{
    // The scheduler's own first threads come by while it is being made, and get their
    // algorithm from it. Some tests block as many as three threads at once, by
    // boost::barrier.
    static std::atomic<bool> begun{false};
    static std::atomic<spindle::scheduler*> made{nullptr};
    if (!begun.exchange(true))
        made = new spindle::scheduler({.processors = 4});
    if (auto* const sched = made.load())
        boost::fibers::use_scheduling_algorithm<spindle::algo::work_stealing>(*sched);
}

int spindle_suite::run(int (*program)(int, char**), int argc, char* argv[])
{
    return program(argc, argv);
}
