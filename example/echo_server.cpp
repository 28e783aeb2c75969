// build: options
//
// echo_server.cpp
// ~~~~~~~~~~~~~~~
// An echo server of callbacks, as Asio's tutorials write it, that serves each
// connection in a fiber.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle.hpp>

#include <boost/asio.hpp>
#include <boost/program_options.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <functional>
#include <iostream>
#include <list>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace asio = boost::asio;
using asio::ip::tcp;
using spindle::error_code;
using spindle::use_fiber;

namespace {

// One connection, in a fiber: code that reads from top to bottom. While it waits
// for its client, its thread serves others.
std::uint64_t echo(tcp::socket socket)
{
    std::array<char, 4096> data; // on the fiber's own stack
    for (std::uint64_t echoed = 0;; ++echoed) {
        error_code ec;
        auto const n = socket.async_read_some(asio::buffer(data), use_fiber[ec]);
        if (!ec)
            asio::async_write(socket, asio::buffer(data, n), use_fiber[ec]);
        if (ec) // the client is done, or gone; or this fiber was asked to stop
            return echoed;
    }
}

class server {
public:
    // `ex` serialises the handlers of this class: they share its members. Each
    // connection gets the executor that `place` returns.
    server(
        asio::any_io_executor ex, std::uint16_t port, std::function<asio::any_io_executor()> place)
        : ex_(ex), acceptor_(ex, {asio::ip::address_v4::loopback(), port}),
          port_(acceptor_.local_endpoint().port()), signals_(ex, SIGINT, SIGTERM), pause_(ex),
          place_(std::move(place))
    {
        running_.add();
        do_accept();
        // Last: from here on others may call stop(), on `ex`.
        signals_.async_wait([this](error_code ec, int) {
            if (!ec)
                stop();
        });
    }

    std::uint16_t port() const { return port_; }

    // Blocks until the server was stopped, and its last connection has ended.
    void wait() { running_.wait(); }

    // After wait().
    std::uint64_t connections() const { return connections_; }
    std::uint64_t requests() const { return requests_; }

private:
    void do_accept()
    {
        // The socket is made with its own executor. Without that argument it would
        // have the acceptor's, and its fiber would share a strand with all others.
        acceptor_.async_accept(place_(), [this](error_code ec, tcp::socket socket) {
            if (stopped_)
                running_.done(); // nothing of `this` may be touched after it
            else if (ec)
                try_later(ec.message());
            else
                serve(std::move(socket));
        });
    }

    // The handler that has changed. With callbacks, this made a session object
    // and started its first read.
    void serve(tcp::socket socket)
    {
        auto const connection = live_.emplace(live_.end());
        try {
            auto const ex = socket.get_executor(); // before the socket is moved away
            spindle::spawn(
                ex,
                {.name = "connection"},
                [socket = std::move(socket)]() mutable { return echo(std::move(socket)); },
                asio::bind_cancellation_slot(
                    connection->slot(), // what is emitted there stops the fiber
                    asio::bind_executor(
                        ex_, [this, connection](std::exception_ptr, std::uint64_t echoed) {
                            live_.erase(connection);
                            requests_ += echoed;
                            running_.done();
                        })));
        } catch (spindle::system_error const& e) { // no memory for a stack
            live_.erase(connection);
            return try_later(e.what());
        }
        ++connections_;
        running_.add();
        do_accept();
    }

    // No descriptor left, or no memory: both come back as connections end.
    void try_later(std::string const& why)
    {
        std::cerr << "cannot accept: " << why << '\n';
        pause_.expires_after(std::chrono::milliseconds(100));
        pause_.async_wait([this](error_code) {
            if (stopped_)
                running_.done();
            else
                do_accept();
        });
    }

    void stop()
    {
        stopped_ = true;
        acceptor_.close();
        pause_.cancel();
        for (auto& connection : live_)
            connection.emit(asio::cancellation_type::terminal);
    }

    asio::any_io_executor const ex_;
    tcp::acceptor acceptor_;
    std::uint16_t const port_; // others ask for it while stop() closes the acceptor
    asio::signal_set signals_;
    asio::steady_timer pause_;
    std::function<asio::any_io_executor()> const place_;
    std::list<asio::cancellation_signal> live_; // one a connection
    bool stopped_ = false;
    std::uint64_t connections_ = 0;
    std::uint64_t requests_ = 0;
    spindle::wait_group running_; // the accepting, and each connection
};

struct options {
    std::uint16_t port = 0;
    unsigned threads = std::max(1u, std::thread::hardware_concurrency());
    std::string mode = "shared";
    bool stats = false;
};

// stacks: the most that there were at a time, those of resting fibers included.
void report(server const& s)
{
    std::cout << "connections=" << s.connections() << " requests=" << s.requests()
              << " stacks=" << spindle::stack::get_statistics().high_water;
}

// The program that was there: one io_context, and threads of its own to run it.
void run_shared(options const& o)
{
    asio::io_context ioc;
    auto const ex = ioc.get_executor();
    server s(asio::make_strand(ex), o.port, [ex] { return ex; });
    std::cout << "listening on " << s.port() << std::endl;

    std::vector<std::jthread> threads;
    for (unsigned i = 1; i < o.threads; ++i)
        threads.emplace_back([&] { ioc.run(); });
    ioc.run(); // returns when there is nothing left to do, fibers included
    threads.clear();

    if (o.stats) {
        report(s);
        std::cout << std::endl;
    }
}

// Spindle's threads, each with an io_context of its own. The connections are
// dealt out to them in turn; a fiber may be stolen by a thread with nothing to do.
void run_scheduler(options const& o)
{
    spindle::scheduler sched({.processors = o.threads});
    server s(
        asio::make_strand(sched.get_executor()), o.port, [&] { return sched.next_executor(); });
    std::cout << "listening on " << s.port() << std::endl;
    s.wait();

    if (o.stats) {
        auto const stats = sched.stats();
        report(s);
        std::cout << " fibers=" << stats.spawned << " switches=" << stats.switches
                  << " parks=" << stats.parks << " steals=" << stats.steals
                  << " stolen=" << stats.stolen << std::endl;
    }
}

options parse(int argc, char** argv)
{
    namespace po = boost::program_options;
    options o;
    po::options_description known(
        "An echo server on 127.0.0.1; SIGINT or SIGTERM ends it. Options");
    auto add = known.add_options();
    add("port", po::value(&o.port)->default_value(o.port), "where to listen; 0: anywhere");
    add("threads", po::value(&o.threads)->default_value(o.threads), "how many");
    add("mode",
        po::value(&o.mode)->default_value(o.mode),
        "shared: one io_context, run by all threads; scheduler: a spindle::scheduler, with an "
        "io_context for each thread");
    add("stats", po::bool_switch(&o.stats), "print a line of numbers at the end");
    add("help", "print this");
    po::variables_map values;
    po::store(po::parse_command_line(argc, argv, known), values);
    po::notify(values);
    if (values.count("help") != 0) {
        std::cout << known;
        std::exit(0);
    }
    if (o.threads == 0 || (o.mode != "shared" && o.mode != "scheduler"))
        throw po::error("--threads is 1 or more, --mode is shared or scheduler");
    return o;
}

} // namespace

int main(int argc, char** argv)
{
    try {
        auto const o = parse(argc, argv);
        if (o.mode == "shared")
            run_shared(o);
        else
            run_scheduler(o);
        return 0;
    } catch (std::exception const& e) {
        std::cerr << "echo_server: " << e.what() << '\n';
        return 1;
    }
}
