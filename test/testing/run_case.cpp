//
// testing/run_case.cpp
// ~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE testing.run_case
#include <spindle/chan/channel.hpp>
#include <spindle/error.hpp>
#include <spindle/go.hpp>
#include <spindle/run.hpp>
#include <spindle/testing/run_case.hpp>
#include <spindle/this_fiber.hpp>

#include <boost/test/unit_test.hpp>

#include <chrono>
#include <exception>
#include <stdexcept>

using namespace std::chrono_literals;
using spindle::testing::run_case;
namespace this_fiber = spindle::this_fiber;

namespace {

bool has(std::string const& text, char const* part) { return text.find(part) != text.npos; }

} // namespace

BOOST_AUTO_TEST_CASE(a_good_one_has_no_faults)
{
    for (unsigned const n : {1u, 2u, 4u, 8u}) {
        auto const r = run_case(
            [n](spindle::scheduler& s) {
                BOOST_TEST(s.processors() == n);
                BOOST_TEST(&this_fiber::get_scheduler() == &s);
                spindle::channel<int> ch;
                spindle::go([ch] { ch.send(1); });
                ch.receive();
                spindle::go([] { this_fiber::sleep_for(1ms); });
            },
            n);
        BOOST_TEST(!r.error);
        BOOST_TEST(r.faults.empty());
        BOOST_TEST(r.fibers == "");
    }
}

BOOST_AUTO_TEST_CASE(what_leaves_it_comes_back)
{
    auto const r = run_case([](spindle::scheduler&) { throw std::out_of_range("it"); }, 2);
    BOOST_TEST(r.faults.empty());
    BOOST_TEST_REQUIRE(!!r.error);
    BOOST_CHECK_THROW(std::rethrow_exception(r.error), std::out_of_range);
}

#if !defined(SPINDLE_TSAN) // it has a thread of its own, which might wake somebody
BOOST_AUTO_TEST_CASE(a_deadlock_is_found_before_the_time_is_up)
{
    auto const start = std::chrono::steady_clock::now();
    for (int i = 0; i != 5; ++i) {
        auto const r = run_case(
            [](spindle::scheduler&) { spindle::channel<int>().receive(); }, 4, {.timeout = 1min});
        BOOST_TEST_REQUIRE(r.faults.size() == 1u);
        BOOST_TEST(has(r.faults[0], "deadlock"), r.faults[0]);
        BOOST_TEST(has(r.fibers, "\"test\""), r.fibers);
        BOOST_TEST(has(r.fibers, "waiting: channel receive"), r.fibers);
        BOOST_TEST(!r.error); // that it was stopped
    }
    BOOST_TEST((std::chrono::steady_clock::now() - start < 1min));
}
#endif

BOOST_AUTO_TEST_CASE(leaked_fibers_are_named)
{
    auto const r = run_case(
        [](spindle::scheduler&) {
            for (int i = 0; i != 3; ++i)
                spindle::go({.name = "lost"}, [] { spindle::channel<int>().receive(); });
        },
        2);
    BOOST_TEST_REQUIRE(r.faults.size() == 1u);
    BOOST_TEST(has(r.faults[0], "leaked"), r.faults[0]);
    std::size_t n = 0;
    for (auto at = r.fibers.find("\"lost\""); at != r.fibers.npos;
         at = r.fibers.find("\"lost\"", at + 1))
        ++n;
    BOOST_TEST(n == 3u);
}

BOOST_AUTO_TEST_CASE(is_for_plain_threads)
{
    spindle::run(
        [] {
            BOOST_CHECK_THROW((void)run_case([](spindle::scheduler&) {}, 1), spindle::system_error);
            return 0;
        },
        {.processors = 1});
}
