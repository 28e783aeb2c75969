//
// fiber_suite/shim_work_stealing.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// spindle::algo::work_stealing on every thread, all of one scheduler.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <fiber_suite/hook.hpp>

#include <spindle/algo/work_stealing.hpp>

boost::fibers::algo::algorithm* spindle_suite::new_algorithm() noexcept
{
    return new spindle::algo::work_stealing();
}

int spindle_suite::run(int (*program)(int, char**), int argc, char* argv[])
{
    return program(argc, argv);
}
