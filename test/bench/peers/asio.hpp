//
// test/bench/peers/asio.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~
// What the three Asio contenders have in common: threads, joining, listening.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_TEST_BENCH_PEERS_ASIO_HPP
#define SPINDLE_TEST_BENCH_PEERS_ASIO_HPP

#include <boost/asio.hpp>
#include <boost/asio/experimental/concurrent_channel.hpp>

#include <array>
#include <atomic>
#include <thread>
#include <utility>
#include <vector>

#include "../bench.hpp"

namespace bench {

namespace asio = boost::asio;
using boost::system::error_code;
using executor = asio::io_context::executor_type;

/// The executor's type is known to the compiler: no any_io_executor in between.
using tcp_socket = asio::basic_stream_socket<asio::ip::tcp, executor>;
using tcp_acceptor = asio::basic_socket_acceptor<asio::ip::tcp, executor>;
using timer = asio::basic_waitable_timer<
    std::chrono::steady_clock,
    asio::wait_traits<std::chrono::steady_clock>,
    executor>;

/// An io_context for `--threads` threads, and the threads.
class context {
public:
    explicit context(options const& o) : threads_(o.threads), ioc_(static_cast<int>(o.threads)) {}

    executor get_executor() { return ioc_.get_executor(); }

    /// Returns when no work is left.
    void run()
    {
        std::vector<std::jthread> others;
        for (unsigned i = 1; i < threads_; ++i)
            others.emplace_back([this] { ioc_.run(); });
        ioc_.run();
    }

private:
    unsigned threads_;
    asio::io_context ioc_;
};

/// Lets one coroutine wait until others are done; reusable.
class wait_group {
public:
    explicit wait_group(executor ex) : none_left_(ex, 1) {}

    void add(std::size_t n) { left_.fetch_add(n, std::memory_order_relaxed); }

    void done()
    {
        // Release: what the done ones did happened before the wait's end.
        if (left_.fetch_sub(1, std::memory_order_acq_rel) == 1)
            none_left_.try_send(error_code());
    }

    /// One wait for each time that add() left zero.
    template <class Token>
    auto async_wait(Token&& token)
    {
        return none_left_.async_receive(std::forward<Token>(token));
    }

private:
    std::atomic<std::size_t> left_{0};
    asio::experimental::concurrent_channel<executor, void(error_code)> none_left_;
};

/// Listens as the server of `echo` and says so.
inline tcp_acceptor listen(context& ctx, options const& o)
{
    tcp_acceptor acceptor(ctx.get_executor(), {asio::ip::address_v4::loopback(), o.port});
    ready(o, acceptor.local_endpoint().port());
    return acceptor;
}

using echo_buffer = std::array<char, 4096>;

} // namespace bench

#endif // SPINDLE_TEST_BENCH_PEERS_ASIO_HPP
