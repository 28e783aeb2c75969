//
// test/bench/spindle.cpp
// ~~~~~~~~~~~~~~~~~~~~~~
// Spindle in the benchmark: the same workloads as the peers'.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle.hpp>
#include <spindle/asio/fiber_stream.hpp>
#include <spindle/observe/dump.hpp>
#include <spindle/observe/trace.hpp>

#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/connect_pair.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <optional>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "bench.hpp"
#include "http.hpp"

namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using bench::options;
using bench::result;
using bench::stopwatch;
using spindle::error_code;

// The executor's type is known to the compiler, as in the Asio peers.
using tcp_socket = asio::basic_stream_socket<tcp, asio::io_context::executor_type>;

// A workload is the main fiber of a scheduler, which `--watch` has looked at meanwhile.
template <class Workload>
auto on_scheduler(Workload workload)
{
    return [workload](options const& o) {
        std::optional<spindle::trace::recording> trace;
        if (o.watch == "trace")
            trace.emplace("/dev/null");
        else if (o.watch == "spawners")
            spindle::remember_spawners();
        else if (!o.watch.empty() && o.watch != "latency")
            throw bench::unsupported("there is no '" + o.watch + "' to watch");
        return spindle::run(
            [&] { return workload(o); },
            {.processors = o.threads,
             .stack_size = bench::stack_size,
             .measure_latency = o.watch == "latency"});
    };
}

result spawn(options const& o)
{
    spindle::wait_group group;
    stopwatch watch;
    for (bench::waves waves{o.count}; auto const n = waves.next();) {
        for (std::size_t i = 0; i < n; ++i)
            group.go([] {});
        group.wait();
    }
    return {watch.ns() / static_cast<double>(o.count)};
}

// `n` fibers yield, `o.count` times in all.
result yields(options const& o, std::size_t n)
{
    spindle::wait_group group;
    stopwatch watch;
    for (std::size_t i = 0; i < n; ++i)
        group.go([&] {
            for (std::size_t k = 0; k < o.count / n; ++k)
                spindle::this_fiber::yield();
        });
    group.wait();
    return {watch.ns() / static_cast<double>(o.count)};
}

result hand_over(options const& o)
{
    bench::require_one_thread(o);
    return yields(o, 2);
}

result pingpong(options const& o)
{
    spindle::channel<std::size_t> ping, pong;
    spindle::wait_group group;
    stopwatch watch;
    group.go([&] {
        for (auto const v : ping)
            pong.send(v);
    });
    for (std::size_t i = 0; i < o.count; ++i) {
        ping.send(i);
        pong.receive();
    }
    auto const ns = watch.ns();
    ping.close();
    group.wait();
    return {ns / static_cast<double>(o.count)};
}

result buffered(options const& o, std::size_t pairs)
{
    spindle::channel<std::size_t> channel(bench::channel_capacity);
    spindle::wait_group group;
    stopwatch watch;
    for (std::size_t p = 0; p < pairs; ++p) {
        group.go([&] {
            for (std::size_t i = 0; i < o.count / pairs; ++i)
                channel.send(i);
        });
        group.go([&] {
            for (std::size_t i = 0; i < o.count / pairs; ++i)
                channel.receive();
        });
    }
    group.wait();
    return {watch.ns() / static_cast<double>(o.count)};
}

result select_four(options const& o)
{
    std::array<spindle::channel<std::size_t>, 4> channels;
    auto const each = o.count / channels.size();
    stopwatch watch;
    for (auto const& ch : channels)
        spindle::go([ch, each] {
            for (std::size_t i = 0; i < each; ++i)
                ch.send(i);
        });
    for (std::size_t i = 0; i < each * channels.size(); ++i)
        spindle::select(
            spindle::on_receive(channels[0]), spindle::on_receive(channels[1]),
            spindle::on_receive(channels[2]), spindle::on_receive(channels[3]));
    return {watch.ns() / static_cast<double>(o.count)};
}

template <class Yield>
result mutex(options const& o, Yield yield)
{
    spindle::mutex m;
    std::size_t counter = 0;
    spindle::wait_group group;
    stopwatch watch;
    for (std::size_t f = 0; f < bench::lockers; ++f)
        group.go([&] { bench::lock_often(o, m, counter, yield); });
    group.wait();
    return {watch.ns() / static_cast<double>(o.count)};
}

result shared_mutex(options const& o)
{
    spindle::shared_mutex m;
    std::size_t counter = 0;
    std::atomic<std::size_t> sum{0};
    spindle::wait_group group;
    stopwatch watch;
    for (std::size_t f = 0; f < bench::lockers; ++f)
        group.go([&] { sum += bench::read_mostly(o, m, counter); });
    group.wait();
    return {watch.ns() / static_cast<double>(o.count)};
}

void node(spindle::send_channel<std::size_t> const& parent, std::size_t first, std::size_t leaves)
{
    if (leaves == 1) {
        parent.send(first);
        return;
    }
    spindle::channel<std::size_t> const children;
    auto const each = leaves / 10;
    for (std::size_t i = 0; i < 10; ++i)
        spindle::go([children, first = first + i * each, each] { node(children, first, each); });
    std::size_t sum = 0;
    for (std::size_t i = 0; i < 10; ++i)
        sum += *children.receive();
    parent.send(sum);
}

result skynet(options const& o)
{
    std::size_t leaves = 1;
    while (leaves < o.count)
        leaves *= 10;
    stopwatch watch;
    spindle::channel<std::size_t> const root;
    spindle::go([&] { node(root, 0, leaves); });
    if (root.receive() != leaves * (leaves - 1) / 2)
        throw std::runtime_error("skynet: wrong sum");
    auto const ms = watch.ms();
    return {ms, {{"peak_mb", bench::memory::now().peak / (1024 * 1024)}}};
}

result divide(options const& o)
{
    return bench::divide(o, [](auto left, auto right) {
        auto sum = spindle::spawn(left);
        auto const rest = right();
        return sum.join() + rest;
    });
}

result timers(options const& o)
{
    spindle::wait_group group;
    stopwatch watch;
    for (std::size_t i = 0; i < o.count; ++i)
        group.go([i] { spindle::this_fiber::sleep_for(bench::nap(i)); });
    group.wait();
    return {watch.ms()};
}

result parked(options const& o)
{
    auto const before = bench::memory::now();
    spindle::wait_group gate(1);
    spindle::wait_group group;
    std::atomic<std::size_t> arrived{0};

    stopwatch parking;
    for (std::size_t i = 0; i < o.count; ++i)
        group.go([&] {
            arrived.fetch_add(1, std::memory_order_relaxed);
            gate.wait();
        });
    while (arrived.load(std::memory_order_relaxed) < o.count)
        spindle::this_fiber::yield();
    auto us = parking.us();

    auto const while_parked = bench::memory::now();

    stopwatch waking;
    gate.done();
    group.wait();
    us += waking.us();
    return bench::parked_result(o, us, before, while_parked);
}

result semaphore(options const& o)
{
    spindle::counting_semaphore<> permits(bench::permits);
    spindle::wait_group group;
    stopwatch watch;
    for (std::size_t f = 0; f < bench::sharers; ++f)
        group.go([&] { bench::acquire_often(o, permits, spindle::this_fiber::yield); });
    group.wait();
    return {watch.ns() / static_cast<double>(o.count)};
}

result wait_group(options const& o)
{
    auto const each = o.count / bench::sharers;
    spindle::wait_group pieces(each * bench::sharers);
    stopwatch watch;
    for (std::size_t f = 0; f < bench::sharers; ++f)
        spindle::go([&, each] {
            for (std::size_t i = 0; i < each; ++i)
                pieces.done();
        });
    pieces.wait();
    return {watch.ns() / static_cast<double>(o.count)};
}

template <class Socket>
void session(Socket socket)
{
    std::array<char, 4096> buffer;
    boost::system::error_code ec;
    for (;;) {
        auto const n = socket.async_read_some(asio::buffer(buffer), spindle::use_fiber[ec]);
        if (ec)
            return;
        asio::async_write(socket, asio::buffer(buffer, n), spindle::use_fiber[ec]);
        if (ec)
            return;
    }
}

// `echo` with its clients in the same process, over pairs of sockets: one message under
// way on each.
result completion(options const& o)
{
    using stream =
        asio::basic_stream_socket<asio::local::stream_protocol, asio::io_context::executor_type>;
    auto& sched = spindle::this_fiber::get_scheduler();
    spindle::wait_group group;
    stopwatch watch;
    for (std::size_t c = 0; c < bench::connections; ++c) {
        stream mine(sched.next_executor()), yours(sched.next_executor());
        asio::local::connect_pair(mine, yours);
        group.go([s = std::move(yours)]() mutable { session(std::move(s)); });
        group.go([s = std::move(mine), left = o.count / bench::connections]() mutable {
            std::array<char, 64> message{};
            for (; left != 0; --left) {
                asio::async_write(s, asio::buffer(message), spindle::use_fiber);
                asio::async_read(s, asio::buffer(message), spindle::use_fiber);
            }
        });
    }
    group.wait();
    return {watch.ns() / static_cast<double>(o.count)};
}

// The same over a stream that tries first what needs no waiting.
void session_of_stream(tcp_socket socket)
{
    std::array<char, 4096> buffer;
    error_code ec;
    for (spindle::fiber_stream stream(std::move(socket));;) {
        auto const n = stream.read_some(asio::buffer(buffer), ec);
        if (ec)
            return;
        asio::write(stream, asio::buffer(buffer, n), ec);
        if (ec)
            return;
    }
}

// A fiber of this function for each connection, whose executor `next` says.
template <class Next>
[[noreturn]] void accept(
    options const& o, asio::io_context::executor_type ex, void (*session)(tcp_socket), Next next)
{
    asio::basic_socket_acceptor<tcp, asio::io_context::executor_type> acceptor(
        ex, {asio::ip::address_v4::loopback(), o.port});
    bench::ready(o, acceptor.local_endpoint().port());
    for (;;) {
        tcp_socket socket(next());
        acceptor.async_accept(socket, spindle::use_fiber);
        socket.set_option(tcp::no_delay(true));
        spindle::go([s = std::move(socket), session]() mutable { session(std::move(s)); });
    }
}

// Each connection belongs to one of the scheduler's processors.
result serve(options const& o, void (*session)(tcp_socket))
{
    auto& sched = spindle::this_fiber::get_scheduler();
    accept(o, sched.get_executor(), session, [&] { return sched.next_executor(); });
}

// All on one io_context, which the program's own threads run.
result serve_shared(options const& o, void (*session)(tcp_socket))
{
    asio::io_context io(static_cast<int>(o.threads));
    spindle::attach(io, {.processors = o.threads, .stack_size = bench::stack_size});
    spindle::spawn(
        io, [&] { accept(o, io.get_executor(), session, [&] { return io.get_executor(); }); },
        asio::detached);
    std::vector<std::jthread> others;
    for (unsigned i = 1; i < o.threads; ++i)
        others.emplace_back([&] { io.run(); });
    io.run();
    return {};
}

result echo(options const& o) { return serve(o, session<tcp_socket>); }

void http_session(tcp_socket socket)
{
    error_code ec;
    bench::flat_buffer buffer;
    for (spindle::fiber_stream stream(std::move(socket));;) {
        bench::request_parser parser;
        bench::http::read(stream, buffer, parser, ec);
        if (ec)
            return;
        auto const response = bench::hello(parser.get());
        bench::http::write(stream, response, ec);
        if (ec || !response.keep_alive())
            return;
    }
}

// The same by Beast's asynchronous operations.
void http_session_by_token(tcp_socket socket)
{
    error_code ec;
    for (bench::flat_buffer buffer;;) {
        bench::request_parser parser;
        bench::http::async_read(socket, buffer, parser, spindle::use_fiber[ec]);
        if (ec)
            return;
        auto const response = bench::hello(parser.get());
        bench::http::async_write(socket, response, spindle::use_fiber[ec]);
        if (ec || !response.keep_alive())
            return;
    }
}

result hog(options const& o)
{
    std::atomic<bool> over{false};
    spindle::wait_group hogs;
    for (unsigned i = 0; i < o.threads; ++i)
        hogs.go([&] { bench::spin(over); });
    auto const r = bench::tick(o, [](auto when) { spindle::this_fiber::sleep_until(when); });
    over.store(true, std::memory_order_relaxed);
    hogs.wait();
    return r;
}

result hog_echo(options const& o)
{
    for (unsigned i = 0; i < o.threads; ++i)
        spindle::go([] {
            for (std::atomic<bool> const never{false};;)
                bench::spin(never);
        });
    return echo(o);
}

result blocking(options const& o)
{
    spindle::wait_group group;
    stopwatch watch;
    for (std::size_t i = 0; i < o.count; ++i)
        group.go([] {
            spindle::blocking([] { bench::sleep_in_kernel(std::chrono::milliseconds(10)); });
        });
    group.wait();
    return {watch.ms()};
}

result blocking_cost(options const& o)
{
    return bench::blocking_cost(o, [](auto call) { spindle::blocking(call); });
}

result blocked_echo(options const& o)
{
    spindle::go([] {
        for (;;)
            spindle::blocking([] { bench::sleep_in_kernel(std::chrono::seconds(1)); });
    });
    return echo(o);
}

} // namespace

int main(int argc, char** argv)
{
    return bench::run(
        argc,
        argv,
        "spindle",
        {
            {"spawn", on_scheduler(spawn)},
            {"yield", on_scheduler([](options const& o) { return yields(o, bench::wave); })},
            {"switch", on_scheduler(hand_over)},
            {"pingpong", on_scheduler(pingpong)},
            {"buffered", on_scheduler([](options const& o) { return buffered(o, 1); })},
            {"buffered44", on_scheduler([](options const& o) { return buffered(o, 4); })},
            {"select", on_scheduler(select_four)},
            {"mutex", on_scheduler([](options const& o) { return mutex(o, [] {}); })},
            {"mutex_yield",
             on_scheduler([](options const& o) { return mutex(o, spindle::this_fiber::yield); })},
            {"shared_mutex", on_scheduler(shared_mutex)},
            {"skynet", on_scheduler(skynet)},
            {"timers", on_scheduler(timers)},
            {"semaphore", on_scheduler(semaphore)},
            {"wait_group", on_scheduler(wait_group)},
            {"completion", on_scheduler(completion)},
            {"divide", on_scheduler(divide)},
            {"parked", on_scheduler(parked)},
            {"echo", on_scheduler(echo)},
            {"echo_stream",
             on_scheduler([](options const& o) { return serve(o, session_of_stream); })},
            {"echo_shared",
             [](options const& o) { return serve_shared(o, session<tcp_socket>); }},
            {"http", on_scheduler([](options const& o) { return serve(o, http_session); })},
            {"http_token",
             on_scheduler([](options const& o) { return serve(o, http_session_by_token); })},
            {"http_shared",
             [](options const& o) { return serve_shared(o, http_session); }},
            {"hog", on_scheduler(hog)},
            {"hog_echo", on_scheduler(hog_echo)},
            {"blocking", on_scheduler(blocking)},
            {"blocking_cost", on_scheduler(blocking_cost)},
            {"blocked_echo", on_scheduler(blocked_echo)},
        });
}
