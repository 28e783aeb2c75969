// build: options
//
// cancel/scenario_recipes.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~
// The recipes among the examples, and the programs that are looked into, cancelled at each
// of their steps. Their sources are taken in as they are.
//
// Not here: inspect's deadlocks, which are to end the process, and its second of
// computing, which does not wait; example/hello.cpp, whose waits are in main().
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE cancel.scenario_recipes
#include <spindle.hpp>
#include <spindle/observe.hpp>
#include <support/every_step.hpp>
#include <support/example.hpp>

#include <boost/asio.hpp>
#include <boost/program_options.hpp>
#include <boost/test/unit_test.hpp>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <memory>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

// All that they include is above.
namespace recipes {
#include "../../example/recipes.cpp"
}
namespace inspect {
#include "../../example/inspect.cpp"
}
namespace tracing {
#include "../../example/tracing.cpp"
}

using namespace spindle_test;

namespace {

// A client that is cancelled closes its socket: whoever writes to it then fails, and has
// nobody to tell.
spindle::scheduler_options whose_peer_may_go()
{
    return {.unhandled_exception = [](std::exception_ptr e, spindle::fiber_info const&) {
        auto const ec = error_in(e);
        if (ec != asio::error::broken_pipe && ec != asio::error::connection_reset)
            std::terminate();
    }};
}

} // namespace

BOOST_AUTO_TEST_CASE(a_rate_limiter)
{
    printed out;
    over_every_step(recipes::limited_rate);
}

BOOST_AUTO_TEST_CASE(a_broadcast)
{
    printed out;
    over_every_step(recipes::news_for_all);
}

BOOST_AUTO_TEST_CASE(a_pipelined_proxy)
{
    printed out;
    over_every_step_of_a_program(recipes::pipelined_requests, whose_peer_may_go());
}

// Who writes is on an executor of its own, and belongs to nobody.
BOOST_AUTO_TEST_CASE(a_socket_that_moves)
{
    printed out;
    over_every_step_of_a_program(recipes::socket_that_moves, whose_peer_may_go());
}

// What it leaks, and its clients, end with their scheduler only.
BOOST_AUTO_TEST_CASE(a_server_that_goes_wrong)
{
    printed out;
    over_every_step_of_a_program([&] {
        with_clients(
            out, [] { inspect::run_server(0); },
            {[](tcp::socket& s, std::atomic<bool>&) {
                 say(s, "leak\nfibers\n");
                 (void)hears(s, ".\n");
             },
             [](tcp::socket& s, std::atomic<bool>&) {
                 say(s, "leaks\nquit\n");
                 (void)hears(s, ".\n");
             }});
    });
}

BOOST_AUTO_TEST_CASE(a_workshop)
{
    tracing::options o;
    o.parts = 6;
    over_every_step([&] { tracing::work(o); });
}
