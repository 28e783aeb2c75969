// build: options
//
// cancel/scenarios.cpp
// ~~~~~~~~~~~~~~~~~~~~
// The servers among the examples, and the sieve, cancelled at each of their steps.
// Their sources are taken in as they are.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE cancel.scenarios
#include <spindle.hpp>
#include <support/every_step.hpp>
#include <support/example.hpp>

#include <boost/asio.hpp>
#include <boost/program_options.hpp>
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <exception>
#include <functional>
#include <iostream>
#include <memory>
#include <set>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

// All that they include is above.
namespace graceful_shutdown {
#include "../../example/graceful_shutdown.cpp"
}
namespace chat {
#include "../../example/chat_server.cpp"
}
namespace pipeline {
#include "../../example/pipeline.cpp"
}

using namespace spindle_test;
using namespace std::chrono_literals;

// One request is finished in the time that is left, the other one is cut.
BOOST_AUTO_TEST_CASE(a_graceful_shutdown)
{
    printed out;
    graceful_shutdown::options o;
    o.grace = 3;
    serve_at_every_step(
        out,
        [&] { graceful_shutdown::run_server(o); },
        {[](tcp::socket& s, std::atomic<bool>&) {
             say(s, "1\n");
             (void)hears(s, "done\n");
         },
         [](tcp::socket& s, std::atomic<bool>& enough) {
             say(s, "100000\n");
             enough = true;
             (void)hears(s, "done\n");
         }});
}

BOOST_AUTO_TEST_CASE(a_chat)
{
    printed out;
    chat::options o;
    o.grace = 3;
    serve_at_every_step(
        out,
        [&] { (void)chat::run_server(o); },
        {[](tcp::socket& s, std::atomic<bool>&) {
             say(s, "ann\n");
             if (!hears(s, "you are ann"))
                 return;
             say(s, "hello\n/quit\n");
             (void)hears(s, "goodbye");
         },
         [](tcp::socket& s, std::atomic<bool>&) {
             say(s, "bob\n/who\n");
             (void)hears(s, "you are bob");
         }});
}

// Its chain ends with its scheduler only.
BOOST_AUTO_TEST_CASE(a_pipeline)
{
    printed out;
    pipeline::options o;
    o.count = 4;
    over_every_step_of_a_program([&] { pipeline::sieve(o); });
}
