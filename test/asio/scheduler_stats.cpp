//
// asio/scheduler_stats.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE asio.scheduler_stats
#include <spindle/scheduler_stats.hpp>

#include <spindle/blocking.hpp>
#include <spindle/go.hpp>
#include <spindle/sync/wait_group.hpp>
#include <spindle/this_fiber.hpp>

#include <support/fixture.hpp>

#include <boost/asio/detached.hpp>
#include <boost/asio/strand.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using spindle::latency_histogram;
using spindle::scheduler_stats;
using spindle_test::eventually;
using spindle_test::on_scheduler;
using spindle_test::over_processors;
using spindle_test::processor_counts;
using spindle_test::without_rescue;

namespace {

spindle::scheduler& here() { return spindle::this_fiber::get_scheduler(); }

void spin_for(std::chrono::steady_clock::duration d)
{
    auto const end = std::chrono::steady_clock::now() + d;
    while (std::chrono::steady_clock::now() < end)
        ;
}

} // namespace

BOOST_AUTO_TEST_SUITE(states)

BOOST_AUTO_TEST_CASE(tell_what_each_fiber_does)
{
    on_scheduler s(without_rescue(1)); // so that nobody runs but when this fiber gives way
    s.run([] {
        auto const dead = here().stats().states.dead;
        spindle::wait_group gate(1), all;
        for (int i = 0; i != 3; ++i)
            all.go([&] { gate.wait(); });
        BOOST_TEST(here().stats().states.created == 3u);
        while (here().stats().states.waiting != 3)
            spindle::this_fiber::yield();
        BOOST_TEST(here().stats().states.created == 0u);

        bool over = false;
        for (int i = 0; i != 2; ++i)
            all.go([&] {
                while (!over)
                    spindle::this_fiber::yield();
            });
        spindle::this_fiber::yield();
        auto n = here().stats().states;
        BOOST_TEST(n.runnable == 2u);
        BOOST_TEST(n.running == 1u);
        BOOST_TEST(n.waiting == 3u);
        BOOST_TEST(n.alive() == 6u);

        std::atomic<bool> called{false}, may_return{false};
        all.go([&] {
            spindle::blocking([&] {
                called.store(true);
                while (!may_return.load())
                    std::this_thread::sleep_for(100us);
            });
        });
        while (!called.load())
            spindle::this_fiber::yield(); // by and by it loses its processor to us
        n = here().stats().states;
        BOOST_TEST(n.blocking == 1u);
        BOOST_TEST(n.alive() == 7u);
        may_return.store(true);
        over = true;
        gate.done();
        all.wait();
        while (here().stats().fibers != 1)
            spindle::this_fiber::yield();
        while (here().stats().states.dead < dead) // some lay in the cache before
            spindle::this_fiber::yield();
        n = here().stats().states;
        BOOST_TEST(n.alive() == 1u);
        BOOST_TEST(n.running == 1u);
    });
}

BOOST_AUTO_TEST_CASE(are_those_of_this_scheduler_alone)
{
    spindle::wait_group gate(1);
    on_scheduler s(2u), other(2u);
    for (int i = 0; i != 5; ++i)
        spindle::spawn(*other, [&] { gate.wait(); }, boost::asio::detached);
    BOOST_TEST(eventually([&] { return other->stats().states.waiting == 5; }));
    BOOST_TEST(s->stats().states.alive() == 0u);
    BOOST_TEST(s->stats().fibers == 0u);
    gate.done();
    BOOST_TEST(eventually([&] { return other->stats().states.alive() == 0; }));
}

BOOST_AUTO_TEST_CASE(can_be_read_while_fibers_come_and_go)
{
    for (auto const n : processor_counts) {
        std::atomic<bool> over{false};
        spindle::wait_group parked(1);
        on_scheduler s(n);
        constexpr std::size_t waiters = 1000; // several parts of the registry
        for (std::size_t i = 0; i != waiters; ++i)
            spindle::spawn(*s, [&] { parked.wait(); }, boost::asio::detached);
        BOOST_TEST(eventually([&] { return s->stats().states.waiting == waiters; }));
        std::vector<std::thread> readers;
        std::atomic<unsigned> wrong{0}, reads{0};
        for (int i = 0; i != 2; ++i)
            readers.emplace_back([&] {
                while (!over.load()) {
                    auto const w = s->stats().states.waiting;
                    wrong += w < waiters || w > waiters + 60;
                    ++reads;
                }
            });
        s.run([&] {
            for (int round = 0; round < 20 || reads.load() < 10; ++round) {
                spindle::wait_group group;
                for (int i = 0; i != 50; ++i)
                    group.go([] { spindle::this_fiber::yield(); });
                group.wait();
            }
        });
        over.store(true);
        for (auto& r : readers)
            r.join();
        BOOST_TEST(wrong.load() == 0u);
        parked.done();
    }
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(numbers)

BOOST_AUTO_TEST_CASE(of_the_processors_add_up)
{
    for (auto const n : processor_counts) {
        on_scheduler s(n);
        s.run([] {
            spindle::wait_group group;
            for (int i = 0; i != 500; ++i)
                group.go([] { spindle::this_fiber::yield(); });
            group.wait();
        });
        BOOST_TEST(eventually([&] { return s->stats().fibers == 0; }));
        auto const all = s->stats();
        BOOST_TEST_REQUIRE(all.by_processor.size() == n);
        scheduler_stats sum;
        for (unsigned i = 0; i != n; ++i) {
            auto const& p = all.by_processor[i];
            BOOST_TEST(p.id == i);
            sum.switches += p.switches;
            sum.parks += p.parks;
            sum.steals += p.steals;
            sum.stolen += p.stolen;
            sum.spawned += p.spawned;
            sum.finished += p.finished;
        }
        BOOST_TEST(sum.switches <= all.switches); // nothing runs any more
        BOOST_TEST(sum.switches >= 1000u);
        BOOST_TEST(sum.parks == all.parks);
        BOOST_TEST(sum.steals == all.steals);
        BOOST_TEST(sum.stolen == all.stolen);
        BOOST_TEST(all.finished == 501u);
        BOOST_TEST(all.spawned >= 500u);
        BOOST_TEST(sum.spawned <= all.spawned); // a thread may have lost its processor
    }
}

BOOST_AUTO_TEST_CASE(say_which_processors_sleep_and_which_are_retired)
{
    using activity = spindle::processor_stats::activity;
    on_scheduler s(4u);
    s->set_processors(2);
    BOOST_TEST(eventually([&] {
        auto const all = s->stats();
        return all.by_processor[0].is == activity::idle
            && all.by_processor[1].is == activity::idle;
    }));
    auto const all = s->stats();
    BOOST_TEST(all.processors == 2u);
    BOOST_TEST((all.by_processor[2].is == activity::retired));
    BOOST_TEST((all.by_processor[3].is == activity::retired));
    s.run([] { BOOST_TEST((here().stats().by_processor[0].is == activity::busy
                           || here().stats().by_processor[1].is == activity::busy)); });
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(the_latency)

BOOST_AUTO_TEST_CASE(is_not_measured_unless_that_is_wanted)
{
    over_processors([](spindle::scheduler& s) {
        for (int i = 0; i != 100; ++i)
            spindle::spawn([] {}).join();
        BOOST_TEST(!s.stats().measures_latency);
        BOOST_TEST(s.stats().latency.count() == 0u);
    });
}

BOOST_AUTO_TEST_CASE(is_measured_of_each_fiber_that_becomes_ready)
{
    for (auto const n : processor_counts)
        BOOST_TEST_CONTEXT(n << " processors")
        {
            on_scheduler s(spindle::scheduler_options{.processors = n, .measure_latency = true});
            s.run([&] {
                for (int i = 0; i != 100; ++i)
                    spindle::spawn([] {}).join();
            });
            auto const all = s->stats();
            BOOST_TEST(all.measures_latency);
            // Each child, and main; a join only where the child has not ended before.
            BOOST_TEST(all.latency.count() >= 101u);
            BOOST_TEST(all.latency.total.count() > 0);
            std::uint64_t sum = 0;
            for (auto const& p : all.by_processor)
                sum += p.latency.count();
            BOOST_TEST(sum == all.latency.count());
        }
}

BOOST_AUTO_TEST_CASE(is_as_long_as_the_fiber_has_waited)
{
    on_scheduler s([] {
        auto o = without_rescue(1);
        o.measure_latency = true;
        return o;
    }());
    s.run([] {
        auto child = spindle::spawn([] {});
        spin_for(5ms);
        child.join();
        auto const h = here().stats().latency;
        BOOST_TEST((h.quantile(1.0) > 5ms));
        BOOST_TEST((h.total >= 5ms));
    });
}

BOOST_AUTO_TEST_CASE(is_measured_from_one_call_to_the_other)
{
    on_scheduler s(without_rescue(1));
    s.run([] {
        auto early = spindle::spawn([] {}); // ready before anybody looks
        spin_for(5ms);
        here().measure_latency(true);
        early.join(); // which readies this fiber
        auto h = here().stats().latency;
        BOOST_TEST(h.count() == 1u);

        // A fiber that was noted, and runs while nobody looks, is not remembered.
        auto noted = spindle::spawn([] {});
        here().measure_latency(false);
        noted.join();
        auto const n = here().stats().latency.count();
        BOOST_TEST(n == 1u);
        here().measure_latency(true);
        spindle::spawn([] {}).join();
        BOOST_TEST(here().stats().latency.count() == 3u);
        here().measure_latency(false);
        spindle::spawn([] {}).join();
        BOOST_TEST(here().stats().latency.count() == 3u);
    });
}

BOOST_AUTO_TEST_CASE(is_measured_on_processors_that_come_later)
{
    on_scheduler s(without_rescue(1));
    s->measure_latency(true);
    s->set_processors(4);
    s.run([] {
        std::atomic<unsigned> here_too{0};
        // All four must run one at the same time.
        spindle::wait_group group;
        for (int i = 0; i != 4; ++i)
            group.go([&] {
                ++here_too;
                while (here_too.load() != 4)
                    std::this_thread::yield();
            });
        group.wait();
    });
    for (auto const& p : s->stats().by_processor)
        BOOST_TEST(p.latency.count() >= 1u);
}

BOOST_AUTO_TEST_CASE(is_measured_of_bound_fibers_too)
{
    on_scheduler s(spindle::scheduler_options{.processors = 2, .measure_latency = true});
    auto const strand = boost::asio::make_strand(s->get_executor());
    std::atomic<bool> over{false};
    spindle::spawn(
        strand,
        [&] {
            for (int i = 0; i != 10; ++i)
                spindle::this_fiber::yield();
            over.store(true);
        },
        boost::asio::detached);
    BOOST_TEST(eventually([&] { return over.load(); }));
    BOOST_TEST(s->stats().latency.count() >= 11u);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(a_histogram)

BOOST_AUTO_TEST_CASE(has_bounds_of_powers_of_two)
{
    BOOST_TEST(latency_histogram::bound(0).count() == 1);
    BOOST_TEST(latency_histogram::bound(10).count() == 1024);
    BOOST_TEST((latency_histogram::bound(35) == std::chrono::nanoseconds::max()));
    spindle::detail::latency_counters c;
    c.add(0ns);
    c.add(-5ns); // a clock of another core
    c.add(1ns);
    c.add(1023ns);
    c.add_shared(1024ns);
    c.add_shared(1h);
    auto const v = c.values();
    BOOST_TEST(v.counts[0] == 2u);
    BOOST_TEST(v.counts[1] == 1u);
    BOOST_TEST(v.counts[10] == 1u);
    BOOST_TEST(v.counts[11] == 1u);
    BOOST_TEST(v.counts[35] == 1u);
    BOOST_TEST((std::chrono::nanoseconds(v.total_ns) == 1h + 2048ns));
}

BOOST_AUTO_TEST_CASE(knows_its_quantiles)
{
    latency_histogram h;
    BOOST_TEST(h.quantile(0.5).count() == 0);
    h.counts[4] = 90;
    h.counts[10] = 9;
    h.counts[20] = 1;
    BOOST_TEST(h.count() == 100u);
    BOOST_TEST(h.quantile(0.5).count() == 16);
    BOOST_TEST(h.quantile(0.9).count() == 16);
    BOOST_TEST(h.quantile(0.99).count() == 1024);
    BOOST_TEST(h.quantile(1.0).count() == 1 << 20);
    h.counts[35] = 1;
    BOOST_TEST((h.quantile(1.0) == std::chrono::nanoseconds::max()));
}

BOOST_AUTO_TEST_SUITE_END()
