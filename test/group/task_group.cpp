//
// group/task_group.cpp
// ~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE group.task_group
#include <spindle/group/task_group.hpp>

#include <spindle/cancel/shielded.hpp>
#include <spindle/cancel/within.hpp>
#include <spindle/chan/channel.hpp>
#include <spindle/this_fiber.hpp>

#include <support/channel_fixture.hpp>
#include <support/every_step.hpp>
#include <support/expect.hpp>

#include <boost/asio/detached.hpp>
#include <boost/asio/strand.hpp>
#include <boost/test/unit_test.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>

using namespace spindle_test;
using namespace std::chrono_literals;
using spindle::task_group;
namespace this_fiber = spindle::this_fiber;

namespace {

void sleep_for_ever() { this_fiber::sleep_for(1h); }

void fail() { throw std::runtime_error("failed"); }

} // namespace

BOOST_AUTO_TEST_CASE(waits_for_all)
{
    over_processors([] {
        task_group group;
        group.wait(); // for nobody
        std::atomic<int> sum{0};
        for (int i = 1; i <= 100; ++i)
            group.spawn([&, i] {
                if (i % 10 == 0)
                    this_fiber::sleep_for(20us);
                sum += i;
                return i; // dropped
            });
        group.wait();
        BOOST_TEST(sum == 5050);
        group.spawn([&] { sum = 0; }); // once more
        group.wait();
        BOOST_TEST(sum == 0);
    });
}

BOOST_AUTO_TEST_CASE(the_first_failure_stops_the_others_and_is_thrown)
{
    over_processors([] {
        task_group group;
        std::atomic<int> stopped{0};
        for (int i = 0; i != 10; ++i)
            group.spawn([&] {
                try {
                    sleep_for_ever();
                } catch (...) {
                    ++stopped;
                    throw;
                }
            });
        group.spawn([] { throw std::out_of_range("first"); });
        BOOST_CHECK_THROW(group.wait(), std::out_of_range);
        BOOST_TEST(stopped == 10);
        BOOST_CHECK_THROW(group.wait(), std::out_of_range); // each time
        group.spawn([&] { stopped += this_fiber::stop_requested(); });
        BOOST_CHECK_THROW(group.wait(), std::out_of_range);
        BOOST_TEST(stopped == 11);
        BOOST_CHECK_NO_THROW(this_fiber::sleep_for(10us)); // the owner is not in it
    });
}

BOOST_AUTO_TEST_CASE(later_failures_are_dropped)
{
    over_processors([] {
        task_group group;
        std::atomic<bool> in{false};
        group.spawn([&] {
            in = true;
            try {
                sleep_for_ever();
            } catch (system_error const&) {
                throw std::logic_error("second");
            }
        });
        BOOST_TEST(until([&] { return in.load(); }));
        group.spawn(fail);
        BOOST_CHECK_THROW(group.wait(), std::runtime_error);
    });
}

BOOST_AUTO_TEST_CASE(an_abort_that_nobody_asked_for_is_a_failure)
{
    over_processors([] {
        task_group group;
        group.spawn([] { throw system_error(aborted); });
        BOOST_TEST(error_of([&] { group.wait(); }) == aborted);
        task_group other;
        other.spawn(sleep_for_ever);
        other.cancel();
        BOOST_CHECK_NO_THROW(other.wait());
    });
}

BOOST_AUTO_TEST_CASE(the_destructor_stops_and_waits)
{
    over_processors([] {
        std::atomic<int> ended{0};
        {
            task_group group;
            for (int i = 0; i != 10; ++i)
                group.spawn([&] {
                    spindle::detail::scope_exit const end([&] { ++ended; });
                    sleep_for_ever();
                });
        }
        BOOST_TEST(ended == 10);
    });
}

BOOST_AUTO_TEST_CASE(a_failure_that_nobody_has_seen_is_unhandled)
{
    std::atomic<int> unhandled{0};
    for (bool const seen : {false, true}) {
        on_scheduler s(spindle::scheduler_options{
            .processors = 2,
            .unhandled_exception = [&](std::exception_ptr, auto&&...) { ++unhandled; }});
        s.run([&] {
            task_group group;
            group.spawn(fail);
            if (seen)
                BOOST_CHECK_THROW(group.wait(), std::runtime_error);
            BOOST_TEST(until([&] { return group.handle().reason() != spindle::cancel_reason::none; }));
        });
    }
    BOOST_TEST(unhandled == 1);
}

BOOST_AUTO_TEST_CASE(a_waiter_that_is_stopped_stops_and_waits_for_the_children)
{
    over_processors([] {
        std::atomic<int> ended{0};
        std::atomic<bool> in{false};
        auto owner = spindle::spawn([&] {
            task_group group;
            group.spawn([&] {
                in = true;
                expect(error_of(sleep_for_ever) == aborted);
                spindle::shielded([] { this_fiber::sleep_for(100us); });
                ++ended;
            });
            auto const ec = error_of([&] { group.wait(); });
            expect(ended == 1);
            throw system_error(ec);
        });
        BOOST_TEST(until([&] { return in.load(); }));
        owner.request_stop();
        BOOST_TEST(error_of([&] { owner.join(); }) == aborted);
    });
}

BOOST_AUTO_TEST_CASE(the_scope_around_cancels_it)
{
    over_processors([] {
        std::atomic<int> stopped{0};
        BOOST_TEST(
            error_of([&] {
                spindle::within(1ms, [&] {
                    task_group group;
                    group.spawn([&] { stopped += error_of(sleep_for_ever) == aborted; });
                    // Nobody waits: it is cancelled all the same.
                    BOOST_TEST(until([&] { return stopped == 1; }));
                    group.wait();
                    sleep_for_ever();
                });
            })
            == error_code(asio::error::timed_out));
    });
}

BOOST_AUTO_TEST_CASE(it_outlives_the_scope_in_which_it_was_made)
{
    over_processors([] {
        spindle::cancel_scope const outer;
        std::optional<task_group> group;
        std::atomic<int> stopped{0};
        {
            spindle::cancel_scope const scope;
            group.emplace();
            group->spawn([&] { stopped += error_of(sleep_for_ever) == aborted; });
        }
        this_fiber::yield();
        outer.cancel();
        spindle::shielded([&] { group->wait(); });
        BOOST_TEST(stopped == 1);
    });
}

BOOST_AUTO_TEST_CASE(children_see_values)
{
    constexpr static spindle::key<int> number;
    over_processors([] {
        spindle::cancel_scope scope;
        scope.set(number, 7);
        task_group group;
        group.spawn([] { expect(*this_fiber::value(number) == 7); });
        group.wait();
    });
}

BOOST_AUTO_TEST_CASE(children_may_spawn_children)
{
    over_processors([] {
        task_group group;
        std::atomic<int> n{0};
        std::function<void(int)> const tree = [&](int depth) {
            ++n;
            if (depth != 0)
                for (int i = 0; i != 2; ++i)
                    group.spawn([&, depth] { tree(depth - 1); });
        };
        group.spawn([&] { tree(6); });
        group.wait();
        BOOST_TEST(n == 127);
    });
}

BOOST_AUTO_TEST_CASE(groups_nest)
{
    over_processors([] {
        std::atomic<int> stopped{0};
        task_group outer;
        for (int i = 0; i != 3; ++i)
            outer.spawn([&] {
                task_group inner;
                for (int k = 0; k != 3; ++k)
                    inner.spawn([&] { stopped += error_of(sleep_for_ever) == aborted; });
                inner.wait();
            });
        outer.spawn([&] {
            task_group inner;
            inner.spawn(fail);
            inner.wait(); // goes on outwards
        });
        BOOST_CHECK_THROW(outer.wait(), std::runtime_error);
        BOOST_TEST(stopped % 3 == 0);
    });
}

BOOST_AUTO_TEST_CASE(no_more_run_than_the_limit_says)
{
    over_processors([] {
        task_group group;
        group.set_limit(3);
        std::atomic<int> running{0}, most{0}, done{0};
        for (int i = 0; i != 50; ++i)
            group.spawn([&] {
                auto const now = ++running;
                for (auto was = most.load(); was < now && !most.compare_exchange_weak(was, now);)
                    ;
                if (done % 5 == 0)
                    this_fiber::sleep_for(20us);
                this_fiber::yield();
                --running;
                ++done;
            });
        group.wait();
        BOOST_TEST(done == 50);
        BOOST_TEST(most <= 3);
    });
}

BOOST_AUTO_TEST_CASE(try_spawn_never_waits)
{
    over_processors([] {
        task_group group;
        group.set_limit(2);
        spindle::channel<int> go_on;
        auto const child = [&] { go_on.receive(); };
        BOOST_TEST(group.try_spawn(child));
        BOOST_TEST(group.try_spawn(child));
        BOOST_TEST(!group.try_spawn(child));
        group.set_limit(3);
        BOOST_TEST(group.try_spawn(child));
        BOOST_TEST(!group.try_spawn(child));
        for (int i = 0; i != 3; ++i)
            go_on.send(1);
        group.wait();
        expect(group.try_spawn([] {}));
        group.wait();
        BOOST_CHECK_THROW(group.set_limit(0), system_error);
    });
}

BOOST_AUTO_TEST_CASE(a_higher_limit_lets_those_go_on_who_wait)
{
    over_processors([] {
        task_group group;
        group.set_limit(1);
        spindle::channel<int> go_on;
        std::atomic<int> spawned{0};
        group.spawn([&] { go_on.receive(); });
        auto other = spindle::spawn([&] {
            for (int i = 0; i != 2; ++i) {
                group.spawn([&] { go_on.receive(); });
                ++spawned;
            }
        });
        BOOST_TEST(until([&] { return fibers_in(spindle::detail::wait_reason::task_group) == 1; }));
        group.set_limit(3);
        other.join();
        BOOST_TEST(spawned == 2);
        for (int i = 0; i != 3; ++i)
            go_on.send(1);
        group.wait();
    });
}

BOOST_AUTO_TEST_CASE(who_waits_for_a_place_can_be_stopped)
{
    over_processors([] {
        task_group group;
        group.set_limit(1);
        spindle::channel<int> go_on;
        group.spawn([&] { go_on.receive(); });
        auto other = spindle::spawn([&] { group.spawn([] {}); });
        BOOST_TEST(until([&] { return fibers_in(spindle::detail::wait_reason::task_group) == 1; }));
        other.request_stop();
        BOOST_TEST(error_of([&] { other.join(); }) == aborted);
        go_on.send(1);
        group.wait();
        expect(group.try_spawn([] {})); // the place is free
        group.wait();
    });
}

BOOST_AUTO_TEST_CASE(children_of_a_bound_fiber_are_bound)
{
    over_threads([](asio::io_context& ioc, unsigned threads) {
        int plain = 0; // guarded by the strand
        auto const strand = asio::make_strand(ioc);
        spindle::spawn(
            strand,
            [&] {
                task_group group;
                for (int i = 0; i != 50; ++i)
                    group.spawn([&] {
                        auto const was = plain;
                        expect(strand.running_in_this_thread());
                        plain = was + 1;
                        this_fiber::yield();
                    });
                group.wait();
            },
            asio::detached);
        run_on(ioc, threads);
        BOOST_TEST(plain == 50);
    });
}

BOOST_AUTO_TEST_CASE(a_thread_may_wait_for_it)
{
    for (auto const n : processor_counts) {
        on_scheduler s(n);
        task_group group;
        std::atomic<int> done{0};
        BOOST_TEST(
            error_of([&] { group.spawn([] {}); })
            == make_error_code(spindle::errc::not_in_fiber));
        s.run([&] {
            for (int i = 0; i != 10; ++i)
                group.spawn([&] {
                    this_fiber::sleep_for(50us);
                    ++done;
                });
        });
        group.wait();
        BOOST_TEST(done == 10);
    }
}

BOOST_AUTO_TEST_CASE(at_every_step)
{
    over_every_step([] {
        task_group group;
        group.set_limit(2);
        for (int i = 0; i != 4; ++i)
            group.spawn([] { this_fiber::sleep_for(20us); });
        group.wait();
    });
}

// A child ends just when those who wait for its place, and for the end, are stopped.
BOOST_AUTO_TEST_CASE(a_stop_races_with_the_end_of_a_child)
{
    over_processors([] {
        for (int i = 0; i != int(scaled(2000)); ++i) {
            task_group group;
            group.set_limit(1);
            std::atomic<int> go_on{0}, ran{0};
            group.spawn([&] {
                while (go_on == 0)
                    this_fiber::yield();
            });
            std::array<spindle::fiber<bool>, 3> others;
            for (auto& other : others)
                other = spindle::spawn([&] {
                    return !error_of([&] { group.spawn([&] { ++ran; }); });
                });
            auto waits = spindle::spawn([&] { return error_of([&] { group.wait(); }); });
            this_fiber::yield();
            go_on = 1;
            if (i % 2 == 0)
                this_fiber::yield();
            others[0].request_stop();
            waits.request_stop(); // which stops the children
            others[1].request_stop();
            int spawned = 0;
            for (auto& other : others)
                spawned += other.join();
            auto const ec = waits.join();
            if (ec)
                BOOST_TEST(ec == aborted);
            group.wait();
            if (ran != spawned)
                BOOST_TEST(ran == spawned);
        }
    });
}

BOOST_AUTO_TEST_CASE(failures_and_cancellations_at_any_moment)
{
    over_processors([] {
        for (int i = 0; i != int(scaled(300)); ++i) {
            task_group group;
            group.set_limit(4);
            spindle::channel<int> ch;
            auto canceller = spindle::spawn([&group, i] {
                if (i % 2 == 0)
                    this_fiber::yield();
                group.cancel();
            });
            for (int k = 0; k != 8; ++k)
                group.spawn([&ch, k, i] {
                    if (k == i % 16)
                        fail();
                    if (k % 2 == 0)
                        ch.send(int(k));
                    else
                        ch.receive();
                });
            canceller.join();
            try {
                group.wait();
            } catch (std::runtime_error const&) {
            }
        }
    });
}
