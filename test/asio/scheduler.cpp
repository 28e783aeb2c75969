//
// asio/scheduler.cpp
// ~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE asio.scheduler
#include <spindle/asio/use_fiber.hpp>
#include <spindle/scheduler.hpp>
#include <spindle/spawn.hpp>
#include <spindle/sync/wait_group.hpp>
#include <spindle/this_fiber.hpp>

#include <support/asio_fixture.hpp>
#include <support/child.hpp>
#include <support/cpu_time.hpp>

#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/test/unit_test.hpp>

#include <atomic>
#include <chrono>
#include <exception>
#include <future>
#include <set>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

using namespace spindle_test;
using namespace std::chrono_literals;
namespace this_fiber = spindle::this_fiber;

// An acceptor made with it would get a reactor of its own.
static_assert(!std::is_constructible_v<tcp::acceptor, spindle::scheduler&, tcp::endpoint>);
static_assert(!std::is_convertible_v<spindle::scheduler&, asio::execution_context&>);

BOOST_AUTO_TEST_SUITE(scheduler)

BOOST_AUTO_TEST_CASE(executors_go_round_the_processors)
{
    for (auto const n : processor_counts) {
        on_scheduler s(n);
        BOOST_TEST(s->processors() == n);
        BOOST_TEST((s->get_executor() == s->get_executor()));
        std::set<void const*> contexts;
        for (unsigned i = 0; i != 3 * n; ++i)
            contexts.insert(
                &asio::query(s->next_executor(), asio::execution::context));
        BOOST_TEST(contexts.size() == n);
    }
}

// Plain counters: what one processor's handlers share needs no lock.
BOOST_AUTO_TEST_CASE(handlers_of_one_processor_never_run_at_the_same_time)
{
    for (auto const n : processor_counts) {
        std::vector<long> counters(n);
        {
            on_scheduler s(n);
            std::vector<spindle::scheduler::executor_type> executors;
            for (unsigned i = 0; i != n; ++i)
                executors.push_back(s->next_executor());
            std::vector<std::thread> posters;
            for (int p = 0; p != 3; ++p)
                posters.emplace_back([&] {
                    for (std::size_t i = 0; i != scaled(5'000); ++i)
                        asio::post(executors[i % n], [&counter = counters[i % n]] { ++counter; });
                });
            for (auto& p : posters)
                p.join();
            spindle::spawn(*s, [] {}, asio::detached);
            s->join(); // what was posted before has run
        }
        long sum = 0;
        for (auto const c : counters)
            sum += c;
        BOOST_TEST(sum == static_cast<long>(3 * scaled(5'000)));
    }
}

BOOST_AUTO_TEST_CASE(several_live_side_by_side_and_one_after_another)
{
    for (int round = 0; round != 10; ++round) {
        spindle::scheduler a({.processors = 2}), b({.processors = 1});
        tally t;
        spindle::wait_group all(200);
        for (int i = 0; i != 100; ++i) {
            spindle::spawn(
                a,
                [&] {
                    t.check(&this_fiber::get_scheduler() == &a);
                    // A fiber of one waits for one of the other.
                    spindle::spawn(
                        b, [&] { t.check(&this_fiber::get_scheduler() == &b); },
                        spindle::use_fiber);
                    t.check(&this_fiber::get_scheduler() == &a);
                    all.done();
                },
                asio::detached);
            spindle::spawn(
                b,
                [&] {
                    this_fiber::sleep_for(50us);
                    t.check(&this_fiber::get_scheduler() == &b);
                    all.done();
                },
                asio::detached);
        }
        all.wait();
        a.join();
        b.join();
        BOOST_TEST(t.good() == 400u);
    }
    check_nothing_left();
}

BOOST_AUTO_TEST_CASE(join_from_its_own_fiber_is_a_deadlock)
{
    on_scheduler s(2u);
    BOOST_TEST((s.run([&] { return error_of([&] { s->join(); }); }) == spindle::errc::deadlock));
}

BOOST_AUTO_TEST_CASE(join_from_its_own_handler_is_a_deadlock)
{
    for (auto const n : processor_counts) {
        on_scheduler s(n);
        std::promise<error_code> said;
        asio::post(s->next_executor(), [&] { said.set_value(error_of([&] { s->join(); })); });
        BOOST_TEST((said.get_future().get() == spindle::errc::deadlock));
    }
}

BOOST_AUTO_TEST_CASE(join_from_another_schedulers_fiber_waits)
{
    on_scheduler s(1u);
    spindle::scheduler other({.processors = 1});
    std::atomic<bool> ended{false};
    spindle::spawn(
        other,
        [&] {
            this_fiber::sleep_for(1ms);
            ended = true;
        },
        asio::detached);
    BOOST_TEST(s.run([&] {
        other.join();
        return ended.load();
    }));
}

BOOST_AUTO_TEST_CASE(a_stop_reaches_fibers_of_the_future)
{
    on_scheduler s(2u);
    s->stop();
    error_code ended;
    spindle::spawn(
        *s, [] { this_fiber::sleep_for(1h); },
        [&](std::exception_ptr e) { ended = error_in(std::move(e)); });
    s->join();
    BOOST_TEST((ended == aborted));
    BOOST_TEST(s.run([] { return this_fiber::stop_requested(); }));
}

BOOST_AUTO_TEST_CASE(its_destructor_stops_and_waits)
{
    std::atomic<int> ended{0};
    {
        spindle::scheduler s({.processors = 2});
        for (int i = 0; i != 100; ++i)
            spindle::spawn(
                s,
                [&] {
                    (void)error_of([] { this_fiber::sleep_for(1h); });
                    for (int k = 0; k != 10; ++k)
                        this_fiber::yield();
                    ++ended;
                },
                asio::detached);
    }
    BOOST_TEST(ended == 100);
    check_nothing_left();
}

// It may be in the midst of waking a processor then; a sanitizer sees that.
BOOST_AUTO_TEST_CASE(its_destructor_waits_for_whoever_woke_the_last_fiber)
{
    for (std::size_t round = 0; round != scaled(200); ++round) {
        spindle::wait_group group(1);
        std::thread waker;
        {
            spindle::scheduler s({.processors = 1 + static_cast<unsigned>(round % 2)});
            spindle::spawn(s, [&] { group.wait(); }, asio::detached);
            waker = std::thread([&] { group.done(); });
            s.join();
        }
        waker.join();
    }
    check_nothing_left();
}

#if !defined(SPINDLE_TSAN) // starts no threads in a child
BOOST_AUTO_TEST_CASE(a_fiber_that_never_leaves_is_named_when_the_grace_is_over)
{
    auto const e = in_child([] {
        spindle::scheduler s({.processors = 1, .shutdown_grace = 20ms});
        auto* const forever = new spindle::wait_group(1);
        spindle::spawn(s, {.name = "stubborn"}, [=] { forever->wait(); }, asio::detached);
    });
    BOOST_TEST(e.by_signal(SIGABRT));
    BOOST_TEST(e.says("stubborn"), e.text);
    BOOST_TEST(e.says("wait_group"), e.text);
}
#endif

BOOST_AUTO_TEST_CASE(idle_threads_use_no_cpu)
{
    for (auto const n : processor_counts) {
        on_scheduler s(n);
        s.run([] { this_fiber::sleep_for(1ms); });
        BOOST_TEST((cpu_time_in(250ms) < 25ms));
    }
}

BOOST_AUTO_TEST_CASE(its_numbers_add_up)
{
    on_scheduler s(2u);
    s.run([] {
        spindle::wait_group group;
        for (int i = 0; i != 100; ++i)
            group.go([] { this_fiber::yield(); });
        group.wait();
    });
    BOOST_TEST(eventually([&] { return s->stats().fibers == 0; }));
    auto const stats = s->stats();
    BOOST_TEST(stats.processors == 2u);
    BOOST_TEST(stats.finished == 101u);
    BOOST_TEST(stats.spawned == 100u); // one came from outside
    BOOST_TEST(stats.switches >= 201u);
}

BOOST_AUTO_TEST_SUITE_END()
