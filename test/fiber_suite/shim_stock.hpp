//
// fiber_suite/shim_stock.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~
// Boost.Fiber's own round_robin: shows what the suite does without us.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <fiber_suite/hook.hpp>

void spindle_suite::install() {}

int spindle_suite::run(int (*program)(int, char**), int argc, char* argv[])
{
    return program(argc, argv);
}
