// build: options
//
// cancel/scenario_blocking.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// The server among the examples whose requests hold their thread, told to end at each of
// its steps. Its source is taken in as it is.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE cancel.scenario_blocking
#include <spindle.hpp>
#include <support/example.hpp>

#include <boost/asio.hpp>
#include <boost/program_options.hpp>
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <mutex>
#include <netdb.h>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// All that it includes is above.
namespace blocking_mix {
#include "../../example/blocking_mix.cpp"
}

using namespace spindle_test;

namespace {

void ask_all(blocking_mix::options const& o)
{
    printed out;
    serve_at_every_step(
        out,
        [&] { blocking_mix::run_server(o); },
        {[](tcp::socket& s, std::atomic<bool>&) {
             say(s, "PING\nREAD null\n");
             (void)hears(s, "0 bytes\n");
         },
         [](tcp::socket& s, std::atomic<bool>&) {
             say(s, "RESOLVE 127.0.0.1\nCOMPUTE 1\n");
             (void)hears(s, " primes\n");
         }});
}

} // namespace

BOOST_AUTO_TEST_CASE(calls_that_are_said_to_block)
{
    blocking_mix::options o;
    o.root = "/dev";
    ask_all(o);
}

BOOST_AUTO_TEST_CASE(calls_that_just_block)
{
    blocking_mix::options o;
    o.root = "/dev";
    o.plain = true;
    ask_all(o);
}
