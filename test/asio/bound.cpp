//
// asio/bound.cpp
// ~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE asio.bound
#include <spindle/asio/use_fiber.hpp>
#include <spindle/go.hpp>
#include <spindle/scheduler.hpp>
#include <spindle/spawn.hpp>
#include <spindle/sync/wait_group.hpp>
#include <spindle/this_fiber.hpp>

#include <support/asio_fixture.hpp>

#include <boost/asio/detached.hpp>
#include <boost/asio/executor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/system_executor.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/write.hpp>
#include <boost/test/unit_test.hpp>

#include <atomic>
#include <chrono>
#include <functional>
#include <future>

using namespace spindle_test;
using namespace std::chrono_literals;
namespace this_fiber = spindle::this_fiber;
using spindle::use_fiber;

BOOST_AUTO_TEST_SUITE(bound)

namespace {

// Fibers and callbacks that touch a plain counter inside one strand, and free
// fibers beside them that must never be found there.
template <class Strand>
void serialises(Strand const& strand, asio::io_context& ioc, unsigned threads)
{
    long counter = 0; // plain: a race would be seen, by the sum or by TSan
    tally t;
    constexpr int rounds = static_cast<int>(scaled(1'000));
    auto const touch = [&] {
        t.check(strand.running_in_this_thread());
        ++counter;
    };
    for (int i = 0; i != 4; ++i) {
        spindle::spawn(
            strand,
            [&] {
                asio::steady_timer timer(ioc);
                for (int k = 0; k != rounds; ++k) {
                    touch();
                    if (k % 3 == 0)
                        this_fiber::yield();
                    if (k % 50 == 0) {
                        timer.expires_after(1us);
                        timer.async_wait(use_fiber);
                        touch();
                        --counter;
                        this_fiber::sleep_for(1us);
                        touch();
                        --counter;
                    }
                }
                spindle::wait_group group;
                group.go(touch); // a child is bound as well
                group.wait();
                --counter;
            },
            asio::detached);
        spindle::spawn(
            ioc,
            [&] {
                for (int k = 0; k != rounds; ++k) {
                    t.check(!strand.running_in_this_thread());
                    this_fiber::yield();
                }
            },
            asio::detached);
    }
    std::function<void(int)> callback = [&](int left) {
        touch();
        if (left > 1)
            asio::post(strand, [&, left] { callback(left - 1); });
    };
    for (int i = 0; i != 4; ++i)
        asio::post(strand, [&] { callback(rounds); });
    run_on(ioc, threads);
    BOOST_TEST(counter == 8L * rounds);
    BOOST_TEST(t.bad() == 0u);
}

} // namespace

BOOST_AUTO_TEST_CASE(a_strand_serialises_fibers_and_callbacks)
{
    for (unsigned const threads : {1u, 4u}) {
        {
            asio::io_context ioc;
            serialises(asio::make_strand(ioc), ioc, threads);
        }
        check_nothing_left();
    }
}

// What older programs have: Asio's first kind of strand, and of polymorphic executor.
BOOST_AUTO_TEST_CASE(a_classic_strand_serialises_fibers_and_callbacks)
{
    for (unsigned const threads : {1u, 4u}) {
        {
            asio::io_context ioc;
            serialises(asio::io_context::strand(ioc), ioc, threads);
        }
        check_nothing_left();
    }
}

BOOST_AUTO_TEST_CASE(a_fiber_on_a_classic_strand_is_outstanding_work_and_hands_its_result_over)
{
    {
        asio::io_context ioc;
        asio::io_context::strand strand(ioc);
        int result = 0;
        spindle::spawn(
            strand, {.name = "classic"},
            [&] {
                BOOST_TEST(strand.running_in_this_thread());
                this_fiber::sleep_for(20ms); // nothing else keeps run() from returning
                return 42;
            },
            [&](std::exception_ptr, int r) {
                BOOST_TEST(strand.running_in_this_thread());
                result = r;
            });
        ioc.run();
        BOOST_TEST(result == 42);
    }
    check_nothing_left();
}

BOOST_AUTO_TEST_CASE(a_classic_polymorphic_executor_runs_fibers)
{
    {
        asio::io_context ioc;
        bool done = false;
        spindle::spawn(
            asio::executor(ioc.get_executor()),
            [&] {
                this_fiber::sleep_for(1ms);
                done = true;
            },
            asio::detached);
        ioc.run();
        BOOST_TEST(done);
    }
    check_nothing_left();
}

BOOST_AUTO_TEST_CASE(a_thread_pool_runs_fibers)
{
    tally t;
    {
        asio::thread_pool pool(4);
        for (int i = 0; i != 50; ++i)
            spindle::spawn(
                pool,
                [&] {
                    t.check(pool.get_executor().running_in_this_thread());
                    auto const begin = std::chrono::steady_clock::now();
                    this_fiber::sleep_for(1ms);
                    t.check(std::chrono::steady_clock::now() - begin >= 1ms);
                    t.check(pool.get_executor().running_in_this_thread());
                    auto child = spindle::spawn([&] {
                        this_fiber::yield();
                        return pool.get_executor().running_in_this_thread();
                    });
                    t.check(child.join());
                    auto [a, b] = connected(this_fiber::get_executor());
                    asio::async_write(a, asio::buffer("abc", 3), use_fiber);
                    char text[3];
                    asio::async_read(b, asio::buffer(text), use_fiber);
                    t.check(text[2] == 'c');
                },
                asio::detached);
        pool.join(); // each is outstanding work of it
        BOOST_TEST(t.good() == 5u * 50);
    }
    BOOST_TEST(t.bad() == 0u);
    check_nothing_left();
}

BOOST_AUTO_TEST_CASE(a_strand_on_a_thread_pool_serialises)
{
    long counter = 0;
    {
        asio::thread_pool pool(4);
        auto const strand = asio::make_strand(pool);
        for (int i = 0; i != 8; ++i)
            spindle::spawn(
                strand,
                [&] {
                    for (int k = 0; k != 200; ++k) {
                        ++counter;
                        this_fiber::yield();
                    }
                },
                asio::detached);
        pool.join();
    }
    BOOST_TEST(counter == 1600);
    check_nothing_left();
}

BOOST_AUTO_TEST_CASE(a_thread_pool_that_goes_ends_its_fibers)
{
    tally t;
    {
        asio::thread_pool pool(2);
        std::promise<void> begun;
        spindle::spawn(
            pool,
            [&] {
                begun.set_value();
                t.check(error_of([] { this_fiber::sleep_for(1h); }) == aborted);
                spindle::wait_group group;
                t.check(
                    error_of([&] { group.go([] {}); }) == spindle::errc::scheduler_stopped);
            },
            asio::detached);
        spindle::spawn(
            pool, [&] { t.check(error_of([] { this_fiber::sleep_for(1h); }) == aborted); },
            asio::detached);
        begun.get_future().wait();
        pool.stop();
    }
    BOOST_TEST(t.good() >= 2u);
    BOOST_TEST(t.bad() == 0u);
    check_nothing_left();
}

BOOST_AUTO_TEST_CASE(a_system_executor_runs_fibers)
{
    std::promise<bool> ran;
    spindle::spawn(
        asio::system_executor(),
        [&] {
            this_fiber::sleep_for(1ms);
            this_fiber::yield();
        },
        [&](std::exception_ptr e) { ran.set_value(!e); });
    BOOST_TEST(ran.get_future().get());
}

// A processor that nobody keeps awake must see a sleeper of a strand's.
BOOST_AUTO_TEST_CASE(a_strand_of_a_scheduler_sleeps_and_serialises)
{
    for (auto const n : processor_counts) {
        on_scheduler s(n);
        long counter = 0;
        tally t;
        for (unsigned i = 0; i != n; ++i) {
            auto const strand = asio::make_strand(s->next_executor());
            for (int k = 0; k != 5; ++k) {
                std::promise<void> done;
                spindle::spawn(
                    strand,
                    [&] {
                        t.check(strand.running_in_this_thread());
                        this_fiber::sleep_for(2ms);
                        t.check(strand.running_in_this_thread());
                        ++counter;
                    },
                    [&](std::exception_ptr) { done.set_value(); });
                auto const ended = done.get_future().wait_for(20s);
                BOOST_TEST_REQUIRE((ended == std::future_status::ready));
            }
        }
        BOOST_TEST(counter == 5L * n);
        BOOST_TEST(t.bad() == 0u);
    }
}

BOOST_AUTO_TEST_CASE(spawn_on_another_executor_leaves_the_strand)
{
    asio::io_context ioc;
    auto const strand = asio::make_strand(ioc);
    tally t;
    spindle::spawn(
        strand,
        [&] {
            spindle::spawn(
                ioc, [&] { t.check(!strand.running_in_this_thread()); }, use_fiber);
            t.check(strand.running_in_this_thread());
            spindle::go([&] { t.check(strand.running_in_this_thread()); });
        },
        asio::detached);
    ioc.run();
    BOOST_TEST(t.good() == 3u);
}

BOOST_AUTO_TEST_SUITE_END()
