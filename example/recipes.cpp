//
// recipes.cpp
// ~~~~~~~~~~~
// doc/guide/recipes.adoc: a rate limiter, a broadcast, a pipelined proxy, and a socket
// that moves to another processor. Each one says what it has come to.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle.hpp>

#include <boost/asio.hpp>

#include <chrono>
#include <cstddef>
#include <cstdio>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace asio = boost::asio;
using asio::ip::tcp;
using namespace std::chrono_literals;
using spindle::error_code;
using clock_type = std::chrono::steady_clock;

namespace {

// tag::limiter[]
// Lets one pass each `every`, and after a pause as many as `burst` at once.
class rate_limiter {
public:
    rate_limiter(clock_type::duration every, std::size_t burst) : tokens_(burst)
    {
        for (std::size_t i = 0; i != burst; ++i)
            tokens_.send();
        filler_ = spindle::spawn([tokens = tokens_, every] {
            for (auto const ticks = spindle::ticker(every); ticks.receive();) {
                error_code full; // nobody came: the token is lost, and so is the debt
                tokens.try_send(full);
            }
        });
    }

    void wait() { tokens_.receive(); }

private:
    spindle::channel<void> tokens_;
    spindle::fiber<void> filler_; // stopped and joined with the limiter
};
// end::limiter[]

void limited_rate()
{
    // tag::limit[]
    rate_limiter limiter(2ms, 3);
    auto const start = clock_type::now();
    spindle::task_group group;
    for (int i = 0; i != 13; ++i)
        group.spawn([&limiter] {
            limiter.wait();
            // ... ask the server
        });
    group.wait();
    // end::limit[]
    auto const took = clock_type::now() - start;
    std::printf("limiter: 13 requests, %s\n", took >= 18ms ? "none too early" : "too fast");
}

// tag::broadcast[]
// Each value to each subscriber. One that does not keep up is let go, rather than
// waited for: its channel is closed, and what lies in it is still received.
template <class T>
class broadcast {
public:
    spindle::receive_channel<T> subscribe(std::size_t capacity)
    {
        spindle::channel<T> const c(capacity);
        std::lock_guard const guard(mutex_);
        subscribers_.push_back(c);
        return c;
    }

    void publish(T const& value)
    {
        std::lock_guard const guard(mutex_);
        std::erase_if(subscribers_, [&](spindle::channel<T> const& c) {
            error_code ec;
            if (c.try_send(value, ec))
                return false;
            c.close();
            return true;
        });
    }

    void close()
    {
        std::lock_guard const guard(mutex_);
        for (auto const& c : std::exchange(subscribers_, {}))
            c.close();
    }

private:
    spindle::mutex mutex_;
    std::vector<spindle::channel<T>> subscribers_;
};
// end::broadcast[]

void news_for_all()
{
    auto const count = [](spindle::receive_channel<std::string> in) {
        int heard = 0;
        for (auto const& item : in)
            heard += !item.empty();
        return heard;
    };
    // tag::news[]
    broadcast<std::string> news;
    auto keen = spindle::spawn([&, in = news.subscribe(10)] { return count(in); });
    auto const lazy = news.subscribe(2);
    for (int i = 0; i != 5; ++i)
        news.publish("item " + std::to_string(i));
    news.close();
    // end::news[]
    auto const heard = keen.join();
    std::printf("broadcast: %d of 5 items, and %d where nobody listened\n", heard, count(lazy));
}

// tag::proxy[]
using answer = spindle::channel<std::string>; // for one value

// A request a line, as many as the client likes at a time, each answered by `fetch`.
// They run side by side; the answers go back in the order of the requests.
template <class Fetch>
void proxy(tcp::socket socket, Fetch fetch)
{
    spindle::channel<answer> in_order(8); // more are not even read
    spindle::task_group group;            // declared after what its children use
    group.spawn([&] {
        for (auto const& a : in_order) {
            auto const text = a.receive();
            if (!text)
                return; // its request has failed, and the group with it
            asio::async_write(socket, asio::buffer(*text), spindle::use_fiber);
        }
    });
    group.spawn([&] {
        spindle::close_guard const done(in_order);
        for (std::string buffer;;) {
            error_code ec;
            auto const n = asio::async_read_until(
                socket, asio::dynamic_buffer(buffer, 1024), '\n', spindle::use_fiber[ec]);
            if (ec)
                return; // the end, or a line that is too long
            answer const a(1);
            in_order.send(a);
            group.spawn([a, &fetch, request = buffer.substr(0, n)] {
                spindle::close_guard const to_the_end(a);
                a.send(fetch(request));
            });
            buffer.erase(0, n);
        }
    });
    group.wait();
}
// end::proxy[]

void pipelined_requests()
{
    auto const ex = spindle::this_fiber::get_executor();
    tcp::acceptor acceptor(ex, {asio::ip::address_v4::loopback(), 0});
    auto const server = spindle::spawn([&] {
        proxy(acceptor.async_accept(spindle::use_fiber), [](std::string const& request) {
            spindle::this_fiber::sleep_for(std::chrono::milliseconds(std::stoi(request)));
            return "slept " + request;
        });
    });

    tcp::socket client(ex);
    client.async_connect(acceptor.local_endpoint(), spindle::use_fiber);
    auto const start = clock_type::now();
    std::string const requests = "60\n40\n20\n50\n30\n";
    std::string answers;
    error_code end; // or the other side has gone, where somebody stops this
    asio::async_write(client, asio::buffer(requests), spindle::use_fiber[end]);
    client.shutdown(tcp::socket::shutdown_send, end);
    asio::async_read(client, asio::dynamic_buffer(answers), spindle::use_fiber[end]);
    auto const took = clock_type::now() - start;
    auto const in_order =
        answers == "slept 60\nslept 40\nslept 20\nslept 50\nslept 30\n";
    std::printf(
        "proxy: answers %s, %s\n", in_order ? "in order" : "out of order",
        took < 200ms ? "side by side" : "one after another");
}

// tag::move[]
// The socket on that executor's io_context. Nothing may be under way on it.
tcp::socket moved(tcp::socket socket, asio::any_io_executor const& to)
{
    auto const protocol = socket.local_endpoint().protocol();
    return tcp::socket(to, protocol, socket.release());
}
// end::move[]

void socket_that_moves()
{
    auto& sched = spindle::this_fiber::get_scheduler();
    tcp::acceptor acceptor(sched.next_executor(), {asio::ip::address_v4::loopback(), 0});
    tcp::socket client(sched.next_executor());
    auto accepted = spindle::spawn([&] { return acceptor.async_accept(spindle::use_fiber); });
    client.async_connect(acceptor.local_endpoint(), spindle::use_fiber);

    // tag::use[]
    auto socket = accepted.join();
    auto const& was = socket.get_executor().context();
    auto to = sched.next_executor();
    if (&to.context() == &was) // of two or more processors the next one is another
        to = sched.next_executor();
    auto const elsewhere = &to.context() != &was;
    spindle::spawn(
        to,
        [s = moved(std::move(socket), to)]() mutable {
            asio::async_write(s, asio::buffer("from here\n", 10), spindle::use_fiber);
        },
        asio::detached);
    // end::use[]
    std::string text;
    error_code eof;
    asio::async_read(client, asio::dynamic_buffer(text), spindle::use_fiber[eof]);
    std::printf(
        "socket: %s, %s", elsewhere ? "on another processor" : "where it was", text.c_str());
}

} // namespace

int main()
{
    spindle::run(
        [] {
            limited_rate();
            news_for_all();
            pipelined_requests();
            socket_that_moves();
        },
        {.processors = 2});
    return 0;
}
