//
// spindle/asio/fiber_stream.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_ASIO_FIBER_STREAM_HPP
#define SPINDLE_ASIO_FIBER_STREAM_HPP

#include <spindle/asio/use_fiber.hpp>
#include <spindle/config.hpp>
#include <spindle/detail/asio/direct_io.hpp>

#include <boost/asio/error.hpp>
#include <boost/asio/socket_base.hpp>

#include <cstddef>
#include <type_traits>
#include <utility>

// Of Boost.Beast: for teardown(), which its WebSocket streams look for.
namespace boost::beast {
enum class role_type;
}

namespace spindle {

/// Makes an asynchronous stream a synchronous one that parks its fiber, never its thread.
/**
 * What is written for a blocking stream works over it: `asio::read`, `asio::read_until`,
 * `asio::write`, Beast's `http::read` and `http::write`, `websocket::stream`, an
 * `ssl::stream` on top of it.
 *
 * @tparam Stream Any AsyncStream: `tcp::socket`, `local::stream_protocol::socket`,
 * `ssl::stream<...>`, `beast::tcp_stream`, `posix::stream_descriptor`, `serial_port`,
 * ... A reference, as in `fiber_stream<tcp::socket&>`, leaves the stream where it is.
 *
 * @par Example
 * @code
 * spindle::fiber_stream<tcp::socket> stream(std::move(socket));
 * beast::flat_buffer buffer;
 * http::request_parser<http::string_body> parser;
 * parser.body_limit(64 * 1024);
 * spindle::within(10s, [&] { http::read(stream, buffer, parser); });
 * @endcode
 *
 * @par Blocking
 * Parks the fiber. On a socket or a descriptor what is there at once is taken at once:
 * a call that does not block is tried first, unless the operation before has shown that
 * it would find nothing. Every 128th of these in a row lets other fibers run.
 * A descriptor is made non-blocking by the first operation, as by Asio's own.
 *
 * @par Cancellation
 * Every operation is a cancellation point, and fails with `operation_aborted`: by a
 * stop of the fiber, by a `cancel_scope`, by its deadline.
 *
 * @par Exceptions
 * Functions without an `error_code` throw `system_error`. In all of them: throws
 * `errc::not_in_fiber` outside a fiber and in a completion handler. As with Asio, a write
 * to a pipe that nobody reads raises `SIGPIPE`, unless the program ignores that signal; a
 * write to a socket does not.
 *
 * @par Thread Safety
 * @e Distinct @e objects: Safe.@n
 * @e Shared @e objects: As the stream below. On a socket, and on a descriptor, one fiber
 * may read while another one writes.
 *
 * @par Lifetime
 * Must outlive its operations; is not moved while one goes on.
 */
template <class Stream>
class fiber_stream {
public:
    /// The stream below.
    using next_layer_type = std::remove_reference_t<Stream>;

    /// The lowest stream of all, as the stream below says.
    using lowest_layer_type = typename detail::lowest_layer_of<next_layer_type>::type;

    /// The executor of the stream below.
    using executor_type = typename next_layer_type::executor_type;

    /// Makes the stream below from `args`.
    template <class... Args>
        requires std::is_constructible_v<Stream, Args...>
    explicit fiber_stream(Args&&... args) : next_(std::forward<Args>(args)...)
    {
        if constexpr (access::possible)
            access::prepare(next_);
    }

    fiber_stream(fiber_stream&&) = default;
    fiber_stream& operator=(fiber_stream&&) = default;

    executor_type get_executor() noexcept { return next_.get_executor(); }

    next_layer_type& next_layer() noexcept { return next_; }
    next_layer_type const& next_layer() const noexcept { return next_; }
    lowest_layer_type& lowest_layer() noexcept
    {
        return detail::lowest_layer_of<next_layer_type>::get(next_);
    }

    // --- reading and writing --------------------------------------------------------

    /// Reads what there is, at least one byte.
    /**
     * Fails with `asio::error::eof` at the end of the stream.
     */
    template <class MutableBufferSequence>
    std::size_t read_some(MutableBufferSequence const& buffers)
    {
        error_code ec;
        auto const n = read_some(buffers, ec);
        if (ec)
            detail::throw_error(ec);
        return n;
    }

    /// As above; the error goes to `ec`.
    template <class MutableBufferSequence>
    std::size_t read_some(MutableBufferSequence const& sequence, error_code& ec)
    {
        auto&& buffers = detail::plain_buffers<boost::asio::mutable_buffer>(sequence);
        if constexpr (access::possible) {
            detail::direct_buffers<boost::asio::mutable_buffer> now(buffers);
            detail::direct_result r;
            if (try_now<&access::template read<next_layer_type>>(drained_, now, r))
                return over(r, now.size() != 0, ec);
            auto const n = next_.async_read_some(buffers, use_fiber[ec]);
            drained_ = !ec && n < now.size();
            return n;
        } else {
            return next_.async_read_some(buffers, use_fiber[ec]);
        }
    }

    /// Writes some, at least one byte.
    template <class ConstBufferSequence>
    std::size_t write_some(ConstBufferSequence const& buffers)
    {
        error_code ec;
        auto const n = write_some(buffers, ec);
        if (ec)
            detail::throw_error(ec);
        return n;
    }

    /// As above; the error goes to `ec`.
    template <class ConstBufferSequence>
    std::size_t write_some(ConstBufferSequence const& sequence, error_code& ec)
    {
        auto&& buffers = detail::plain_buffers<boost::asio::const_buffer>(sequence);
        if constexpr (access::possible) {
            detail::direct_buffers<boost::asio::const_buffer> now(buffers);
            detail::direct_result r;
            if (try_now<&access::template write<next_layer_type>>(full_, now, r))
                return over(r, false, ec);
            auto const n = next_.async_write_some(buffers, use_fiber[ec]);
            full_ = !ec && n < now.size();
            return n;
        } else {
            return next_.async_write_some(buffers, use_fiber[ec]);
        }
    }

    /// Starts an asynchronous read of the stream below: this is an AsyncStream, too.
    template <class MutableBufferSequence, class Token>
    auto async_read_some(MutableBufferSequence const& buffers, Token&& token)
    {
        return next_.async_read_some(buffers, std::forward<Token>(token));
    }

    /// Starts an asynchronous write of the stream below.
    template <class ConstBufferSequence, class Token>
    auto async_write_some(ConstBufferSequence const& buffers, Token&& token)
    {
        return next_.async_write_some(buffers, std::forward<Token>(token));
    }

    // --- before and after -----------------------------------------------------------

    /// Connects, where the stream below is one that can.
    /**
     * @param to What its `async_connect` takes: an endpoint; for a `beast::tcp_stream`
     * the results of a resolver, too.
     */
    template <class Endpoint>
    auto connect(Endpoint const& to)
    {
        forget();
        return next_.async_connect(to, use_fiber);
    }

    /// As above; the error goes to `ec`.
    template <class Endpoint>
    auto connect(Endpoint const& to, error_code& ec)
    {
        forget();
        return next_.async_connect(to, use_fiber[ec]);
    }

    /// The TLS handshake, where the stream below is one of TLS.
    template <class Type>
    void handshake(Type type)
    {
        next_.async_handshake(type, use_fiber);
    }

    /// As above; the error goes to `ec`.
    template <class Type>
    void handshake(Type type, error_code& ec)
    {
        next_.async_handshake(type, use_fiber[ec]);
    }

    /// Ends TLS, where the stream below is one of TLS: waits for the peer's answer.
    void shutdown()
        requires requires(next_layer_type& s) { s.async_shutdown(use_fiber); }
    {
        next_.async_shutdown(use_fiber);
    }

    /// As above; the error goes to `ec`.
    void shutdown(error_code& ec)
        requires requires(next_layer_type& s) { s.async_shutdown(use_fiber); }
    {
        next_.async_shutdown(use_fiber[ec]);
    }

    /// Ends one direction of a socket. Does not wait.
    void shutdown(boost::asio::socket_base::shutdown_type what)
        requires requires(lowest_layer_type& s) { s.shutdown(what); }
    {
        lowest_layer().shutdown(what);
    }

    /// As above; the error goes to `ec`.
    void shutdown(boost::asio::socket_base::shutdown_type what, error_code& ec)
        requires requires(lowest_layer_type& s) { s.shutdown(what, ec); }
    {
        lowest_layer().shutdown(what, ec);
    }

    /// Whether the lowest layer is open.
    bool is_open() { return lowest_layer().is_open(); }

    /// Cancels what goes on. For the fiber's own executor; others stop the fiber.
    void cancel() { lowest_layer().cancel(); }

    /// Closes the lowest layer. Does not wait.
    void close()
    {
        forget();
        lowest_layer().close();
    }

    /// As above; the error goes to `ec`.
    void close(error_code& ec)
    {
        forget();
        lowest_layer().close(ec);
    }

private:
    using access = detail::direct_access<std::remove_cv_t<next_layer_type>>;

    // True: `r` is the result. `nothing`: what the operation before has shown.
    template <auto Call, class Buffers>
    bool try_now(bool& nothing, Buffers& now, detail::direct_result& r)
    {
        auto* const self = detail::fiber_for_direct_io();
        if (!self)
            return false; // the operation says that it was stopped
        if (now.size() == 0)
            return true;
        if (nothing)
            return false;
        r = Call(next_, now.data(), now.count());
        nothing = r.error == 0 && r.bytes < now.size();
        if (!r.done)
            return false;
        detail::completed_at_once(*self);
        return true;
    }

    static std::size_t over(detail::direct_result const& r, bool ends, error_code& ec)
    {
        if (r.error != 0)
            ec = detail::error_of_call(r.error);
        else if (ends && r.bytes == 0)
            ec = boost::asio::error::eof;
        else
            ec = {};
        return r.bytes;
    }

    void forget() noexcept { drained_ = full_ = false; }

    Stream next_;
    // Of the last operation: there was less than was asked for. One for each direction,
    // so that two fibers may have one each.
    bool drained_ = false;
    bool full_ = false;
};

template <class Stream>
fiber_stream(Stream) -> fiber_stream<Stream>;

/// Closes the stream below a WebSocket, as Beast wants it: `websocket::stream` calls it.
/**
 * A server ends its direction, reads until the peer has ended the other one, and closes;
 * a client waits for the server to end it first. Under TLS that is ended before.
 *
 * @par Blocking
 * Parks until the peer has closed: put a `cancel_scope` around where it may not.
 */
template <class Stream>
void teardown(boost::beast::role_type role, fiber_stream<Stream>& stream, error_code& ec)
{
    ec = {};
    auto& next = stream.next_layer();
    if constexpr (requires { next.async_shutdown(use_fiber); }) {
        stream.shutdown(ec);
        fiber_stream<decltype(next.next_layer())> below(next.next_layer());
        error_code other;
        teardown(role, below, ec ? other : ec);
    } else if constexpr (detail::has_socket<std::remove_reference_t<Stream>>) {
        fiber_stream<decltype(next.socket())> below(next.socket());
        teardown(role, below, ec);
    } else {
        // Of boost::beast::role_type: client, server.
        auto const is_server = static_cast<int>(role) == 1;
        if (is_server)
            stream.shutdown(boost::asio::socket_base::shutdown_send, ec);
        while (!ec) {
            char rest[2048];
            stream.read_some(boost::asio::buffer(rest), ec);
        }
        if (ec != boost::asio::error::eof)
            return;
        ec = {};
        if (!is_server)
            stream.shutdown(boost::asio::socket_base::shutdown_send, ec);
        if (!ec)
            stream.close(ec);
    }
}

} // namespace spindle

#endif // SPINDLE_ASIO_FIBER_STREAM_HPP
