//
// asio/foreign_loop.cpp
// ~~~~~~~~~~~~~~~~~~~~~
// Another library's event loop (a window system's, a game's) and fibers: the loop polls
// the io_context, or it is an executor itself and has fibers of its own.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE asio.foreign_loop
#include <spindle/asio/fiber_executor.hpp>
#include <spindle/asio/fiber_stream.hpp>
#include <spindle/asio/use_fiber.hpp>
#include <spindle/blocking.hpp>
#include <spindle/chan/channel.hpp>
#include <spindle/spawn.hpp>
#include <spindle/this_fiber.hpp>

#include <support/asio_fixture.hpp>

#include <boost/asio/detached.hpp>
#include <boost/asio/execution/blocking.hpp>
#include <boost/asio/execution/context.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <boost/test/unit_test.hpp>

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

using namespace spindle_test;
using namespace std::chrono_literals;
using spindle::use_fiber;
namespace this_fiber = spindle::this_fiber;
using std::chrono::steady_clock;

namespace {

// A loop that knows nothing of Asio: events from any thread, one at a time, on its own.
class event_loop {
public:
    void push(std::function<void()> event)
    {
        std::lock_guard guard(mutex_);
        events_.push_back(std::move(event));
        more_.notify_one();
    }

    // One event, if there is one by then.
    bool run_one(steady_clock::time_point until)
    {
        std::unique_lock guard(mutex_);
        if (!more_.wait_until(guard, until, [&] { return !events_.empty(); }))
            return false;
        auto const event = std::move(events_.front());
        events_.pop_front();
        guard.unlock();
        event();
        return true;
    }

private:
    std::mutex mutex_;
    std::condition_variable more_;
    std::deque<std::function<void()>> events_;
};

// tag::turn[]
// What a turn of the loop does for Asio: as much as is ready, for as long as it may take.
void turn_of_asio(asio::io_context& ioc, steady_clock::duration most)
{
    ioc.restart();
    auto const end = steady_clock::now() + most;
    while (steady_clock::now() < end && ioc.poll_one() != 0)
        ;
}
// end::turn[]

} // namespace

// --- the loop polls -----------------------------------------------------------------

BOOST_AUTO_TEST_CASE(fibers_live_on_the_turns_that_a_foreign_loop_gives_them)
{
    event_loop loop;
    bool echoed = false, called = false, slept = false;
    int events = 0, fibers = 3;
    auto const thread = std::this_thread::get_id();
    bool elsewhere = false;
    {
        asio::io_context ioc;
        spindle::channel<std::string> ch(1);
        loop.push([&] { // the loop's own event starts what waits
            auto [a, b] = connected(ioc.get_executor());
            spindle::spawn(
                ioc,
                [&, s = spindle::fiber_stream(std::move(a))]() mutable {
                    char text[4];
                    asio::read(s, asio::buffer(text));
                    asio::write(s, asio::buffer(text));
                    elsewhere = elsewhere || std::this_thread::get_id() != thread;
                    --fibers;
                },
                asio::detached);
            spindle::spawn(
                ioc,
                [&, s = spindle::fiber_stream(std::move(b))]() mutable {
                    asio::write(s, asio::buffer(ch.receive().value()));
                    char text[4];
                    asio::read(s, asio::buffer(text));
                    echoed = std::string(text, 4) == "ping";
                    called = spindle::blocking([&] { return std::this_thread::get_id() != thread; });
                    --fibers;
                },
                asio::detached);
            spindle::spawn(
                ioc,
                [&] {
                    this_fiber::sleep_for(3ms);
                    slept = true;
                    --fibers;
                },
                asio::detached);
        });
        // An event, as it has no fiber, never waits; but it may send.
        loop.push([&] { BOOST_TEST([&] {
            error_code ec;
            return ch.try_send("ping", ec);
        }()); });
        std::function<void()> tick = [&] {
            ++events;
            if (fibers != 0)
                loop.push(tick);
        };
        tick();
        auto const end = steady_clock::now() + 20s;
        // tag::turns[]
        while (fibers != 0 && steady_clock::now() < end) {
            loop.run_one(steady_clock::now() + 1ms); // its events may spawn fibers, and use try_send
            turn_of_asio(ioc, 1ms);
        }
        // end::turns[]
    }
    BOOST_TEST(echoed);
    BOOST_TEST(called);
    BOOST_TEST(slept);
    BOOST_TEST(!elsewhere);
    BOOST_TEST(events > 1);
    check_nothing_left();
}

BOOST_AUTO_TEST_CASE(a_fiber_that_is_always_ready_does_not_stop_the_loop)
{
    event_loop loop;
    asio::io_context ioc;
    bool done = false;
    long turns = 0;
    spindle::spawn(
        ioc,
        [&] {
            while (!done) {
                ++turns;
                this_fiber::yield();
            }
        },
        asio::detached);
    int events = 0;
    while (events != 50) {
        loop.push([&] { ++events; });
        loop.run_one(steady_clock::now());
        turn_of_asio(ioc, 1ms); // poll() would never return
    }
    BOOST_TEST(turns >= 50);
    done = true;
    turn_of_asio(ioc, 1s);
    BOOST_TEST(ioc.stopped());
}

// --- the loop is an executor --------------------------------------------------------

namespace {

// tag::executor[]
// All that Asio wants of an executor. I/O objects live on the io_context.
class loop_executor {
public:
    loop_executor(event_loop& loop, asio::io_context& ioc) noexcept : loop_(&loop), ioc_(&ioc) {}

    template <class Function>
    void execute(Function f) const
    {
        loop_->push([f = std::make_shared<Function>(std::move(f))]() mutable {
            auto const call = std::move(f);
            (*call)();
        });
    }

    asio::io_context& query(asio::execution::context_t) const noexcept { return *ioc_; }
    static constexpr asio::execution::blocking_t query(asio::execution::blocking_t) noexcept
    {
        return asio::execution::blocking.never;
    }
    loop_executor require(asio::execution::blocking_t::never_t) const noexcept { return *this; }

    friend bool operator==(loop_executor const& a, loop_executor const& b) noexcept
    {
        return a.loop_ == b.loop_;
    }

private:
    event_loop* loop_;
    asio::io_context* ioc_;
};
// end::executor[]

static_assert(asio::execution::is_executor_v<loop_executor>);

} // namespace

BOOST_AUTO_TEST_CASE(fibers_of_the_loop_touch_what_is_the_loops_and_wait_for_what_is_asios)
{
    for (unsigned const threads : {1u, 3u}) {
        {
            event_loop loop;
            asio::io_context ioc;
            auto work = asio::make_work_guard(ioc);
            std::vector<std::thread> workers;
            for (unsigned i = 0; i != threads; ++i)
                workers.emplace_back([&] { ioc.run(); });

            loop_executor const ui(loop, ioc);
            auto const here = std::this_thread::get_id();
            int window = 0; // plain: only the loop's thread may touch it
            int left = 5;
            tally t;
            auto const touch = [&] {
                t.check(std::this_thread::get_id() == here);
                ++window;
            };
            std::vector<std::pair<local_socket, local_socket>> pairs;
            for (int i = 0; i != 4; ++i)
                pairs.push_back(connected_locally(ioc.get_executor()));
            for (auto& [a, b] : pairs) {
                // tag::spawn[]
                spindle::spawn(
                    ui,
                    [&, &s = a] {
                        char text[4];
                        for (int i = 0; i != 50; ++i) {
                            touch(); // what is the loop's, on its thread
                            asio::async_read(s, asio::buffer(text), use_fiber);
                            touch();
                        }
                        --left;
                    },
                    asio::detached);
                // end::spawn[]
                spindle::spawn( // on the workers
                    ioc,
                    [&, &s = b] {
                        for (int i = 0; i != 50; ++i) {
                            t.check(std::this_thread::get_id() != here);
                            asio::async_write(s, asio::buffer("tick", 4), use_fiber);
                        }
                    },
                    asio::detached);
            }
            // A callback as before, that may wait now.
            asio::steady_timer timer(ioc, 1ms);
            timer.async_wait(asio::bind_executor(spindle::fiber_executor(ui), [&](error_code) {
                touch();
                this_fiber::sleep_for(1ms);
                touch();
                --left;
            }));
            auto const end = steady_clock::now() + 20s;
            while (left != 0 && steady_clock::now() < end)
                loop.run_one(end);
            BOOST_TEST(window == 4 * 100 + 2);
            BOOST_TEST(t.bad() == 0u);
            while (loop.run_one(steady_clock::now())) // what is left of the last ones
                ;
            work.reset();
            for (auto& w : workers)
                w.join();
        }
        check_nothing_left();
    }
}
