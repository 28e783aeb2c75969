// build: options
//
// cancel/scenario_guests.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~
// The examples that are fibers among callbacks and coroutines, on io_contexts and on
// schedulers, told to end at each of their steps. Their sources are taken in as they are.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE cancel.scenario_guests
#include <spindle.hpp>
#include <support/every_step.hpp>
#include <support/example.hpp>

#include <boost/asio.hpp>
#include <boost/program_options.hpp>
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <iostream>
#include <list>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

// All that they include is above.
namespace echo {
#include "../../example/echo_server.cpp"
}
namespace bridge {
#include "../../example/coroutine_bridge.cpp"
}
namespace callbacks {
#include "../../example/callbacks.cpp"
}

using namespace spindle_test;

namespace {

// A server's stop is its signal: its wait() is for callbacks, and is no cancellation point.
void serve_echoes(printed& out, std::function<asio::any_io_executor()> const& place)
{
    with_clients(
        out,
        [&] {
            echo::server s(asio::make_strand(spindle::this_fiber::get_executor()), 0, place);
            out.port = s.port();
            s.wait();
        },
        {[](tcp::socket& s, std::atomic<bool>&) {
             for (auto const* const text : {"one\n", "two\n"}) {
                 say(s, text);
                 if (!hears(s, text))
                     return;
             }
         },
         [](tcp::socket& s, std::atomic<bool>& enough) {
             say(s, "three\n");
             if (!hears(s, "three\n"))
                 return;
             enough = true;
             (void)hears(s, "nothing"); // until the server goes
         }});
}

// The coroutine ends with the channel, which the fiber closes on every way out. It is not
// cancelled itself: co_spawn's emit of Boost 1.81 may be on its way when the coroutine has
// ended, and then touches freed memory.
void ask_a_coroutine()
{
    spindle::channel<int> talk;
    spindle::wait_group answering(1);
    asio::co_spawn(
        spindle::this_fiber::get_executor(), bridge::answer(talk), [&](std::exception_ptr, int) {
            answering.done();
        });
    spindle::detail::scope_exit const waits([&] { answering.wait(); });
    bridge::ask(talk);
}

} // namespace

BOOST_AUTO_TEST_CASE(an_echo_server_on_a_scheduler)
{
    printed out;
    over_every_step(
        [&] {
            auto& sched = spindle::this_fiber::get_scheduler();
            serve_echoes(out, [&] { return sched.next_executor(); });
        },
        {by::signal});
}

BOOST_AUTO_TEST_CASE(an_echo_server_on_an_io_context)
{
    printed out;
    over_every_step_of_guests(
        [&] {
            auto const ex = spindle::this_fiber::get_executor();
            serve_echoes(out, [&] { return ex; });
        },
        {by::signal});
}

BOOST_AUTO_TEST_CASE(a_coroutine_bridge)
{
    printed out;
    over_every_step(ask_a_coroutine);
    over_every_step_of_guests(ask_a_coroutine);
}

// Its acceptor is for one thread, as in the example.
BOOST_AUTO_TEST_CASE(a_server_of_callbacks_and_its_client)
{
    printed out;
    for (auto const how : cancelled)
        BOOST_TEST_CONTEXT(name_of(how))
        {
            auto const hit = until_not_hit([&](std::size_t at) {
                asio::io_context ioc;
                tcp::acceptor acceptor(ioc, {asio::ip::address_v4::loopback(), 0});
                callbacks::accept(acceptor);
                step s{};
                spindle::spawn(
                    ioc,
                    [&] {
                        s = cancel_at_step(
                            how, [&] { callbacks::ask(ioc, acceptor.local_endpoint()); }, at);
                    },
                    [&](std::exception_ptr e) {
                        BOOST_TEST(!e);
                        acceptor.close();
                    });
                ioc.run();
                return s;
            });
            BOOST_TEST(hit > 0u);
            check_nothing_left();
        }
}
