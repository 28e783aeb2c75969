//
// asio/hogs.cpp
// ~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE asio.hogs
#include <spindle/asio/use_fiber.hpp>
#include <spindle/cancel/cancel_scope.hpp>
#include <spindle/go.hpp>
#include <spindle/scheduler.hpp>
#include <spindle/spawn.hpp>
#include <spindle/sync/wait_group.hpp>
#include <spindle/this_fiber.hpp>

#include <support/asio_fixture.hpp>

#include <boost/asio/detached.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <boost/fiber/future.hpp>
#include <boost/fiber/mutex.hpp>
#include <boost/fiber/operations.hpp>
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <future>
#include <mutex>
#include <set>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

using namespace spindle_test;
using namespace std::chrono_literals;
namespace this_fiber = spindle::this_fiber;

BOOST_AUTO_TEST_SUITE(hogs)

namespace {

// Computes until somebody else says that it is enough.
void hog_until(std::atomic<bool> const& enough)
{
    while (!enough.load())
        std::this_thread::yield(); // the machine has few cores; no scheduling point
}

// Soon, so that tests are quick.
spindle::scheduler_options quick(unsigned n)
{
    return {.processors = n, .preempt_after = 1ms, .shutdown_grace = 30s};
}

template <class Function>
void over_quick_schedulers(Function fn)
{
    for (auto const n : processor_counts)
        BOOST_TEST_CONTEXT(n << " processors")
        {
            on_scheduler s(quick(n));
            fn(s, n);
        }
}

} // namespace

// As many as processors, and the one that ends them waits behind.
BOOST_AUTO_TEST_CASE(fibers_behind_hogs_run)
{
    over_quick_schedulers([](on_scheduler& s, unsigned n) {
        std::atomic<bool> enough{false};
        std::atomic<unsigned> hogs{0};
        s.run([&] {
            spindle::wait_group group;
            for (unsigned i = 0; i != 2 * n; ++i)
                group.go([&] {
                    ++hogs;
                    hog_until(enough);
                });
            group.go([&] {
                while (hogs != 2 * n)
                    this_fiber::yield();
                this_fiber::sleep_for(1ms);
                enough = true;
            });
            group.wait();
        });
        BOOST_TEST(s->stats().preemptions > n);
    });
}

// A std::mutex, a pipe, a legacy client: nothing says that they block.
BOOST_AUTO_TEST_CASE(calls_that_block_without_saying_so_hold_up_nobody)
{
    over_quick_schedulers([](on_scheduler& s, unsigned n) {
        std::promise<void> promise;
        auto const future = promise.get_future().share();
        s.run([&] {
            spindle::wait_group group;
            for (unsigned i = 0; i != n; ++i)
                group.go([&] { future.wait(); });
            group.go([&] {
                this_fiber::sleep_for(1ms);
                promise.set_value();
            });
            group.wait();
        });
    });
}

BOOST_AUTO_TEST_CASE(sockets_behind_a_hog_are_served)
{
    over_quick_schedulers([](on_scheduler& s, unsigned) {
        std::atomic<bool> enough{false};
        s.run([&] {
            auto [x, y] = connected_locally(this_fiber::get_executor());
            auto echo = spindle::spawn([&y = y] {
                std::array<char, 4> text;
                for (int i = 0; i != 5; ++i) {
                    asio::async_read(y, asio::buffer(text), spindle::use_fiber);
                    asio::async_write(y, asio::buffer(text), spindle::use_fiber);
                }
            });
            this_fiber::yield();
            std::thread peer([&, &x = x] {
                std::array<char, 4> text{};
                for (int i = 0; i != 5; ++i) {
                    asio::write(x, asio::buffer(text));
                    asio::read(x, asio::buffer(text));
                }
                enough = true;
            });
            hog_until(enough);
            peer.join();
            echo.join();
        });
    });
}

// Handlers of one processor never run at the same time, whoever runs them.
BOOST_AUTO_TEST_CASE(fibers_behind_a_handler_that_hogs_run)
{
    over_quick_schedulers([](on_scheduler& s, unsigned n) {
        std::atomic<bool> enough{false};
        std::atomic<unsigned> hogs{0};
        std::atomic<int> running{0}, overlaps{0}, later{0};
        for (unsigned i = 0; i != n; ++i)
            asio::post(s->next_executor(), [&] {
                overlaps += n == 1 && running++ != 0;
                ++hogs;
                hog_until(enough);
                running -= n == 1;
            });
        for (unsigned i = 0; i != n; ++i)
            asio::post(s->next_executor(), [&] {
                overlaps += n == 1 && running != 0;
                ++later;
            });
        BOOST_TEST(eventually([&] { return hogs == n; }));
        s.run([&] { // there is nobody else to run this
            this_fiber::sleep_for(1ms);
            BOOST_TEST(later == 0); // completions wait, as in Asio
            enough = true;
        });
        BOOST_TEST(eventually([&] { return later == static_cast<int>(n); }));
        BOOST_TEST(overlaps == 0);
        BOOST_TEST(s->stats().preemptions >= 1u);
    });
}

// A processor that sleeps, with a sleeper; and its thread is inside a handler.
BOOST_AUTO_TEST_CASE(sleepers_behind_a_handler_that_hogs_wake_up)
{
    on_scheduler s(quick(1));
    std::atomic<bool> enough{false}, begun{false};
    spindle::spawn(
        *s,
        [&] {
            this_fiber::sleep_for(50ms);
            enough = true;
        },
        asio::detached);
    std::this_thread::sleep_for(5ms);
    asio::post(s->get_executor(), [&] {
        begun = true;
        hog_until(enough);
    });
    s->join();
    BOOST_TEST(begun);
}

// The same handler spawns what is to free it.
BOOST_AUTO_TEST_CASE(a_handler_that_waits_for_its_own_fiber_gets_it)
{
    over_quick_schedulers([](on_scheduler& s, unsigned n) {
        std::atomic<unsigned> ended{0};
        for (unsigned i = 0; i != n; ++i)
            asio::post(s->next_executor(), [&] {
                std::promise<void> promise;
                auto future = promise.get_future();
                spindle::go([&] { promise.set_value(); });
                future.wait();
                ++ended;
                // Without a processor by now, perhaps: this is still its scheduler.
                spindle::go([&] { this_fiber::yield(); ++ended; });
            });
        BOOST_TEST(eventually([&] { return ended == 2 * n; }));
    });
}

BOOST_AUTO_TEST_CASE(a_handler_that_throws_after_it_has_hogged)
{
    std::atomic<int> thrown{0};
    auto options = quick(1);
    options.unhandled_exception = [&](std::exception_ptr, spindle::fiber_info const&) { ++thrown; };
    std::array<std::atomic<bool>, 3> enough{};
    on_scheduler s(options);
    for (auto& e : enough) {
        asio::post(s->get_executor(), [&] {
            hog_until(e);
            throw std::runtime_error("late");
        });
        s.run([&] { e = true; });
    }
    BOOST_TEST(eventually([&] { return thrown == 3; }));
    s.run([] { // Asio works as before
        asio::steady_timer timer(this_fiber::get_executor(), 100us);
        timer.async_wait(spindle::use_fiber);
    });
}

// A deadline's: they run on the thread that finds it past.
BOOST_AUTO_TEST_CASE(fibers_behind_a_stop_callback_that_hogs_run)
{
    for (bool const in_a_wait : {false, true}) // of a handler's, in a primitive of Boost.Fiber's
        over_quick_schedulers([&](on_scheduler& s, unsigned) {
            std::atomic<bool> begun{false}, enough{false}, over{!in_a_wait};
            boost::fibers::promise<void> waits;
            auto future = waits.get_future();
            if (in_a_wait)
                asio::post(s->get_executor(), [&] {
                    future.wait();
                    over = true;
                });
            s.run([&] {
                spindle::wait_group group;
                group.go([&] {
                    while (!begun)
                        this_fiber::yield();
                    enough = true;
                });
                group.go([&] {
                    spindle::cancel_scope const soon(1ms);
                    std::stop_callback const callback(this_fiber::get_stop_token(), [&] {
                        begun = true;
                        hog_until(enough);
                    });
                    (void)error_of([] { this_fiber::sleep_for(1h); });
                });
                group.wait();
                waits.set_value();
            });
            BOOST_TEST(eventually([&] { return over.load(); }));
        });
}

// What the user is told runs on the thread of the handler, too.
BOOST_AUTO_TEST_CASE(fibers_behind_a_report_that_hogs_run)
{
    for (bool const in_a_wait : {false, true}) {
        boost::fibers::promise<void> waits;
        auto future = waits.get_future();
        std::atomic<bool> enough{false};
        auto options = quick(1);
        options.unhandled_exception = [&](auto const&...) { hog_until(enough); };
        on_scheduler s(options);
        if (in_a_wait)
            asio::post(s->get_executor(), [&] { future.wait(); });
        asio::post(s->get_executor(), [&] {
            spindle::go([&] { enough = true; });
            throw std::runtime_error("late");
        });
        s.run([&] { waits.set_value(); });
        BOOST_TEST(eventually([&] { return enough.load(); })); // the handlers may come later
    }
}

// A report waits in a primitive of Boost.Fiber's: its thread serves Asio, unless
// another one has it by then.
BOOST_AUTO_TEST_CASE(handlers_below_a_report_that_waits_stay_one_after_another)
{
    for (bool const hogs_before : {false, true}) {
        boost::fibers::promise<void> waits;
        auto future = waits.get_future();
        std::atomic<bool> enough{false}, waited{false};
        auto options = quick(1);
        options.unhandled_exception = [&](auto const&...) {
            if (hogs_before)
                hog_until(enough); // and loses its processor
            future.wait();
            waited = true;
        };
        on_scheduler s(options);
        std::atomic<int> running{0}, overlaps{0}, ran{0};
        std::atomic<bool> over{false};
        asio::post(s->get_executor(), [&] {
            spindle::go([&] { enough = true; });
            throw std::runtime_error("late");
        });
        BOOST_TEST(eventually([&] { return enough.load(); }));
        asio::post(s->get_executor(), [&] {
            overlaps += running++ != 0;
            hog_until(over);
            --running;
            ++ran;
        });
        BOOST_TEST(eventually([&] { return running == 1; }));
        s.run([] {}); // the processor is with another machine
        for (int i = 0; i != 10; ++i)
            asio::post(s->get_executor(), [&] {
                overlaps += running != 0;
                ++ran;
            });
        s.run([&] { this_fiber::sleep_for(5ms); }); // for those that must not run
        over = true;
        BOOST_TEST(eventually([&] { return ran == 11; }));
        BOOST_TEST(overlaps == 0);
        waits.set_value();
        BOOST_TEST(eventually([&] { return waited.load(); }));
    }
}

// Fibers of Boost.Fiber's own stay with the thread where they wait, which must see to
// them without a processor, too.
BOOST_AUTO_TEST_CASE(fibers_of_boost_fibers_own_survive)
{
    over_quick_schedulers([](on_scheduler& s, unsigned n) {
        std::atomic<unsigned> ended{0};
        std::atomic<bool> enough{false};
        s.run([&] {
            spindle::wait_group group;
            for (unsigned i = 0; i != n; ++i)
                group.go([&] {
                    boost::fibers::promise<int> promise;
                    auto future = promise.get_future();
                    boost::fibers::fiber waits([&] {
                        boost::this_fiber::sleep_for(2ms);
                        ended += static_cast<unsigned>(future.get());
                    });
                    boost::this_fiber::yield(); // it sleeps on this thread
                    hog_until(enough);
                    promise.set_value(1);
                    waits.join();
                });
            group.go([&] {
                this_fiber::sleep_for(3ms);
                enough = true;
            });
            group.wait();
        });
        BOOST_TEST(ended == n);
    });
}

BOOST_AUTO_TEST_CASE(a_hog_is_reported_once_for_each_place)
{
    std::mutex lock;
    std::vector<std::string> names;
    std::set<std::string> places;
    auto least = 1h + 0ns;
    auto options = quick(2);
    options.on_hog = [&](spindle::fiber_info const& f, std::chrono::nanoseconds ran) {
        std::lock_guard guard(lock);
        names.push_back(f.name);
        places.insert(f.spawned_from);
        least = std::min<std::chrono::nanoseconds>(least, ran);
    };
    {
        on_scheduler s(options);
        s.run([&] {
            for (int i = 0; i != 3; ++i) {
                std::atomic<bool> enough{false};
                std::atomic<int> begun{0};
                spindle::wait_group group(2);
                for (int k = 0; k != 2; ++k)
                    spindle::spawn(
                        *s, {.name = "digger"},
                        [&] {
                            ++begun;
                            hog_until(enough);
                            group.done();
                        },
                        asio::detached);
                group.go([&] { this_fiber::yield(); });
                while (begun != 2) // it goes on where one of them has lost its processor
                    this_fiber::yield();
                enough = true;
                group.wait();
            }
        });
        std::atomic<bool> enough{false};
        std::atomic<int> begun{0};
        for (int i = 0; i != 2; ++i)
            spindle::spawn(
                *s, {.name = "miner"},
                [&] {
                    ++begun;
                    hog_until(enough);
                },
                asio::detached);
        BOOST_TEST(eventually([&] { return begun == 2; }));
        s.run([&] { enough = true; });
        s->join();
    }
    std::lock_guard guard(lock);
    // Eight hogs from two places. On a slow machine others have run for long as well.
    BOOST_TEST(std::count(names.begin(), names.end(), "\"digger\"") == 1);
    BOOST_TEST(std::count(names.begin(), names.end(), "\"miner\"") == 1);
    BOOST_TEST(names.size() == places.size());
    BOOST_TEST((least >= 1ms));
}

// It wakes others, and never waits itself.
BOOST_AUTO_TEST_CASE(who_only_makes_others_ready_is_a_hog_too)
{
    on_scheduler s(quick(1));
    std::atomic<bool> enough{false};
    s.run([&] {
        spindle::wait_group group;
        group.go([&] { enough = true; });
        std::size_t n = 0;
        while (!enough)
            if (++n % 4096 == 0)
                group.go([] {});
        group.wait();
    });
    BOOST_TEST(s->stats().preemptions >= 1u);
}

// It is inside the scheduler, or the system, nearly all the time; and what it starts
// gives its stacks to what it starts later.
BOOST_AUTO_TEST_CASE(who_does_nothing_but_spawn_is_a_hog_too)
{
    on_scheduler s(quick(1));
    std::atomic<bool> enough{false};
    s.run([&] {
        spindle::wait_group group;
        while (!enough)
            group.go([&] { enough = true; });
        group.wait();
    });
    BOOST_TEST(s->stats().preemptions >= 1u);
}

BOOST_AUTO_TEST_CASE(a_lone_fiber_keeps_its_processor)
{
    on_scheduler s(quick(1));
    s.run([&] {
        auto const threads = s->stats().threads; // a slow machine may have tried before
        auto const end = std::chrono::steady_clock::now() + 20ms;
        while (std::chrono::steady_clock::now() < end)
            ;
        BOOST_TEST(s->stats().threads == threads);
    });
    BOOST_TEST(s->stats().preemptions == 0u);
}

BOOST_AUTO_TEST_CASE(numbers_add_up_with_hogs)
{
    on_scheduler s(quick(2));
    s.run([&] {
        spindle::wait_group group;
        for (int i = 0; i != 8; ++i)
            group.go([&] {
                std::atomic<bool> enough{false};
                spindle::go([&] { enough = true; });
                hog_until(enough);
                spindle::wait_group inner;
                inner.go([] {}); // perhaps without a processor
                inner.wait();
            });
        group.wait();
    });
    BOOST_TEST(eventually([&] { return s->stats().fibers == 0; }));
    BOOST_TEST(s->stats().finished == 25u);
    BOOST_TEST(s->stats().spawned == 24u);
}

BOOST_AUTO_TEST_SUITE_END()
