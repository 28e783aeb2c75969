//
// asio/guest.cpp
// ~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE asio.guest
#include <spindle/asio/use_fiber.hpp>
#include <spindle/attach.hpp>
#include <spindle/go.hpp>
#include <spindle/run.hpp>
#include <spindle/spawn.hpp>
#include <spindle/sync/wait_group.hpp>
#include <spindle/this_fiber.hpp>

#include <support/asio_fixture.hpp>
#include <support/child.hpp>

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/write.hpp>
#include <boost/fiber/mutex.hpp>
#include <boost/fiber/operations.hpp>
#include <boost/test/unit_test.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

using namespace spindle_test;
using namespace std::chrono_literals;
namespace this_fiber = spindle::this_fiber;

BOOST_AUTO_TEST_SUITE(guest)

// --- the example of the manual ----------------------------------------------------

#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
#endif

BOOST_AUTO_TEST_CASE(the_callback_server_with_one_changed_handler_echoes)
{
    over_threads([](asio::io_context& ioc, unsigned threads) {
        tcp::acceptor acceptor(ioc, {asio::ip::address_v4::loopback(), 0});
        auto const endpoint = acceptor.local_endpoint();
        constexpr int connections = 12;
        for (int i = 0; i != connections; ++i)
            acceptor.async_accept([&](error_code ec, tcp::socket s) {            // the handler that was there
                auto ex = s.get_executor();                                       // before the move: argument order is unspecified
                spindle::spawn(ex, [s = std::move(s)]() mutable {                 // the new line
                    std::array<char, 4096> buf;
                    for (;;) {
                        auto n = s.async_read_some(asio::buffer(buf), spindle::use_fiber);   // parks the fiber, never the thread
                        asio::async_write(s, asio::buffer(buf, n), spindle::use_fiber);
                    }
                }, asio::detached);                                               // discards exceptions, as everywhere in Asio
            });
        tally echoed;
        std::vector<std::thread> clients;
        for (int i = 0; i != connections; ++i)
            clients.emplace_back([&, i] {
                asio::io_context own;
                tcp::socket s(own);
                s.connect(endpoint);
                for (int round = 0; round != 20; ++round) {
                    auto const text = "message " + std::to_string(i * 1000 + round);
                    asio::write(s, asio::buffer(text));
                    std::string back(text.size(), ' ');
                    asio::read(s, asio::buffer(back));
                    echoed.check(back == text);
                }
            });
        run_on(ioc, threads);
        for (auto& c : clients)
            c.join();
        BOOST_TEST(echoed.good() == 20u * connections);
        BOOST_TEST(echoed.bad() == 0u);
    });
}

#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

// --- every way to run an io_context -----------------------------------------------

namespace {

// Some fibers that yield, sleep, wait for each other and for a socket.
void some_work(asio::io_context& ioc, tally& ends)
{
    auto const end = [&](std::exception_ptr e) { ends.check(!e); };
    for (int i = 0; i != 5; ++i)
        spindle::spawn(
            ioc,
            [] {
                for (int k = 0; k != 100; ++k)
                    this_fiber::yield();
            },
            end);
    spindle::spawn(ioc, [] { this_fiber::sleep_for(3ms); }, end);
    spindle::spawn(
        ioc,
        [] {
            spindle::wait_group group;
            for (int i = 0; i != 10; ++i)
                group.go([] { this_fiber::yield(); });
            group.wait();
        },
        end);
    spindle::spawn(
        ioc,
        [&] {
            auto [a, b] = connected(ioc.get_executor());
            asio::async_write(a, asio::buffer("abc", 3), spindle::use_fiber);
            char text[3];
            asio::async_read(b, asio::buffer(text), spindle::use_fiber);
        },
        end);
}
constexpr std::size_t work_ends = 8;

} // namespace

BOOST_AUTO_TEST_CASE(fibers_run_in_loops_of_run_one_poll_poll_one_and_run_for)
{
    using loop = std::function<void(asio::io_context&)>;
    loop const loops[] = {
        [](asio::io_context& c) { c.run_one(); },
        [](asio::io_context& c) { c.poll(); },
        [](asio::io_context& c) { c.poll_one(); },
        [](asio::io_context& c) { c.run_for(1ms); },
        [](asio::io_context& c) { c.run_one_for(1ms); },
    };
    for (auto const& once : loops) {
        {
            asio::io_context ioc;
            tally ends;
            some_work(ioc, ends);
            while (!ioc.stopped())
                once(ioc);
            BOOST_TEST(ends.good() == work_ends);
            BOOST_TEST(ends.bad() == 0u);
        }
        check_nothing_left();
    }
}

BOOST_AUTO_TEST_CASE(fibers_run_on_several_threads)
{
    over_threads([](asio::io_context& ioc, unsigned threads) {
        tally ends;
        for (int i = 0; i != 20; ++i)
            some_work(ioc, ends);
        run_on(ioc, threads);
        BOOST_TEST(ends.good() == 20 * work_ends);
    });
}

BOOST_AUTO_TEST_CASE(a_concurrency_hint_of_one_will_do)
{
    asio::io_context ioc(1);
    tally ends;
    some_work(ioc, ends);
    ioc.run();
    BOOST_TEST(ends.good() == work_ends);
}

BOOST_AUTO_TEST_CASE(an_io_context_without_locking_is_refused)
{
    for (int const hint :
         {static_cast<int>(BOOST_ASIO_CONCURRENCY_HINT_UNSAFE),
          static_cast<int>(BOOST_ASIO_CONCURRENCY_HINT_UNSAFE_IO)}) {
        asio::io_context ioc(hint);
        auto const start = [&] { spindle::spawn(ioc, [] {}, asio::detached); };
        BOOST_TEST(
            (error_of(start) == make_error_code(boost::system::errc::invalid_argument)));
        BOOST_TEST(
            (error_of([&] { spindle::attach(ioc, {}); })
             == make_error_code(boost::system::errc::invalid_argument)));
        BOOST_TEST(ioc.run() == 0u);
    }
}

BOOST_AUTO_TEST_CASE(stop_is_seen_between_slices_and_restart_goes_on)
{
    asio::io_context ioc;
    int slices = 0;
    spindle::spawn(
        ioc,
        [&] {
            while (slices != 10) {
                if (++slices == 5)
                    ioc.stop();
                this_fiber::yield();
            }
        },
        asio::detached);
    ioc.run();
    BOOST_TEST(slices == 5);
    ioc.run();
    BOOST_TEST(slices == 5);
    ioc.restart();
    ioc.run();
    BOOST_TEST(slices == 10);
}

BOOST_AUTO_TEST_CASE(stop_and_restart_on_several_threads_lose_nothing)
{
    over_threads([](asio::io_context& ioc, unsigned threads) {
        std::atomic<int> slices{0};
        for (int i = 0; i != 20; ++i)
            spindle::spawn(
                ioc,
                [&] {
                    for (int k = 0; k != 50; ++k) {
                        if (++slices % 97 == 0)
                            ioc.stop();
                        if (k % 10 == 0)
                            this_fiber::sleep_for(100us);
                        else
                            this_fiber::yield();
                    }
                },
                asio::detached);
        for (int turns = 0; turns != 1000 && slices != 1000; ++turns) {
            run_on(ioc, threads);
            ioc.restart();
        }
        run_on(ioc, threads);
        BOOST_TEST(slices == 1000);
    });
}

// What the monitor looked at then is not touched before the thread has noticed: TSan.
BOOST_AUTO_TEST_CASE(a_handler_of_a_host_runs_fibers_here_although_its_processor_has_gone)
{
    on_scheduler s({.processors = 1, .preempt_after = 1ms, .shutdown_grace = 30s});
    asio::io_context ioc;
    bool ran = false;
    spindle::spawn(ioc, [&] { ran = true; }, asio::detached);
    std::promise<void> done;
    std::atomic<bool> gone{false};
    asio::post(s->get_executor(), [&] {
        spindle::spawn(*s, [&] { gone.store(true, std::memory_order_relaxed); }, asio::detached);
        while (!gone.load(std::memory_order_relaxed))
            std::this_thread::yield();
        ioc.run();
        done.set_value();
    });
    done.get_future().wait();
    BOOST_TEST(ran);
}

// --- outstanding work -------------------------------------------------------------

BOOST_AUTO_TEST_CASE(run_returns_when_the_last_completion_was_delivered_and_not_earlier)
{
    over_threads([](asio::io_context& ioc, unsigned threads) {
        for (bool const bound : {false, true}) {
            std::atomic<bool> delivered{false}, ended{false};
            spindle::wait_group outside(1);
            auto const fiber = [&] {
                outside.wait(); // nothing of Asio's is pending
                ended = true;
            };
            auto const completion = [&](std::exception_ptr) { delivered = true; };
            if (bound)
                spindle::spawn(asio::make_strand(ioc), fiber, completion);
            else
                spindle::spawn(ioc, fiber, completion);
            std::thread other([&] {
                std::this_thread::sleep_for(5ms);
                outside.done();
            });
            run_on(ioc, threads);
            BOOST_TEST(ended.load());
            BOOST_TEST(delivered.load());
            other.join();
            ioc.restart();
        }
    });
}

BOOST_AUTO_TEST_CASE(run_waits_for_the_completion_on_another_executor_only_there)
{
    asio::io_context ioc, other;
    bool delivered = false;
    spindle::spawn(
        ioc, [] {},
        asio::bind_executor(other.get_executor(), [&](std::exception_ptr) { delivered = true; }));
    ioc.run();
    BOOST_TEST(!delivered);
    other.run();
    BOOST_TEST(delivered);
}

// --- bounds -----------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(two_hot_fibers_do_not_keep_a_posted_handler_waiting)
{
    asio::io_context ioc;
    bool posted = false;
    std::size_t slices = 0;
    for (int i = 0; i != 2; ++i)
        spindle::spawn(
            ioc,
            [&] {
                while (!posted) {
                    ++slices;
                    this_fiber::yield();
                }
            },
            asio::detached);
    BOOST_TEST(ioc.poll_one() == 1u);
    BOOST_TEST(slices <= 61u);
    BOOST_TEST(slices >= 1u);
    BOOST_TEST(ioc.poll_one() == 1u);
    BOOST_TEST(slices <= 122u);
    auto const before = slices;
    asio::post(ioc, [&] { posted = true; });
    ioc.run();
    BOOST_TEST(slices <= before + 2 * 61u);
}

BOOST_AUTO_TEST_CASE(a_pair_that_wakes_each_other_does_not_keep_a_timer_waiting)
{
    asio::io_context ioc;
    bool rung = false;
    asio::steady_timer timer(ioc, 2ms);
    timer.async_wait([&](error_code) { rung = true; });
    spindle::spawn(
        ioc,
        [&] {
            while (!rung) {
                auto child = spindle::spawn([] {});
                child.join();
            }
        },
        asio::detached);
    ioc.run();
    BOOST_TEST(rung);
}

// --- the end of an io_context -----------------------------------------------------

namespace {

// What fibers wait for when their io_context goes.
void parked_fibers(asio::io_context& ioc, asio::any_io_executor ex, tally& t, bool use_io = true)
{
    auto const spawn = [&](auto fn) { spindle::spawn(ex, std::move(fn), asio::detached); };
    spawn([&t] {
        t.check(error_of([] { this_fiber::sleep_for(1h); }) == aborted);
        t.check(error_of([] { this_fiber::sleep_for(1h); }) == aborted);
    });
    spawn([&t] {
        asio::steady_timer timer(this_fiber::get_executor(), 1h);
        error_code ec;
        timer.async_wait(spindle::use_fiber[ec]);
        t.check(ec == aborted);
        timer.async_wait(spindle::use_fiber[ec]);
        t.check(ec == aborted);
    });
    if (use_io) {
        spawn([&t, both = std::make_shared<std::pair<tcp::socket, tcp::socket>>(
                       connected(ioc.get_executor()))] {
            char text[10];
            t.check(
                error_of([&] {
                    asio::async_read(both->first, asio::buffer(text), spindle::use_fiber);
                }) == aborted);
            t.check(
                error_of([&] {
                    asio::async_write(
                        both->second, asio::buffer(text), spindle::use_fiber);
                }) == aborted);
        });
    }
    // One waits for another in a group, which is no cancellation point.
    spawn([&t] {
        spindle::wait_group group;
        group.go([&t] {
            asio::steady_timer timer(this_fiber::get_executor(), 1h);
            t.check(error_of([&] { timer.async_wait(spindle::use_fiber); }) == aborted);
        });
        group.wait();
        t.count();
    });
    // One joins another.
    spawn([&t] {
        auto child = spindle::spawn([&t] {
            t.check(error_of([] { this_fiber::sleep_for(1h); }) == aborted);
        });
        t.check(error_of([&] { child.join(); }) == aborted);
    });
    // One that goes on for a while.
    spawn([&t] {
        (void)error_of([] { this_fiber::sleep_for(1h); });
        for (int i = 0; i != 1000; ++i) {
            (void)error_of([] { this_fiber::sleep_for(1us); });
            this_fiber::yield();
        }
        t.count();
    });
}

constexpr std::size_t parked_checks = 2 + 2 + 2 + 2 + 2 + 1;

} // namespace

BOOST_AUTO_TEST_CASE(an_io_context_that_goes_ends_its_fibers)
{
    for (bool const bound : {false, true})
        for (bool const stopped : {false, true})
            for (bool const strand_first : {false, true})
                BOOST_TEST_CONTEXT(
                    "bound " << bound << ", stopped " << stopped << ", strand first "
                             << strand_first)
                {
                    tally t;
                    {
                        asio::io_context ioc;
                        if (!strand_first) // the order of services is the order of their ends
                            spindle::attach(ioc, {});
                        auto const strand = asio::make_strand(ioc);
                        parked_fibers(
                            ioc,
                            bound ? asio::any_io_executor(strand)
                                  : asio::any_io_executor(ioc.get_executor()),
                            t);
                        for (int i = 0; i != 200; ++i)
                            ioc.poll();
                        BOOST_TEST(t.good() == 0u);
                        if (stopped)
                            ioc.stop();
                    }
                    BOOST_TEST(t.good() == parked_checks);
                    BOOST_TEST(t.bad() == 0u);
                    check_nothing_left();
                }
}

BOOST_AUTO_TEST_CASE(an_io_context_that_goes_ends_fibers_that_never_began)
{
    for (bool const bound : {false, true}) {
        tally t;
        {
            asio::io_context ioc;
            auto const ex = bound ? asio::any_io_executor(asio::make_strand(ioc))
                                  : asio::any_io_executor(ioc.get_executor());
            parked_fibers(ioc, ex, t, false);
        }
        BOOST_TEST(t.bad() == 0u);
        BOOST_TEST(t.good() != 0u);
        check_nothing_left();
    }
}

BOOST_AUTO_TEST_CASE(completions_are_dropped_when_their_io_context_goes_as_asio_does)
{
    auto const token = std::make_shared<int>(0);
    std::future<void> result;
    bool called = false;
    {
        asio::io_context ioc;
        spindle::spawn(
            ioc, [token] { this_fiber::sleep_for(1h); },
            [token, &called](std::exception_ptr) { called = true; });
        ioc.poll();
    }
    BOOST_TEST(!called);
    BOOST_TEST(token.use_count() == 1);
}

BOOST_AUTO_TEST_CASE(a_fiber_that_owns_what_it_waits_on_takes_it_along)
{
    {
        asio::io_context ioc;
        tcp::acceptor acceptor(ioc, {asio::ip::address_v4::loopback(), 0});
        spindle::spawn(
            ioc,
            [acceptor = std::move(acceptor)]() mutable {
                auto s = acceptor.async_accept(spindle::use_fiber);
            },
            asio::detached);
        ioc.poll();
    }
    check_nothing_left();
}

BOOST_AUTO_TEST_CASE(nothing_can_be_spawned_on_an_io_context_that_goes)
{
    error_code in_go, in_spawn;
    {
        asio::io_context ioc;
        spindle::spawn(
            ioc,
            [&] {
                (void)error_of([] { this_fiber::sleep_for(1h); });
                in_go = error_of([] { spindle::go([] {}); });
                in_spawn = error_of([&] { spindle::spawn(ioc, [] {}, asio::detached); });
            },
            asio::detached);
        ioc.poll();
    }
    BOOST_TEST((in_go == spindle::errc::scheduler_stopped));
    BOOST_TEST((in_spawn == spindle::errc::scheduler_stopped));
    check_nothing_left();
}

// --- Asio inside Asio -------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_fiber_may_poll_its_own_io_context)
{
    over_threads([](asio::io_context& ioc, unsigned threads) {
        tally ends;
        for (int i = 0; i != 10; ++i)
            spindle::spawn(
                ioc,
                [&] {
                    for (int k = 0; k != 20; ++k) {
                        asio::post(ioc, [] {});
                        ioc.poll();
                        this_fiber::sleep_for(10us);
                    }
                    ends.count();
                },
                asio::detached);
        some_work(ioc, ends);
        run_on(ioc, threads);
        BOOST_TEST(ends.good() == 10 + work_ends);
    });
}

BOOST_AUTO_TEST_CASE(a_fiber_that_runs_the_loop_for_a_while_holds_up_no_other_thread)
{
    asio::io_context ioc;
    std::atomic<bool> other_ran{false};
    spindle::spawn(
        ioc,
        [&] {
            spindle::spawn(ioc, [&] { other_ran = true; }, asio::detached);
            auto const end = std::chrono::steady_clock::now() + 20s;
            while (!other_ran && std::chrono::steady_clock::now() < end)
                ioc.run_for(1ms);
        },
        asio::detached);
    auto const begin = std::chrono::steady_clock::now();
    run_on(ioc, 2);
    BOOST_TEST(other_ran.load());
    BOOST_TEST((std::chrono::steady_clock::now() - begin < 10s));
}

BOOST_AUTO_TEST_CASE(an_io_context_polled_by_another_ones_fiber_keeps_its_fibers_for_a_thread)
{
    asio::io_context outer, inner;
    bool ran = false;
    spindle::spawn(inner, [&] { ran = true; }, asio::detached);
    spindle::spawn(outer, [&] { inner.poll(); }, asio::detached);
    outer.run();
    BOOST_TEST(!ran); // not on a fiber's stack
    inner.restart();
    inner.run();
    BOOST_TEST(ran);
}

BOOST_AUTO_TEST_CASE(an_io_context_polled_in_a_schedulers_fiber_keeps_its_fibers_too)
{
    asio::io_context inner;
    bool ran = false;
    spindle::spawn(inner, [&] { ran = true; }, asio::detached);
    spindle::run([&] { inner.poll(); }, {.processors = 2});
    inner.restart();
    inner.run();
    BOOST_TEST(ran);
}

BOOST_AUTO_TEST_CASE(an_io_context_run_in_a_schedulers_handler_runs_its_fibers_there)
{
    asio::io_context inner;
    tally ends;
    some_work(inner, ends);
    {
        spindle::scheduler s({.processors = 2});
        std::promise<void> done;
        asio::post(s.get_executor(), [&] {
            inner.run();
            done.set_value();
        });
        done.get_future().wait();
        // The scheduler goes on as before.
        bool slept = false;
        spindle::spawn(
            s,
            [&] {
                this_fiber::sleep_for(1ms);
                slept = true;
            },
            asio::detached);
        s.join();
        BOOST_TEST(slept);
    }
    BOOST_TEST(ends.good() == work_ends);
}

BOOST_AUTO_TEST_CASE(an_io_context_run_in_another_ones_handler_runs_its_fibers_there)
{
    asio::io_context outer, inner;
    tally ends;
    some_work(inner, ends);
    some_work(outer, ends);
    bool inner_child = false;
    asio::post(inner, [&] {
        // A child of a handler starts on the innermost io_context.
        spindle::go([&] {
            inner_child = &asio::query(this_fiber::get_executor(), asio::execution::context)
                == static_cast<asio::execution_context*>(&inner);
        });
    });
    asio::post(outer, [&] { inner.run(); });
    outer.run();
    BOOST_TEST(ends.good() == 2 * work_ends);
    BOOST_TEST(inner_child);
}

BOOST_AUTO_TEST_CASE(operations_of_another_io_context_wake_a_fiber_on_its_own)
{
    asio::io_context ioc, other;
    auto const guard = asio::make_work_guard(other);
    std::thread runner([&] { other.run(); });
    tally t;
    spindle::spawn(
        ioc,
        [&] {
            for (int i = 0; i != 200; ++i) {
                asio::steady_timer timer(other, 10us);
                timer.async_wait(spindle::use_fiber);
                t.check(this_fiber::is_fiber());
            }
        },
        asio::detached);
    ioc.run();
    other.stop();
    runner.join();
    BOOST_TEST(t.good() == 200u);
}

// --- primitives of Boost.Fiber's --------------------------------------------------

BOOST_AUTO_TEST_CASE(boost_fibers_own_waits_work_where_one_thread_runs_the_io_context)
{
    for (bool const bound : {false, true}) {
        {
            asio::io_context ioc;
            auto const ex = bound ? asio::any_io_executor(asio::make_strand(ioc))
                                  : asio::any_io_executor(ioc.get_executor());
            int ends = 0;
            boost::fibers::mutex mutex;
            int inside = 0;
            for (int i = 0; i != 5; ++i)
                spindle::spawn(
                    ex,
                    [&] {
                        for (int k = 0; k != 20; ++k) {
                            std::lock_guard guard(mutex);
                            ++inside;
                            this_fiber::yield();
                            --inside;
                        }
                        ++ends;
                    },
                    asio::detached);
            spindle::spawn(
                ex,
                [&] {
                    auto const begin = std::chrono::steady_clock::now();
                    boost::this_fiber::sleep_for(5ms);
                    ends += std::chrono::steady_clock::now() - begin >= 5ms;
                },
                asio::detached);
            ioc.run();
            BOOST_TEST(ends == 6);
        }
        check_nothing_left();
    }
}

#if !defined(SPINDLE_TSAN) // starts no threads in a child
BOOST_AUTO_TEST_CASE(boost_fibers_own_waits_are_refused_where_several_threads_do)
{
    auto const e = in_child([] {
        asio::io_context ioc;
        for (int i = 0; i != 64; ++i)
            spindle::spawn(
                ioc,
                [] {
                    for (int k = 0; k != 1000; ++k) {
                        this_fiber::sleep_for(10us);
                        boost::this_fiber::sleep_for(10us);
                    }
                },
                asio::detached);
        run_on(ioc, 4);
    });
    BOOST_TEST(e.by_signal(SIGABRT));
    BOOST_TEST(e.says("a fiber waits in a primitive of Boost.Fiber's"), e.text);
}
#endif

BOOST_AUTO_TEST_SUITE_END()
