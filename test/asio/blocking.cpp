//
// asio/blocking.cpp
// ~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE asio.blocking
#include <spindle/asio/use_fiber.hpp>
#include <spindle/attach.hpp>
#include <spindle/blocking.hpp>
#include <spindle/go.hpp>
#include <spindle/run.hpp>
#include <spindle/spawn.hpp>
#include <spindle/sync/wait_group.hpp>
#include <spindle/this_fiber.hpp>

#include <support/asio_fixture.hpp>
#include <support/cpu_time.hpp>

#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/write.hpp>
#include <boost/test/unit_test.hpp>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <future>
#include <latch>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

using namespace spindle_test;
using namespace std::chrono_literals;
namespace this_fiber = spindle::this_fiber;

BOOST_AUTO_TEST_SUITE(blocking)

namespace {

// What comes back: everything that a call may leave behind.
void check_what_comes_back(tally& t)
{
    t.check(spindle::blocking([] { return 7; }) == 7);
    auto p = spindle::blocking([] { return std::make_unique<int>(8); });
    t.check(*p == 8);
    auto const text = std::make_unique<std::string>("nine");
    t.check(&spindle::blocking([&]() -> std::string& { return *text; }) == text.get());
    bool called = false;
    spindle::blocking([&] { called = true; });
    t.check(called);
    t.check(spindle::blocking([p = std::move(p)]() mutable { return *p; }) == 8);
    try {
        spindle::blocking([]() -> int { throw std::runtime_error("ten"); });
        t.check(false);
    } catch (std::runtime_error const& e) {
        t.check(std::string_view(e.what()) == "ten");
    }
    spindle::blocking([] { errno = ENOENT; });
    t.check(errno == ENOENT);
}

// The text that refuses a wait.
template <class Function>
std::string refusal(Function&& f)
{
    try {
        f();
    } catch (system_error const& e) {
        if (e.code() == spindle::errc::not_in_fiber)
            return e.what();
    }
    return {};
}

bool refuses_inside_blocking(std::string const& text)
{
    return text.find("inside blocking()") != text.npos;
}

// A thread's sleep until somebody sets it.
class gate {
public:
    void open() { promise_.set_value(); }
    void pass() const { future_.wait(); }

private:
    std::promise<void> promise_;
    std::shared_future<void> future_{promise_.get_future()};
};

} // namespace

BOOST_AUTO_TEST_CASE(what_a_call_leaves_comes_back)
{
    tally t;
    over_processors([&] { check_what_comes_back(t); });
    check_what_comes_back(t); // a plain thread
    BOOST_TEST(t.good() == 5u * 7u);
    BOOST_TEST(t.bad() == 0u);
}

BOOST_AUTO_TEST_CASE(the_same_when_the_processor_has_gone)
{
    over_processors([](spindle::scheduler& s) {
        tally t;
        // Each call lasts until its processor is with somebody else, which needs a
        // reason: Asio has something to do there.
        auto const after_handoff = [&](auto fn) {
            auto const before = s.stats().handoffs;
            asio::steady_timer timer(this_fiber::get_executor(), 1h);
            timer.async_wait([](error_code) {});
            return spindle::blocking([&] {
                while (s.stats().handoffs == before)
                    std::this_thread::yield();
                return fn();
            });
        };
        t.check(after_handoff([] { return 7; }) == 7);
        try {
            after_handoff([]() -> int { throw std::runtime_error("ten"); });
            t.check(false);
        } catch (std::runtime_error const& e) {
            t.check(std::string_view(e.what()) == "ten");
        }
        after_handoff([] { return errno = ENOENT; });
        t.check(errno == ENOENT);
        BOOST_TEST(t.good() == 3u);
        BOOST_TEST(t.bad() == 0u);
        BOOST_TEST(s.stats().handoffs >= 3u);
    });
}

// As many calls as processors and more, and the one that ends them comes last.
BOOST_AUTO_TEST_CASE(calls_hold_up_nobody)
{
    for (auto const n : processor_counts)
        BOOST_TEST_CONTEXT(n << " processors")
        {
            on_scheduler s(n);
            gate g;
            std::atomic<unsigned> inside{0};
            s.run([&] {
                spindle::wait_group group;
                for (unsigned i = 0; i != 3 * n; ++i)
                    group.go([&] {
                        spindle::blocking([&] {
                            ++inside;
                            g.pass();
                        });
                    });
                group.go([&] {
                    while (inside != 3 * n)
                        this_fiber::yield();
                    this_fiber::sleep_for(1ms);
                    g.open();
                });
                group.wait();
            });
            BOOST_TEST(s->stats().threads >= n);
            BOOST_TEST(s->stats().handoffs >= 2 * n);
        }
}

// Nothing to run, but sockets and sleepers that belong to the processor which blocks.
BOOST_AUTO_TEST_CASE(sockets_and_sleepers_are_served_meanwhile)
{
    over_processors([](spindle::scheduler& s) {
        gate g;
        std::atomic<int> rounds{0};
        auto [x, y] = connected_locally(this_fiber::get_executor());
        auto echo = spindle::spawn([&y = y, &rounds] {
            std::array<char, 1> c;
            while (rounds != 20) {
                if (y.async_read_some(asio::buffer(c), spindle::use_fiber) == 0)
                    break;
                asio::async_write(y, asio::buffer(c), spindle::use_fiber);
                ++rounds;
            }
        });
        auto ends = spindle::spawn([&] {
            while (rounds != 20)
                this_fiber::sleep_for(100us);
            g.open();
        });
        std::thread peer([&x = x] { // a thread: it needs no processor
            std::array<char, 1> c{'a'};
            for (int i = 0; i != 20; ++i) {
                asio::write(x, asio::buffer(c));
                asio::read(x, asio::buffer(c));
            }
        });
        spindle::blocking([&] { g.pass(); });
        echo.join();
        ends.join();
        spindle::blocking([&] { peer.join(); });
        BOOST_TEST(rounds == 20);
        BOOST_TEST(s.stats().handoffs >= 1u);
    });
}

// The monitor goes on looking, as rarely as it can.
BOOST_AUTO_TEST_CASE(a_long_call_that_keeps_nothing_waiting_costs_nothing)
{
    on_scheduler s(2u);
    std::promise<void> promise;
    auto future = promise.get_future();
    std::atomic<bool> begun{false};
    spindle::spawn(
        *s,
        [&] {
            spindle::blocking([&] {
                begun = true;
                future.wait();
            });
        },
        asio::detached);
    BOOST_TEST(eventually([&] { return begun.load(); }));
    BOOST_TEST((cpu_time_during(250ms) < 25ms));
    promise.set_value();
    s->join();
}

BOOST_AUTO_TEST_CASE(nothing_parks_inside)
{
    over_processors([] {
        spindle::wait_group group(1);
        spindle::blocking([&] {
            BOOST_TEST(refuses_inside_blocking(refusal([] { this_fiber::yield(); })));
            BOOST_TEST(refuses_inside_blocking(refusal([] { this_fiber::sleep_for(1ms); })));
            BOOST_TEST(refuses_inside_blocking(refusal([&] { group.wait(); })));
            BOOST_TEST(refuses_inside_blocking(refusal([] {
                asio::steady_timer timer(this_fiber::get_executor(), 1ms);
                timer.async_wait(spindle::use_fiber);
            })));
            BOOST_TEST(spindle::blocking([] { return 1; }) == 1); // one inside another
            BOOST_TEST(!this_fiber::is_fiber());
            spindle::go([&] { group.done(); }); // parks nobody
        });
        BOOST_TEST(this_fiber::is_fiber());
        group.wait();
    });
}

BOOST_AUTO_TEST_CASE(a_handler_may_not_block)
{
    on_scheduler s(1u);
    std::promise<std::string> text;
    asio::post(s->get_executor(), [&] { text.set_value(refusal([] { spindle::blocking([] {}); })); });
    auto const said = text.get_future().get();
    BOOST_TEST(said.find("handler") != said.npos, said);
}

BOOST_AUTO_TEST_CASE(threads_are_limited_and_nothing_is_lost)
{
    for (unsigned const n : {1u, 2u}) {
        for (unsigned const most : {n, n + 2}) {
            on_scheduler s({.processors = n, .max_threads = most});
            std::atomic<int> ended{0};
            std::atomic<unsigned> inside{0}, highest{0};
            s.run([&] {
                spindle::wait_group group;
                for (int i = 0; i != 60; ++i)
                    group.go([&] {
                        spindle::blocking([&] {
                            auto const here = ++inside;
                            for (auto h = highest.load(); h < here;)
                                highest.compare_exchange_weak(h, here);
                            std::this_thread::sleep_for(500us);
                            --inside;
                        });
                        ++ended;
                    });
                group.wait();
            });
            BOOST_TEST(ended == 60);
            BOOST_TEST(highest <= most);
            BOOST_TEST(s->stats().threads <= most);
        }
    }
    BOOST_TEST(
        (error_of([] { spindle::scheduler({.processors = 2, .max_threads = 1}); })
         == spindle::errc::thread_limit));
}

BOOST_AUTO_TEST_CASE(ten_thousand_calls_share_the_threads_that_there_may_be)
{
    for (unsigned const n : {1u, 2u}) {
        constexpr unsigned most = 40;
        on_scheduler s({.processors = n, .max_threads = most});
        std::atomic<int> ended{0};
        s.run([&] {
            spindle::wait_group group;
            for (int i = 0; i != 10'000; ++i)
                group.go([&] {
                    spindle::blocking([] { std::this_thread::sleep_for(1ms); });
                    ++ended;
                });
            group.wait();
        });
        BOOST_TEST(ended == 10'000);
        BOOST_TEST(s->stats().threads <= most);
    }
}

BOOST_AUTO_TEST_CASE(spare_threads_leave_after_a_while)
{
    on_scheduler s(2u);
    s.run([&] {
        spindle::wait_group group;
        std::latch all_there(8); // waited for on the threads: each call needs one
        for (int i = 0; i != 8; ++i)
            group.go([&] {
                spindle::blocking([&] { all_there.arrive_and_wait(); });
            });
        group.wait();
        BOOST_TEST(s->stats().threads >= 8u);
        auto const end = std::chrono::steady_clock::now() + 60s;
        while (s->stats().threads > 3 && std::chrono::steady_clock::now() < end)
            this_fiber::sleep_for(20ms);
        BOOST_TEST(s->stats().threads <= 3u); // the processors', and one that came last
    });
}

BOOST_AUTO_TEST_CASE(threads_are_used_again)
{
    on_scheduler s(2u);
    s.run([&] {
        spindle::wait_group other(1);
        for (int i = 0; i != 200; ++i)
            spindle::blocking([&] { std::this_thread::sleep_for(50us); });
        other.done();
    });
    BOOST_TEST(s->stats().threads <= 6u);
}

BOOST_AUTO_TEST_CASE(the_callers_thread_comes_back)
{
    for (auto const n : processor_counts) {
        auto const here = std::this_thread::get_id();
        spindle::run(
            [&] {
                spindle::wait_group group;
                for (int i = 0; i != 10; ++i)
                    group.go([] {
                        spindle::blocking([] { std::this_thread::sleep_for(300us); });
                    });
                spindle::blocking([] { std::this_thread::sleep_for(2ms); });
                group.wait();
            },
            {.processors = n});
        BOOST_TEST((here == std::this_thread::get_id()));
    }
    check_nothing_left();
}

// --- where threads are not ours --------------------------------------------------------

BOOST_AUTO_TEST_CASE(on_an_io_context_the_fiber_parks)
{
    asio::io_context ioc;
    tally t;
    gate g;
    auto const runs_here = std::this_thread::get_id();
    spindle::spawn(
        ioc,
        [&] {
            check_what_comes_back(t);
            auto const ran = spindle::blocking([&] {
                g.pass();
                return std::this_thread::get_id();
            });
            t.check(ran != runs_here);
        },
        asio::detached);
    spindle::spawn(
        ioc,
        [&] {
            this_fiber::sleep_for(1ms);
            g.open();
        },
        asio::detached);
    ioc.run();
    BOOST_TEST(t.good() == 8u);
    BOOST_TEST(t.bad() == 0u);
}

BOOST_AUTO_TEST_CASE(a_bound_fiber_parks_too)
{
    auto const check = [](auto const& strand, auto run) {
        gate g;
        std::atomic<bool> ended{false};
        spindle::spawn(
            strand,
            [&] {
                spindle::blocking([&] { g.pass(); });
                ended = true;
            },
            asio::detached);
        asio::post(strand, [&] { g.open(); }); // the strand is free meanwhile
        run();
        BOOST_TEST(ended);
    };
    asio::io_context ioc;
    check(asio::make_strand(ioc), [&] { ioc.run(); });
    on_scheduler s(1u);
    check(asio::make_strand(s->get_executor()), [&] { s->join(); });
}

BOOST_AUTO_TEST_CASE(an_io_context_that_goes_waits_for_its_calls)
{
    gate g;
    std::atomic<bool> ended{false};
    std::thread opens;
    {
        asio::io_context ioc;
        spindle::spawn(
            ioc,
            [&] {
                spindle::blocking([&] { g.pass(); });
                ended = true;
            },
            asio::detached);
        ioc.poll();
        opens = std::thread([&] { g.open(); });
    }
    opens.join();
    BOOST_TEST(ended);
    check_nothing_left();
}

BOOST_AUTO_TEST_CASE(more_calls_than_threads_on_an_io_context)
{
    asio::io_context ioc;
    spindle::attach(ioc, {.processors = 1, .max_threads = 2});
    std::atomic<int> ended{0}, inside{0}, wrong{0};
    for (int i = 0; i != 20; ++i)
        spindle::spawn(
            ioc,
            [&] {
                spindle::blocking([&] {
                    wrong += ++inside > 2;
                    std::this_thread::sleep_for(200us);
                    --inside;
                });
                ++ended;
            },
            asio::detached);
    ioc.run();
    BOOST_TEST(ended == 20);
    BOOST_TEST(wrong == 0);
}

BOOST_AUTO_TEST_CASE(futures_are_waited_for)
{
    over_processors([] {
        std::promise<int> promise;
        auto future = promise.get_future();
        spindle::go([&] { promise.set_value(11); });
        BOOST_TEST(spindle::get(future) == 11);
        std::promise<void> none;
        none.set_value();
        spindle::get(none.get_future());
    });
}

// One thread: if the fiber that waits kept it, nobody would fulfil the promise.
BOOST_AUTO_TEST_CASE(a_future_is_waited_for_without_the_thread_of_an_io_context)
{
    int got = 0;
    std::string error;
    {
        asio::io_context ioc;
        std::promise<int> promise, broken;
        spindle::spawn(
            ioc,
            [&, future = promise.get_future(), none = broken.get_future()]() mutable {
                got = spindle::get(future);
                try {
                    spindle::get(none);
                } catch (std::runtime_error const& e) {
                    error = e.what();
                }
            },
            asio::detached);
        spindle::spawn(
            ioc,
            [&] {
                promise.set_value(7);
                this_fiber::sleep_for(1ms);
                broken.set_exception(std::make_exception_ptr(std::runtime_error("broken")));
            },
            asio::detached);
        ioc.run();
    }
    BOOST_TEST(got == 7);
    BOOST_TEST(error == "broken");
    check_nothing_left();
}

BOOST_AUTO_TEST_SUITE_END()
