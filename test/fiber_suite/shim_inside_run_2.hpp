//
// fiber_suite/shim_inside_run_2.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// spindle::algo::work_stealing, main in a fiber of a scheduler with 2 processors.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <fiber_suite/inside_run.hpp>

void spindle_suite::install() { install_for_running(); }

int spindle_suite::run(int (*program)(int, char**), int argc, char* argv[])
{
    return run_inside(2, program, argc, argv);
}
