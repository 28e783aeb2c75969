//
// support/example.hpp
// ~~~~~~~~~~~~~~~~~~~
// What an example needs that runs in a test: its output goes nowhere, a SIGINT that comes
// late does not end the process, and a server has clients.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_TEST_SUPPORT_EXAMPLE_HPP
#define SPINDLE_TEST_SUPPORT_EXAMPLE_HPP

#include <spindle/asio/use_fiber.hpp>
#include <spindle/spawn.hpp>
#include <spindle/this_fiber.hpp>
#include <support/asio_fixture.hpp>
#include <support/every_step.hpp>

#include <spindle/detail/base/scope_exit.hpp>

#include <boost/asio/buffer.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/write.hpp>
#include <boost/test/unit_test_log.hpp>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <fcntl.h>
#include <functional>
#include <initializer_list>
#include <iostream>
#include <sstream>
#include <string>
#include <string_view>
#include <unistd.h>
#include <vector>

namespace spindle_test {

// As long as it lives it takes what goes to std::cout and stdout, and finds the port
// where a server says that it listens. What the test has to say goes to std::cerr.
class printed : std::stringbuf {
public:
    printed() : before_(std::cout.rdbuf(this))
    {
        boost::unit_test::unit_test_log.set_stream(std::cerr);
        std::fflush(stdout);
        int const nowhere = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
        ::dup2(nowhere, STDOUT_FILENO);
        ::close(nowhere);
    }
    printed(printed const&) = delete;
    printed& operator=(printed const&) = delete;
    ~printed()
    {
        std::fflush(stdout);
        ::dup2(stdout_before_, STDOUT_FILENO);
        ::close(stdout_before_);
        std::cout.rdbuf(before_);
        boost::unit_test::unit_test_log.set_stream(std::cout);
    }

    std::atomic<std::uint16_t> port{0};

private:
    int sync() override
    {
        static constexpr std::string_view says = "listening on ";
        auto const text = str();
        if (auto const at = text.find(says); at != text.npos)
            port = static_cast<std::uint16_t>(std::stoul(text.substr(at + says.size())));
        str("");
        return 0;
    }

    std::streambuf* const before_;
    int const stdout_before_ = ::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0);
    // Asio handles a signal for as long as somebody has asked for it.
    boost::asio::io_context nobody_runs_it_;
    boost::asio::signal_set signals_{nobody_runs_it_, SIGINT};
};

// --- clients ---------------------------------------------------------------------------

// In a fiber of its own, with a connection to the server.
using role = void (*)(tcp::socket&, std::atomic<bool>& enough);

// Runs a server and, beside it, clients that know where it listens. It is told to go
// once all of them have ended, or one of them has had enough; again and again, since it
// may not listen yet to signals.
inline void
with_clients(printed& out, std::function<void()> const& server, std::initializer_list<role> clients)
{
    out.port = 0;
    std::atomic<bool> over{false}, enough{false};
    std::atomic<std::size_t> left{clients.size()};
    std::vector<spindle::fiber<void>> fibers;
    spindle::detail::scope_exit const ends([&] { over = true; });
    for (auto const client : clients)
        fibers.push_back(spindle::spawn([&, client] {
            spindle::detail::scope_exit const says([&] {
                if (--left == 0)
                    enough = true;
            });
            while (out.port == 0 && !over)
                spindle::this_fiber::sleep_for(std::chrono::microseconds(50));
            error_code ec;
            tcp::socket s(spindle::this_fiber::get_executor());
            s.async_connect({asio::ip::address_v4::loopback(), out.port}, spindle::use_fiber[ec]);
            if (!ec)
                client(s, enough);
        }));
    fibers.push_back(spindle::spawn([&] {
        for (; !over; spindle::this_fiber::sleep_for(std::chrono::microseconds(200)))
            if (enough)
                std::raise(SIGINT);
    }));
    server();
    over = true;
    for (auto& f : fibers)
        f.join();
}

// The same, each time told to end at another step.
inline void serve_at_every_step(
    printed& out, std::function<void()> const& server, std::initializer_list<role> clients)
{
    over_every_step([&] { with_clients(out, server, clients); }, cancelled_or_signalled);
}

// Until that was heard; false: the server has closed before. What comes after the end
// must not be read: Asio would wait for it.
inline bool hears(tcp::socket& s, std::string const& text)
{
    std::string heard;
    error_code ec;
    asio::async_read_until(s, asio::dynamic_buffer(heard), text, spindle::use_fiber[ec]);
    return !ec;
}

inline void say(tcp::socket& s, std::string const& text)
{
    error_code ec;
    asio::async_write(s, asio::buffer(text), spindle::use_fiber[ec]);
}

} // namespace spindle_test

#endif // SPINDLE_TEST_SUPPORT_EXAMPLE_HPP
