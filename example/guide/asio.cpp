//
// guide/asio.cpp
// ~~~~~~~~~~~~~~
// The code of doc/guide/asio.adoc and doc/guide/dropin.adoc, and the two ways in of
// doc/overview.adoc. Each piece says what it has come to.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle.hpp>

#include <boost/asio.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::use_awaitable;
using asio::ip::tcp;
using namespace std::chrono_literals;
using spindle::error_code;
using spindle::use_fiber;

namespace {

tcp::endpoint const any_port(asio::ip::address_v4::loopback(), 0);

// --- overview -----------------------------------------------------------------------------

// A client that knows nothing of fibers, on a thread of its own.
std::string answer_of_server(tcp::endpoint const& server)
{
    asio::io_context ioc;
    tcp::socket s(ioc);
    s.connect(server);
    asio::write(s, asio::buffer("over there", 10));
    std::string back(10, ' ');
    asio::read(s, asio::buffer(back));
    return back;
}

void existing_program()
{
    asio::io_context ioc;
    tcp::acceptor acceptor(ioc, any_port);
    std::string back;
    std::thread client([&] { back = answer_of_server(acceptor.local_endpoint()); });
    // tag::existing[]
    acceptor.async_accept([&](error_code ec, tcp::socket s) { // the handler that was there
        if (ec)
            return;
        auto ex = s.get_executor(); // before the move
        spindle::spawn(
            ex, // the new line: from here on a fiber
            [s = std::move(s)]() mutable {
                std::array<char, 4096> buf;
                for (;;) {
                    auto n = s.async_read_some(asio::buffer(buf), use_fiber); // parks the fiber
                    asio::async_write(s, asio::buffer(buf, n), use_fiber);
                }
            },
            asio::detached); // discards exceptions, such as the end of the stream
    });
    ioc.run(); // unchanged
    // end::existing[]
    client.join();
    std::printf("existing: %s and back\n", back.c_str());
}

int new_program()
{
    // tag::new[]
    return spindle::run([] { // a thread for each core; this function is a fiber
        auto left = spindle::spawn([] { return 20; }); // another one, with a result
        return left.join() + 22;
    });
    // end::new[]
}

// --- Spindle and Asio -----------------------------------------------------------------------

void errors()
{
    auto const ex = spindle::this_fiber::get_executor();
    asio::local::stream_protocol::socket socket(ex), peer(ex);
    asio::local::connect_pair(socket, peer);
    asio::async_write(peer, asio::buffer("ab", 2), use_fiber);
    peer.close();
    char letter;
    auto const buffer = asio::buffer(&letter, 1);
    // tag::errors[]
    error_code ec;
    auto n = socket.async_read_some(buffer, use_fiber[ec]);                   // this library's form
    n += socket.async_read_some(buffer, asio::redirect_error(use_fiber, ec)); // Asio's
    // end::errors[]
    // tag::tuple[]
    auto const [error, bytes] = socket.async_read_some(buffer, asio::as_tuple(use_fiber));
    // end::tuple[]
    std::printf(
        "errors: %zu bytes, %s\n",
        n + bytes,
        !ec && error == asio::error::eof ? "then the end" : "?");
}

std::string read_all(tcp::socket& s)
{
    std::string text;
    error_code eof;
    asio::async_read(s, asio::dynamic_buffer(text), use_fiber[eof]);
    return text;
}

void host_mode()
{
    auto& sched = spindle::this_fiber::get_scheduler();
    auto const serve = [](tcp::socket& s) {
        asio::async_write(s, asio::buffer("served", 6), use_fiber);
    };
    spindle::channel<tcp::endpoint> port(1);
    auto server = spindle::spawn([&] {
        // tag::host[]
        tcp::acceptor acceptor(sched.get_executor(), any_port);
        port.send(acceptor.local_endpoint());
        for (;;) {
            asio::any_io_executor const place = sched.next_executor(); // <1>
            auto socket = acceptor.async_accept(place, use_fiber);
            spindle::go([socket = std::move(socket), &serve]() mutable { serve(socket); });
        }
        // end::host[]
    });
    auto const endpoint = *port.receive();
    int served = 0;
    for (int i = 0; i != 10; ++i) {
        tcp::socket s(spindle::this_fiber::get_executor());
        s.async_connect(endpoint, use_fiber);
        served += read_all(s) == "served";
    }
    server.request_stop();
    std::printf("host mode: %d served\n", served);
}

// --- callbacks ------------------------------------------------------------------------------

void callbacks()
{
    asio::io_context ioc;
    asio::steady_timer timer(ioc, 1ms);
    spindle::channel<int> orders;
    int reported = 0;
    auto const report = [&](int order) { reported = order; };
    // tag::callback[]
    timer.async_wait(asio::bind_executor(spindle::fiber_executor(ioc), [&](error_code ec) {
        if (!ec)
            report(*orders.receive()); // waits, and no thread with it
    }));
    // end::callback[]
    spindle::spawn(
        ioc, [&] { orders.send(7); }, asio::detached);
    ioc.run();
    std::printf("fiber_executor: order %d\n", reported);
}

void object_of_callbacks()
{
    asio::io_context ioc;
    bool waited = false;
    // tag::object[]
    auto const ex = spindle::fiber_executor(ioc);
    asio::steady_timer timer(asio::any_io_executor(ex), 1ms);
    timer.async_wait([&](error_code) { // so in all handlers of this timer's
        spindle::this_fiber::sleep_for(1ms);
        waited = true;
    });
    // end::object[]
    ioc.run();
    std::printf("any_io_executor: its handler %s\n", waited ? "waited" : "did not wait");
}

// --- streams ----------------------------------------------------------------------------------

http::response<http::string_body> answer(http::request<http::string_body> const& request)
{
    http::response<http::string_body> r(http::status::ok, request.version());
    r.body() = "you want " + std::string(request.target());
    r.prepare_payload();
    return r;
}

void session(tcp::socket socket)
{
    // tag::stream[]
    spindle::fiber_stream<tcp::socket> stream(std::move(socket));
    beast::flat_buffer buffer;
    http::request_parser<http::string_body> parser;
    parser.body_limit(64 * 1024);
    spindle::within(10s, [&] { http::read(stream, buffer, parser); }); // the request as a whole
    http::write(stream, answer(parser.get()));
    // end::stream[]
}

void blocking_streams()
{
    auto const ex = spindle::this_fiber::get_executor();
    tcp::acceptor acceptor(ex, any_port);
    auto server = spindle::spawn([&] { session(acceptor.async_accept(use_fiber)); });
    tcp::socket client(ex);
    client.async_connect(acceptor.local_endpoint(), use_fiber);
    asio::async_write(client, asio::buffer(std::string("GET /this HTTP/1.0\r\n\r\n")), use_fiber);
    auto const text = read_all(client);
    server.join();
    std::printf(
        "fiber_stream: %s\n", text.ends_with("\r\n\r\nyou want /this") ? "answered" : text.c_str());
}

// --- coroutines --------------------------------------------------------------------------------

// tag::coroutine[]
asio::awaitable<int> sum_of(
    spindle::receive_channel<int> jobs, spindle::send_channel<int> results, spindle::mutex& mutex)
{
    auto const work = [](int job) {
        spindle::this_fiber::yield();
        return job * job;
    };
    auto const lock = co_await mutex.async_lock(use_awaitable);
    int sum = 0;
    while (auto job = co_await jobs.async_receive(use_awaitable)) {
        auto in_a_fiber = [work, job = *job] { return work(job); };
        auto const done = co_await spindle::spawn(
            co_await asio::this_coro::executor, std::move(in_a_fiber), use_awaitable);
        co_await results.async_send(done, use_awaitable);
        sum += done;
    }
    co_return sum;
}
// end::coroutine[]

void coroutines()
{
    auto const ex = spindle::this_fiber::get_executor();
    spindle::mutex mutex;
    spindle::channel<int> jobs, results(10);
    spindle::go([jobs] {
        spindle::close_guard const closing(jobs);
        for (int i = 1; i <= 4; ++i)
            jobs.send(i);
    });
    // tag::co_spawn[]
    int const sum = asio::co_spawn(ex, sum_of(jobs, results, mutex), use_fiber); // in a fiber
    // end::co_spawn[]
    std::printf("coroutines: sum %d, %zu results\n", sum, results.size());
}

// --- names --------------------------------------------------------------------------------------

void names()
{
    auto const ex = spindle::this_fiber::get_executor();
    tcp::acceptor acceptor(ex, any_port);
    std::string const host = "127.0.0.1",
                      service = std::to_string(acceptor.local_endpoint().port());
    tcp::socket socket(ex);
    // tag::resolve[]
    auto const endpoints = spindle::within(2s, [&] { return spindle::resolve(host, service); });
    asio::async_connect(socket, endpoints, use_fiber);
    // end::resolve[]
    std::printf("resolve: %s\n", socket.is_open() ? "connected" : "?");
}

} // namespace

int main()
{
    existing_program();
    std::printf("new: %d\n", new_program());
    spindle::run([] {
        errors();
        host_mode();
        blocking_streams();
        coroutines();
        names();
    });
    callbacks();
    object_of_callbacks();
}
