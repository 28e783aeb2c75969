//
// test/bench/peers/asio_spawn.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// The workloads in Asio's stackful coroutines, asio::spawn.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <boost/asio/spawn.hpp>
#include <boost/context/fixedsize_stack.hpp>

#include "../http.hpp"
#include "asio.hpp"

namespace {

namespace asio = boost::asio;
using bench::error_code;
using bench::options;
using bench::result;
using yield_context = asio::basic_yield_context<bench::executor>;

template <class Function>
void go(bench::executor ex, Function function)
{
    asio::spawn(
        ex,
        std::allocator_arg,
        boost::context::fixedsize_stack(bench::stack_size),
        std::move(function),
        asio::detached);
}

// Runs body(0, yield) to body(n - 1, yield), each in a coroutine, to their end.
template <class Body>
void parallel(options const& o, std::size_t n, Body body)
{
    bench::context ctx(o);
    for (std::size_t i = 0; i < n; ++i)
        go(ctx.get_executor(), [&body, i](yield_context yield) { body(i, yield); });
    ctx.run();
}

// asio::spawn starts a coroutine inside the call when it is made on a thread of
// the context: an empty one has ended when the call returns. So this workload
// is a series here, on one stack that is always hot, whatever the threads.
result spawn(options const& o)
{
    bench::context ctx(o);
    bench::wait_group group(ctx.get_executor());
    bench::stopwatch watch;
    go(ctx.get_executor(), [&](yield_context yield) {
        for (bench::waves waves{o.count}; auto const n = waves.next();) {
            group.add(n);
            for (std::size_t i = 0; i < n; ++i)
                go(ctx.get_executor(), [&](yield_context) { group.done(); });
            group.async_wait(yield);
        }
    });
    ctx.run();
    return {watch.ns() / static_cast<double>(o.count)};
}

result yield(options const& o)
{
    bench::stopwatch watch;
    parallel(o, bench::wave, [&](std::size_t, yield_context yield) {
        for (std::size_t i = 0; i < o.count / bench::wave; ++i)
            asio::post(yield);
    });
    return {watch.ns() / static_cast<double>(o.count)};
}

result hand_over(options const& o)
{
    bench::require_one_thread(o);
    bench::stopwatch watch;
    parallel(o, 2, [&](std::size_t, yield_context yield) {
        for (std::size_t i = 0; i < o.count / 2; ++i)
            asio::post(yield);
    });
    return {watch.ns() / static_cast<double>(o.count)};
}

result parked(options const& o)
{
    if (o.count > 100'000)
        throw bench::unsupported("asio_spawn has 'parked' with at most 100000 coroutines");

    auto const before = bench::memory::now();
    bench::context ctx(o);
    auto const ex = ctx.get_executor();
    asio::experimental::concurrent_channel<bench::executor, void(error_code)> gate(ex);
    bench::wait_group arrived(ex);
    arrived.add(o.count);
    bench::memory while_parked{};
    double us_reading = 0;

    bench::stopwatch watch;
    go(ex, [&](yield_context yield) {
        for (std::size_t i = 0; i < o.count; ++i)
            go(ex, [&](yield_context self) {
                error_code closed;
                arrived.done();
                gate.async_receive(self[closed]);
            });
        arrived.async_wait(yield);

        bench::stopwatch reading;
        while_parked = bench::memory::now();
        us_reading = reading.us();

        gate.close();
    });
    ctx.run();
    return bench::parked_result(o, watch.us() - us_reading, before, while_parked);
}

result timers(options const& o)
{
    bench::stopwatch watch;
    parallel(o, o.count, [](std::size_t i, yield_context yield) {
        bench::timer(yield.get_executor(), bench::nap(i)).async_wait(yield);
    });
    return {watch.ms()};
}

result hog(options const& o)
{
    bench::context ctx(o);
    auto const ex = ctx.get_executor();
    std::atomic<bool> over{false};
    result r;
    go(ex, [&](yield_context yield) {
        for (unsigned i = 0; i < o.threads; ++i)
            asio::post(ex, [&] { go(ex, [&](yield_context) { bench::spin(over); }); });
        bench::timer timer(ex);
        r = bench::tick(o, [&](auto when) {
            timer.expires_at(when);
            timer.async_wait(yield);
        });
        over.store(true, std::memory_order_relaxed);
    });
    ctx.run();
    return r;
}

void session(bench::tcp_socket socket, yield_context yield)
{
    bench::echo_buffer buffer;
    error_code ec;
    for (;;) {
        auto const n = socket.async_read_some(asio::buffer(buffer), yield[ec]);
        if (ec)
            return;
        asio::async_write(socket, asio::buffer(buffer, n), yield[ec]);
        if (ec)
            return;
    }
}

void http_session(bench::tcp_socket socket, yield_context yield)
{
    error_code ec;
    for (bench::flat_buffer buffer;;) {
        bench::request_parser parser;
        bench::http::async_read(socket, buffer, parser, yield[ec]);
        if (ec)
            return;
        auto const response = bench::hello(parser.get());
        bench::http::async_write(socket, response, yield[ec]);
        if (ec || !response.keep_alive())
            return;
    }
}

result serve(options const& o, void (*session)(bench::tcp_socket, yield_context))
{
    bench::context ctx(o);
    auto const ex = ctx.get_executor();
    auto acceptor = bench::listen(ctx, o);
    go(ex, [&](yield_context yield) {
        for (;;) {
            bench::tcp_socket socket(ex);
            acceptor.async_accept(socket, yield);
            socket.set_option(asio::ip::tcp::no_delay(true));
            go(ex, [socket = std::move(socket), session](yield_context self) mutable {
                session(std::move(socket), self);
            });
        }
    });
    ctx.run();
    return {};
}

} // namespace

int main(int argc, char** argv)
{
    return bench::run(
        argc,
        argv,
        "asio_spawn",
        {
            {"spawn", spawn},
            {"yield", yield},
            {"switch", hand_over},
            {"parked", parked},
            {"timers", timers},
            {"echo", [](options const& o) { return serve(o, session); }},
            {"http", [](options const& o) { return serve(o, http_session); }},
            {"hog", hog},
        });
}
