// build: options
//
// blocking_mix.cpp
// ~~~~~~~~~~~~~~~~
// A server whose requests do what holds a thread: they read files, ask the name
// server, compute. Those that cost nothing are answered at once all the same.
//
//   PING            PONG
//   READ NAME       the size of a file in the --root
//   RESOLVE HOST    its addresses
//   COMPUTE MS      what it takes the processor so many milliseconds to find out
//
// With --plain nothing says which calls block. The scheduler finds out by itself,
// some milliseconds later, and says who it was.
//
// With --load PORT it is the client of such a server: it keeps computing requests
// under way, and measures how long PING takes.
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

namespace asio = boost::asio;
namespace this_fiber = spindle::this_fiber;
using asio::ip::tcp;
using spindle::error_code;
using spindle::use_fiber;
using namespace std::chrono_literals;
using clock_type = std::chrono::steady_clock;

namespace {

struct options {
    std::uint16_t port = 0;
    unsigned processors = 0;
    std::string root = ".";
    bool plain = false;
    bool stats = false;
    std::uint16_t load = 0;
    unsigned seconds = 3;
    unsigned computing = 2;
};

// --- what holds a thread ------------------------------------------------------------------

// Reading a file waits for the disk, or for whoever writes to a pipe.
std::string read_file(std::string const& path)
{
    std::ifstream file(path, std::ios::binary);
    if (!file)
        return "cannot read it";
    auto const bytes = std::distance(std::istreambuf_iterator<char>(file), {});
    return std::to_string(bytes) + " bytes";
}

// getaddrinfo waits for the network.
std::string resolve(std::string const& host)
{
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    if (int const error = ::getaddrinfo(host.c_str(), nullptr, &hints, &found))
        return ::gai_strerror(error);
    std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> const owner(found, &::freeaddrinfo);
    std::string all;
    for (auto const* a = found; a; a = a->ai_next) {
        std::array<char, NI_MAXHOST> text;
        if (::getnameinfo(
                a->ai_addr, a->ai_addrlen, text.data(), text.size(), nullptr, 0, NI_NUMERICHOST) ==
            0)
            (all += all.empty() ? "" : " ") += text.data();
    }
    return all;
}

// A loop in a library: it knows nothing of fibers.
std::string compute(std::chrono::milliseconds how_long)
{
    auto const end = clock_type::now() + how_long;
    std::uint64_t primes = 0;
    for (std::uint64_t n = 2; clock_type::now() < end; ++n) {
        std::uint64_t divisor = 2;
        while (divisor * divisor <= n && n % divisor != 0)
            ++divisor;
        primes += divisor * divisor > n;
    }
    return std::to_string(primes) + " primes";
}

// --- the server ---------------------------------------------------------------------------

// For calls of which one knows that they may hold their thread.
template <class Function>
std::string may_block(options const& o, Function call)
{
    return o.plain ? call() : spindle::blocking(call);
}

std::string answer(std::string_view request, options const& o)
{
    auto const space = request.find(' ');
    auto const verb = request.substr(0, space);
    std::string const what(space == request.npos ? "" : request.substr(space + 1));
    if (verb == "PING")
        return "PONG";
    if (verb == "READ" && !what.empty() && what.find('/') == what.npos)
        return may_block(o, [&] { return read_file(o.root + '/' + what); });
    if (verb == "RESOLVE" && !what.empty())
        return may_block(o, [&] { return resolve(what); });
    if (verb == "COMPUTE") {
        std::chrono::milliseconds const time(
            std::min(std::strtoul(what.c_str(), nullptr, 10), 10'000UL));
        // A fiber of its own, for its name: one that is reported is reported by it.
        auto computing = spindle::spawn(
            {.name = "compute"}, [&] { return may_block(o, [&] { return compute(time); }); });
        return computing.join();
    }
    return "there are PING, READ NAME, RESOLVE HOST and COMPUTE MS";
}

// One connection, until the client has gone.
void serve(tcp::socket socket, options const& o)
{
    std::string data;
    for (error_code ec;;) {
        auto const n =
            asio::async_read_until(socket, asio::dynamic_buffer(data, 512), '\n', use_fiber[ec]);
        if (ec)
            return;
        auto const reply = answer(std::string_view(data).substr(0, n - 1), o) + '\n';
        data.erase(0, n);
        asio::async_write(socket, asio::buffer(reply), use_fiber[ec]);
        if (ec)
            return;
    }
}

void accept_clients(tcp::acceptor& acceptor, options const& o)
{
    for (;;) {
        error_code ec;
        tcp::socket socket =
            acceptor.async_accept(this_fiber::get_scheduler().next_executor(), use_fiber[ec]);
        if (ec == asio::error::operation_aborted)
            return;
        if (ec) { // no descriptor left: some come back as connections end
            std::cerr << "cannot accept: " << ec.message() << '\n';
            this_fiber::sleep_for(100ms);
            continue;
        }
        socket.set_option(tcp::no_delay(true), ec);
        spindle::go(
            {.name = "session"}, [s = std::move(socket), &o]() mutable { serve(std::move(s), o); });
    }
}

void run_server(options const& o)
{
    tcp::acceptor acceptor(this_fiber::get_executor(), {asio::ip::address_v4::loopback(), o.port});
    std::cout << "listening on " << acceptor.local_endpoint().port() << std::endl;
    auto const door = spindle::spawn({.name = "door"}, [&] { accept_clients(acceptor, o); });

    asio::signal_set signals(this_fiber::get_executor(), SIGINT, SIGTERM);
    signals.async_wait(use_fiber);

    if (o.stats) {
        auto const s = this_fiber::get_scheduler().stats();
        std::cout << "fibers=" << s.spawned << " threads=" << s.threads
                  << " handoffs=" << s.handoffs << " preemptions=" << s.preemptions << std::endl;
    }
} // the end of the main fiber stops the others, and waits for them

// Called by the scheduler's monitor, once for each place that such fibers come from.
void report(spindle::fiber_info const& who, clock_type::duration how_long)
{
    std::cerr << who.name << " has run for " << how_long / 1ms
              << " ms without waiting, spawned from " << who.spawned_from << '\n';
}

// --- the client ---------------------------------------------------------------------------

class connection {
public:
    explicit connection(std::uint16_t port) : socket_(this_fiber::get_executor())
    {
        socket_.async_connect({asio::ip::address_v4::loopback(), port}, use_fiber);
        socket_.set_option(tcp::no_delay(true));
    }

    std::string ask(std::string const& request)
    {
        asio::async_write(socket_, asio::buffer(request + '\n'), use_fiber);
        auto const n =
            asio::async_read_until(socket_, asio::dynamic_buffer(data_), '\n', use_fiber);
        auto reply = data_.substr(0, n - 1);
        data_.erase(0, n);
        return reply;
    }

private:
    tcp::socket socket_;
    std::string data_;
};

void run_load(options const& o)
{
    auto const end = clock_type::now() + std::chrono::seconds(o.seconds);
    spindle::mutex mutex;
    std::vector<clock_type::duration> times;
    std::size_t computed = 0;

    spindle::task_group clients;
    for (unsigned i = 0; i != o.computing; ++i)
        clients.spawn([&] {
            for (connection server(o.load); clock_type::now() < end;) {
                server.ask("COMPUTE 300");
                std::scoped_lock const lock(mutex);
                ++computed;
            }
        });
    for (int i = 0; i != 8; ++i)
        clients.spawn([&] {
            connection server(o.load);
            // From when it is due: one answer that is late makes others late.
            for (auto due = clock_type::now(); due < end; due += 5ms) {
                this_fiber::sleep_until(due);
                if (server.ask("PING") != "PONG")
                    throw std::runtime_error("a wrong answer");
                std::scoped_lock const lock(mutex);
                times.push_back(clock_type::now() - due);
            }
        });
    clients.wait();

    if (times.empty())
        throw std::runtime_error("no time to ask: --seconds is at least 1");
    std::sort(times.begin(), times.end());
    auto const late = [&](std::size_t percent) {
        return times[(times.size() - 1) * percent / 100] / 1us;
    };
    std::cout << "computed=" << computed << " pings=" << times.size() << " p50_us=" << late(50)
              << " p99_us=" << late(99) << " max_us=" << times.back() / 1us << std::endl;
}

options parse(int argc, char** argv)
{
    namespace po = boost::program_options;
    options o;
    po::options_description known(
        "A server on 127.0.0.1 whose requests block and compute; SIGINT or SIGTERM ends it. "
        "Options");
    auto add = known.add_options();
    auto number = [&](char const* name, auto& to, char const* what) {
        add(name, po::value(&to)->default_value(to), what);
    };
    number("port", o.port, "where to listen; 0: anywhere");
    number("processors", o.processors, "how many; 0: one for each core");
    number("root", o.root, "where the files are");
    add("plain", po::bool_switch(&o.plain), "do not tell the scheduler which calls block");
    add("stats", po::bool_switch(&o.stats), "print a line of numbers at the end");
    number("load", o.load, "be a client of the server at this port");
    number("seconds", o.seconds, "the client's: for how long");
    number("computing", o.computing, "the client's: requests that compute, at a time");
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
        if (o.load != 0)
            spindle::run([&] { run_load(o); });
        else // 5 ms: what blocks and does not say so makes a PING wait no longer than twice that
            spindle::run(
                [&] { run_server(o); },
                {.processors = o.processors, .preempt_after = 5ms, .on_hog = report});
        return 0;
    } catch (std::exception const& e) {
        std::cerr << "blocking_mix: " << e.what() << '\n';
        return 1;
    }
}
