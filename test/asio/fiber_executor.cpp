//
// asio/fiber_executor.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE asio.fiber_executor
#include <spindle/asio/fiber_executor.hpp>
#include <spindle/asio/use_fiber.hpp>
#include <spindle/attach.hpp>
#include <spindle/chan/channel.hpp>
#include <spindle/spawn.hpp>
#include <spindle/sync/wait_group.hpp>
#include <spindle/this_fiber.hpp>

#include <support/asio_fixture.hpp>
#include <support/child.hpp>
#include <support/handlers.hpp>
#include <support/waiting.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_allocator.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/defer.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/test/unit_test.hpp>

#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

using namespace spindle_test;
using namespace std::chrono_literals;
using spindle::fiber_executor;
using spindle::use_fiber;
namespace execution = asio::execution;
namespace this_fiber = spindle::this_fiber;

// --- what it is ---------------------------------------------------------------------

namespace {

using context_executor = asio::io_context::executor_type;
using strand_of_context = asio::strand<context_executor>;
using of_context = fiber_executor<context_executor>;
using of_strand = fiber_executor<strand_of_context>;
using of_any = fiber_executor<asio::any_io_executor>;

template <class Executor>
constexpr bool is_good = execution::is_executor_v<Executor>
    && std::is_nothrow_copy_constructible_v<Executor>
    && std::is_nothrow_move_constructible_v<Executor>
    && noexcept(std::declval<Executor const&>() == std::declval<Executor const&>())
    && std::is_constructible_v<asio::any_io_executor, Executor>;

static_assert(is_good<of_context>);
static_assert(is_good<of_strand>);
static_assert(is_good<of_any>);
static_assert(is_good<fiber_executor<asio::thread_pool::executor_type>>);
static_assert(is_good<asio::strand<of_context>>);

template <class Property>
constexpr bool can_require = asio::can_require_v<of_context const&, Property>;
template <class Property>
constexpr bool can_prefer = asio::can_prefer_v<of_context const&, Property>;

static_assert(can_require<execution::blocking_t::never_t>);
static_assert(!can_require<execution::blocking_t::possibly_t>);
static_assert(!can_require<execution::blocking_t::always_t>);
static_assert(can_prefer<execution::blocking_t::possibly_t>);
static_assert(can_require<execution::relationship_t::fork_t>);
static_assert(can_require<execution::relationship_t::continuation_t>);
static_assert(can_require<execution::outstanding_work_t::tracked_t>);
static_assert(can_require<execution::outstanding_work_t::untracked_t>);
static_assert(can_require<execution::allocator_t<void>>);
static_assert(can_require<execution::allocator_t<std::allocator<int>>>);
static_assert(can_require<execution::mapping_t::other_t>);
static_assert(!can_require<execution::mapping_t::thread_t>);

} // namespace

BOOST_AUTO_TEST_CASE(its_properties_are_its_own_or_those_of_the_executor_below)
{
    asio::io_context ioc;
    fiber_executor const ex(ioc);
    BOOST_TEST(&asio::query(ex, execution::context) == &ioc);
    BOOST_TEST((asio::query(ex, execution::blocking) == execution::blocking.never));
    BOOST_TEST((asio::query(ex, execution::mapping) == execution::mapping.other));
    BOOST_TEST((asio::query(ex, execution::relationship) == execution::relationship.fork));
    BOOST_TEST(
        (asio::query(ex, execution::outstanding_work) == execution::outstanding_work.untracked));

    auto const on = asio::require(ex, execution::relationship.continuation);
    BOOST_TEST((asio::query(on, execution::relationship) == execution::relationship.continuation));
    auto const possibly = asio::prefer(ex, execution::blocking.possibly);
    BOOST_TEST((asio::query(possibly, execution::blocking) == execution::blocking.never));
    BOOST_TEST((possibly == ex));
    BOOST_TEST((asio::require(ex, execution::blocking.never) == ex));

    account a;
    counting_allocator<int> const mine(a);
    auto const with = asio::require(ex, execution::allocator(mine));
    BOOST_TEST((asio::query(with, execution::allocator) == mine));
    BOOST_TEST((asio::require(with, execution::allocator) == ex)); // the default one again

    of_any const any(ioc.get_executor());
    BOOST_TEST(&asio::query(any, execution::context) == &ioc);
    asio::any_io_executor const erased = ex;
    BOOST_TEST(&asio::query(erased, execution::context) == &ioc);
    BOOST_TEST(erased.target<of_context>()->get_inner_executor().running_in_this_thread() == false);
}

BOOST_AUTO_TEST_CASE(two_are_equal_if_what_is_below_is)
{
    asio::io_context one, other;
    BOOST_TEST((fiber_executor(one) == fiber_executor(one.get_executor())));
    BOOST_TEST((fiber_executor(one) != fiber_executor(other)));
    asio::any_io_executor const a = fiber_executor(one), b = fiber_executor(one);
    BOOST_TEST((a == b));
    BOOST_TEST((a != asio::any_io_executor(fiber_executor(other))));
    auto const strand = asio::make_strand(one), another = asio::make_strand(one);
    BOOST_TEST((fiber_executor(strand) == fiber_executor(strand)));
    BOOST_TEST((fiber_executor(strand) != fiber_executor(another)));
    // A copy is a copy, and no adaptor around an adaptor.
    fiber_executor const first(one);
    fiber_executor const copy(first);
    static_assert(std::is_same_v<decltype(copy), of_context const>);
}

BOOST_AUTO_TEST_CASE(tracked_it_keeps_the_io_context_running)
{
    asio::io_context ioc;
    auto held = std::optional(
        asio::require(fiber_executor(ioc), execution::outstanding_work.tracked));
    BOOST_TEST(ioc.poll() == 0u);
    BOOST_TEST(!ioc.stopped());
    held.reset();
    ioc.poll();
    BOOST_TEST(ioc.stopped());
}

// --- what it does -------------------------------------------------------------------

namespace {

// Submits by every way there is what can only end in fibers.
template <class Executor>
void everything_waits(Executor const& ex, tally& t)
{
    spindle::channel<int> ch;
    asio::post(ex, [&t, ch] {
        t.check(this_fiber::is_fiber());
        for (int i = 0, sum = 0; i != 3; ++i) {
            sum += ch.receive().value();
            if (i == 2)
                t.check(sum == 6);
        }
    });
    asio::post(ex, [ch] { ch.send(1); });
    asio::defer(ex, [ch] { this_fiber::sleep_for(1ms), ch.send(2); });
    asio::dispatch(ex, [ch] { ch.send(3); });
    asio::post(ex, asio::bind_allocator(std::allocator<int>(), [&t] { t.count(); }));
}

} // namespace

BOOST_AUTO_TEST_CASE(what_is_submitted_runs_in_a_fiber_and_may_wait)
{
    over_threads([](asio::io_context& ioc, unsigned threads) {
        tally t;
        everything_waits(fiber_executor(ioc), t);
        everything_waits(fiber_executor(asio::make_strand(ioc)), t);
        everything_waits(of_any(ioc.get_executor()), t);
        everything_waits(of_any(asio::make_strand(ioc)), t);
        everything_waits(asio::any_io_executor(fiber_executor(ioc)), t);
        run_on(ioc, threads);
        BOOST_TEST(t.good() == 15u);
        BOOST_TEST(t.bad() == 0u);
    });
}

BOOST_AUTO_TEST_CASE(it_runs_on_a_scheduler_and_on_a_thread_pool)
{
    for (auto const n : processor_counts)
        BOOST_TEST_CONTEXT(n << " processors")
        {
            tally t;
            {
                on_scheduler s(n);
                everything_waits(fiber_executor(*s), t);
                everything_waits(fiber_executor(s->next_executor()), t);
                s.run([&] { everything_waits(fiber_executor(this_fiber::get_executor()), t); });
                s->join();
            }
            BOOST_TEST(t.good() == 9u);
            {
                asio::thread_pool pool(n);
                everything_waits(fiber_executor(pool), t);
                pool.join();
            }
            BOOST_TEST(t.good() == 12u);
            BOOST_TEST(t.bad() == 0u);
        }
    check_nothing_left();
}

BOOST_AUTO_TEST_CASE(functions_begin_in_the_order_in_which_they_are_submitted)
{
    std::string order, on_one;
    {
        asio::io_context ioc;
        auto const note = [&](char c) { return [&order, c] { order += c; }; };
        asio::post(ioc, [&] { // in a handler
            for (char const c : {'a', 'b', 'c'})
                asio::post(fiber_executor(ioc), note(c));
        });
        ioc.run();
        ioc.restart();
        asio::post(fiber_executor(ioc), [&] { // and in a fiber
            for (char const c : {'d', 'e', 'f'})
                asio::defer(fiber_executor(ioc), note(c));
        });
        ioc.run();
    }
    BOOST_TEST(order == "abcdef");
    on_scheduler s(without_rescue(1));
    s.run([&] {
        spindle::wait_group all(3);
        fiber_executor const ex(this_fiber::get_executor());
        for (char const c : {'a', 'b', 'c'})
            asio::post(ex, [&, c] {
                on_one += c;
                all.done();
            });
        BOOST_TEST(on_one == ""); // never before it returns
        all.wait();
    });
    BOOST_TEST(on_one == "abc");
}

BOOST_AUTO_TEST_CASE(a_callback_that_was_there_is_free_to_wait)
{
    over_threads([](asio::io_context& ioc, unsigned threads) {
        auto [a, b] = connected(ioc.get_executor());
        tally t;
        spindle::channel<std::string> lines;
        std::array<char, 64> data;
        asio::steady_timer timer(ioc, 1ms);
        fiber_executor const ex(ioc);
        a.async_read_some(
            asio::buffer(data), asio::bind_executor(ex, [&](error_code ec, std::size_t n) {
                t.check(!ec);
                lines.send(std::string(data.data(), n)); // there is no room: it waits
            }));
        timer.async_wait(asio::bind_executor(ex, [&, &to = b](error_code) {
            asio::write(to, asio::buffer("hello", 5));
            t.check(lines.receive() == "hello");
            asio::steady_timer again(ioc, 1ms);
            again.async_wait(use_fiber);
            t.count();
        }));
        run_on(ioc, threads);
        BOOST_TEST(t.good() == 3u);
        BOOST_TEST(t.bad() == 0u);
    });
}

BOOST_AUTO_TEST_CASE(the_callbacks_of_an_object_made_with_it_may_wait)
{
    asio::io_context ioc;
    using timer_of_fibers = asio::basic_waitable_timer<
        std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>, of_context>;
    timer_of_fibers timer(of_context(ioc.get_executor()), 1ms);
    asio::any_io_executor const erased = fiber_executor(ioc);
    asio::steady_timer other(erased, 1ms);
    tally t;
    spindle::channel<int> ch;
    timer.async_wait([&](error_code) { ch.send(1); });
    other.async_wait([&](error_code) { t.check(ch.receive() == 1); });
    ioc.run();
    BOOST_TEST(t.good() == 1u);
}

BOOST_AUTO_TEST_CASE(a_function_is_outstanding_work_until_it_returns)
{
    asio::io_context ioc;
    bool ended = false;
    asio::post(fiber_executor(ioc), [&] {
        this_fiber::sleep_for(5ms);
        ended = true;
    });
    ioc.run();
    BOOST_TEST(ended);
}

// --- strands ------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(on_a_strand_each_slice_is_serialised_and_the_strand_goes_on_meanwhile)
{
    for (unsigned const threads : {1u, 4u}) {
        {
            asio::io_context ioc;
            auto const strand = asio::make_strand(ioc);
            fiber_executor const ex(strand);
            long counter = 0; // plain: a race would be seen, by the sum or by TSan
            tally t;
            constexpr int rounds = static_cast<int>(scaled(500));
            auto const touch = [&] {
                t.check(strand.running_in_this_thread());
                ++counter;
            };
            spindle::channel<int> ping;
            for (int i = 0; i != 4; ++i) {
                asio::post(ex, [&, ping] {
                    for (int k = 0; k != rounds; ++k) {
                        touch();
                        ping.send(k); // parks
                        touch();
                        this_fiber::yield();
                    }
                });
                asio::post(ex, [&, ping] {
                    for (int k = 0; k != rounds; ++k) {
                        (void)ping.receive();
                        touch();
                    }
                });
                asio::post(strand, touch); // a callback as before
            }
            run_on(ioc, threads);
            BOOST_TEST(counter == 12L * rounds + 4);
            BOOST_TEST(t.bad() == 0u);
        }
        check_nothing_left();
    }
}

BOOST_AUTO_TEST_CASE(a_function_of_a_strand_of_fibers_must_not_park)
{
    over_threads([](asio::io_context& ioc, unsigned threads) {
        asio::strand<of_context> const strand{of_context(ioc.get_executor())};
        spindle::channel<int> ch, room(1);
        long counter = 0;
        tally t;
        for (int i = 0; i != 50; ++i)
            asio::post(strand, [&] {
                ++counter;
                t.check(!this_fiber::is_fiber()); // as in every other handler
                t.check(error_of([&] { ch.receive(); }) == spindle::errc::not_in_fiber);
                t.check(error_of([&] { this_fiber::sleep_for(1ms); })
                        == spindle::errc::not_in_fiber);
                error_code ec;
                t.check(!ch.try_receive(ec)); // what does not park is all right
            });
        run_on(ioc, threads);
        BOOST_TEST(counter == 50);
        BOOST_TEST(t.good() == 200u);
        BOOST_TEST(t.bad() == 0u);
    });
}

// --- executors around executors -----------------------------------------------------

BOOST_AUTO_TEST_CASE(a_fiber_spawned_on_it_goes_where_its_functions_go)
{
    over_threads([](asio::io_context& ioc, unsigned threads) {
        auto const strand = asio::make_strand(ioc);
        tally t;
        auto const spawn = [&](auto const& ex, bool bound) {
            spindle::spawn(
                ex,
                [&t, &strand, bound] {
                    for (int i = 0; i != 3; ++i) {
                        t.check(strand.running_in_this_thread() == bound);
                        this_fiber::yield();
                    }
                },
                asio::detached);
        };
        spawn(fiber_executor(ioc), false);
        spawn(fiber_executor(strand), true);
        spawn(of_any(ioc.get_executor()), false);
        spawn(of_any(strand), true);
        // Inside a polymorphic one, too, and after what Asio asks of an executor.
        asio::any_io_executor const erased = fiber_executor(ioc), bound = fiber_executor(strand);
        spawn(erased, false);
        spawn(bound, true);
        spawn(of_any(erased), false);
        spawn(of_any(bound), true);
        spawn(asio::prefer(erased, execution::outstanding_work.tracked), false);
        spawn(asio::prefer(bound, execution::relationship.continuation), true);
        run_on(ioc, threads);
        BOOST_TEST(t.good() == 30u);
        BOOST_TEST(t.bad() == 0u);
    });
}

#if !defined(SPINDLE_TSAN)
BOOST_AUTO_TEST_CASE(a_fiber_cannot_be_spawned_on_a_strand_of_fibers)
{
    auto const e = in_child([] {
        asio::io_context ioc;
        asio::any_io_executor const ex = asio::strand<of_context>(of_context(ioc.get_executor()));
        spindle::spawn(ex, [] {}, asio::detached);
        ioc.run();
    });
    BOOST_TEST(e.by_signal(SIGABRT));
    BOOST_TEST(e.says("fiber_executor(strand)"), e.text);
}
#endif

// --- coroutines ---------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_coroutine_on_it_runs_in_fibers)
{
    over_threads([](asio::io_context& ioc, unsigned threads) {
        tally t;
        spindle::channel<int> ch;
        auto const body = [&t, ch](bool sends) -> asio::awaitable<void> {
            asio::steady_timer timer(co_await asio::this_coro::executor);
            for (int i = 0; i != 10; ++i) {
                t.check(this_fiber::is_fiber());
                if (sends)
                    ch.send(i); // parks the fiber, and with it the coroutine
                else
                    t.check(ch.receive() == i);
                timer.expires_after(100us);
                co_await timer.async_wait(asio::use_awaitable);
            }
        };
        asio::co_spawn(fiber_executor(ioc), body(true), asio::detached);
        asio::co_spawn(fiber_executor(asio::make_strand(ioc)), body(false), asio::detached);
        run_on(ioc, threads);
        BOOST_TEST(t.good() == 30u);
        BOOST_TEST(t.bad() == 0u);
    });
}

// --- memory -------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(the_allocator_is_for_functions_that_do_not_fit)
{
    account a;
    counting_allocator<int> const mine(a);
    {
        asio::io_context ioc;
        auto const ex = fiber_executor(ioc);
        asio::post(ex, asio::bind_allocator(mine, [] {}));
        BOOST_TEST(a.calls == 0);
        std::array<char, 500> large{};
        large[17] = 'x';
        bool ran = false;
        asio::post(ex, asio::bind_allocator(mine, [&, large] {
                       ran = large[17] == 'x';
                       BOOST_TEST(a.bytes == 0); // given back before the call, as in Asio
                   }));
        BOOST_TEST(a.calls == 1);
        BOOST_TEST(a.bytes >= 500);
        ioc.run();
        BOOST_TEST(ran);
        // With its io_context it goes uncalled.
        asio::post(ex, asio::bind_allocator(mine, [large] {
                       BOOST_TEST(large[17] == '?', "it was called");
                   }));
    }
    BOOST_TEST(a.bytes == 0);
}

// --- ends ---------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(what_has_not_begun_is_destroyed_with_the_io_context_uncalled)
{
    auto const token = std::make_shared<int>(0);
    bool called = false;
    auto const function = [&called, token] { called = true; };
    auto const count = token.use_count();
    for (bool const strand_first : {false, true}) { // the services go in the reverse order
        asio::io_context ioc;
        std::optional<strand_of_context> strand;
        if (strand_first)
            strand.emplace(ioc.get_executor());
        asio::post(fiber_executor(ioc), function);
        if (!strand_first)
            strand.emplace(ioc.get_executor());
        asio::post(fiber_executor(*strand), function);
        BOOST_TEST(token.use_count() == count + 2);
    }
    BOOST_TEST(token.use_count() == count);
    BOOST_TEST(!called);
    check_nothing_left();
}

BOOST_AUTO_TEST_CASE(what_is_submitted_while_its_io_context_goes_away_is_destroyed_uncalled)
{
    struct poster {
        of_context executor;
        bool& called;

        poster(of_context ex, bool& c) : executor(std::move(ex)), called(c) {}
        ~poster()
        {
            asio::post(executor, [this] { called = true; });
        }
    };
    bool called = false;
    {
        asio::io_context ioc;
        auto const last = std::make_shared<poster>(of_context(ioc.get_executor()), called);
        asio::post(ioc, [last] { (void)last; });
        asio::post(fiber_executor(ioc), [last] { (void)last; });
    }
    BOOST_TEST(!called);
    check_nothing_left();
}

BOOST_AUTO_TEST_CASE(what_has_begun_is_told_that_its_io_context_goes_away)
{
    error_code heard;
    {
        asio::io_context ioc;
        spindle::channel<int> ch;
        asio::post(fiber_executor(ioc), [&heard, ch] {
            heard = error_of([&] { ch.receive(); });
            ch.receive(); // its stop, and no failure: nobody hears of it
        });
        ioc.poll();
    }
    BOOST_TEST(heard == aborted);
    check_nothing_left();
}

BOOST_AUTO_TEST_CASE(an_exception_goes_to_unhandled_exception_and_a_stop_does_not)
{
    for (auto const n : processor_counts) {
        std::atomic<int> heard{0}, stopped{0};
        spindle::scheduler_options options;
        options.processors = n;
        options.shutdown_grace = 30s;
        options.unhandled_exception = [&](std::exception_ptr e, spindle::fiber_info const&) {
            try {
                std::rethrow_exception(e);
            } catch (std::runtime_error const& r) {
                heard += r.what() == std::string("of a function");
            }
        };
        on_scheduler s(options);
        fiber_executor const ex(*s);
        for (int i = 0; i != 5; ++i)
            asio::post(ex, [] { throw std::runtime_error("of a function"); });
        asio::post(ex, [&] {
            ++stopped;
            spindle::channel<int>().receive();
        });
        BOOST_TEST(eventually([&] { return heard == 5 && stopped == 1; }));
        s->stop();
        s->join();
        BOOST_TEST(heard == 5);
    }
}

BOOST_AUTO_TEST_CASE(on_an_io_context_too)
{
    int heard = 0;
    asio::io_context ioc;
    spindle::scheduler_options options;
    options.unhandled_exception = [&](std::exception_ptr, spindle::fiber_info const&) { ++heard; };
    spindle::attach(ioc, options);
    asio::post(fiber_executor(ioc), [] { throw std::runtime_error("of a function"); });
    BOOST_TEST(ioc.run() != 0u); // and it does not leave run()
    BOOST_TEST(heard == 1);
}

BOOST_AUTO_TEST_CASE(one_without_locking_is_refused)
{
    asio::io_context ioc(BOOST_ASIO_CONCURRENCY_HINT_UNSAFE);
    BOOST_TEST(
        (error_of([&] { fiber_executor const ex(ioc); })
         == boost::system::errc::invalid_argument));
}
