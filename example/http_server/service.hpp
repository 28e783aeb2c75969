//
// http_server/service.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~
// What all connections of http_server.cpp share.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_EXAMPLE_HTTP_SERVER_SERVICE_HPP
#define SPINDLE_EXAMPLE_HTTP_SERVER_SERVICE_HPP

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <stop_token>
#include <string>
#include <utility>

#include "files.hpp"

namespace http_server {

using milliseconds = std::chrono::milliseconds;

struct options {
    std::string address = "127.0.0.1";
    std::uint16_t port = 0;
    unsigned threads = 0;
    std::string root = ".";
    std::string certificate, key;

    std::size_t connections = 1000; // at a time; those beyond are told to come back
    std::size_t turned_away = 100;  // at a time; those beyond wait to be accepted
    unsigned header_limit = 8 * 1024;
    std::uint64_t body_limit = 1024 * 1024;

    milliseconds idle_timeout{30'000};  // for a request to begin
    milliseconds header_timeout{5'000}; // from its first byte to the end of its header
    milliseconds body_timeout{30'000};  // from there to its end
    milliseconds write_timeout{30'000}; // for the client to take an answer, 64 KiB at a time
    milliseconds linger{1'000};         // for the client to hear the last one
    milliseconds grace{5'000};          // for answers after the signal to end
    bool debug = false;
    bool stats = false;
};

// Counted by many fibers at once.
struct counters {
    std::atomic<std::uint64_t> open{0}, reading{0}, answering{0}; // connections, now
    std::atomic<std::uint64_t> accepted{0}, turned_away{0}, requests{0}, refused{0}, cut{0};
};

// One more, for as long as this is there.
class counted {
public:
    explicit counted(std::atomic<std::uint64_t>& n) : n_(n) { ++n_; }
    counted(counted const&) = delete;
    counted& operator=(counted const&) = delete;
    ~counted() { --n_; }

private:
    std::atomic<std::uint64_t>& n_;
};

// What a connection has for its life. Not regular: there were too many.
class seat {
public:
    seat(counters& c, std::size_t regular) : open_(&c.open), regular_(c.open.fetch_add(1) < regular)
    {
        ++c.accepted;
        if (!regular_)
            ++c.turned_away;
    }
    seat(seat&& other) noexcept
        : open_(std::exchange(other.open_, nullptr)), regular_(other.regular_)
    {
    }
    seat& operator=(seat&&) = delete;
    ~seat()
    {
        if (open_)
            --*open_;
    }

    bool is_regular() const noexcept { return regular_; }

private:
    std::atomic<std::uint64_t>* open_;
    bool regular_;
};

class service {
public:
    explicit service(options o) : options_(std::move(o)), root_(open_root(options_.root)) {}

    options const& settings() const noexcept { return options_; }
    descriptor const& root() const noexcept { return root_; }
    counters& counts() noexcept { return counts_; }
    seat take_seat() { return seat(counts_, options_.connections); }
    std::chrono::steady_clock::duration uptime() const
    {
        return std::chrono::steady_clock::now() - start_;
    }

    // From then on no request begins, and each answer is its connection's last.
    void go_down() { end_.request_stop(); }
    bool going_down() const noexcept { return end_.stop_requested(); }
    std::stop_token end() const noexcept { return end_.get_token(); }

private:
    options const options_;
    descriptor const root_;
    std::stop_source end_;
    counters counts_;
    std::chrono::steady_clock::time_point const start_ = std::chrono::steady_clock::now();
};

} // namespace http_server

#endif // SPINDLE_EXAMPLE_HTTP_SERVER_SERVICE_HPP
