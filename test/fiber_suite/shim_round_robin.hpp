//
// fiber_suite/shim_round_robin.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// spindle::algo::round_robin on every thread, each with an io_context.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <fiber_suite/hook.hpp>

#include <spindle/algo/round_robin.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/fiber/operations.hpp>

void spindle_suite::install()
{
    auto& ioc = *new boost::asio::io_context;
    boost::fibers::use_scheduling_algorithm<spindle::algo::round_robin>(ioc);
}

int spindle_suite::run(int (*program)(int, char**), int argc, char* argv[])
{
    return program(argc, argv);
}
