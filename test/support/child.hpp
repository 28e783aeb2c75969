//
// support/child.hpp
// ~~~~~~~~~~~~~~~~~
// Runs what ends a process in a child, and says how it ended.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_TEST_SUPPORT_CHILD_HPP
#define SPINDLE_TEST_SUPPORT_CHILD_HPP

#include <boost/test/unit_test.hpp>

#include <cstddef>
#include <string>

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

namespace spindle_test {

struct ending {
    int status = 0;
    std::string text; // of stderr

    bool by_signal(int signal) const { return WIFSIGNALED(status) && WTERMSIG(status) == signal; }
    bool by_exit(int code) const { return WIFEXITED(status) && WEXITSTATUS(status) == code; }
    bool says(char const* what) const { return text.find(what) != std::string::npos; }
};

// Runs f in a child process that has no handlers, not even Boost.Test's. The
// process must have one thread: schedulers of earlier tests are gone.
template <class Function>
ending in_child(Function f)
{
    int ends[2];
    BOOST_TEST_REQUIRE(::pipe(ends) == 0);
    auto const child = ::fork();
    BOOST_TEST_REQUIRE(child >= 0);
    if (child == 0) {
        ::dup2(ends[1], STDERR_FILENO);
        ::close(ends[0]);
        ::close(ends[1]);
        struct rlimit none = {0, 0};
        ::setrlimit(RLIMIT_CORE, &none);
        for (int const s : {SIGSEGV, SIGBUS, SIGABRT})
            ::signal(s, SIG_DFL);
        stack_t off = {};
        off.ss_flags = SS_DISABLE;
        ::sigaltstack(&off, nullptr);
        ::alarm(60); // a child that hangs is a failure, not a hang
        f();
        ::_exit(0);
    }
    ::close(ends[1]);
    ending e;
    char buffer[512];
    for (;;) {
        auto const n = ::read(ends[0], buffer, sizeof buffer);
        if (n <= 0)
            break;
        e.text.append(buffer, static_cast<std::size_t>(n));
    }
    ::close(ends[0]);
    BOOST_TEST(::waitpid(child, &e.status, 0) == child);
    return e;
}

} // namespace spindle_test

#endif // SPINDLE_TEST_SUPPORT_CHILD_HPP
