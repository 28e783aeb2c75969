//
// observe/leaks.cpp
// ~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE observe.leaks
#include <spindle.hpp>
#include <spindle/observe/leaks.hpp>
#include <support/asio_fixture.hpp>
#include <support/waiting.hpp>

#include <spindle/detail/fiber/saved_registers.hpp>

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace spindle_test;
using namespace std::chrono_literals;
using spindle::detail::wait_reason;
namespace this_fiber = spindle::this_fiber;

namespace {

bool has_stacks() { return spindle::detail::why_no_stacks() == nullptr; }

std::size_t abandoned(std::vector<spindle::leaked_fiber> const& all)
{
    return static_cast<std::size_t>(
        std::count_if(all.begin(), all.end(), [](auto const& f) { return f.abandoned; }));
}

} // namespace

BOOST_AUTO_TEST_SUITE(leaks)

BOOST_AUTO_TEST_CASE(a_fiber_in_a_channel_that_only_it_has_is_abandoned)
{
    over_processors([] {
        // The channel's last handles are those of the fibers: nobody can ever send.
        auto leak = [] {
            spindle::channel<int> ch;
            return std::pair(
                spindle::spawn({.name = "leaked"}, [ch] { (void)ch.receive(); }),
                spindle::spawn([ch] { (void)ch.receive(); }));
        };
        auto both = leak();
        BOOST_TEST(until([] { return fibers_in(wait_reason::receive) == 2; }));
        auto const found = spindle::find_leaks(0s);
        BOOST_TEST(found.size() == 2u);
        BOOST_TEST(abandoned(found) == (has_stacks() ? 2u : 0u));
        auto const named = std::find_if(
            found.begin(), found.end(), [](auto const& f) { return f.name == "\"leaked\""; });
        BOOST_TEST_REQUIRE((named != found.end()));
        BOOST_TEST((named->waits_for.find("channel receive, channel 0x") == 0));
        BOOST_TEST((named->waited >= 0s));
        std::ostringstream text;
        spindle::dump_leaks(text, 0s);
        BOOST_TEST_CONTEXT(text.str())
        if (has_stacks()) {
            BOOST_TEST(text.str().find("2 of them for what nobody else has") != std::string::npos);
            BOOST_TEST(text.str().find("=== abandoned ===") != std::string::npos);
        }
        both.first.request_stop();
        both.second.request_stop();
    });
}

BOOST_AUTO_TEST_CASE(one_in_a_channel_that_somebody_else_has_is_not)
{
    over_processors([] {
        spindle::channel<int> mine;
        auto by_copy = spindle::spawn([mine] { (void)mine.receive(); });
        BOOST_TEST(until([] { return fibers_in(wait_reason::receive) == 1; }));
        auto found = spindle::find_leaks(0s);
        BOOST_TEST(found.size() == 1u);
        BOOST_TEST(abandoned(found) == 0u);
        mine.close();
        by_copy.join();
    });
}

BOOST_AUTO_TEST_CASE(one_that_has_captured_two_handles_is_abandoned)
{
    over_processors([] {
        auto leaked = [] {
            spindle::channel<int> ch;
            return spindle::spawn(
                [ch, other = spindle::send_channel<int>(ch)] { (void)ch.receive(); });
        }();
        BOOST_TEST(until([] { return fibers_in(wait_reason::receive) == 1; }));
        BOOST_TEST(abandoned(spindle::find_leaks(0s)) == (has_stacks() ? 1u : 0u));
        leaked.request_stop();
    });
}

// Each in a channel of its own, and each found, in time.
BOOST_AUTO_TEST_CASE(many_are_abandoned)
{
    over_processors([] {
        constexpr std::size_t many = 2000;
        std::vector<spindle::fiber<void>> all;
        for (std::size_t i = 0; i != many; ++i)
            all.push_back(spindle::spawn([ch = spindle::channel<int>()] { (void)ch.receive(); }));
        BOOST_TEST(until([] { return fibers_in(wait_reason::receive) == many; }));
        BOOST_TEST(abandoned(spindle::find_leaks(0s)) == (has_stacks() ? many : 0u));
        for (auto& f : all)
            f.request_stop();
    });
}

BOOST_AUTO_TEST_CASE(one_whose_channel_is_in_an_object_is_not)
{
    over_processors([] {
        struct service {
            spindle::channel<int> jobs;
            void work() { (void)jobs.receive(); }
        };
        auto const s = std::make_unique<service>();
        auto works = spindle::spawn([raw = s.get()] { raw->work(); });
        BOOST_TEST(until([] { return fibers_in(wait_reason::receive) == 1; }));
        auto const found = spindle::find_leaks(0s);
        BOOST_TEST(found.size() == 1u);
        BOOST_TEST(abandoned(found) == 0u);
        s->jobs.close();
        works.join();
    });
}

// Where its function lies another one lay, with a handle in another place.
BOOST_AUTO_TEST_CASE(what_an_earlier_fiber_had_captured_is_no_handle)
{
    over_processors([] {
        auto const service = std::make_unique<spindle::channel<int>>();
        spindle::wait_group ended(1);
        spindle::go([&ended, jobs = *service] { ended.done(); });
        ended.wait();
        spindle::go([jobs = *service] { (void)jobs.receive(); });
        BOOST_TEST(until([] { return fibers_in(wait_reason::receive) == 1; }));
        BOOST_TEST(abandoned(spindle::find_leaks(0s)) == 0u);
        service->close();
    });
}

BOOST_AUTO_TEST_CASE(what_a_fiber_has_captured_and_let_go_is_no_handle)
{
    over_processors([] {
        auto const service = std::make_unique<spindle::channel<int>>();
        auto dropped = spindle::spawn([jobs = *service, other = std::optional(*service)]() mutable {
            other.reset();
            (void)jobs.receive();
        });
        BOOST_TEST(until([] { return fibers_in(wait_reason::receive) == 1; }));
        BOOST_TEST(abandoned(spindle::find_leaks(0s)) == 0u);
        service->close();
        dropped.join();
    });
    over_processors([] {
        auto const service = std::make_unique<spindle::channel<int>>();
        auto moved = spindle::spawn([jobs = *service, other = std::optional(*service)]() mutable {
            {
                auto const taken = std::move(*other);
                other.reset();
            }
            (void)jobs.receive();
        });
        BOOST_TEST(until([] { return fibers_in(wait_reason::receive) == 1; }));
        BOOST_TEST(abandoned(spindle::find_leaks(0s)) == 0u);
        service->close();
        moved.join();
    });
}

// It waits for what its children send by its own handle, and they are on their way.
BOOST_AUTO_TEST_CASE(one_whose_handle_another_fiber_refers_to_is_not)
{
    over_processors([] {
        auto parent = [] {
            spindle::channel<int> results;
            return spindle::spawn([results] {
                auto child = spindle::spawn([&] {
                    this_fiber::sleep_for(1h);
                    results.send(1);
                });
                (void)results.receive();
                child.request_stop();
            });
        }();
        BOOST_TEST(until([] {
            return fibers_in(wait_reason::receive) == 1 && fibers_in(wait_reason::sleep) == 1;
        }));
        auto const found = spindle::find_leaks(0s);
        BOOST_TEST(found.size() == 1u);
        BOOST_TEST(abandoned(found) == 0u);
        parent.request_stop();
    });
}

// The same, and the child cannot be looked at.
BOOST_AUTO_TEST_CASE(one_whose_handle_a_running_fiber_refers_to_is_not)
{
    on_scheduler s(2);
    s.run([] {
        std::atomic<bool> runs{false}, over{false};
        auto parent = [&] {
            spindle::channel<int> results;
            return spindle::spawn([&runs, &over, results] {
                auto child = spindle::spawn([&] {
                    runs = true;
                    while (!over)
                        ;
                    results.send(1);
                });
                (void)results.receive();
            });
        }();
        BOOST_TEST(until([&] { return runs && fibers_in(wait_reason::receive) == 1; }));
        auto const found = spindle::find_leaks(0s);
        over = true;
        BOOST_TEST(found.size() == 1u);
        BOOST_TEST(abandoned(found) == 0u);
        parent.join();
    });
}

BOOST_AUTO_TEST_CASE(one_whose_handle_the_caller_refers_to_is_not)
{
    over_processors([] {
        std::atomic<spindle::channel<int> const*> seen{nullptr};
        auto waits = [&] {
            spindle::channel<int> ch;
            return spindle::spawn([&seen, ch] {
                seen = &ch;
                (void)ch.receive();
            });
        }();
        BOOST_TEST(until([] { return fibers_in(wait_reason::receive) == 1; }));
        auto const found = spindle::find_leaks(0s);
        BOOST_TEST(found.size() == 1u);
        BOOST_TEST(abandoned(found) == 0u);
        seen.load()->send(1);
        waits.join();
    });
}

BOOST_AUTO_TEST_CASE(one_that_refers_to_the_handle_of_a_fiber_that_waits_is_not)
{
    over_processors([] {
        spindle::channel<void> may_end;
        auto owner = spindle::spawn([may_end] {
            spindle::channel<int> owned;
            auto by_reference = spindle::spawn([&] { (void)owned.receive(); });
            may_end.receive();
            owned.close();
        });
        BOOST_TEST(until([] { return fibers_in(wait_reason::receive) == 2; }));
        auto const found = spindle::find_leaks(0s);
        BOOST_TEST(found.size() == 2u);
        BOOST_TEST(abandoned(found) == 0u);
        may_end.close();
        owner.join();
    });
}

BOOST_AUTO_TEST_CASE(a_nil_channel_is_for_ever)
{
    over_processors([] {
        auto nil = spindle::spawn([] { (void)spindle::receive_channel<int>().receive(); });
        BOOST_TEST(until([] { return fibers_in(wait_reason::nil_channel) == 1; }));
        auto const found = spindle::find_leaks(0s);
        BOOST_TEST(found.size() == 1u);
        BOOST_TEST(abandoned(found) == 1u);
        nil.request_stop();
    });
}

BOOST_AUTO_TEST_CASE(short_waits_and_those_for_what_is_outside_are_not_listed)
{
    over_processors([] {
        spindle::mutex m;
        std::unique_lock mine(m);
        auto locks = spindle::spawn([&] { std::lock_guard guard(m); });
        auto sleeps = spindle::spawn([] { this_fiber::sleep_for(1h); });
        BOOST_TEST(until([] {
            return fibers_in(wait_reason::mutex) == 1 && fibers_in(wait_reason::sleep) == 1;
        }));
        BOOST_TEST(spindle::find_leaks(1h).size() == 0u);
        BOOST_TEST(spindle::find_leaks(0s).size() == 1u);
        mine.unlock();
        sleeps.request_stop();
    });
}

// It has run for too long, and has no processor to tell the time by.
BOOST_AUTO_TEST_CASE(one_that_waits_without_a_processor_is_listed)
{
    on_scheduler s({.processors = 1, .preempt_after = 1ms, .shutdown_grace = 30s});
    s.run([] {
        spindle::channel<int> mine;
        std::atomic<bool> alone{false};
        auto hog = spindle::spawn([&alone, mine] {
            while (!alone) // without its processor nobody else runs
                std::this_thread::yield();
            (void)mine.receive();
        });
        this_fiber::yield();
        alone = true;
        BOOST_TEST(until([] { return fibers_in(wait_reason::receive) == 1; }));
        auto const found = spindle::find_leaks(0s);
        BOOST_TEST_REQUIRE(found.size() == 1u);
        BOOST_TEST((found[0].waited >= 0s && found[0].waited < 1h));
        mine.close();
        hog.join();
    });
}

// The channel may go at any time; the count of its handles is read all the same.
BOOST_AUTO_TEST_CASE(channels_may_go_while_they_are_looked_at)
{
    for (auto const n : processor_counts) {
        on_scheduler s(n);
        std::atomic<bool> over{false};
        std::size_t looks = 0;
        std::thread looker([&] {
            for (; !over.load() || looks < 20; ++looks)
                (void)spindle::find_leaks(0s);
        });
        s.run([&] {
            for (std::size_t i = 0; i != scaled(20'000); ++i) {
                spindle::channel<int> ch;
                auto other = spindle::spawn([ch] { (void)ch.receive(); });
                ch.send(1);
                other.join();
            }
        });
        over = true;
        looker.join();
        BOOST_TEST(looks >= 20u);
    }
}

BOOST_AUTO_TEST_SUITE_END()
