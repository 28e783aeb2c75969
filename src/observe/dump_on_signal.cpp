//
// observe/dump_on_signal.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/error.hpp>
#include <spindle/observe/dump.hpp>

#include <spindle/detail/base/atomic.hpp>
#include <spindle/detail/fiber/machine_list.hpp>

#include <boost/system/errc.hpp>

#include <array>
#include <cerrno>
#include <exception>
#include <fcntl.h>
#include <mutex>
#include <signal.h>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <unistd.h>

namespace spindle {

namespace {

using detail::atomic;

// The handler writes the signal's number into a pipe, and a thread reads it. Both live as
// long as the process, but where somebody has closed the pipe: then the thread ends, and
// the next call of dump_on_signal() makes both anew.
atomic<int> written_to{-1};
atomic<::pid_t> owner{0}; // a child of fork() has the pipe, and no thread

extern "C" void tell_dumper(int signal)
{
    auto const saved = errno;
    if (::getpid() == owner.load(std::memory_order_relaxed)) {
        auto const number = static_cast<unsigned char>(signal);
        // Where the pipe is full, enough dumps are on their way.
        (void)!::write(written_to.load(std::memory_order_relaxed), &number, 1);
    }
    errno = saved;
}

void write_all(std::string_view text) noexcept
{
    while (!text.empty()) {
        auto const n = ::write(STDERR_FILENO, text.data(), text.size());
        if (n > 0)
            text.remove_prefix(static_cast<std::size_t>(n));
        else if (n < 0 && errno != EINTR)
            return;
    }
}

class signal_dumper {
public:
    static signal_dumper& get()
    {
        static auto& instance = *new signal_dumper;
        return instance;
    }

    void set(int signal, dump_options const& options)
    {
        if (signal <= 0 || static_cast<std::size_t>(signal) >= options_.size())
            detail::throw_error(
                make_error_code(boost::system::errc::invalid_argument),
                "dump_on_signal() wants the number of a signal, like SIGQUIT");
        std::lock_guard guard(mutex_);
        if (!runs_ || owner.load(std::memory_order_relaxed) != ::getpid())
            start();
        options_[static_cast<std::size_t>(signal)] = options;
        struct sigaction how = {};
        how.sa_handler = &tell_dumper;
        how.sa_flags = SA_RESTART;
        ::sigemptyset(&how.sa_mask);
        if (::sigaction(signal, &how, nullptr) != 0)
            fail("dump_on_signal(): the system refuses a handler for that signal");
    }

private:
    signal_dumper() = default;

    // Under mutex_.
    void start()
    {
        int ends[2];
        if (::pipe2(ends, O_CLOEXEC) != 0)
            fail("dump_on_signal() needs a pipe, and the system has refused one");
        (void)::fcntl(ends[1], F_SETFL, O_NONBLOCK);
        // The thread gets no signals: they are for those that were there.
        ::sigset_t all, before;
        ::sigfillset(&all);
        ::pthread_sigmask(SIG_SETMASK, &all, &before);
        try {
            std::thread([this, from = ends[0]] { run(from); }).detach();
        } catch (std::system_error const&) {
            ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
            ::close(ends[0]);
            ::close(ends[1]);
            detail::throw_error(
                make_error_code(errc::thread_limit),
                "dump_on_signal() needs a thread, and the system has refused one");
        }
        ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
        written_to.store(ends[1], std::memory_order_relaxed);
        owner.store(::getpid(), std::memory_order_relaxed);
        runs_ = true;
    }

    [[noreturn]] static void fail(char const* what)
    {
        detail::throw_error(error_code(errno, boost::system::system_category()), what);
    }

    void run(int from) noexcept
    {
        detail::bystander const here;
        unsigned char signal;
        while (read_one(from, signal)) {
            dump_options options;
            {
                std::lock_guard guard(mutex_);
                options = options_[signal];
            }
            try {
                write_all(dump_string(options));
            } catch (std::exception const&) {
                write_all("spindle: there is no memory for a dump\n");
            }
        }
        // These numbers are somebody else's, or will be: nothing goes there, and nothing is
        // closed.
        std::lock_guard guard(mutex_);
        owner.store(0, std::memory_order_relaxed);
        runs_ = false;
    }

    // False: the pipe is not there any more, or is not ours.
    bool read_one(int from, unsigned char& signal) const noexcept
    {
        for (;;) {
            auto const n = ::read(from, &signal, 1);
            if (n == 1)
                return signal < options_.size();
            if (n == 0 || errno != EINTR) // by a debugger
                return false;
        }
    }

    std::mutex mutex_;
    // Under mutex_:
    std::array<dump_options, 65> options_;
    bool runs_ = false; // the thread
};

} // namespace

void dump_on_signal(int signal, dump_options const& options)
{
    remember_spawners();
    signal_dumper::get().set(signal, options);
}

} // namespace spindle
