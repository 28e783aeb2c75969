//
// asio/direct_io.cpp
// ~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/asio/direct_io.hpp>

#include <spindle/detail/fiber/hooks.hpp>
#include <spindle/detail/fiber/park.hpp>
#include <spindle/detail/fiber/stop.hpp>

#include <boost/asio/error.hpp>

#include <cerrno>

#include <sys/socket.h>
#include <unistd.h>

namespace spindle::detail {

namespace {

template <class Call>
direct_result result_of(Call call) noexcept
{
    for (;;) {
        auto const n = call();
        if (n >= 0)
            return {.bytes = static_cast<std::size_t>(n)};
        auto const e = errno;
        if (e == EAGAIN || e == EWOULDBLOCK)
            return {.done = false};
        if (e != EINTR)
            return {.error = e};
    }
}

} // namespace

direct_result receive_now(int socket, ::iovec* buffers, std::size_t count) noexcept
{
    return result_of([&] {
        if (count == 1)
            return ::recv(socket, buffers->iov_base, buffers->iov_len, MSG_DONTWAIT);
        ::msghdr message{};
        message.msg_iov = buffers;
        message.msg_iovlen = count;
        return ::recvmsg(socket, &message, MSG_DONTWAIT);
    });
}

direct_result send_now(int socket, ::iovec* buffers, std::size_t count) noexcept
{
    return result_of([&] {
        if (count == 1)
            return ::send(
                socket, buffers->iov_base, buffers->iov_len, MSG_DONTWAIT | MSG_NOSIGNAL);
        ::msghdr message{};
        message.msg_iov = buffers;
        message.msg_iovlen = count;
        return ::sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    });
}

direct_result read_now(int descriptor, ::iovec const* buffers, std::size_t count) noexcept
{
    return result_of([&] { return ::readv(descriptor, buffers, static_cast<int>(count)); });
}

direct_result write_now(int descriptor, ::iovec const* buffers, std::size_t count) noexcept
{
    return result_of([&] { return ::writev(descriptor, buffers, static_cast<int>(count)); });
}

fiber_record* fiber_for_direct_io()
{
    auto* const self = waiting_fiber();
    if (!self)
        require_fiber(); // throws
    return stop_seen(*self) ? nullptr : self;
}

error_code error_of_call(int e) noexcept
{
    return {e, boost::asio::error::get_system_category()};
}

} // namespace spindle::detail
