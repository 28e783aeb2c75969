//
// testing/boost_test.cpp
// ~~~~~~~~~~~~~~~~~~~~~~
// What the adapter lets pass; and, in a copy of this program, what it fails on.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE testing.boost_test
#include <spindle/chan/channel.hpp>
#include <spindle/fiber.hpp>
#include <spindle/go.hpp>
#include <spindle/spawn.hpp>
#include <spindle/sync/mutex.hpp>
#include <spindle/testing/boost_test.hpp>
#include <spindle/this_fiber.hpp>

#include <boost/asio/steady_timer.hpp>
#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <set>
#include <signal.h>
#include <stdexcept>
#include <string>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace utf = boost::unit_test;
using namespace std::chrono_literals;
using namespace spindle::testing;
namespace this_fiber = spindle::this_fiber;

namespace {

// Test cases by name, and on how many processors they ran.
std::map<std::string, std::multiset<unsigned>> ran;

void count_run()
{
    BOOST_TEST_REQUIRE(this_fiber::is_fiber());
    auto const& tu = utf::framework::current_test_case();
    ran[tu.p_name].insert(this_fiber::get_scheduler().processors());
}

} // namespace

// --- what runs where --------------------------------------------------------------------

BOOST_AUTO_TEST_SUITE(a_suite, *in_fibers())

BOOST_AUTO_TEST_CASE(runs_on_each_number) { count_run(); }

struct with_member {
    int one = 1;
    bool const made_in_fiber = this_fiber::is_fiber();
};

BOOST_FIXTURE_TEST_CASE(has_its_fixture, with_member)
{
    BOOST_TEST(one++ == 1);
    BOOST_TEST(made_in_fiber);
    count_run();
}

BOOST_DATA_TEST_CASE(takes_data, utf::data::make({1, 2, 3}), number)
{
    BOOST_TEST(number < 4);
    ran["data"].insert(this_fiber::get_scheduler().processors());
}

BOOST_AUTO_TEST_CASE(has_its_own, *in_fibers({.processors = {3}})) { count_run(); }

BOOST_AUTO_TEST_SUITE(inner, *in_fibers({.processors = {5, 6}}))
BOOST_AUTO_TEST_CASE(has_the_inner_ones) { count_run(); }
BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_CASE(waits_and_leaves_nothing)
{
    spindle::channel<int> ch;
    spindle::go([ch] { ch.send(1); });
    BOOST_TEST(*ch.receive() == 1);
    spindle::go([] { this_fiber::sleep_for(1ms); }); // ends by itself, soon
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(explored_suite, *explored({.seeds = 50}))

auto explored_runs = 0;

BOOST_AUTO_TEST_CASE(runs_each_seed)
{
    ++explored_runs;
    this_fiber::sleep_for(1h);
    BOOST_TEST(this_fiber::is_fiber());
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_CASE(without_a_decorator_is_on_the_thread)
{
    BOOST_TEST(!this_fiber::is_fiber());
    BOOST_TEST(explored_suite::explored_runs == 50);
    using sizes = std::multiset<unsigned>;
    BOOST_TEST((ran["runs_on_each_number"] == sizes{1, 2, 4, 8}));
    BOOST_TEST((ran["has_its_fixture"] == sizes{1, 2, 4, 8}));
    BOOST_TEST((ran["data"] == sizes{1, 1, 1, 2, 2, 2, 4, 4, 4, 8, 8, 8}));
    BOOST_TEST((ran["has_its_own"] == sizes{3}));
    BOOST_TEST((ran["has_the_inner_ones"] == sizes{5, 6}));
}

// --- what it fails on: run by name, in another process ------------------------------------

BOOST_AUTO_TEST_SUITE(bad, *utf::disabled() * in_fibers({.processors = {2}, .timeout = 5s}))

BOOST_AUTO_TEST_CASE(deadlock)
{
    spindle::channel<int> ch;
    spindle::go({.name = "partner"}, [ch] { ch.receive(); });
    ch.receive();
}

BOOST_AUTO_TEST_CASE(leak)
{
    spindle::go({.name = "forgotten"}, [] {
        spindle::channel<int> ch;
        ch.receive();
    });
}

BOOST_AUTO_TEST_CASE(slow_leak, *in_fibers({.processors = {2}, .leak_grace = 10ms}))
{
    spindle::go({.name = "sleeper"}, [] { this_fiber::sleep_for(1h); });
}

BOOST_AUTO_TEST_CASE(timeout, *in_fibers({.processors = {2}, .timeout = 50ms}))
{
    this_fiber::sleep_for(1h);
}

BOOST_AUTO_TEST_CASE(check) { BOOST_TEST(1 == 2); }

BOOST_AUTO_TEST_CASE(requirement) { BOOST_TEST_REQUIRE(1 == 2); }

BOOST_AUTO_TEST_CASE(exception) { throw std::out_of_range("thrown inside"); }

BOOST_AUTO_TEST_CASE(exception_of_another)
{
    spindle::go({.name = "thrower"}, [] { throw std::out_of_range("thrown beside"); });
}

BOOST_AUTO_TEST_CASE(
    never_leaves, *in_fibers({.processors = {2}, .timeout = 50ms, .shutdown_grace = 50ms}))
{
    spindle::mutex m;
    m.lock();
    m.lock();
}

BOOST_AUTO_TEST_CASE(explored_check, *explored({.seeds = 100}))
{
    spindle::channel<int> ch(2);
    for (int i = 0; i != 2; ++i)
        spindle::go([ch, i] { ch.send(int(i)); });
    BOOST_TEST(*ch.receive() == 0); // not under every schedule
    ch.receive();
}

BOOST_AUTO_TEST_SUITE_END()

namespace {

struct outcome {
    int code; // 128 + n: by signal n
    std::string output;

    bool says(char const* text) const { return output.find(text) != output.npos; }
};

outcome run(std::string const& name)
{
    std::array<char, 4096> self{};
    auto const n = ::readlink("/proc/self/exe", self.data(), self.size() - 1);
    BOOST_TEST_REQUIRE(n > 0);
    auto const command = std::string(self.data()) +
                         " --color_output=no --catch_system_errors=no --run_test=" + name + " 2>&1";
    outcome o{};
    auto* const pipe = ::popen(command.c_str(), "r");
    BOOST_TEST_REQUIRE(pipe);
    std::array<char, 4096> buffer;
    while (auto const got = std::fread(buffer.data(), 1, buffer.size(), pipe))
        o.output.append(buffer.data(), got);
    auto const status = ::pclose(pipe);
    o.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return o;
}

void fails(char const* name, std::initializer_list<char const*> words)
{
    BOOST_TEST_CONTEXT(name)
    {
        auto const o = run(std::string("bad/") + name);
        BOOST_TEST(o.code == 201, o.output); // test failures, as Boost.Test says it
        for (auto const* const word : words)
            BOOST_TEST(o.says(word), word << " is not in\n" << o.output);
    }
}

} // namespace

BOOST_AUTO_TEST_CASE(fails_where_it_must)
{
    fails("deadlock", {"deadlock", "\"partner\"", "waiting: channel receive", "2 processors"});
    fails("leak", {"leaked", "\"forgotten\"", "waiting: channel receive"});
    fails("slow_leak", {"leaked", "\"sleeper\"", "waiting: sleep"});
    fails("timeout", {"timeout", "\"test\"", "waiting: sleep"});
    fails("check", {"check 1 == 2 has failed", "2 processors"});
    fails("requirement", {"critical check 1 == 2 has failed"});
    fails("exception", {"thrown inside"});
    fails("exception_of_another", {"an exception left \"thrower\"", "thrown beside"});
    fails("explored_check", {"has failed", "SPINDLE_SEED="});
    auto const o = run("bad/never_leaves");
    BOOST_TEST(o.code == 128 + SIGABRT);
    BOOST_TEST(o.says("have not left their scheduler"), o.output);
    BOOST_TEST(o.says("waiting: mutex lock"), o.output);
}

// A thread of the test's own might wake them: no verdict before the time is up.
BOOST_AUTO_TEST_CASE(no_false_alarm_where_a_thread_may_wake_them)
{
    spindle::channel<int> ch;
    std::thread waker([ch] {
        std::this_thread::sleep_for(300ms);
        ch.send(1);
    });
    on_each([&] { BOOST_TEST(*ch.receive() == 1); }, {.processors = {2}});
    waker.join();
}

BOOST_AUTO_TEST_CASE(no_false_alarm_where_time_or_asio_will_wake_them)
{
    on_each([] { this_fiber::sleep_for(200ms); }, {.processors = {1, 2}});
    on_each(
        [] {
            spindle::channel<int> ch;
            boost::asio::steady_timer timer(this_fiber::get_executor(), 200ms);
            timer.async_wait([ch](spindle::error_code) { ch.close(); });
            BOOST_TEST(!ch.receive());
        },
        {.processors = {1, 2}});
}
