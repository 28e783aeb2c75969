//
// asio/pin.cpp
// ~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE asio.pin
#include <spindle/asio/use_fiber.hpp>
#include <spindle/blocking.hpp>
#include <spindle/chan/channel.hpp>
#include <spindle/go.hpp>
#include <spindle/pin.hpp>
#include <spindle/run.hpp>
#include <spindle/spawn.hpp>
#include <spindle/sync/wait_group.hpp>
#include <spindle/this_fiber.hpp>

#include <support/asio_fixture.hpp>
#include <support/child.hpp>
#include <support/hop.hpp>

#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/fiber/future.hpp>
#include <boost/fiber/operations.hpp>
#include <boost/test/unit_test.hpp>

#include <atomic>
#include <chrono>
#include <future>
#include <thread>
#include <utility>

using namespace spindle_test;
using namespace std::chrono_literals;
namespace this_fiber = spindle::this_fiber;

BOOST_AUTO_TEST_SUITE(pins)

namespace {

// Everything that may park; on the same thread after each.
void wait_in_every_way(tally& t)
{
    auto const thread = thread_number();
    auto const check = [&] { t.check(thread == thread_number()); };
    this_fiber::yield();
    check();
    this_fiber::sleep_for(50us);
    check();
    spindle::channel<int> ch;
    spindle::go([ch] { ch.send(1); });
    t.check(ch.receive() == 1);
    check();
    asio::steady_timer timer(this_fiber::get_executor(), 50us);
    timer.async_wait(spindle::use_fiber);
    check();
    auto child = spindle::spawn([&] { t.check(thread != thread_number()); });
    child.join();
    check();
    spindle::blocking([] { std::this_thread::sleep_for(50us); });
    check();
    boost::this_fiber::yield();
    check();
}

} // namespace

BOOST_AUTO_TEST_CASE(a_pinned_fiber_stays_on_its_thread)
{
    tally t;
    over_processors([&](spindle::scheduler& s) {
        spindle::wait_group group;
        for (int i = 0; i != 6; ++i)
            group.go([&] {
                for (int k = 0; k != 3; ++k) {
                    spindle::pin const here;
                    wait_in_every_way(t);
                    spindle::pin const again;
                    wait_in_every_way(t);
                }
                this_fiber::yield();
            });
        group.wait();
        BOOST_TEST(s.processors() >= 1u);
    });
    BOOST_TEST(t.good() == 4u * 6u * 3u * 2u * 9u);
    BOOST_TEST(t.bad() == 0u);
}

BOOST_AUTO_TEST_CASE(others_run_beside_it)
{
    on_scheduler s({.processors = 1, .preempt_after = 1h, .shutdown_grace = 30s});
    s.run([] {
        std::atomic<bool> enough{false};
        spindle::go([&] { enough = true; });
        spindle::pin const here;
        while (!enough)
            std::this_thread::yield();
    });
}

// A handler waits in a primitive of Boost.Fiber's, and its thread runs fibers meanwhile.
BOOST_AUTO_TEST_CASE(below_it_a_handler_may_wait_for_it)
{
    for (auto const n : processor_counts) {
        tally t;
        std::promise<void> ended;
        on_scheduler s(n);
        asio::post(s->get_executor(), [&] {
            boost::fibers::promise<void> promise;
            auto future = promise.get_future();
            spindle::go([&t, promise = std::move(promise)]() mutable {
                spindle::pin const here;
                wait_in_every_way(t);
                promise.set_value();
            });
            future.wait();
            ended.set_value();
        });
        ended.get_future().wait();
        BOOST_TEST(t.good() == 9u);
        BOOST_TEST(t.bad() == 0u);
    }
}

BOOST_AUTO_TEST_CASE(handlers_below_it_stay_one_after_another)
{
    for (auto const n : processor_counts) {
        on_scheduler s({.processors = n, .preempt_after = 1h, .shutdown_grace = 30s});
        std::atomic<bool> inside{false};
        std::atomic<int> ran{0};
        std::promise<void> enough;
        asio::post(s->get_executor(), [&] {
            boost::fibers::promise<void> promise;
            auto future = promise.get_future();
            spindle::go([promise = std::move(promise)]() mutable {
                spindle::pin const here;
                promise.set_value();
            });
            future.wait();
            inside = true;
            enough.get_future().wait();
            inside = false;
        });
        BOOST_TEST(eventually([&] { return inside.load(); }));
        for (int i = 0; i != 10; ++i)
            asio::post(s->get_executor(), [&] { ran += inside ? 100 : 1; });
        std::this_thread::sleep_for(5ms); // for those that must not run
        enough.set_value();
        BOOST_TEST(eventually([&] { return ran >= 10; }));
        BOOST_TEST(ran == 10);
    }
}

BOOST_AUTO_TEST_CASE(the_main_thread_may_be_the_one)
{
    for (auto const n : processor_counts) {
        auto const thread = thread_number();
        tally t;
        spindle::run(
            [&] {
                auto const on_main = thread == thread_number();
                spindle::pin const here;
                wait_in_every_way(t);
                t.check(on_main == (thread == thread_number()));
            },
            {.processors = n});
        BOOST_TEST(t.bad() == 0u);
        BOOST_TEST(thread == thread_number());
    }
}

BOOST_AUTO_TEST_CASE(a_stop_reaches_it)
{
    on_scheduler s(2u);
    s.run([] {
        auto child = spindle::spawn([] {
            spindle::pin const here;
            this_fiber::sleep_for(1h);
        });
        this_fiber::yield();
        child.request_stop();
        BOOST_TEST((error_of([&] { child.join(); }) == aborted));
    });
}

#if !defined(SPINDLE_TSAN) // starts no threads in a child
BOOST_AUTO_TEST_CASE(its_fiber_must_not_end_before_it)
{
    auto const e = in_child([] { spindle::run([] { (void)new spindle::pin; }, {.processors = 1}); });
    BOOST_TEST(e.by_signal(SIGABRT));
    BOOST_TEST(e.says("a fiber must destroy the spindle::pin"), e.text);
}

BOOST_AUTO_TEST_CASE(nobody_but_its_fiber_destroys_it)
{
    auto const e = in_child([] {
        spindle::run(
            [] {
                auto* const here = new spindle::pin;
                spindle::spawn([=] { delete here; }).join();
            },
            {.processors = 1});
    });
    BOOST_TEST(e.by_signal(SIGABRT));
    BOOST_TEST(e.says("by the fiber that made it"), e.text);
}
#endif

BOOST_AUTO_TEST_CASE(where_threads_are_not_ours_it_is_refused)
{
    asio::io_context ioc;
    error_code ec;
    spindle::spawn(ioc, [&] { ec = error_of([] { spindle::pin const here; }); }, asio::detached);
    ioc.run();
    BOOST_TEST((ec == boost::system::errc::operation_not_supported));
    BOOST_TEST((error_of([] { spindle::pin const here; }) == spindle::errc::not_in_fiber));
}

BOOST_AUTO_TEST_CASE(without_another_thread_it_is_refused)
{
    on_scheduler s({.processors = 1, .max_threads = 1});
    s.run([] {
        BOOST_TEST((error_of([] { spindle::pin const here; }) == spindle::errc::thread_limit));
        this_fiber::yield();
    });
}

BOOST_AUTO_TEST_SUITE_END()
