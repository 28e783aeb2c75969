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

namespace {

using role = void (*)(tcp::socket&, std::atomic<bool>& enough);

// Runs a server and, beside it, clients that know where it listens. It is told to go
// once all of them have ended, or one of them has had enough; again and again, since it
// may not listen yet to signals.
void with_clients(
    printed& out, std::function<void()> const& server, std::initializer_list<role> clients)
{
    out.port = 0;
    std::atomic<bool> over{false}, enough{false};
    std::atomic<std::size_t> left{clients.size()};
    std::vector<spindle::fiber<void>> fibers;
    spindle::detail::scope_exit const ends([&] { over = true; });
    for (auto const client : clients)
        fibers.push_back(spindle::spawn([&, client] {
            spindle::detail::scope_exit const says([&] {
                if (--left == 0)
                    enough = true;
            });
            while (out.port == 0 && !over)
                spindle::this_fiber::sleep_for(50us);
            error_code ec;
            tcp::socket s(spindle::this_fiber::get_executor());
            s.async_connect({asio::ip::address_v4::loopback(), out.port}, spindle::use_fiber[ec]);
            if (!ec)
                client(s, enough);
        }));
    fibers.push_back(spindle::spawn([&] {
        for (; !over; spindle::this_fiber::sleep_for(200us))
            if (enough)
                std::raise(SIGINT);
    }));
    server();
    over = true;
    for (auto& f : fibers)
        f.join();
}

// Until that was heard; false: the server has closed before. What comes after the end
// must not be read: Asio would wait for it.
bool hears(tcp::socket& s, std::string const& text)
{
    std::string heard;
    error_code ec;
    asio::async_read_until(s, asio::dynamic_buffer(heard), text, spindle::use_fiber[ec]);
    return !ec;
}

void say(tcp::socket& s, std::string const& text)
{
    error_code ec;
    asio::async_write(s, asio::buffer(text), spindle::use_fiber[ec]);
}

} // namespace

// One request is finished in the time that is left, the other one is cut.
BOOST_AUTO_TEST_CASE(a_graceful_shutdown)
{
    printed out;
    graceful_shutdown::options o;
    o.grace = 3;
    over_every_step([&] {
        with_clients(
            out, [&] { graceful_shutdown::run_server(o); },
            {[](tcp::socket& s, std::atomic<bool>&) {
                 say(s, "1\n");
                 (void)hears(s, "done\n");
             },
             [](tcp::socket& s, std::atomic<bool>& enough) {
                 say(s, "100000\n");
                 enough = true;
                 (void)hears(s, "done\n");
             }});
    });
}

BOOST_AUTO_TEST_CASE(a_chat)
{
    printed out;
    chat::options o;
    o.grace = 3;
    over_every_step([&] {
        with_clients(
            out, [&] { (void)chat::run_server(o); },
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
    });
}

// Its chain ends with its scheduler only.
BOOST_AUTO_TEST_CASE(a_pipeline)
{
    printed out;
    pipeline::options o;
    o.count = 4;
    for (auto const how : {by::scope, by::stop})
        for (unsigned const n : {1u, 2u, 4u}) {
            auto const hit = until_not_hit([&](std::size_t at) {
                auto const s = spindle::run(
                    [&] {
                        return cancel_at_step(
                            how, spindle::this_fiber::get_scheduler(),
                            [&] { pipeline::sieve(o); }, at);
                    },
                    {.processors = n});
                check_nothing_left();
                return s;
            });
            if (n == 1)
                BOOST_TEST(hit > 0u);
        }
}
