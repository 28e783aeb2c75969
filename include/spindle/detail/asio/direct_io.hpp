//
// spindle/detail/asio/direct_io.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// Reading and writing at once what can be read and written at once.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_ASIO_DIRECT_IO_HPP
#define SPINDLE_DETAIL_ASIO_DIRECT_IO_HPP

#include <spindle/config.hpp>
#include <spindle/detail/fiber/record.hpp>
#include <spindle/error.hpp>

#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/posix/basic_stream_descriptor.hpp>

#include <sys/uio.h>

#include <cstddef>
#include <type_traits>

namespace spindle::detail {

// Why: an asynchronous operation that is ready at once makes a turn through Asio's
// queue for it (Boost 1.81 posts its completion), and the fiber parks. A call that
// does not block gives the bytes here and now.
//
// What it must not cost: a call that finds nothing. Asio knows that a socket is
// drained after a read that was shorter than its buffer, and asks the reactor
// without reading again; whoever reads here has to know it, too (direct_channel).

// What a call has come to.
struct direct_result {
    std::size_t bytes = 0;
    int error = 0;      // errno's; 0 with no bytes: the end
    bool done = true;   // false: it would block
};

// System calls, which touch errno: functions of their own, which do not park.
SPINDLE_DECL SPINDLE_NOINLINE direct_result receive_now(
    int socket, ::iovec* buffers, std::size_t count) noexcept;
SPINDLE_DECL SPINDLE_NOINLINE direct_result send_now(
    int socket, ::iovec* buffers, std::size_t count) noexcept;
SPINDLE_DECL SPINDLE_NOINLINE direct_result read_now(
    int descriptor, ::iovec const* buffers, std::size_t count) noexcept;
SPINDLE_DECL SPINDLE_NOINLINE direct_result write_now(
    int descriptor, ::iovec const* buffers, std::size_t count) noexcept;

// The fiber that may wait here. Throws errc::not_in_fiber. Nullptr: it was asked to
// stop, and an operation that it begins says so.
[[nodiscard]] SPINDLE_DECL fiber_record* fiber_for_direct_io();

[[nodiscard]] SPINDLE_DECL error_code error_of_call(int e) noexcept;

// The buffers of a sequence, as the system wants them: as many as fit.
template <class Buffer>
class direct_buffers {
public:
    template <class BufferSequence>
    explicit direct_buffers(BufferSequence const& sequence)
    {
        auto const end = boost::asio::buffer_sequence_end(sequence);
        for (auto i = boost::asio::buffer_sequence_begin(sequence); i != end && count_ != most;
             ++i) {
            Buffer const b(*i);
            if (b.size() == 0)
                continue;
            buffers_[count_].iov_base = const_cast<void*>(static_cast<void const*>(b.data()));
            buffers_[count_].iov_len = b.size();
            size_ += b.size();
            ++count_;
        }
    }

    ::iovec* data() noexcept { return buffers_; }
    std::size_t count() const noexcept { return count_; }
    std::size_t size() const noexcept { return size_; } // bytes

private:
    static constexpr std::size_t most = 16;

    std::size_t count_ = 0;
    std::size_t size_ = 0;
    ::iovec buffers_[most]; // not initialised
};

// One buffer as one, whatever it is wrapped in: Boost.Beast cannot take its own views
// of a single buffer everywhere.
template <class Buffer, class BufferSequence>
decltype(auto) plain_buffers(BufferSequence const& sequence) noexcept
{
    if constexpr (std::is_convertible_v<BufferSequence const&, Buffer>)
        return Buffer(sequence);
    else
        return (sequence);
}

// Which streams are a descriptor and nothing else. A class that is derived from one
// may do more than that, and counts as no such stream.
template <class Stream>
struct direct_access {
    static constexpr bool possible = false;
};

template <class Protocol, class Executor>
struct direct_access<boost::asio::basic_stream_socket<Protocol, Executor>> {
    static constexpr bool possible = true;

    template <class Stream>
    static void prepare(Stream&) noexcept
    {
    }

    template <class Stream>
    static direct_result read(Stream& s, ::iovec* buffers, std::size_t count) noexcept
    {
        return receive_now(s.native_handle(), buffers, count);
    }

    template <class Stream>
    static direct_result write(Stream& s, ::iovec* buffers, std::size_t count) noexcept
    {
        return send_now(s.native_handle(), buffers, count);
    }
};

// Descriptors have no flag for a call: the descriptor itself must not block, as it
// does not from Asio's first asynchronous operation on. One that is open is told so
// before two fibers can use it, one to read and one to write.
template <class Executor>
struct direct_access<boost::asio::posix::basic_stream_descriptor<Executor>> {
    static constexpr bool possible = true;

    template <class Stream>
    static void prepare(Stream& s) noexcept
    {
        if (s.is_open())
            (void)blocks(s);
    }

    template <class Stream>
    static direct_result read(Stream& s, ::iovec* buffers, std::size_t count) noexcept
    {
        return blocks(s) ? direct_result{.done = false}
                         : read_now(s.native_handle(), buffers, count);
    }

    template <class Stream>
    static direct_result write(Stream& s, ::iovec* buffers, std::size_t count) noexcept
    {
        return blocks(s) ? direct_result{.done = false}
                         : write_now(s.native_handle(), buffers, count);
    }

private:
    template <class Stream>
    SPINDLE_NOINLINE static bool blocks(Stream& s) noexcept
    {
        if (s.native_non_blocking())
            return false;
        error_code ec;
        s.native_non_blocking(true, ec);
        return !!ec;
    }
};

// --- the lowest layer of a stream -----------------------------------------------------

template <class Stream>
struct lowest_layer_of {
    using type = Stream;
    static type& get(Stream& s) noexcept { return s; }
};

template <class Stream>
    requires requires(Stream& s) {
        typename Stream::lowest_layer_type;
        s.lowest_layer();
    }
struct lowest_layer_of<Stream> {
    using type = typename Stream::lowest_layer_type;
    static type& get(Stream& s) noexcept { return s.lowest_layer(); }
};

// beast::tcp_stream, which has no such type in public.
template <class Stream>
concept has_socket = requires(Stream& s) {
    typename Stream::socket_type;
    s.socket().native_handle();
};

template <has_socket Stream>
struct lowest_layer_of<Stream> {
    using type = typename Stream::socket_type;
    static type& get(Stream& s) noexcept { return s.socket(); }
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_ASIO_DIRECT_IO_HPP
