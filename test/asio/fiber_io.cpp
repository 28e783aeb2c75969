//
// asio/fiber_io.cpp
// ~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE asio.fiber_io
#include <spindle/asio/use_fiber.hpp>
#include <spindle/scheduler.hpp>
#include <spindle/spawn.hpp>
#include <spindle/sync/wait_group.hpp>
#include <spindle/this_fiber.hpp>

#include <support/asio_fixture.hpp>
#include <support/waiting.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/cancellation_type.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/asio/write.hpp>
#include <boost/test/unit_test.hpp>
#include <boost/version.hpp>

#if BOOST_VERSION >= 108200
#include <boost/asio/bind_immediate_executor.hpp>
#endif

#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

using namespace spindle_test;
using namespace std::chrono_literals;
namespace this_fiber = spindle::this_fiber;
using spindle::use_fiber;
using spindle::detail::wait_reason;

BOOST_AUTO_TEST_SUITE(fiber_io)

namespace {

// Lets a fiber wait, and stops it at some moment: from a fiber, from a handler
// or from a plain thread. What it returns says whether it was stopped; it ends
// exactly once, and each of these was right.
template <class Wait>
void stops_against(char const* name, std::size_t rounds, Wait wait)
{
    auto const s = seed();
    BOOST_TEST_CONTEXT(name << ", seed " << s)
    {
        {
            asio::io_context ioc;
            tally t;
            std::atomic<std::size_t> stopped{0};
            for (unsigned pair = 0; pair != 8; ++pair)
                spindle::spawn(
                    ioc,
                    [&, pair] {
                        std::mt19937_64 random(s + pair);
                        for (std::size_t i = 0; i != rounds / 8; ++i) {
                            auto const us = random() % 30;
                            auto const by = random() % 3;
                            auto child = spindle::spawn([&] {
                                auto const ec = error_of([&] { wait(ioc); });
                                t.check(!ec || ec == aborted);
                                stopped += ec == aborted;
                            });
                            if (by == 0) {
                                for (auto k = us; k-- > 0;)
                                    this_fiber::yield();
                                child.request_stop();
                            } else if (by == 1) {
                                spindle::wait_group asked(1);
                                asio::post(ioc, [&] {
                                    child.request_stop();
                                    asked.done();
                                });
                                asked.wait();
                            } else {
                                this_fiber::sleep_for(std::chrono::microseconds(us));
                                child.request_stop();
                            }
                            (void)error_of([&] { child.join(); });
                        }
                    },
                    asio::detached);
            run_on(ioc, 4);
            BOOST_TEST(t.good() == rounds / 8 * 8);
            BOOST_TEST(t.bad() == 0u);
            BOOST_TEST_MESSAGE(name << ": " << stopped << " of " << rounds << " stopped");
        }
        check_nothing_left();
    }
}

constexpr std::size_t many = scaled(8'000);

} // namespace

BOOST_AUTO_TEST_CASE(a_stop_meets_a_timer)
{
    stops_against("timer", many, [](asio::io_context& ioc) {
        asio::steady_timer timer(ioc, 15us);
        timer.async_wait(use_fiber);
    });
}

BOOST_AUTO_TEST_CASE(a_stop_meets_a_sleep)
{
    stops_against("sleep", many, [](asio::io_context&) { this_fiber::sleep_for(15us); });
}

BOOST_AUTO_TEST_CASE(a_stop_meets_an_accept)
{
    stops_against("accept", many / 8, [](asio::io_context& ioc) {
        tcp::acceptor acceptor(ioc, {asio::ip::address_v4::loopback(), 0});
        tcp::socket client(ioc);
        client.connect(acceptor.local_endpoint());
        auto const s = acceptor.async_accept(use_fiber);
    });
}

namespace {

// Bytes that a fiber reads are counted by value: none is lost, none comes twice.
template <class Read>
void stopped_readers_lose_nothing(char const* name, Read read)
{
    stops_against(name, many / 4, [&](asio::io_context& ioc) {
        auto [a, b] = connected_locally(ioc.get_executor());
        auto writer = spindle::spawn([&a = a] {
            std::array<char, 600> text;
            text.fill('y');
            text.back() = '\n';
            for (int i = 0; i != 3; ++i) {
                a.write_some(asio::buffer(text.data() + 200 * i, 200));
                this_fiber::yield();
            }
        });
        read(b);
        writer.join();
    });
}

} // namespace

BOOST_AUTO_TEST_CASE(a_stop_meets_a_read)
{
    stopped_readers_lose_nothing("read_some", [](local_socket& s) {
        std::array<char, 600> text;
        s.async_read_some(asio::buffer(text), use_fiber);
    });
}

BOOST_AUTO_TEST_CASE(a_stop_meets_a_composed_read)
{
    stopped_readers_lose_nothing("async_read", [](local_socket& s) {
        std::array<char, 600> text;
        asio::async_read(s, asio::buffer(text), use_fiber);
    });
    stopped_readers_lose_nothing("async_read_until", [](local_socket& s) {
        std::string text;
        asio::async_read_until(s, asio::dynamic_buffer(text), '\n', use_fiber);
    });
}

BOOST_AUTO_TEST_CASE(a_stop_meets_a_composed_read_on_a_strand_of_the_users)
{
    stopped_readers_lose_nothing("async_read, strand", [](local_socket& s) {
        std::array<char, 600> text;
        asio::async_read(
            s, asio::buffer(text),
            asio::bind_executor(asio::make_strand(s.get_executor()), use_fiber));
    });
}

#if BOOST_VERSION >= 108200
BOOST_AUTO_TEST_CASE(a_stop_meets_a_composed_read_on_an_immediate_executor_of_the_users)
{
    stopped_readers_lose_nothing("async_read, immediate executor", [](local_socket& s) {
        std::array<char, 600> text;
        asio::async_read(
            s, asio::buffer(text),
            asio::bind_immediate_executor(asio::make_strand(s.get_executor()), use_fiber));
    });
}
#endif

BOOST_AUTO_TEST_CASE(a_stop_meets_a_composed_write)
{
    stops_against("async_write", many / 16, [](asio::io_context& ioc) {
        auto [a, b] = connected_locally(ioc.get_executor());
        auto reader = spindle::spawn([&b = b] {
            std::array<char, 60'000> text;
            error_code ec;
            while (!ec)
                b.async_read_some(asio::buffer(text), use_fiber[ec]);
        });
        std::vector<char> const text(1'000'000);
        error_code ec;
        asio::async_write(a, asio::buffer(text), use_fiber[ec]);
        a.close();
        if (ec)
            throw system_error(ec);
    });
}

namespace {

// A fiber is stopped while a handler of its operation runs on a thread that is not its
// own: as an intermediate one, it may change what the cancellation slot is connected to.
// `executor_of(handler, ioc)` is where it runs.
template <class Token, class ExecutorOf>
void a_stop_is_not_beside_a_handler(Token token, ExecutorOf executor_of)
{
    asio::io_context ioc;
    std::atomic<bool> inside{false}, asked{false};
    auto beside = false;
    spindle::spawn(
        ioc,
        [&] {
            auto child = spindle::spawn([&] {
                return std::get<0>(asio::async_initiate<Token, void(error_code)>(
                    [&](auto handler) {
                        asio::get_associated_cancellation_slot(handler).assign(
                            [&](asio::cancellation_type) { beside = beside || inside; });
                        auto const ex = executor_of(handler, ioc);
                        asio::post(ex, [&, h = std::move(handler)]() mutable {
                            inside = true;
                            (void)eventually([&] { return asked.load(); });
                            inside = false;
                            std::move(h)(error_code());
                        });
                    },
                    token));
            });
            while (!inside)
                this_fiber::sleep_for(100us);
            child.request_stop();
            asked = true;
            BOOST_TEST(!child.join());
        },
        asio::detached);
    ioc.run();
    BOOST_TEST(!beside);
}

} // namespace

BOOST_AUTO_TEST_CASE(a_stop_is_not_beside_a_handler_on_an_executor_of_the_users)
{
    asio::thread_pool pool(1);
    a_stop_is_not_beside_a_handler(
        asio::bind_executor(pool.get_executor(), asio::as_tuple(use_fiber)),
        [](auto const& handler, asio::io_context& ioc) {
            return asio::get_associated_executor(handler, ioc.get_executor());
        });
#if BOOST_VERSION >= 108200
    a_stop_is_not_beside_a_handler(
        asio::bind_immediate_executor(pool.get_executor(), asio::as_tuple(use_fiber)),
        [](auto const& handler, asio::io_context& ioc) {
            return asio::get_associated_immediate_executor(handler, ioc.get_executor());
        });
#endif
}

// --- where handlers run --------------------------------------------------------------

namespace {

enum class holder { starter, stopper };

// An intermediate handler comes to its executor while the fiber's lock is taken: by the
// fiber, which is not out of its initiation, or by somebody who stops it. It runs there
// all the same. `fiber_on` is where the fiber runs; the handler's executor has one thread,
// that of `pool`.
template <class Executor, class Token>
void a_handler_goes_back_to_its_executor(
    holder who, asio::thread_pool& pool, Executor const& fiber_on, Token token)
{
    std::thread::id ran_on;
    asio::cancellation_signal stop;
    auto over = spindle::spawn(
        fiber_on,
        [&] {
            asio::async_initiate<Token, void()>(
                [&](auto h) {
                    auto slot = asio::get_associated_cancellation_slot(h);
                    auto const ex = asio::get_associated_executor(h);
                    auto come_too_early = [&, ex, h = std::move(h)]() mutable {
                        asio::post(ex, [&, h = std::move(h)]() mutable {
                            ran_on = std::this_thread::get_id();
                            std::move(h)();
                        });
                        // One after the other: this one says that the first was there.
                        asio::post(pool, asio::use_future([] {})).wait();
                    };
                    if (who == holder::starter)
                        come_too_early();
                    else
                        slot.assign([f = std::make_shared<decltype(come_too_early)>(
                                         std::move(come_too_early))](asio::cancellation_type) {
                            (*f)();
                        });
                },
                token);
        },
        asio::bind_cancellation_slot(stop.slot(), asio::use_future));
    if (who == holder::stopper) {
        BOOST_TEST(eventually([] { return fibers_in(wait_reason::operation) == 1; }));
        stop.emit(asio::cancellation_type::all);
    }
    over.get();
    BOOST_TEST((ran_on == asio::post(pool, asio::use_future([] {
                    return std::this_thread::get_id();
                })).get()));
}

} // namespace

BOOST_AUTO_TEST_CASE(a_handler_that_finds_the_lock_taken_goes_back_to_its_executor)
{
    asio::thread_pool elsewhere(1), pool(1);
    auto const on_pool = asio::bind_executor(pool.get_executor(), use_fiber);
    auto const on_strand = asio::bind_executor(asio::make_strand(pool), use_fiber);
    for (auto const who : {holder::starter, holder::stopper}) {
        a_handler_goes_back_to_its_executor(who, pool, elsewhere.get_executor(), on_pool);
        a_handler_goes_back_to_its_executor(who, pool, elsewhere.get_executor(), on_strand);
    }
    a_handler_goes_back_to_its_executor(
        holder::stopper, pool, asio::make_strand(pool), use_fiber);
}

// As libraries do that give a handler an executor where it has none.
BOOST_AUTO_TEST_CASE(a_handler_may_be_bound_to_its_own_executor_again)
{
    asio::thread_pool pool(2);
    auto const wait = [] {
        auto token = use_fiber;
        asio::async_initiate<spindle::use_fiber_t<>, void()>(
            [](auto h) {
                asio::any_io_executor const ex(asio::get_associated_executor(h));
                auto again = asio::bind_executor(ex, std::move(h));
                auto const outer = asio::get_associated_executor(again);
                asio::post(outer, [outer, again = std::move(again)]() mutable {
                    asio::dispatch(outer, std::move(again));
                });
            },
            token);
    };
    spindle::spawn(pool.get_executor(), wait, asio::use_future).get();
    spindle::spawn(asio::make_strand(pool), wait, asio::use_future).get();
    asio::io_context ioc;
    spindle::spawn(ioc, wait, asio::detached);
    ioc.run();
}

// --- stops that stay --------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_stop_is_sticky)
{
    over_threads([](asio::io_context& ioc, unsigned threads) {
        tally t;
        spindle::spawn(
            ioc,
            [&] {
                auto child = spindle::spawn([&] {
                    asio::steady_timer timer(ioc, 1h);
                    for (int i = 0; i != 100; ++i) {
                        t.check(error_of([&] { timer.async_wait(use_fiber); }) == aborted);
                        t.check(error_of([] { this_fiber::sleep_for(1h); }) == aborted);
                        auto const [ec] = timer.async_wait(asio::as_tuple(use_fiber));
                        t.check(ec == aborted);
                        t.check(this_fiber::stop_requested());
                    }
                    t.check(timer.cancel() == 0); // nothing was started
                });
                this_fiber::sleep_for(1ms);
                child.request_stop();
                child.join();
            },
            asio::detached);
        run_on(ioc, threads);
        BOOST_TEST(t.good() == 401u);
        BOOST_TEST(t.bad() == 0u);
    });
}

BOOST_AUTO_TEST_CASE(a_stopped_fiber_that_goes_on_starves_nobody)
{
    asio::io_context ioc;
    bool done = false;
    spindle::spawn(
        ioc,
        [&] {
            auto child = spindle::spawn([&] {
                while (!done)
                    (void)error_of([] { this_fiber::sleep_for(1h); });
            });
            child.request_stop();
            this_fiber::sleep_for(1ms);
            done = true;
            child.join();
        },
        asio::detached);
    ioc.run();
    BOOST_TEST(done);
}

BOOST_AUTO_TEST_CASE(a_scheduler_stops_many_parked_fibers)
{
    for (auto const n : processor_counts) {
        tally t;
        {
            on_scheduler s(n);
            std::atomic<std::size_t> parked{0};
            constexpr std::size_t fibers = scaled(4'000);
            for (std::size_t i = 0; i != fibers; ++i)
                spindle::spawn(
                    *s,
                    [&, i] {
                        ++parked;
                        if (i % 2 == 0)
                            t.check(error_of([] { this_fiber::sleep_for(1h); }) == aborted);
                        else
                            t.check(error_of([] {
                                asio::steady_timer timer(this_fiber::get_executor(), 1h);
                                timer.async_wait(use_fiber);
                            }) == aborted);
                    },
                    asio::detached);
            BOOST_TEST(eventually([&] { return parked == fibers; }));
            s->stop();
            s->join();
            BOOST_TEST(t.good() == fibers);
        }
        BOOST_TEST(t.bad() == 0u);
    }
}

BOOST_AUTO_TEST_SUITE_END()
