//
// fiber_suite/main.cpp
// ~~~~~~~~~~~~~~~~~~~~
// The main of a test program of Boost.Fiber's, and the shim of the algorithm.
// Compiled once for each algorithm; the tests themselves are compiled once.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include SPINDLE_SUITE_SHIM

#include <boost/test/unit_test.hpp>

// Each of the tests defines this one, as for a static Boost.Test.
boost::unit_test::test_suite* init_unit_test_suite(int argc, char* argv[]);

namespace {

int arg_count;
char** args;

bool init()
{
    if (auto* const suite = init_unit_test_suite(arg_count, args))
        boost::unit_test::framework::master_test_suite().add(suite);
    return true;
}

int program(int argc, char** argv)
{
    arg_count = argc;
    args = argv;
    return boost::unit_test::unit_test_main(&init, argc, argv);
}

} // namespace

int main(int argc, char* argv[])
{
    return spindle_suite::run(&program, argc, argv);
}
