//
// asio/spawn.cpp
// ~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE asio.spawn
#include <spindle/asio/use_fiber.hpp>
#include <spindle/go.hpp>
#include <spindle/scheduler.hpp>
#include <spindle/spawn.hpp>
#include <spindle/sync/wait_group.hpp>
#include <spindle/this_fiber.hpp>

#include <support/asio_fixture.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/bind_allocator.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/require.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/system_executor.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/test/unit_test.hpp>

#include <atomic>
#include <chrono>
#include <exception>
#include <future>
#include <memory>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <type_traits>

using namespace spindle_test;
using namespace std::chrono_literals;
namespace this_fiber = spindle::this_fiber;
using spindle::spawn;
using spindle::use_fiber;

BOOST_AUTO_TEST_SUITE(spawn_)

// --- overloads, results, tokens ---------------------------------------------------

BOOST_AUTO_TEST_CASE(every_overload_starts_a_fiber)
{
    tally t;
    auto const body = [&] { t.check(this_fiber::is_fiber()); };
    auto const named = [&] { t.check(this_fiber::name() == "mine"); };
    auto const stoppable = [&](std::stop_token st) { t.check(!st.stop_requested()); };
    {
        asio::io_context ioc;
        spawn(ioc, body, asio::detached);
        spawn(ioc, {.name = "mine"}, named, asio::detached);
        spawn(ioc.get_executor(), body, asio::detached);
        spawn(ioc.get_executor(), {.name = "mine"}, named, asio::detached);
        spawn(ioc, stoppable, asio::detached);
        ioc.run();
    }
    BOOST_TEST(t.good() == 5u);
    {
        on_scheduler s(2u);
        spawn(*s, body, asio::detached);
        spawn(*s, {.name = "mine"}, named, asio::detached);
        spawn(s->get_executor(), body, asio::detached);
        spawn(*s, stoppable, asio::detached);
        s.run([&] {
            auto a = spawn(body);
            auto b = spawn({.name = "mine"}, named);
            auto c = spawn(stoppable);
            a.join();
            b.join();
            c.join();
        });
        s->join();
    }
    BOOST_TEST(t.good() == 12u);
    BOOST_TEST(t.bad() == 0u);
}

BOOST_AUTO_TEST_CASE(results_and_exceptions_reach_a_callback)
{
    asio::io_context ioc;
    int calls = 0;
    spawn(ioc, [] {}, [&](std::exception_ptr e) { calls += !e; });
    spawn(
        ioc, [] { return std::make_unique<int>(3); },
        [&](std::exception_ptr e, std::unique_ptr<int> p) { calls += !e && *p == 3; });
    spawn(
        ioc, [] { throw std::runtime_error("x"); }, [&](std::exception_ptr e) { calls += !!e; });
    spawn(
        ioc, []() -> std::string { throw std::runtime_error("x"); },
        [&](std::exception_ptr e, std::string s) { calls += e && s.empty(); });
    auto const lvalue = [&](std::exception_ptr e) { calls += !e; };
    spawn(ioc, [] {}, lvalue);
    BOOST_TEST(calls == 0);
    ioc.run();
    BOOST_TEST(calls == 5);
}

BOOST_AUTO_TEST_CASE(tokens_of_asio_work)
{
    asio::io_context ioc;
    auto value = spawn(ioc, [] { return 4; }, asio::use_future);
    auto failure = spawn(ioc, [] { throw std::runtime_error("x"); }, asio::use_future);
    int awaited = 0, deferred = 0, in_fiber = 0, bound = 0;
    asio::co_spawn(
        ioc,
        [&]() -> asio::awaitable<void> {
            awaited = co_await spawn(
                ioc,
                [] {
                    this_fiber::sleep_for(1ms);
                    return 5;
                },
                asio::use_awaitable);
            try {
                co_await spawn(ioc, [] { throw std::runtime_error("x"); }, asio::use_awaitable);
            } catch (std::runtime_error const&) {
                ++awaited;
            }
        },
        asio::detached);
    auto op = spawn(ioc, [] { return 6; }, asio::deferred);
    std::move(op)([&](std::exception_ptr, int v) { deferred = v; });
    spawn(
        ioc,
        [&] {
            in_fiber = spawn(ioc, [] { return 7; }, use_fiber);
            BOOST_CHECK_THROW(
                spawn(ioc, [] { throw std::runtime_error("x"); }, use_fiber),
                std::runtime_error);
        },
        asio::detached);
    auto const strand = asio::make_strand(ioc);
    spawn(
        ioc, [] {}, asio::bind_executor(strand, [&](std::exception_ptr) {
            bound += strand.running_in_this_thread();
        }));
    spawn(
        ioc, [] {},
        asio::bind_allocator(std::allocator<void>(), [&](std::exception_ptr) { ++bound; }));
    ioc.run();
    BOOST_TEST(value.get() == 4);
    BOOST_CHECK_THROW(failure.get(), std::runtime_error);
    BOOST_TEST(awaited == 6);
    BOOST_TEST(deferred == 6);
    BOOST_TEST(in_fiber == 7);
    BOOST_TEST(bound == 2);
}

BOOST_AUTO_TEST_CASE(it_never_runs_before_spawn_returns_and_frees_its_captures_first)
{
    over_threads([](asio::io_context& ioc, unsigned) {
        auto const captured = std::make_shared<int>(0);
        bool ran = false, gone = false;
        for (bool const bound : {false, true}) {
            ran = gone = false;
            auto const fn = [captured, &ran] { ran = true; };
            auto const completion = [&](std::exception_ptr) {
                gone = captured.use_count() == 2; // this one, and that of `fn` itself
            };
            asio::post(ioc, [&, bound] {
                if (bound)
                    spawn(asio::make_strand(ioc), fn, completion);
                else
                    spawn(ioc, fn, completion);
                BOOST_TEST(!ran);
            });
            ioc.run();
            ioc.restart();
            BOOST_TEST(ran);
            BOOST_TEST(gone);
        }
    });
}

// --- free and bound ---------------------------------------------------------------

BOOST_AUTO_TEST_CASE(which_executors_make_a_fiber_free)
{
    using spindle::detail::free_context;
    asio::io_context ioc;
    asio::thread_pool pool(1);
    auto const ex = ioc.get_executor();
    namespace execution = asio::execution;
    auto const tracked = asio::require(ex, execution::outstanding_work.tracked);
    auto const never = asio::require(ex, execution::blocking.never);
    auto const continuation = asio::prefer(ex, execution::relationship.continuation);
    auto const allocating = asio::require(ex, execution::allocator(std::allocator<int>()));
    struct derived : asio::any_io_executor {
        explicit derived(asio::any_io_executor ex) : any_io_executor(std::move(ex)) {}
    };
    BOOST_TEST(free_context(ex) == &ioc);
    BOOST_TEST(free_context(tracked) == &ioc);
    BOOST_TEST(free_context(never) == &ioc);
    BOOST_TEST(free_context(continuation) == &ioc);
    BOOST_TEST(free_context(asio::any_io_executor(ex)) == &ioc);
    BOOST_TEST(free_context(asio::any_io_executor(tracked)) == &ioc);
    BOOST_TEST(free_context(asio::any_io_executor(never)) == &ioc);
    BOOST_TEST(free_context(derived(ex)) == &ioc);
    BOOST_TEST(!free_context(allocating));
    BOOST_TEST(!free_context(asio::make_strand(ioc)));
    BOOST_TEST(!free_context(asio::any_io_executor(asio::make_strand(ioc))));
    BOOST_TEST(!free_context(pool.get_executor()));
    BOOST_TEST(!free_context(asio::any_io_executor(pool.get_executor())));
    BOOST_TEST(!free_context(asio::system_executor()));
    // All of them run fibers.
    int ran = 0;
    auto const run_on_it = [&](auto e) { spawn(e, [&] { ++ran; }, asio::detached); };
    run_on_it(tracked);
    run_on_it(never);
    run_on_it(derived(ex));
    run_on_it(allocating);
    run_on_it(asio::any_io_executor(asio::make_strand(ioc)));
    while (ran != 5) // `tracked` is work without an end
        BOOST_TEST_REQUIRE(ioc.run_one_for(10s) == 1u);
}

// --- cancellation -----------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_cancellation_of_any_type_stops_it_at_any_stage)
{
    for (auto const type :
         {asio::cancellation_type::terminal, asio::cancellation_type::partial,
          asio::cancellation_type::total})
        for (int const stage : {0, 1, 2, 3, 4, 5})
            BOOST_TEST_CONTEXT("stage " << stage)
            {
                asio::io_context ioc;
                asio::cancellation_signal signal;
                error_code ended;
                bool began = false, completed = false;
                spawn(
                    ioc,
                    [&](std::stop_token st) {
                        began = true;
                        if (stage == 2)
                            signal.emit(type);
                        if (stage == 3) {
                            asio::steady_timer timer(ioc, 1h);
                            timer.async_wait(use_fiber);
                        }
                        if (stage <= 2 || stage == 4)
                            this_fiber::sleep_for(1h);
                        (void)st;
                    },
                    asio::bind_cancellation_slot(signal.slot(), [&](std::exception_ptr e) {
                        completed = true;
                        ended = error_in(e);
                    }));
                if (stage == 0)
                    signal.emit(type);
                if (stage == 1)
                    asio::post(ioc, [&] { signal.emit(type); });
                if (stage >= 3) {
                    while (!began)
                        ioc.run_one();
                    if (stage == 5)
                        ioc.run(); // it is over
                    signal.emit(type);
                }
                ioc.run();
                BOOST_TEST(completed);
                BOOST_TEST((ended == (stage == 5 ? error_code() : aborted)));
            }
    check_nothing_left();
}

// --- children ---------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(children_start_beside_their_parent)
{
    asio::io_context ioc;
    auto const strand = asio::make_strand(ioc);
    tally t;
    spindle::scheduler sched({.processors = 1});
    spawn(
        ioc,
        [&] {
            auto child = spawn([&] { return this_fiber::get_executor() == ioc.get_executor(); });
            t.check(child.join());
        },
        asio::detached);
    spawn(
        strand,
        [&] {
            t.check(strand.running_in_this_thread());
            auto child = spawn([&] { return strand.running_in_this_thread(); });
            t.check(child.join());
        },
        asio::detached);
    asio::post(ioc, [&] {
        spindle::go([&] { t.check(this_fiber::get_executor() == ioc.get_executor()); });
    });
    asio::post(sched.get_executor(), [&] {
        spindle::go([&] { t.check(&this_fiber::get_scheduler() == &sched); });
    });
    ioc.run();
    BOOST_TEST(eventually([&] { return t.good() == 5; }));
    sched.join();
    // A handler of an io_context that has no fibers yet is no place, nor is a thread.
    asio::io_context unknown;
    error_code in_handler;
    asio::post(unknown, [&] { in_handler = error_of([] { spindle::go([] {}); }); });
    unknown.run();
    BOOST_TEST((in_handler == spindle::errc::not_in_fiber));
    BOOST_TEST((error_of([] { spindle::go([] {}); }) == spindle::errc::not_in_fiber));
    BOOST_TEST((error_of([] { (void)spawn([] {}); }) == spindle::errc::not_in_fiber));
}

// --- options ----------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(bad_options_start_nothing_and_a_failed_start_leaves_nothing)
{
    {
        asio::io_context ioc;
        auto const bad = make_error_code(boost::system::errc::invalid_argument);
        for (std::size_t const size : {std::size_t{1}, std::size_t{16 * 1024 - 1},
                                       (std::size_t{1} << 30) + 1})
            BOOST_TEST(
                (error_of([&] { spawn(ioc, {.stack_size = size}, [] {}, asio::detached); })
                 == bad));

        // A function that throws when it is moved into the fiber.
        struct throws {
            throws() = default;
            throws(throws const&) { throw std::runtime_error("no copy"); }
            void operator()() const {}
        } const fn;
        BOOST_CHECK_THROW(
            spawn(ioc, {.name = "never"}, fn, asio::detached), std::runtime_error);
        struct throws_later {
            explicit throws_later(int n) : left(n) {}
            throws_later(throws_later const& o) : left(o.left - 1)
            {
                if (left < 0)
                    throw std::runtime_error("no more copies");
            }
            int left;
            void operator()() const {}
        };
        for (int copies = 0; copies != 6; ++copies)
            try {
                spawn(ioc, {.name = "never"}, throws_later(copies), asio::detached);
            } catch (std::runtime_error const&) {
            }
        std::string name = "?";
        spawn(ioc, [&] { name = this_fiber::name(); }, asio::detached);
        ioc.run();
        BOOST_TEST(name == "");
    }
    check_nothing_left();
}

BOOST_AUTO_TEST_CASE(a_stack_has_the_size_that_was_asked_for)
{
    asio::io_context ioc;
    bool deep = false;
    spawn(
        ioc, {.stack_size = 8 << 20},
        [&] {
            char volatile big[6 << 20];
            for (std::size_t i = 0; i < sizeof big; i += 4096)
                big[i] = 1;
            deep = big[4096] == 1;
        },
        asio::detached);
    spawn(ioc, {.stack_size = 16 * 1024}, [] {}, asio::detached);
    ioc.run();
    BOOST_TEST(deep);
}

BOOST_AUTO_TEST_SUITE_END()
