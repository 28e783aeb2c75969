// build: options
//
// graceful_shutdown.cpp
// ~~~~~~~~~~~~~~~~~~~~~
// A server that is told to go: those who wait are let go, requests that have begun
// are finished, and what takes too long is cut.
//
// A client sends a number on a line, and gets "done" after so many milliseconds.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle.hpp>

#include <boost/asio.hpp>
#include <boost/program_options.hpp>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <stop_token>
#include <string>
#include <utility>

namespace asio = boost::asio;
namespace this_fiber = spindle::this_fiber;
using asio::ip::tcp;
using spindle::error_code;
using spindle::system_error;
using spindle::use_fiber;
using namespace std::chrono_literals;

namespace {

struct options {
    std::uint16_t port = 0;
    unsigned grace = 1000;
    bool stats = false;
};

// Of all connections.
struct counts {
    std::atomic<std::uint64_t> connections{0}, finished{0}, cut{0};
};

// The next line; empty where there is none any more, or no more are wanted.
std::string next_request(tcp::socket& socket, std::string& data, std::stop_token going_down)
{
    spindle::cancel_scope const waiting(std::move(going_down)); // this wait only
    error_code ec;
    auto const n = asio::async_read_until(
        socket, asio::dynamic_buffer(data, 80), '\n', use_fiber[ec]);
    if (ec)
        return {};
    auto line = data.substr(0, n);
    data.erase(0, n);
    return line;
}

// One connection. `going_down` ends it between two requests; its group ends it
// where it is.
void serve(tcp::socket socket, std::stop_token going_down, counts& all)
{
    std::string data;
    while (!going_down.stop_requested()) {
        auto const request = next_request(socket, data, going_down);
        if (request.empty())
            break;
        try {
            // What a real server would do: ask a database, another server, ...
            this_fiber::sleep_for(
                std::chrono::milliseconds(std::strtoul(request.c_str(), nullptr, 10)));
            asio::async_write(socket, asio::buffer("done\n", 5), use_fiber);
            ++all.finished;
        } catch (system_error const& e) {
            if (e.code() != asio::error::operation_aborted)
                break; // the client has gone
            ++all.cut;
            throw; // it is the group's to know
        }
    }
}

void accept_until(
    tcp::acceptor& acceptor, spindle::task_group& connections,
    std::stop_token const& going_down, counts& all)
{
    while (!going_down.stop_requested()) {
        error_code ec;
        tcp::socket socket = acceptor.async_accept(
            this_fiber::get_scheduler().next_executor(), use_fiber[ec]);
        if (ec == asio::error::operation_aborted)
            break;
        if (ec) { // no descriptor left: some come back as connections end
            std::cerr << "cannot accept: " << ec.message() << '\n';
            this_fiber::sleep_for(100ms);
            continue;
        }
        ++all.connections;
        connections.spawn([s = std::move(socket), &going_down, &all]() mutable {
            serve(std::move(s), going_down, all);
        });
    }
}

void run_server(options const& o)
{
    counts all;
    std::stop_source signal;
    auto const going_down = signal.get_token();
    tcp::acceptor acceptor(
        this_fiber::get_executor(), {asio::ip::address_v4::loopback(), o.port});
    std::cout << "listening on " << acceptor.local_endpoint().port() << std::endl;

    // Its handle goes last: by then it has ended, or is stopped.
    auto const waits_for_the_signal = spindle::spawn([&] {
        asio::signal_set signals(this_fiber::get_executor(), SIGINT, SIGTERM);
        signals.async_wait(use_fiber);
        signal.request_stop();
    });

    spindle::task_group connections; // not in the scope below: they go on
    try {
        spindle::cancel_scope const accepting(going_down);
        accept_until(acceptor, connections, going_down, all);
    } catch (system_error const& e) { // a pause that was cut short
        if (e.code() != asio::error::operation_aborted)
            throw;
    }
    acceptor.close();

    // Until all have ended, or the time is up: then wait() stops the rest, and waits
    // for that.
    error_code late;
    spindle::within(std::chrono::milliseconds(o.grace), [&] { connections.wait(); }, late);
    if (o.stats)
        std::cout << "connections=" << all.connections << " finished=" << all.finished
                  << " cut=" << all.cut << " late=" << !!late << std::endl;
}

options parse(int argc, char** argv)
{
    namespace po = boost::program_options;
    options o;
    po::options_description known(
        "A server on 127.0.0.1 that waits; SIGINT or SIGTERM ends it. Options");
    auto add = known.add_options();
    add("port", po::value(&o.port)->default_value(o.port), "where to listen; 0: anywhere");
    add("grace",
        po::value(&o.grace)->default_value(o.grace),
        "ms that requests have to finish after the signal");
    add("stats", po::bool_switch(&o.stats), "print a line of numbers at the end");
    add("help", "print this");
    po::variables_map values;
    po::store(po::parse_command_line(argc, argv, known), values);
    po::notify(values);
    if (values.count("help") != 0) {
        std::cout << known;
        std::exit(0);
    }
    return o;
}

} // namespace

int main(int argc, char** argv)
{
    try {
        auto const o = parse(argc, argv);
        spindle::run([&] { run_server(o); });
        return 0;
    } catch (std::exception const& e) {
        std::cerr << "graceful_shutdown: " << e.what() << '\n';
        return 1;
    }
}
