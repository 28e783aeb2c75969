//
// observe/dump_on_signal.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE observe.dump_on_signal
#include <spindle.hpp>
#include <spindle/observe/dump.hpp>
#include <support/asio_fixture.hpp>
#include <support/child.hpp>
#include <support/expect.hpp>
#include <support/waiting.hpp>

#include <spindle/detail/fiber/machine_list.hpp>

#include <boost/test/unit_test.hpp>

#include <atomic>
#include <chrono>
#include <csignal>
#include <fcntl.h>
#include <string>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>
#include <vector>

using namespace spindle_test;
using namespace std::chrono_literals;
using spindle::detail::wait_reason;
namespace this_fiber = spindle::this_fiber;

namespace {

// In the child: its standard error, read by itself.
class own_stderr {
public:
    own_stderr() : before_(::dup(STDERR_FILENO))
    {
        int ends[2];
        if (::pipe(ends) != 0)
            ::_exit(1);
        read_ = ends[0];
        ::dup2(ends[1], STDERR_FILENO);
        ::close(ends[1]);
    }

    // Signals the process, and reads until that has come.
    void signal_and_read(int signal, char const* until)
    {
        ::kill(::getpid(), signal);
        std::string text;
        char some[4096];
        while (text.find(until) == std::string::npos) {
            auto const n = ::read(read_, some, sizeof some);
            if (n <= 0)
                ::_exit(2);
            text.append(some, static_cast<std::size_t>(n));
        }
        (void)!::write(before_, text.data(), text.size());
    }

private:
    int const before_;
    int read_;
};

} // namespace

BOOST_AUTO_TEST_SUITE(dump_on_signal)

BOOST_AUTO_TEST_CASE(a_signal_writes_every_fiber_and_the_process_goes_on)
{
    auto const end = in_child([] {
        spindle::dump_on_signal(SIGQUIT);
        own_stderr err;
        spindle::run(
            [&] {
                spindle::go({.name = "sleeper"}, [] { this_fiber::sleep_for(1h); });
                if (!until([] { return fibers_in(wait_reason::sleep) == 1; }))
                    ::_exit(3);
                // The only thread that runs fibers is stuck meanwhile.
                err.signal_and_read(SIGQUIT, "by fiber 1 \"main\"");
                spindle::dump_on_signal(SIGQUIT, {.stacks = false});
                err.signal_and_read(SIGQUIT, "by fiber 1 \"main\"");
            },
            {.processors = 1});
        ::_exit(42);
    });
    BOOST_TEST_CONTEXT(end.text)
    {
        BOOST_TEST(end.by_exit(42));
        auto const first = end.text.find("spindle: 2 fibers: 1 running");
        BOOST_TEST(first != std::string::npos);
        BOOST_TEST(end.text.find("spindle: 2 fibers: 1 running", first + 1) != std::string::npos);
        BOOST_TEST(end.says("\"sleeper\", waiting: sleep, for "));
        BOOST_TEST(end.says("by fiber 1 \"main\""));
    }
}

BOOST_AUTO_TEST_CASE(a_system_call_that_is_interrupted_goes_on)
{
    auto const end = in_child([] {
        spindle::dump_on_signal(SIGUSR1);
        int ends[2];
        if (::pipe(ends) != 0)
            ::_exit(1);
        auto const reader = ::pthread_self();
        std::thread other([&] {
            for (int i = 0; i != 50; ++i) { // most of them while it reads
                ::pthread_kill(reader, SIGUSR1);
                std::this_thread::sleep_for(1ms);
            }
            (void)!::write(ends[1], "x", 1);
        });
        char byte = 0;
        auto const n = ::read(ends[0], &byte, 1);
        other.join();
        ::_exit(n == 1 && byte == 'x' ? 42 : 2);
    });
    BOOST_TEST(end.by_exit(42));
}

BOOST_AUTO_TEST_CASE(where_somebody_closes_its_pipe_its_thread_ends_until_it_is_asked_again)
{
    auto const end = in_child([] {
        auto const threads = [] {
            std::vector<long> all;
            return spindle::detail::list_threads(all) ? all.size() : 0;
        };
        std::thread([] {}).join(); // the first one brings a thread of ThreadSanitizer's along
        auto const before = threads();
        spindle::dump_on_signal(SIGQUIT);
        if (threads() != before + 1)
            ::_exit(1);
        // As a daemon does. By close() it would be a race in ThreadSanitizer's eyes, which counts
        // a descriptor as memory: the thread reads from it. It may be late, so that nothing
        // else may get the numbers.
        ::closefrom(3);
        for (int fd = 3; fd != 16; ++fd)
            if (::syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDONLY) != fd)
                ::_exit(3);
        if (!until([&] { return threads() == before; }))
            ::_exit(2);
        ::kill(::getpid(), SIGQUIT); // nothing, and no harm
        spindle::dump_on_signal(SIGQUIT);
        own_stderr err;
        spindle::run([&] { err.signal_and_read(SIGQUIT, "\"main\", running"); }, {.processors = 1});
        ::_exit(42);
    });
    BOOST_TEST_CONTEXT(end.text)
    BOOST_TEST(end.by_exit(42));
}

BOOST_AUTO_TEST_CASE(what_is_no_signal_is_refused)
{
    BOOST_TEST(
        (error_of([] { spindle::dump_on_signal(0); }) == boost::system::errc::invalid_argument));
    BOOST_TEST((error_of([] {
                    spindle::dump_on_signal(SIGKILL);
                }) == boost::system::errc::invalid_argument));
}

BOOST_AUTO_TEST_SUITE_END()
