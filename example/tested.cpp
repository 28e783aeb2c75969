//
// tested.cpp
// ~~~~~~~~~~
// A test to copy: what it tests, a rate-limited fan-out with a deadline, runs on real
// threads and under every order that a few hundred seeds can say.
//
//   ./tested                                both
//   SPINDLE_SEED=17 ./tested -t orders      one of them, for the debugger
//   SPINDLE_SEEDS=100000 ./tested -t orders many
//
// build: unit-test
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE tested
#include <spindle.hpp>
#include <spindle/testing.hpp>
#include <spindle/testing/boost_test.hpp>

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <chrono>
#include <functional>
#include <string>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
namespace testing = spindle::testing;

// --- what is tested -----------------------------------------------------------------------

namespace {

// Asks all sources at once, two at a time; those that have not answered by the deadline
// are stopped, and left out.
std::vector<std::string>
ask_all(std::vector<std::function<std::string()>> sources, std::chrono::milliseconds limit)
{
    auto const count = sources.size();
    spindle::channel<std::string> answers(count); // so that nobody waits for us
    spindle::error_code ec;
    spindle::within(
        limit,
        [&] {
            spindle::task_group group;
            group.set_limit(2);
            for (auto& source : sources)
                group.spawn([&source, answers] { answers.send(source()); });
            group.wait();
        },
        ec);
    answers.close();
    std::vector<std::string> all;
    for (auto& answer : answers)
        all.push_back(std::move(answer));
    return all;
}

auto answers_after(std::chrono::milliseconds d, std::string text)
{
    return [=] {
        spindle::this_fiber::sleep_for(d);
        return text;
    };
}

} // namespace

// --- on threads: 1, 2, 4 and 8 processors; nothing may be left over ---------------------------

BOOST_AUTO_TEST_SUITE(threads, *testing::in_fibers())

BOOST_AUTO_TEST_CASE(all_answer)
{
    auto const all = ask_all({answers_after(1ms, "a"), answers_after(1ms, "b")}, 10s);
    BOOST_TEST(all.size() == 2u);
}

BOOST_AUTO_TEST_CASE(a_slow_one_is_left_out)
{
    auto const all = ask_all({answers_after(0ms, "a"), answers_after(1h, "never")}, 20ms);
    BOOST_TEST(all == std::vector<std::string>{"a"}, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_SUITE_END()

// --- all orders: time costs nothing, so it can be exact ---------------------------------------

BOOST_AUTO_TEST_SUITE(orders, *testing::explored({.seeds = 500}))

BOOST_AUTO_TEST_CASE(two_at_a_time)
{
    auto inside = 0, most = 0;
    auto const source = [&] {
        most = std::max(most, ++inside);
        spindle::this_fiber::sleep_for(10s);
        --inside;
        return std::string("x");
    };
    auto const start = testing::clock::now();
    BOOST_TEST(ask_all({source, source, source, source, source}, 1h).size() == 5u);
    BOOST_TEST(most == 2);
    BOOST_TEST((testing::clock::now() - start == 30s));
}

BOOST_AUTO_TEST_CASE(the_deadline_is_kept)
{
    auto const start = testing::clock::now();
    auto const all = ask_all(
        {answers_after(10ms, "a"), answers_after(2h, "b"), answers_after(89ms, "c")}, 100ms);
    BOOST_TEST(all == (std::vector<std::string>{"a", "c"}), boost::test_tools::per_element());
    BOOST_TEST((testing::clock::now() - start == 100ms));
}

BOOST_AUTO_TEST_SUITE_END()

// A machine that is busy: deadlines pass though the answer is there.
BOOST_AUTO_TEST_CASE(
    nothing_hangs_where_it_is_late, *testing::explored({.seeds = 500, .faults = {.delay = 0.1}}))
{
    auto const all = ask_all({answers_after(10ms, "a"), answers_after(20ms, "b")}, 30ms);
    BOOST_TEST(all.size() <= 2u);
}
