//
// fiber/record.cpp
// ~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE fiber.record
#include <spindle/detail/fiber/record.hpp>

#include <support/child.hpp>
#include <support/fixture.hpp>

#include <spindle/go.hpp>
#include <spindle/spawn.hpp>
#include <spindle/this_fiber.hpp>

#include <boost/fiber/all.hpp>
#include <boost/test/unit_test.hpp>

#include <chrono>
#include <set>
#include <string>

using namespace spindle::detail;
using namespace spindle_test;
using namespace std::chrono_literals;

namespace {

std::size_t living_in(core& c)
{
    struct count {
        core* of;
        std::size_t n = 0;
    } found{&c};
    for_each_record(
        [](fiber_record& g, void* argument) {
            auto& counted = *static_cast<count*>(argument);
            counted.n += life_of(g) != 0 && g.scheduler() == counted.of;
        },
        &found);
    return found.n;
}

} // namespace

BOOST_AUTO_TEST_CASE(every_fiber_alive_is_in_the_registry)
{
    over_processors([](spindle::scheduler& s) {
        auto& here = core_of(s);
        BOOST_TEST(living_in(here) == 1u);
        auto child = spindle::spawn([] { spindle::this_fiber::sleep_for(1h); });
        spindle::this_fiber::yield();
        BOOST_TEST(living_in(here) == 2u);
        boost::fibers::promise<void> p;
        boost::fibers::fiber stock([f = p.get_future()]() mutable { f.wait(); });
        BOOST_TEST(living_in(here) == 3u);
        BOOST_TEST(s.stats().fibers == 3u);
        p.set_value();
        stock.join();
    });
}

BOOST_AUTO_TEST_CASE(a_name_is_quoted_and_a_number_stands_in_for_none)
{
    over_processors([] {
        BOOST_TEST(display_name(*current_fiber()) == "\"test\"");
        auto const nameless
            = spindle::spawn([] { return display_name(*current_fiber()); }).join();
        BOOST_TEST(nameless.starts_with("fiber "));
        auto const where
            = spindle::spawn({.name = "one"}, [] { return describe(*current_fiber()); }).join();
        BOOST_TEST(where.starts_with("\"one\", spawned from "));
        BOOST_TEST(where.find("unknown place") == std::string::npos);
    });
    BOOST_TEST(describe_site(nullptr) == "an unknown place");
}

BOOST_AUTO_TEST_CASE(fibers_of_boost_fiber_have_records_with_ids_of_their_own)
{
    over_processors([] {
        std::set<spindle::this_fiber::id> ids{spindle::this_fiber::get_id()};
        for (int i = 0; i != 50; ++i)
            boost::fibers::fiber(
                i % 2 ? boost::fibers::launch::post : boost::fibers::launch::dispatch, [&] {
                    ids.insert(spindle::this_fiber::get_id());
                    BOOST_TEST(!current_fiber()->pooled());
                    BOOST_TEST(spindle::this_fiber::is_fiber());
                }).join();
        BOOST_TEST(ids.size() == 51u);
    });
}

BOOST_AUTO_TEST_CASE(a_fiber_of_boost_fiber_may_use_what_spindle_has)
{
    over_processors([](spindle::scheduler& s) {
        int done = 0;
        boost::fibers::fiber([&] {
            spindle::this_fiber::sleep_for(100us);
            spindle::this_fiber::yield();
            BOOST_TEST(&spindle::this_fiber::get_scheduler() == &s);
            done = spindle::spawn([] { return 1; }).join();
        }).join();
        BOOST_TEST(done == 1);
    });
}

BOOST_AUTO_TEST_CASE(a_stop_of_the_scheduler_reaches_a_fiber_of_boost_fiber)
{
    on_scheduler s(2);
    bool stopped = false;
    s.run([&] {
        boost::fibers::fiber f([&] {
            try {
                spindle::this_fiber::sleep_for(1h);
            } catch (spindle::system_error const&) {
                stopped = true;
            }
        });
        spindle::this_fiber::yield();
        spindle::this_fiber::get_scheduler().stop();
        f.join();
    });
    BOOST_TEST(stopped);
}

BOOST_AUTO_TEST_CASE(properties_of_another_algorithm_are_refused_with_a_message)
{
    if (sanitized)
        return;
    struct priority : boost::fibers::fiber_properties {
        using fiber_properties::fiber_properties;
    };
    auto const e = in_child([] {
        spindle::run([] {
            boost::fibers::fiber f(
                boost::fibers::launch::post, static_cast<boost::fibers::fiber_properties*>(
                    new priority(nullptr)), [] {});
            f.join();
        });
    });
    BOOST_TEST(e.by_signal(SIGABRT));
    BOOST_TEST(e.says("properties of another algorithm"), e.text);
}
