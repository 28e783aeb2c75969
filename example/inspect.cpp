// build: options
//
// inspect.cpp
// ~~~~~~~~~~~
// A server that goes wrong on request, and shows how. A client sends lines:
//
//   fibers     every fiber, as SIGQUIT writes it to standard error, too
//   leak       starts a fiber that waits for what nobody will send
//   leaks      fibers that have waited for long, and which of them will for ever
//   lock       takes two locks in the wrong order, in two fibers
//   compute    starts a fiber that computes for a second
//   deadlock   closes the server's socket and lets everybody wait: the end
//   quit
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle.hpp>
#include <spindle/observe.hpp>

#include <boost/asio.hpp>
#include <boost/program_options.hpp>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <memory>
#include <mutex>
#include <sstream>
#include <string>
#include <utility>

namespace asio = boost::asio;
namespace this_fiber = spindle::this_fiber;
using asio::ip::tcp;
using spindle::error_code;
using spindle::use_fiber;
using namespace std::chrono_literals;

namespace {

// --- what goes wrong ------------------------------------------------------------------

[[gnu::noinline]] void wait_for_an_answer(spindle::channel<std::string> answer) { (void)answer.receive(); }

// Whoever should answer has been forgotten: nobody else has this channel.
[[gnu::noinline]] void leak()
{
    spindle::channel<std::string> answer;
    spindle::go({.name = "leaked"}, [answer] { wait_for_an_answer(answer); });
}

struct accounts {
    spindle::mutex savings, giro;
};

[[gnu::noinline]] void transfer(spindle::mutex& from, spindle::mutex& to)
{
    std::scoped_lock const take(from);
    this_fiber::sleep_for(10ms);
    std::scoped_lock const give(to);
}

void lock_in_the_wrong_order()
{
    auto const all = std::make_shared<accounts>();
    spindle::go({.name = "there"}, [all] { transfer(all->savings, all->giro); });
    spindle::go({.name = "back"}, [all] { transfer(all->giro, all->savings); });
}

void compute()
{
    auto const end = std::chrono::steady_clock::now() + 1s;
    while (std::chrono::steady_clock::now() < end)
        ;
}

// --- the server -----------------------------------------------------------------------

// Clients may be there when the main fiber has returned: they share it.
struct server {
    explicit server(std::uint16_t port)
        : acceptor(this_fiber::get_executor(), {asio::ip::address_v4::loopback(), port})
    {
    }

    tcp::acceptor acceptor;
    spindle::channel<void> over;
    bool deadlock = false;
};

std::string answer_to(std::string const& request, server& s)
{
    std::ostringstream out;
    if (request == "fibers")
        spindle::dump(out);
    else if (request == "leaks")
        spindle::dump_leaks(out, 10ms);
    else if (request == "leak")
        leak();
    else if (request == "lock")
        lock_in_the_wrong_order();
    else if (request == "compute")
        spindle::go({.name = "hog"}, compute);
    else if (request == "deadlock") {
        s.deadlock = true;
        s.over.close();
    } else if (request == "quit")
        s.over.close();
    else
        out << "fibers, leak, leaks, lock, compute, deadlock or quit\n";
    return std::move(out).str() + ".\n";
}

void serve(tcp::socket socket, server& s)
{
    std::string data;
    for (;;) {
        error_code ec;
        auto const n =
            asio::async_read_until(socket, asio::dynamic_buffer(data, 80), '\n', use_fiber[ec]);
        if (ec)
            return;
        auto line = data.substr(0, n - 1);
        data.erase(0, n);
        if (!line.empty() && line.back() == '\r')
            line.pop_back();
        asio::async_write(socket, asio::buffer(answer_to(line, s)), use_fiber[ec]);
        if (ec || s.over.is_closed())
            return;
    }
}

void accept_all(std::shared_ptr<server> const& s)
{
    for (;;) {
        error_code ec;
        auto socket = s->acceptor.async_accept(use_fiber[ec]);
        if (ec)
            return;
        spindle::go({.name = "client"}, [socket = std::move(socket), s]() mutable {
            serve(std::move(socket), *s);
        });
    }
}

[[gnu::noinline]] void wait_for_what_does_not_come()
{
    spindle::channel<void> never;
    (void)never.receive();
}

void run_server(std::uint16_t port)
{
    auto const s = std::make_shared<server>(port);
    std::cout << "listening on " << s->acceptor.local_endpoint().port() << std::endl;
    auto acceptor = spindle::spawn({.name = "acceptor"}, [&] { accept_all(s); });
    (void)s->over.receive();
    acceptor.request_stop();
    acceptor.join();
    if (s->deadlock)
        wait_for_what_does_not_come();
}

} // namespace

int main(int argc, char** argv)
{
    namespace po = boost::program_options;
    std::uint16_t port = 0;
    po::options_description known("inspect: a server that goes wrong on request");
    known.add_options()("help", "this")(
        "port", po::value(&port)->default_value(0), "to listen on; 0: any")(
        "stats", "as the other servers have it: nothing");
    try {
        po::variables_map given;
        po::store(po::parse_command_line(argc, argv, known), given);
        po::notify(given);
        if (given.count("help")) {
            std::cout << known;
            return EXIT_SUCCESS;
        }
        spindle::dump_on_signal(SIGQUIT);
        spindle::run([&] { run_server(port); });
        return EXIT_SUCCESS;
    } catch (std::exception const& e) {
        std::cerr << "inspect: " << e.what() << '\n';
        return EXIT_FAILURE;
    }
}
