//
// base/fatal.cpp
// ~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE base.fatal
#include <spindle/detail/base/fatal.hpp>

#include <boost/test/unit_test.hpp>

#include <csignal>
#include <cstddef>
#include <string>

#include <sys/wait.h>
#include <unistd.h>

namespace {

struct end_of_child {
    int status = 0;
    std::string text;
};

// Runs f in a child process and returns how it ended and what it wrote to
// stderr.
template <class Function>
end_of_child in_child(Function f)
{
    int ends[2];
    BOOST_REQUIRE(::pipe(ends) == 0);
    auto const child = ::fork();
    BOOST_REQUIRE(child >= 0);
    if (child == 0) {
        // The framework's handler would report a failed test.
        std::signal(SIGABRT, SIG_DFL);
        ::dup2(ends[1], 2);
        ::close(ends[0]);
        ::close(ends[1]);
        f();
        ::_exit(0);
    }
    ::close(ends[1]);
    end_of_child end;
    char buffer[256];
    for (::ssize_t n; (n = ::read(ends[0], buffer, sizeof buffer)) > 0;)
        end.text.append(buffer, static_cast<std::size_t>(n));
    ::close(ends[0]);
    BOOST_REQUIRE(::waitpid(child, &end.status, 0) == child);
    return end;
}

} // namespace

BOOST_AUTO_TEST_SUITE(child_process)

BOOST_AUTO_TEST_CASE(says_what_is_wrong_and_aborts)
{
    auto const end = in_child([] { spindle::detail::fatal("queue %d has %s", 3, "a hole"); });
    BOOST_TEST(end.text.starts_with("spindle: fatal: queue 3 has a hole\n"));
    BOOST_TEST(WIFSIGNALED(end.status));
    BOOST_TEST(WTERMSIG(end.status) == SIGABRT);
}

BOOST_AUTO_TEST_CASE(cuts_a_message_that_is_too_long)
{
    std::string const text(5000, 'x');
    auto const end = in_child([&] { spindle::detail::fatal("%s", text.c_str()); });
    auto const newline = end.text.find('\n');
    BOOST_REQUIRE(newline != std::string::npos);
    BOOST_TEST(newline > 900u);
    BOOST_TEST(newline < 1024u);
    BOOST_TEST(WIFSIGNALED(end.status));
}

BOOST_AUTO_TEST_SUITE_END()
