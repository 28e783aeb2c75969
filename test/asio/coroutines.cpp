//
// asio/coroutines.cpp
// ~~~~~~~~~~~~~~~~~~~
// Fibers and Asio's coroutines wait for each other, and share what both can wait for.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE asio.coroutines
#include <spindle/asio/use_fiber.hpp>
#include <spindle/cancel/within.hpp>
#include <spindle/chan/channel.hpp>
#include <spindle/chan/select.hpp>
#include <spindle/fiber.hpp>
#include <spindle/spawn.hpp>
#include <spindle/sync/mutex.hpp>
#include <spindle/sync/semaphore.hpp>
#include <spindle/sync/wait_group.hpp>
#include <spindle/this_fiber.hpp>

#include <support/asio_fixture.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/test/unit_test.hpp>

#include <array>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

using namespace spindle_test;
using namespace std::chrono_literals;
using namespace boost::asio::experimental::awaitable_operators;
using asio::awaitable;
using asio::use_awaitable;
using spindle::use_fiber;
namespace this_fiber = spindle::this_fiber;

namespace {

// Runs fn(executor, tally) for what it starts there, in guest mode on several threads, on
// a strand, and on schedulers; everything must end, and `good` checks must have been made.
template <class Function>
void everywhere(std::size_t good, Function fn)
{
    over_threads([&](asio::io_context& ioc, unsigned threads) {
        tally free, bound;
        fn(asio::any_io_executor(ioc.get_executor()), free);
        fn(asio::any_io_executor(asio::make_strand(ioc)), bound);
        run_on(ioc, threads);
        for (auto const* t : {&free, &bound}) {
            BOOST_TEST(t->good() == good);
            BOOST_TEST(t->bad() == 0u);
        }
    });
    for (auto const n : processor_counts)
        BOOST_TEST_CONTEXT(n << " processors")
        {
            tally t;
            on_scheduler s(n);
            // A coroutine is nobody's fiber: it ends before a fiber that waits for it does.
            fn(asio::any_io_executor(s->get_executor()), t);
            BOOST_TEST(eventually([&] { return t.good() + t.bad() == good; }));
            s->join();
            BOOST_TEST(t.bad() == 0u);
        }
}

awaitable<void> pause(std::chrono::steady_clock::duration d)
{
    asio::steady_timer timer(co_await asio::this_coro::executor, d);
    co_await timer.async_wait(use_awaitable);
}

awaitable<std::unique_ptr<int>> twice(int i)
{
    co_await pause(200us);
    if (i < 0)
        throw std::range_error("negative");
    co_return std::make_unique<int>(2 * i);
}

template <class Error, class Function>
bool throws(Function f)
{
    try {
        f();
    } catch (Error const&) {
        return true;
    }
    return false;
}

} // namespace

// --- a fiber waits for a coroutine --------------------------------------------------

BOOST_AUTO_TEST_CASE(a_fiber_has_the_result_of_a_coroutine)
{
    everywhere(5 * 3, [](auto const& ex, tally& t) {
        for (int i = 0; i != 5; ++i)
            spindle::spawn(
                ex,
                [&t, ex, i] {
                    t.check(*asio::co_spawn(ex, twice(i), use_fiber) == 2 * i);
                    t.check(throws<std::range_error>(
                        [&] { asio::co_spawn(ex, twice(-1), use_fiber); }));
                    asio::co_spawn(this_fiber::get_executor(), pause(10us), use_fiber);
                    t.count();
                },
                asio::detached);
    });
}

BOOST_AUTO_TEST_CASE(a_stop_and_a_deadline_of_the_fiber_end_the_coroutine)
{
    everywhere(3, [](auto const& ex, tally& t) {
        spindle::spawn(
            ex,
            [&t, ex] {
                struct progress {
                    bool began = false, ended = false;
                };
                auto const seen = std::make_shared<progress>();
                auto const for_ever = [seen]() -> awaitable<void> {
                    seen->began = true;
                    try {
                        co_await pause(1h);
                    } catch (system_error const& e) {
                        seen->ended = e.code() == aborted;
                        throw;
                    }
                };
                // A coroutine that is cancelled before its first step never takes it.
                bool in_time = true, waited_for = true;
                for (auto limit = 1ms; !seen->began; limit *= 2) {
                    auto const ec = error_of([&] {
                        spindle::within(
                            limit, [&] { asio::co_spawn(ex, for_ever(), use_fiber); });
                    });
                    in_time = in_time && ec == asio::error::timed_out;
                    waited_for = waited_for && seen->ended == seen->began;
                }
                t.check(in_time);
                t.check(waited_for);
                auto child
                    = spindle::spawn([&] { asio::co_spawn(ex, pause(1h), use_fiber); });
                this_fiber::yield();
                child.request_stop();
                t.check(error_of([&] { child.join(); }) == aborted);
            },
            asio::detached);
    });
}

// --- a coroutine waits for a fiber --------------------------------------------------

BOOST_AUTO_TEST_CASE(a_coroutine_has_the_result_of_a_fiber)
{
    everywhere(5 * 3, [](auto const& ex, tally& t) {
        // Its parameters are in the coroutine's frame; captures would be gone by then.
        auto const body = [](tally& to, asio::any_io_executor at, int n) -> awaitable<void> {
            auto const text = co_await spindle::spawn(
                at,
                [n] {
                    this_fiber::sleep_for(200us);
                    return std::to_string(n);
                },
                use_awaitable);
            to.check(text == std::to_string(n));
            co_await spindle::spawn(
                at, [&to] { to.check(this_fiber::is_fiber()); }, use_awaitable);
            try {
                co_await spindle::spawn(
                    at, [] { throw std::range_error("of a fiber"); }, use_awaitable);
                to.check(false);
            } catch (std::range_error const&) {
                to.count();
            }
        };
        for (int i = 0; i != 5; ++i)
            asio::co_spawn(ex, body(t, ex, i), asio::detached);
    });
}

BOOST_AUTO_TEST_CASE(a_coroutine_that_is_cancelled_stops_the_fiber)
{
    everywhere(2, [](auto const& ex, tally& t) {
        // On a strand of their own: Asio's operators want that.
        auto const strand = asio::make_strand(ex);
        asio::co_spawn(
            strand,
            [&t, ex]() -> awaitable<void> {
                auto const which = co_await (
                    pause(1ms)
                    || spindle::spawn(
                        ex,
                        [&t] { t.check(error_of([] { this_fiber::sleep_for(1h); }) == aborted); },
                        use_awaitable));
                t.check(which.index() == 0);
            },
            asio::detached);
    });
}

BOOST_AUTO_TEST_CASE(each_waits_for_the_other_many_levels_deep)
{
    struct tower {
        static awaitable<int> coroutine(asio::any_io_executor ex, int n)
        {
            if (n == 0)
                co_return 0;
            auto next = [ex, n] { return fiber(ex, n - 1); }; // g++ 12: see the guide
            co_return 1 + co_await spindle::spawn(ex, std::move(next), use_awaitable);
        }

        static int fiber(asio::any_io_executor ex, int n)
        {
            return n == 0 ? 0 : 1 + asio::co_spawn(ex, coroutine(ex, n - 1), use_fiber);
        }
    };
    everywhere(2, [](auto const& ex, tally& t) {
        spindle::spawn(
            ex, [&t, ex] { t.check(tower::fiber(ex, 60) == 60); }, asio::detached);
        asio::co_spawn(
            ex,
            [&t, ex]() -> awaitable<void> { t.check(co_await tower::coroutine(ex, 60) == 60); },
            asio::detached);
    });
}

// --- what both can wait for ---------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_channel_goes_both_ways)
{
    everywhere(2 * 100 + 1, [](auto const& ex, tally& t) {
        spindle::channel<int> questions, answers(3);
        asio::co_spawn(
            ex,
            [=]() -> awaitable<void> {
                while (auto q = co_await questions.async_receive(use_awaitable))
                    co_await answers.async_send(*q * *q, use_awaitable);
                answers.close();
            },
            asio::detached);
        spindle::spawn(
            ex,
            [&t, questions] {
                for (int i = 0; i != 100; ++i) {
                    questions.send(i);
                    t.count();
                }
                questions.close();
            },
            asio::detached);
        spindle::spawn(
            ex,
            [&t, answers] {
                for (int i = 0; i != 100; ++i)
                    t.check(answers.receive() == i * i);
                t.check(!answers.receive());
            },
            asio::detached);
    });
}

BOOST_AUTO_TEST_CASE(a_mutex_and_a_semaphore_keep_both_apart)
{
    struct shared {
        spindle::mutex mutex;
        spindle::counting_semaphore<> two{2};
        std::atomic<int> inside{0};
        int counter = 0; // plain
    };
    constexpr int rounds = static_cast<int>(scaled(200));
    everywhere(8, [](auto const& ex, tally& t) {
        auto const s = std::make_shared<shared>();
        auto const end = [&t, s](int left) { t.check(left <= 2); };
        for (int i = 0; i != 4; ++i) {
            asio::co_spawn(
                ex,
                [=]() -> awaitable<void> {
                    int most = 0;
                    for (int k = 0; k != rounds; ++k) {
                        {
                            auto const lock = co_await s->mutex.async_lock(use_awaitable);
                            ++s->counter;
                        }
                        co_await s->two.async_acquire(use_awaitable);
                        most = std::max(most, ++s->inside);
                        --s->inside;
                        s->two.release();
                    }
                    end(most);
                },
                asio::detached);
            spindle::spawn(
                ex,
                [=] {
                    int most = 0;
                    for (int k = 0; k != rounds; ++k) {
                        {
                            std::lock_guard const lock(s->mutex);
                            auto const seen = s->counter;
                            if (k % 16 == 0)
                                this_fiber::yield(); // held across a switch
                            s->counter = seen + 1;
                        }
                        s->two.acquire();
                        most = std::max(most, ++s->inside);
                        this_fiber::yield();
                        --s->inside;
                        s->two.release();
                    }
                    end(most);
                },
                asio::detached);
        }
    });
}

BOOST_AUTO_TEST_CASE(a_coroutine_selects_from_what_fibers_send)
{
    everywhere(3, [](auto const& ex, tally& t) {
        spindle::channel<int> numbers;
        spindle::channel<std::string> words;
        asio::co_spawn(
            ex,
            [=, &t]() -> awaitable<void> {
                int sum = 0, late = 0;
                std::size_t letters = 0;
                for (int i = 0; i != 200; ++i) // functions run here, on the coroutine's executor
                    co_await spindle::make_select(
                        spindle::on_receive(numbers, [&](std::optional<int> n) { sum += *n; }),
                        spindle::on_receive(
                            words, [&](std::optional<std::string> w) { letters += w->size(); }),
                        spindle::on_timeout(1h, [&] { ++late; }))
                        .async_wait(use_awaitable);
                t.check(sum == 5050);
                t.check(letters == 300);
                t.check(late == 0);
            },
            asio::detached);
        spindle::spawn(
            ex,
            [numbers] {
                for (int i = 1; i <= 100; ++i)
                    numbers.send(i);
            },
            asio::detached);
        spindle::spawn(
            ex,
            [words] {
                for (int i = 0; i != 100; ++i)
                    words.send("abc");
            },
            asio::detached);
    });
}
