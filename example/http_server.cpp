// build: options openssl
//
// http_server.cpp
// ~~~~~~~~~~~~~~~
// An HTTP/1.1 server on Boost.Beast's parser, made to be left alone with the
// Internet: everything has a limit and a deadline, and whatever a client does, it gets
// a clear status or a clean close.
//
//   accept    a fiber for each connection, so many at a time     here
//   read      with deadlines; answer; write; the end             http_server/connection.hpp
//   answers   files, JSON, an echo, metrics                      http_server/answers.hpp
//   files     that cannot be elsewhere than below the root       http_server/files.hpp
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle.hpp>

#include <boost/asio.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/program_options.hpp>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>

#include "http_server/connection.hpp"
#include "http_server/service.hpp"

namespace {

using namespace http_server;
using spindle::system_error;
using spindle::use_fiber;
namespace ssl = asio::ssl;
namespace this_fiber = spindle::this_fiber;

// --- a connection's fiber ----------------------------------------------------------------

void serve(tcp::socket socket, std::optional<ssl::context>& tls, service& s, bool welcome)
{
    error_code ec;
    socket.set_option(tcp::no_delay(true), ec);
    plain_stream plain(std::move(socket));
    if (!tls)
        return connection(plain, s, welcome).run();
    tls_stream stream(std::move(plain), *tls);
    {
        spindle::cancel_scope const up(s.end());
        spindle::cancel_scope const limit(s.settings().header_timeout);
        stream.handshake(ssl::stream_base::server, ec);
    }
    if (!ec)
        connection(stream, s, welcome).run();
}

// What leaves it is the group's end, or is reported here.
void serve_or_report(tcp::socket socket, std::optional<ssl::context>& tls, service& s, bool welcome)
{
    try {
        serve(std::move(socket), tls, s, welcome);
    } catch (std::exception const& e) {
        if (this_fiber::stop_requested())
            throw;
        std::cerr << "cannot serve: " << e.what() << '\n'; // no memory
    }
}

// --- accepting -----------------------------------------------------------------------------

void accept_until_end(
    tcp::acceptor& acceptor,
    std::optional<ssl::context>& tls,
    spindle::task_group& group,
    service& s)
{
    spindle::cancel_scope const up(s.end());
    auto& sched = this_fiber::get_scheduler();
    while (!s.going_down()) {
        error_code ec;
        tcp::socket socket = acceptor.async_accept(sched.next_executor(), use_fiber[ec]);
        if (ec == asio::error::operation_aborted)
            return;
        try {
            if (!ec) {
                // Waits where there are too many; so do those who are not accepted then.
                group.spawn(
                    {.name = "connection"},
                    [socket = std::move(socket), &tls, &s, seat = s.take_seat()]() mutable {
                        serve_or_report(std::move(socket), tls, s, seat.is_regular());
                    });
                continue;
            }
        } catch (system_error const& e) {
            ec = e.code();
        }
        // No descriptor left, or no memory: some comes back as connections end.
        if (s.going_down())
            return;
        std::cerr << "cannot accept: " << ec.message() << '\n';
        this_fiber::sleep_for(std::chrono::milliseconds(100));
    }
}

std::optional<ssl::context> make_tls(options const& o)
{
    if (o.certificate.empty())
        return std::nullopt;
    ssl::context c(ssl::context::tls_server);
    c.set_options(
        ssl::context::default_workarounds | ssl::context::no_tlsv1 | ssl::context::no_tlsv1_1);
    c.use_certificate_chain_file(o.certificate);
    c.use_private_key_file(o.key.empty() ? o.certificate : o.key, ssl::context::pem);
    return c;
}

void run_server(options const& o)
{
    auto tls = make_tls(o);
    service s(o);
    tcp::acceptor acceptor(this_fiber::get_executor(), {asio::ip::make_address(o.address), o.port});
    std::cout << "listening on " << acceptor.local_endpoint().port() << std::endl;

    auto const waits_for_the_signal = spindle::spawn({.name = "signals"}, [&] {
        asio::signal_set signals(this_fiber::get_executor(), SIGINT, SIGTERM);
        signals.async_wait(use_fiber);
        s.go_down();
    }); // here the set is gone: the next signal ends the process at once

    // tag::end[]
    spindle::task_group group;
    group.set_limit(o.connections + o.turned_away);
    try {
        accept_until_end(acceptor, tls, group, s);
    } catch (system_error const& e) { // a pause that was cut short
        if (e.code() != asio::error::operation_aborted)
            throw;
    }
    acceptor.close();

    // Who is idle has gone. The others have their answer, or, when the time is up, are
    // stopped and waited for.
    error_code late;
    spindle::within(
        o.grace, [&] { group.wait(); }, late);
    // end::end[]

    if (o.stats) {
        // The last of them has told its group, and may be on its way out.
        auto& sched = this_fiber::get_scheduler();
        for (int i = 0; i != 1000 && sched.stats().fibers != 1; ++i)
            this_fiber::sleep_for(std::chrono::milliseconds(1));
        auto& c = s.counts();
        std::cout << "connections=" << c.accepted << " turned_away=" << c.turned_away
                  << " requests=" << c.requests << " refused=" << c.refused << " cut=" << c.cut
                  << " late=" << !!late << " open=" << c.open << " fibers=" << sched.stats().fibers
                  << std::endl;
    }
}

options parse(int argc, char** argv)
{
    namespace po = boost::program_options;
    options o;
    po::options_description known("An HTTP/1.1 server; SIGINT or SIGTERM ends it. Options");
    auto add = known.add_options();
    auto value = [&](char const* name, auto& to, char const* what) {
        add(name, po::value(&to)->default_value(to), what);
    };
    auto time = [&](char const* name, milliseconds& to, char const* what) {
        add(name,
            po::value<long>()->default_value(to.count())->notifier([&to, name](long ms) {
                if (ms < 1 || ms > 86'400'000)
                    throw po::error("--" + std::string(name) + " is 1 to 86400000");
                to = milliseconds(ms);
            }),
            what);
    };
    value("address", o.address, "where to listen");
    value("port", o.port, "0: anywhere");
    value("threads", o.threads, "how many; 0: one for each core");
    value("root", o.root, "the folder whose files are served");
    value("certificate", o.certificate, "a file of PEM: then it speaks TLS");
    value("key", o.key, "its key; if it is not in the same file");
    value("connections", o.connections, "at a time; those beyond get status 503");
    value("turned-away", o.turned_away, "of those, at a time; others wait to be accepted");
    value("header-limit", o.header_limit, "bytes of a request's header");
    value("body-limit", o.body_limit, "bytes of a request's body");
    time("idle-timeout", o.idle_timeout, "ms for a request to begin");
    time("header-timeout", o.header_timeout, "ms from its begin to the end of its header");
    time("body-timeout", o.body_timeout, "ms from there to its end");
    time("write-timeout", o.write_timeout, "ms for a client to take an answer, or 64 KiB of it");
    time("linger", o.linger, "ms for a client to hear the last one");
    time("grace", o.grace, "ms that answers have to finish after the signal");
    add("debug", po::bool_switch(&o.debug), "also serve /metrics and /debug/fibers, to all");
    add("stats", po::bool_switch(&o.stats), "print a line of numbers at the end");
    add("help", "print this");
    po::variables_map values;
    po::store(po::parse_command_line(argc, argv, known), values);
    if (values.count("help") != 0) {
        std::cout << known;
        std::exit(0);
    }
    po::notify(values);
    return o;
}

} // namespace

int main(int argc, char** argv)
{
    try {
        auto const o = parse(argc, argv);
        spindle::run([&] { run_server(o); }, {.processors = o.threads});
        return 0;
    } catch (std::exception const& e) {
        std::cerr << "http_server: " << e.what() << '\n';
        return 1;
    }
}
