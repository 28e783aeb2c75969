//
// guide/channels.cpp
// ~~~~~~~~~~~~~~~~~~
// The code of doc/guide/channels.adoc, and that of channels in doc/overview.adoc. Each
// piece says what it has come to.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle.hpp>

#include <boost/asio.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <deque>
#include <optional>
#include <string>
#include <utility>

namespace asio = boost::asio;
using socket_type = asio::local::stream_protocol::socket;
using namespace std::chrono_literals;
using spindle::error_code;

namespace {

struct job {
    int number;
};

// --- overview -------------------------------------------------------------------------

void queue_of_jobs()
{
    int made = 0, sum = 0;
    auto const next_job = [&] { return made != 100 ? std::optional(job{++made}) : std::nullopt; };
    auto const work_on = [&](job const& j) { sum += j.number; };
    // tag::jobs[]
    spindle::channel<job> jobs(16);
    spindle::go([jobs, &next_job] {
        spindle::close_guard const closing(jobs);
        while (auto j = next_job())
            jobs.send(std::move(*j));
    });
    for (auto& j : jobs) // until closed and empty
        work_on(j);
    // end::jobs[]
    std::printf("jobs: %d of them, sum %d\n", made, sum);
}

// --- a receiver that gives up -----------------------------------------------------------

// tag::done[]
void count(spindle::send_channel<int> results, spindle::receive_channel<void> done)
{
    bool go_on = true;
    for (int i = 0; go_on; ++i)
        spindle::select(spindle::on_send(results, i), spindle::on_receive(done, [&](bool) {
                            go_on = false;
                        })); // <1>
}
// end::done[]

void receiver_that_gives_up()
{
    spindle::channel<int> results;
    spindle::channel<void> done;
    auto counting = spindle::spawn([=] { count(results, done); });
    int sum = 0;
    for (int i = 0; i != 4; ++i)
        sum += results.receive().value();
    done.close();
    counting.join();
    std::printf("done: sum %d, and the sender has ended\n", sum);
}

// --- a case that is switched off ---------------------------------------------------------

using frame = std::string;

// tag::buffer[]
// Takes what comes, and passes it on as it is taken: nobody who sends has to wait.
void buffer(spindle::receive_channel<frame> in, spindle::send_channel<frame> out)
{
    spindle::close_guard const closing(out);
    std::deque<frame> queue;
    for (bool open = true; open || !queue.empty();) {
        auto const target = queue.empty() ? spindle::send_channel<frame>() : out; // <1>
        auto const source = open ? in : spindle::receive_channel<frame>();
        spindle::select(
            spindle::on_receive(
                source,
                [&](std::optional<frame> f) {
                    open = f.has_value();
                    if (open)
                        queue.push_back(std::move(*f));
                }),
            spindle::on_send(
                target, queue.empty() ? frame() : queue.front(), [&] { queue.pop_front(); }));
    }
}
// end::buffer[]

void unbounded_buffer()
{
    spindle::channel<frame> in, out;
    spindle::go(buffer, in, out);
    for (char c = 'a'; c <= 'z'; ++c)
        in.send(frame(1, c)); // nobody receives
    in.close();
    frame all;
    for (auto const& f : out)
        all += f;
    std::printf("buffer: %s\n", all.c_str());
}

// --- an operation that stays in flight ---------------------------------------------------

// tag::operation[]
// Obeys orders, and takes what the peer sends, until the peer has closed.
void serve(socket_type& socket, spindle::receive_channel<int> orders, std::string& log)
{
    std::array<char, 64> data;
    auto reading = spindle::start(socket.async_read_some(asio::buffer(data), asio::deferred));
    for (bool go_on = true; go_on;)
        spindle::select(
            spindle::on_completion(
                reading,
                [&](error_code ec, std::size_t n) {
                    go_on = !ec;
                    log.append(data.data(), n);
                    if (go_on)
                        reading.start(socket.async_read_some(asio::buffer(data), asio::deferred));
                }),
            spindle::on_receive(orders, [&](auto order) { log += std::to_string(*order) + ". "; }));
}
// end::operation[]

void reads_and_orders()
{
    auto const ex = spindle::this_fiber::get_executor();
    socket_type here(ex), there(ex);
    asio::local::connect_pair(here, there);
    spindle::channel<int> orders;
    std::string log;
    auto server = spindle::spawn([&] { serve(here, orders, log); });
    orders.send(1);
    orders.send(2); // of the read, which goes on, nothing is lost
    asio::async_write(there, asio::buffer("text", 4), spindle::use_fiber);
    there.close();
    server.join();
    std::printf("operation: %s\n", log.c_str());
}

// --- times ------------------------------------------------------------------------------

void times()
{
    spindle::channel<std::string> lines(2);
    int taken = 0, reports = 0;
    auto const take = [&](auto const& line) { taken += line.has_value(); };
    auto const report = [&] { ++reports; };
    lines.send("one");
    lines.send("two");
    // tag::times[]
    auto const deadline = spindle::after(50ms); // once
    auto const tick = spindle::ticker(1ms);     // again and again
    for (bool go_on = true; go_on;)
        spindle::select(
            spindle::on_receive(lines, [&](auto line) { take(line); }),
            spindle::on_receive(tick, [&](auto) { report(); }),
            spindle::on_receive(deadline, [&](auto) { go_on = false; }));
    // end::times[]
    std::printf("times: %d lines, %s\n", taken, reports > 1 ? "some reports" : "no reports");
}

// --- coroutines and handlers --------------------------------------------------------------

// tag::receive[]
asio::awaitable<int> add_up(spindle::receive_channel<int> numbers)
{
    int sum = 0;
    while (auto n = co_await numbers.async_receive(asio::use_awaitable))
        sum += *n;
    co_return sum;
}
// end::receive[]

// tag::make_select[]
asio::awaitable<int> first_of(spindle::receive_channel<job> jobs)
{
    int number = 0;
    auto const place = co_await spindle::make_select(
                           spindle::on_receive(jobs, [&](auto j) { number = j->number; }),
                           spindle::on_timeout(10ms))
                           .async_wait(asio::use_awaitable);
    co_return place == 0 ? number : -1;
}
// end::make_select[]

void coroutines()
{
    auto const ex = spindle::this_fiber::get_executor();
    spindle::channel<int> numbers;
    spindle::go([=] {
        spindle::close_guard const closing(numbers);
        for (int i = 1; i <= 10; ++i)
            numbers.send(i);
    });
    auto const sum = asio::co_spawn(ex, add_up(numbers), spindle::use_fiber);
    std::printf("coroutine: sum %d\n", sum);

    spindle::channel<job> jobs(1);
    jobs.send({7});
    auto const one = asio::co_spawn(ex, first_of(jobs), spindle::use_fiber);
    auto const none = asio::co_spawn(ex, first_of(jobs), spindle::use_fiber);
    std::printf("make_select: job %d, then %s\n", one, none == -1 ? "a timeout" : "another");
}

} // namespace

int main()
{
    spindle::run([] {
        queue_of_jobs();
        receiver_that_gives_up();
        unbounded_buffer();
        reads_and_orders();
        times();
        coroutines();
    });
}
