//
// fiber_suite/shim_round_robin.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// spindle::algo::round_robin on every thread.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <fiber_suite/hook.hpp>

#include <spindle/algo/round_robin.hpp>

boost::fibers::algo::algorithm* spindle_suite::new_algorithm() noexcept
{
    return new spindle::algo::round_robin();
}

int spindle_suite::run(int (*program)(int, char**), int argc, char* argv[])
{
    return program(argc, argv);
}
