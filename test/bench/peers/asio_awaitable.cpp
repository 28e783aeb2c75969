//
// test/bench/peers/asio_awaitable.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// The workloads in Asio's stackless coroutines, asio::awaitable, and its
// experimental channels.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <boost/asio/experimental/channel.hpp>
#include <boost/asio/experimental/deferred.hpp>
#include <boost/asio/experimental/parallel_group.hpp>

#include "../http.hpp"
#include "asio.hpp"

namespace {

namespace asio = boost::asio;
using bench::error_code;
using bench::options;
using bench::result;
using task = asio::awaitable<void, bench::executor>;

constexpr asio::use_awaitable_t<bench::executor> use_awaitable;

// One thread needs no lock.
using channel = asio::experimental::channel<bench::executor, void(error_code, std::size_t)>;
using concurrent_channel =
    asio::experimental::concurrent_channel<bench::executor, void(error_code, std::size_t)>;

void go(bench::executor ex, task t) { asio::co_spawn(ex, std::move(t), asio::detached); }

// Runs body(0) to body(n - 1), each a coroutine, to their end.
template <class Body>
void parallel(bench::context& ctx, std::size_t n, Body body)
{
    for (std::size_t i = 0; i < n; ++i)
        go(ctx.get_executor(), body(i));
    ctx.run();
}

result spawn(options const& o)
{
    bench::context ctx(o);
    auto const ex = ctx.get_executor();
    bench::wait_group group(ex);
    auto const child = [&]() -> task {
        group.done();
        co_return;
    };
    auto const parent = [&]() -> task {
        for (bench::waves waves{o.count}; auto const n = waves.next();) {
            group.add(n);
            for (std::size_t i = 0; i < n; ++i)
                go(ex, child());
            co_await group.async_wait(use_awaitable);
        }
    };
    bench::stopwatch watch;
    go(ex, parent());
    ctx.run();
    return {watch.ns() / static_cast<double>(o.count)};
}

// `n` coroutines share o.count yields.
result yields(options const& o, std::size_t n)
{
    bench::context ctx(o);
    bench::stopwatch watch;
    parallel(ctx, n, [&](std::size_t) -> task {
        for (std::size_t i = 0; i < o.count / n; ++i)
            co_await asio::post(use_awaitable);
    });
    return {watch.ns() / static_cast<double>(o.count)};
}

result hand_over(options const& o)
{
    bench::require_one_thread(o);
    return yields(o, 2);
}

template <class Channel>
result pingpong_over(options const& o)
{
    bench::context ctx(o);
    Channel ping(ctx.get_executor());
    Channel pong(ctx.get_executor());
    bench::stopwatch watch;
    parallel(ctx, 2, [&](std::size_t side) -> task {
        for (std::size_t i = 0; i < o.count; ++i) {
            if (side == 0) {
                co_await ping.async_send(error_code(), i, use_awaitable);
                co_await pong.async_receive(use_awaitable);
            } else {
                auto const v = co_await ping.async_receive(use_awaitable);
                co_await pong.async_send(error_code(), v, use_awaitable);
            }
        }
    });
    return {watch.ns() / static_cast<double>(o.count)};
}

// As many producers as consumers on one channel.
template <class Channel>
result buffered_over(options const& o, std::size_t pairs)
{
    bench::context ctx(o);
    Channel ch(ctx.get_executor(), bench::channel_capacity);
    bench::stopwatch watch;
    parallel(ctx, 2 * pairs, [&](std::size_t i) -> task {
        for (std::size_t k = 0; k < o.count / pairs; ++k) {
            if (i < pairs)
                co_await ch.async_send(error_code(), k, use_awaitable);
            else
                co_await ch.async_receive(use_awaitable);
        }
    });
    return {watch.ns() / static_cast<double>(o.count)};
}

result pingpong(options const& o)
{
    return o.threads == 1 ? pingpong_over<channel>(o) : pingpong_over<concurrent_channel>(o);
}

result buffered(options const& o, std::size_t pairs)
{
    return o.threads == 1 ? buffered_over<channel>(o, pairs)
                          : buffered_over<concurrent_channel>(o, pairs);
}

// Who loses may have received something, too: a group cancels once one is over.
template <class Channel>
result select_four_over(options const& o)
{
    bench::context ctx(o);
    auto const ex = ctx.get_executor();
    std::array<Channel, 4> channels{Channel(ex), Channel(ex), Channel(ex), Channel(ex)};
    auto const each = o.count / channels.size();
    bench::stopwatch watch;
    parallel(ctx, channels.size() + 1, [&](std::size_t i) -> task {
        if (i < channels.size()) {
            for (std::size_t k = 0; k < each; ++k)
                co_await channels[i].async_send(error_code(), k, use_awaitable);
            co_return;
        }
        auto const receive = [&](std::size_t c) {
            return channels[c].async_receive(asio::experimental::deferred);
        };
        for (std::size_t left = each * channels.size(); left != 0;) {
            auto const [order, e0, v0, e1, v1, e2, v2, e3, v3]
                = co_await asio::experimental::make_parallel_group(
                      receive(0), receive(1), receive(2), receive(3))
                      .async_wait(asio::experimental::wait_for_one(), use_awaitable);
            for (auto const& failed : {e0, e1, e2, e3})
                left -= !failed;
        }
    });
    return {watch.ns() / static_cast<double>(each * channels.size())};
}

result select_four(options const& o)
{
    return o.threads == 1 ? select_four_over<channel>(o) : select_four_over<concurrent_channel>(o);
}

result parked(options const& o)
{
    auto const before = bench::memory::now();
    bench::context ctx(o);
    auto const ex = ctx.get_executor();
    concurrent_channel gate(ex);
    bench::wait_group arrived(ex);
    arrived.add(o.count);
    bench::memory while_parked{};
    double us_reading = 0;
    auto const child = [&]() -> task {
        error_code closed;
        arrived.done();
        co_await gate.async_receive(asio::redirect_error(use_awaitable, closed));
    };
    auto const parent = [&]() -> task {
        for (std::size_t i = 0; i < o.count; ++i)
            go(ex, child());
        co_await arrived.async_wait(use_awaitable);

        bench::stopwatch reading;
        while_parked = bench::memory::now();
        us_reading = reading.us();

        gate.close();
    };
    bench::stopwatch watch;
    go(ex, parent());
    ctx.run();
    return bench::parked_result(o, watch.us() - us_reading, before, while_parked);
}

result timers(options const& o)
{
    bench::context ctx(o);
    bench::stopwatch watch;
    parallel(ctx, o.count, [&](std::size_t i) -> task {
        bench::timer timer(ctx.get_executor(), bench::nap(i));
        co_await timer.async_wait(use_awaitable);
    });
    return {watch.ms()};
}

task session(bench::tcp_socket socket)
{
    bench::echo_buffer buffer;
    error_code ec;
    auto token = asio::redirect_error(use_awaitable, ec);
    for (;;) {
        auto const n = co_await socket.async_read_some(asio::buffer(buffer), token);
        if (ec)
            co_return;
        co_await asio::async_write(socket, asio::buffer(buffer, n), token);
        if (ec)
            co_return;
    }
}

task http_session(bench::tcp_socket socket)
{
    error_code ec;
    auto token = asio::redirect_error(use_awaitable, ec);
    for (bench::flat_buffer buffer;;) {
        bench::request_parser parser;
        co_await bench::http::async_read(socket, buffer, parser, token);
        if (ec)
            co_return;
        auto const response = bench::hello(parser.get());
        co_await bench::http::async_write(socket, response, token);
        if (ec || !response.keep_alive())
            co_return;
    }
}

result serve(options const& o, task (*session)(bench::tcp_socket))
{
    bench::context ctx(o);
    auto const ex = ctx.get_executor();
    auto acceptor = bench::listen(ctx, o);
    auto const accept = [&]() -> task {
        for (;;) {
            auto socket = co_await acceptor.async_accept(use_awaitable);
            socket.set_option(asio::ip::tcp::no_delay(true));
            go(ex, session(std::move(socket)));
        }
    };
    go(ex, accept());
    ctx.run();
    return {};
}

} // namespace

int main(int argc, char** argv)
{
    return bench::run(
        argc,
        argv,
        "asio_awaitable",
        {
            {"spawn", spawn},
            {"yield", [](options const& o) { return yields(o, bench::wave); }},
            {"switch", hand_over},
            {"pingpong", pingpong},
            {"buffered", [](options const& o) { return buffered(o, 1); }},
            {"buffered44", [](options const& o) { return buffered(o, 4); }},
            {"select", select_four},
            {"parked", parked},
            {"timers", timers},
            {"echo", [](options const& o) { return serve(o, session); }},
            {"http", [](options const& o) { return serve(o, http_session); }},
        });
}
