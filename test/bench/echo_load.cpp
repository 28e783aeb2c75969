//
// test/bench/echo_load.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~~
// The client of `echo` and `http`: connections that each send a message, wait for
// it, or for the answer, to come back and send the next; at once, or in a rhythm that
// leaves the server time to sleep. One thread on the last processor.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <boost/program_options.hpp>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <memory>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdexcept>
#include <string>
#include <string_view>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <system_error>
#include <time.h>
#include <unistd.h>
#include <vector>

#include "bench.hpp"

namespace {

struct options {
    std::uint16_t port = 0;
    std::size_t connections = 64;
    std::size_t bytes = 64;
    bool http = false;
    double every_ms = 0; // 0: the next message follows the answer
    double seconds = 3;
    bool json = false;
};

using clock = std::chrono::steady_clock;
using moment = clock::time_point;

double us(clock::duration d) { return std::chrono::duration<double, std::micro>(d).count(); }

int check(ssize_t returned)
{
    if (returned < 0)
        throw std::system_error(errno, std::system_category());
    return static_cast<int>(returned);
}

// The servers are kept on the first.
void pin_to_last_processor()
{
    cpu_set_t set;
    check(::sched_getaffinity(0, sizeof set, &set));
    int last = CPU_SETSIZE - 1;
    while (!CPU_ISSET(last, &set))
        --last;
    CPU_ZERO(&set);
    CPU_SET(last, &set);
    check(::sched_setaffinity(0, sizeof set, &set));
}

int connect(std::uint16_t port)
{
    int const fd = check(::socket(AF_INET, SOCK_STREAM, 0));
    int const on = 1;
    check(::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    check(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address));
    return fd;
}

std::string message(options const& o)
{
    if (!o.http)
        return std::string(o.bytes, 'x');
    return "GET /hello HTTP/1.1\r\nHost: 127.0.0.1:" + std::to_string(o.port) + "\r\n\r\n";
}

// One connection with one message under way.
class client {
public:
    client(options const& o, int epoll)
        : fd_(connect(o.port)), message_(message(o)), expected_(o.http ? 0 : o.bytes)
    {
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.ptr = this;
        check(::epoll_ctl(epoll, EPOLL_CTL_ADD, fd_, &event));
    }

    client(client const&) = delete;
    client& operator=(client const&) = delete;

    ~client() { ::close(fd_); }

    void send(moment since = clock::now())
    {
        sent_ = since;
        waits_ = true;
        received_ = 0;
        // A message is far smaller than a socket's buffer: it is sent whole.
        if (::send(fd_, message_.data(), message_.size(), MSG_NOSIGNAL) !=
            static_cast<ssize_t>(message_.size()))
            throw std::runtime_error("cannot send: is the server gone?");
    }

    // True when the whole answer is there.
    bool receive()
    {
        auto const n = check(
            ::recv(fd_, answer_.data() + received_, answer_.size() - received_, MSG_DONTWAIT));
        if (n == 0)
            throw std::runtime_error("the server has closed a connection");
        received_ += static_cast<std::size_t>(n);
        if (expected_ == 0)
            expected_ = size_of_answer();
        if (received_ > expected_)
            throw std::runtime_error("more came than was asked for");
        waits_ = received_ != expected_;
        return !waits_;
    }

    bool waits() const { return waits_; }
    double us_since_send() const { return us(clock::now() - sent_); }

private:
    // The first answer of HTTP, whole, says how long the others are: they are the same.
    std::size_t size_of_answer() const
    {
        std::string_view const all(answer_.data(), received_);
        constexpr std::string_view field = "\r\nContent-Length: ", end = "\r\n\r\n";
        auto const length = all.find(field), header = all.find(end);
        if (!all.starts_with("HTTP/1.1 200 OK\r\n") || length == all.npos || header == all.npos)
            throw std::runtime_error("this is no answer: " + std::string(all));
        return header + end.size() + std::stoul(std::string(all.substr(length + field.size())));
    }

    int fd_;
    std::string const message_;
    std::size_t expected_; // 0: not known yet
    std::array<char, 4096> answer_;
    std::size_t received_ = 0;
    bool waits_ = false; // for the answer
    moment sent_;
};

// Times by the 100 ns, so that a run of any length takes the same memory.
class histogram {
public:
    void add(double us)
    {
        auto const bucket = static_cast<std::size_t>(us * per_us);
        ++buckets_[std::min(bucket, buckets_.size() - 1)];
        ++total_;
    }

    std::size_t total() const { return total_; }

    double percentile(double p) const
    {
        auto left = static_cast<double>(total_) * p / 100;
        std::size_t bucket = 0;
        while (bucket + 1 < buckets_.size() && (left -= static_cast<double>(buckets_[bucket])) > 0)
            ++bucket;
        return static_cast<double>(bucket) / per_us;
    }

private:
    static constexpr double per_us = 10;
    std::vector<std::size_t> buckets_ = std::vector<std::size_t>(1'000'000);
    std::size_t total_ = 0;
};

// The answers that are there, or come within `patience`.
template <class Answered>
bool receive_answers(int epoll, std::chrono::nanoseconds patience, Answered answered)
{
    std::array<epoll_event, 128> events;
    auto const seconds = std::chrono::floor<std::chrono::seconds>(patience);
    timespec const timeout{seconds.count(), (patience - seconds).count()};
    int const n = check(
        ::epoll_pwait2(epoll, events.data(), static_cast<int>(events.size()), &timeout, nullptr));
    for (int i = 0; i < n; ++i) {
        auto& c = *static_cast<client*>(events[static_cast<std::size_t>(i)].data.ptr);
        if (c.receive())
            answered(c);
    }
    return n != 0;
}

using clients = std::vector<std::unique_ptr<client>>;

// Each message follows the answer. The time that it took, in seconds.
double in_closed_loop(int epoll, double seconds, histogram& latencies)
{
    bench::stopwatch watch;
    while (watch.ns() < seconds * 1e9)
        if (!receive_answers(epoll, std::chrono::seconds(1), [&](client& c) {
                latencies.add(c.us_since_send());
                c.send();
            }))
            throw std::runtime_error("no answer within a second");
    return watch.ns() / 1e9;
}

// Each connection has its moment in a round of `every`. One that comes late, because the
// answer before it did, counts from its moment: who waits in line has waited, too.
double
in_rounds(int epoll, clients& all, clock::duration every, double seconds, histogram& latencies)
{
    auto const begin = clock::now();
    auto const step = every / static_cast<int>(all.size());
    auto due = begin;
    std::size_t next = 0;
    auto const end =
        begin + std::chrono::duration_cast<clock::duration>(std::chrono::duration<double>(seconds));
    auto const take = [&](client& c) { latencies.add(c.us_since_send()); };
    while (due < end) {
        auto const now = clock::now();
        if (now < due) {
            receive_answers(epoll, due - now, take);
            continue;
        }
        auto& c = *all[next];
        while (c.waits())
            if (!receive_answers(epoll, std::chrono::seconds(1), take))
                throw std::runtime_error("no answer within a second");
        c.send(due);
        due += step;
        next = (next + 1) % all.size();
    }
    return std::chrono::duration<double>(clock::now() - begin).count();
}

double exchange(options const& o, int epoll, clients& all, double seconds, histogram& latencies)
{
    if (o.every_ms == 0)
        return in_closed_loop(epoll, seconds, latencies);
    auto const every = std::chrono::duration<double, std::milli>(o.every_ms);
    return in_rounds(
        epoll, all, std::chrono::duration_cast<clock::duration>(every), seconds, latencies);
}

void measure(options const& o)
{
    pin_to_last_processor();
    int const epoll = check(::epoll_create1(0));
    clients all;
    for (std::size_t i = 0; i < o.connections; ++i)
        all.push_back(std::make_unique<client>(o, epoll));
    if (o.every_ms == 0)
        for (auto& c : all)
            c->send();

    histogram warm_up;
    exchange(o, epoll, all, o.seconds / 10, warm_up);
    histogram latencies;
    auto const seconds = exchange(o, epoll, all, o.seconds, latencies);

    std::printf(
        o.json ? R"({"peer": "echo_load", "workload": "%s", "connections": %zu, )"
                 R"("message_bytes": %zu, "value": %.1f, "unit": "requests/s", "requests": %zu, )"
                 R"("p50_us": %.1f, "p99_us": %.1f})"
                 "\n"
               : "workload=%s connections=%zu message_bytes=%zu value=%.1f unit=requests/s "
                 "requests=%zu "
                 "p50_us=%.1f p99_us=%.1f\n",
        o.http ? "http" : "echo",
        o.connections,
        message(o).size(),
        static_cast<double>(latencies.total()) / seconds,
        warm_up.total() + latencies.total(),
        latencies.percentile(50),
        latencies.percentile(99));
}

options parse(int argc, char** argv)
{
    namespace po = boost::program_options;
    options o;
    po::options_description known("Options");
    auto add = known.add_options();
    add("port", po::value(&o.port)->required(), "where the server listens");
    add("connections", po::value(&o.connections), "how many at a time");
    add("bytes", po::value(&o.bytes), "size of a message");
    add("http", po::bool_switch(&o.http), "the messages are requests of HTTP");
    add("every-ms",
        po::value(&o.every_ms),
        "a message on each connection this often; without: as soon as the answer is there");
    add("seconds", po::value(&o.seconds), "how long, after a tenth of that to warm up");
    add("json", po::bool_switch(&o.json), "print an object and not a line");
    po::variables_map values;
    po::store(po::parse_command_line(argc, argv, known), values);
    po::notify(values);
    if (o.bytes == 0 || o.bytes > 4096)
        throw po::error("--bytes is 1 to 4096");
    if (o.connections == 0 || o.every_ms < 0)
        throw po::error("--connections and --every-ms are greater than 0");
    return o;
}

} // namespace

int main(int argc, char** argv)
{
    try {
        measure(parse(argc, argv));
        return 0;
    } catch (std::exception const& e) {
        std::cerr << "echo_load: " << e.what() << '\n';
        return 1;
    }
}
