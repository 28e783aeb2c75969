//
// asio/schedtrace.cpp
// ~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE asio.schedtrace
#include <spindle/detail/asio/schedtrace.hpp>

#include <spindle/error.hpp>
#include <spindle/this_fiber.hpp>

#include <support/fixture.hpp>

#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/system/errc.hpp>
#include <boost/system/system_error.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <regex>
#include <string>
#include <sys/stat.h>
#include <unistd.h>

using namespace std::chrono_literals;
using namespace spindle::detail;

namespace {

// The variable, for as long as this lives.
class asked_for {
public:
    explicit asked_for(char const* value) { ::setenv("SPINDLE_SCHEDTRACE", value, 1); }
    asked_for(asked_for const&) = delete;
    asked_for& operator=(asked_for const&) = delete;
    ~asked_for() { ::unsetenv("SPINDLE_SCHEDTRACE"); }
};

// What fn() writes on standard error.
template <class Function>
std::string error_output_of(Function fn)
{
    std::FILE* const file = std::tmpfile();
    BOOST_TEST_REQUIRE(file);
    std::fflush(stderr);
    int const before = ::dup(2);
    ::dup2(::fileno(file), 2);
    fn();
    std::fflush(stderr);
    ::dup2(before, 2);
    ::close(before);
    std::string text;
    std::rewind(file);
    for (int c; (c = std::fgetc(file)) != EOF;)
        text += static_cast<char>(c);
    std::fclose(file);
    return std::regex_replace(text, std::regex("==\\d+==[^\n]*\n"), ""); // a sanitizer's
}

// How much, so far.
long written()
{
    struct stat s{};
    ::fstat(2, &s);
    return s.st_size;
}

} // namespace

BOOST_AUTO_TEST_SUITE(schedtrace_lines)

BOOST_AUTO_TEST_CASE(are_wanted_by_a_number_of_milliseconds)
{
    BOOST_TEST((wanted_schedtrace() == duration::zero()));
    {
        asked_for const nothing("");
        BOOST_TEST((wanted_schedtrace() == duration::zero()));
    }
    {
        asked_for const often("250");
        BOOST_TEST((wanted_schedtrace() == 250ms));
    }
    for (auto const* const wrong : {"-1", "1s", "often", "99999999999"}) {
        asked_for const it(wrong);
        BOOST_CHECK_EXCEPTION(
            spindle::scheduler({.processors = 1}), boost::system::system_error, [](auto const& e) {
                return e.code() == boost::system::errc::invalid_argument;
            });
    }
}

BOOST_AUTO_TEST_CASE(read_like_gos)
{
    spindle::scheduler_stats s;
    s.processors = 2;
    s.idle_processors = 1;
    s.threads = 3;
    s.fibers = 10;
    s.queued = 7;
    s.queued_globally = 2;
    s.by_processor.resize(2);
    s.by_processor[0].queued = 5;
    s.by_processor[1].id = 1;
    BOOST_TEST(
        schedtrace_line(s, 4, 1009ms)
        == "SCHED 1009ms: scheduler=4 processors=2 idle=1 searching=0 threads=3 spare=0 fibers=10 "
           "queued=7 global=2 [5 0] switches=0 steals=0 handoffs=0 preemptions=0");
}

BOOST_AUTO_TEST_CASE(come_from_every_scheduler_and_the_last_when_it_ends)
{
    std::regex const form(
        R"((SCHED \d+ms: scheduler=\d+ processors=\d+ idle=\d+ searching=\d+ threads=\d+ )"
        R"(spare=\d+ fibers=\d+ queued=\d+ global=\d+ \[\d+( \d+)*\] switches=\d+ steals=\d+ )"
        R"(handoffs=\d+ preemptions=\d+\n)+)");
    for (auto const n : spindle_test::processor_counts) {
        auto const text = error_output_of([&] {
            asked_for const often("1");
            spindle::scheduler s({.processors = n});
            ::unsetenv("SPINDLE_SCHEDTRACE");
            spindle::spawn(
                s,
                [] {
                    while (written() < 1000) // some lines
                        spindle::this_fiber::sleep_for(1ms);
                },
                boost::asio::detached);
            s.join();
        });
        BOOST_TEST(std::regex_match(text, form), text);
        BOOST_TEST(std::count(text.begin(), text.end(), '\n') > 1);
        BOOST_TEST(text.find("processors=" + std::to_string(n) + ' ') != text.npos);
        BOOST_TEST(text.find(" fibers=1 ") != text.npos);
        auto const last = text.rfind("SCHED");
        BOOST_TEST(text.find(" fibers=0 ", last) != text.npos);
    }
}

BOOST_AUTO_TEST_CASE(come_from_a_users_io_context_too)
{
    auto const text = error_output_of([&] {
        asked_for const now_and_then("1000000");
        boost::asio::io_context ioc;
        spindle::spawn(ioc, [] { spindle::this_fiber::yield(); }, boost::asio::detached);
        ioc.run();
    });
    BOOST_TEST(std::count(text.begin(), text.end(), '\n') == 1, text);
    BOOST_TEST(text.find(" processors=1 ") != text.npos, text);
    BOOST_TEST(text.find(" [0] ") != text.npos, text);
}

BOOST_AUTO_TEST_CASE(do_not_come_unasked)
{
    auto const text = error_output_of([&] {
        spindle::scheduler s({.processors = 2});
        spindle::spawn(s, [] { spindle::this_fiber::sleep_for(2ms); }, boost::asio::detached);
        s.join();
    });
    BOOST_TEST(text.empty(), text);
}

BOOST_AUTO_TEST_SUITE_END()
