//
// support/asio_fixture.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~
// What tests of the asio room share: io_contexts on several threads, connected
// sockets, errors as values.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_TEST_SUPPORT_ASIO_FIXTURE_HPP
#define SPINDLE_TEST_SUPPORT_ASIO_FIXTURE_HPP

#include <spindle/error.hpp>

#include <support/fixture.hpp>

#include <boost/asio/error.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/connect_pair.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/test/unit_test.hpp>

#include <atomic>
#include <cstddef>
#include <exception>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace spindle_test {

namespace asio = boost::asio;
using asio::ip::tcp;
using spindle::error_code;
using spindle::system_error;

inline constexpr unsigned thread_counts[] = {1, 2, 8};

// Runs an io_context on that many threads, the caller's among them, until it
// has nothing to do.
inline void run_on(asio::io_context& ioc, unsigned threads)
{
    std::vector<std::thread> others;
    for (unsigned i = 1; i < threads; ++i)
        others.emplace_back([&] { ioc.run(); });
    ioc.run();
    for (auto& t : others)
        t.join();
}

// Calls fn(io_context, threads) for each number of threads, and fn prepares what
// then runs. Nothing may be left over.
template <class Function>
void over_threads(Function fn)
{
    for (auto const n : thread_counts)
        BOOST_TEST_CONTEXT(n << " threads")
        {
            {
                asio::io_context ioc;
                fn(ioc, n);
            }
            check_nothing_left();
        }
}

// Two sockets with a connection over loopback between them.
template <class Executor1, class Executor2>
std::pair<tcp::socket, tcp::socket> connected(Executor1 const& ex1, Executor2 const& ex2)
{
    asio::io_context here;
    tcp::acceptor acceptor(here, {asio::ip::address_v4::loopback(), 0});
    std::pair<tcp::socket, tcp::socket> both{tcp::socket(ex1), tcp::socket(ex2)};
    both.first.connect(acceptor.local_endpoint());
    acceptor.accept(both.second);
    both.first.set_option(tcp::no_delay(true));
    both.second.set_option(tcp::no_delay(true));
    return both;
}

template <class Executor>
std::pair<tcp::socket, tcp::socket> connected(Executor const& ex)
{
    return connected(ex, ex);
}

// As connected(), for tests that need thousands: TCP's ports are used up by then.
using local_socket = asio::local::stream_protocol::socket;

template <class Executor>
std::pair<local_socket, local_socket> connected_locally(Executor const& ex)
{
    std::pair<local_socket, local_socket> both{local_socket(ex), local_socket(ex)};
    asio::local::connect_pair(both.first, both.second);
    return both;
}

// The error that leaves f, or none.
template <class Function>
error_code error_of(Function&& f)
{
    try {
        f();
    } catch (system_error const& e) {
        return e.code();
    }
    return {};
}

inline error_code error_in(std::exception_ptr e)
{
    return error_of([&] {
        if (e)
            std::rethrow_exception(e);
    });
}

inline error_code const aborted = asio::error::operation_aborted;

// Boost.Test's macros are for one thread. This one counts from any.
class tally {
public:
    void check(bool ok) noexcept { (ok ? good_ : bad_).fetch_add(1, std::memory_order_relaxed); }
    void count() noexcept { check(true); }
    std::size_t good() const noexcept { return good_.load(); }
    std::size_t bad() const noexcept { return bad_.load(); }

private:
    std::atomic<std::size_t> good_{0}, bad_{0};
};

} // namespace spindle_test

#endif // SPINDLE_TEST_SUPPORT_ASIO_FIXTURE_HPP
