//
// test/bench/peers/epoll.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~
// The echo server without any library: what the kernel allows.
//
// Level-triggered: one read and one write a message. An edge-triggered server
// needs the same two calls, and a further read wherever the first one filled
// the buffer.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <array>
#include <cerrno>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <system_error>
#include <thread>
#include <unistd.h>
#include <vector>

#include "../bench.hpp"

namespace {

using bench::options;
using bench::result;

int check(int returned)
{
    if (returned < 0)
        throw std::system_error(errno, std::system_category());
    return returned;
}

void watch(int epoll, int fd)
{
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    check(::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
}

// Listens on the loopback address; with port 0, on a port of the system's choice.
int listen(options const& o)
{
    int const fd = check(::socket(AF_INET, SOCK_STREAM, 0));
    int const on = 1;
    check(::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(o.port);
    socklen_t size = sizeof address;
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    check(::bind(fd, generic, size));
    check(::listen(fd, SOMAXCONN));
    check(::getsockname(fd, generic, &size));
    bench::ready(o, ntohs(address.sin_port));
    return fd;
}

// False when the connection is over.
bool send_all(int fd, char const* data, std::size_t size)
{
    while (size > 0) {
        auto const n = ::send(fd, data, size, MSG_NOSIGNAL);
        if (n > 0) {
            data += n;
            size -= static_cast<std::size_t>(n);
        } else if (errno == EAGAIN) {
            // Holds up the loop; never happens in a closed loop of small
            // messages.
            pollfd writable{fd, POLLOUT, 0};
            ::poll(&writable, 1, -1);
        } else {
            return false;
        }
    }
    return true;
}

void echo_once(int fd)
{
    std::array<char, 4096> buffer;
    auto const n = ::recv(fd, buffer.data(), buffer.size(), 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0 || !send_all(fd, buffer.data(), static_cast<std::size_t>(n)))
        ::close(fd); // which takes it out of the epoll set
}

// Serves what `epoll` watches; calls accept() when that is the listener.
template <class Accept>
void serve(int epoll, int listener, Accept accept)
{
    std::array<epoll_event, 128> events;
    for (;;) {
        int const n = ::epoll_wait(epoll, events.data(), events.size(), -1);
        for (int i = 0; i < n; ++i) {
            int const fd = events[static_cast<std::size_t>(i)].data.fd;
            if (fd == listener)
                accept();
            else
                echo_once(fd);
        }
    }
}

// Each thread has an epoll set; the first one accepts and deals the
// connections out.
result echo(options const& o)
{
    std::vector<int> epolls;
    for (unsigned i = 0; i < o.threads; ++i)
        epolls.push_back(check(::epoll_create1(0)));
    int const listener = listen(o);
    watch(epolls[0], listener);

    std::vector<std::jthread> others;
    for (unsigned i = 1; i < o.threads; ++i)
        others.emplace_back([epoll = epolls[i]] { serve(epoll, -1, [] {}); });

    std::size_t accepted = 0;
    serve(epolls[0], listener, [&] {
        int const fd = check(::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK));
        int const on = 1;
        check(::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
        watch(epolls[accepted++ % epolls.size()], fd);
    });
    return {};
}

} // namespace

int main(int argc, char** argv) { return bench::run(argc, argv, "epoll", {{"echo", echo}}); }
