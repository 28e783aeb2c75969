//
// support/every_step.hpp
// ~~~~~~~~~~~~~~~~~~~~~~
// Cancels a function at every step that it takes.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_TEST_SUPPORT_EVERY_STEP_HPP
#define SPINDLE_TEST_SUPPORT_EVERY_STEP_HPP

#include <spindle/cancel/cancel_scope.hpp>
#include <spindle/cancel/shielded.hpp>
#include <spindle/run.hpp>
#include <spindle/scheduler_options.hpp>
#include <spindle/spawn.hpp>
#include <spindle/this_fiber.hpp>
#include <support/asio_fixture.hpp>

#include <spindle/detail/asio/asio_core.hpp>
#include <spindle/detail/base/scope_exit.hpp>
#include <spindle/detail/fiber/hooks.hpp>

#include <boost/test/unit_test.hpp>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <initializer_list>

namespace spindle_test {

// How a run is told to end. By signal: it must listen to SIGINT, and the process must
// have somebody who does while it does not (printed in support/example.hpp).
enum class by { scope, stop, signal };

inline char const* name_of(by how)
{
    return how == by::scope ? "scope" : how == by::stop ? "stop" : "signal";
}

// What became of one run.
struct step {
    bool hit;      // what it was told has changed how it went
    bool finished; // it had ended before it was told
};

// In a fiber: how often the fibers of its scheduler, or io_context, have parked.
inline std::uint64_t parks_here()
{
    auto const& g = spindle::detail::fiber_that_may_park();
    return spindle::detail::asio_core_of(g)->stats(true).parks;
}

// Runs `fn` in a fiber, and tells it to end once fibers have parked n times since it
// began; before it begins, if n is 0. It must end in any case, in no way but by returning
// or by operation_aborted; of a signal it knows how to return.
inline step cancel_at_step(by how, std::function<void()> const& fn, std::size_t n)
{
    auto const start = parks_here();
    std::atomic<bool> over{false};
    spindle::cancel_scope const scope;
    auto child = spindle::spawn([&] {
        spindle::detail::scope_exit const said([&] { over = true; });
        fn();
    });
    while (!over && parks_here() - start < n)
        spindle::this_fiber::yield();
    auto const finished = over.load();
    if (how == by::scope)
        scope.cancel();
    else if (how == by::stop)
        child.request_stop();
    else // again and again: it may not listen yet
        for (; !over; spindle::this_fiber::sleep_for(std::chrono::microseconds(200)))
            std::raise(SIGINT);
    error_code ec;
    spindle::shielded([&] { ec = error_of([&] { child.join(); }); });
    bool const as_allowed = !ec || (ec == aborted && how != by::signal && !finished);
    if (!as_allowed)
        BOOST_TEST(as_allowed, "step " << n << ": " << ec.message());
    return {how == by::signal ? !finished : ec == aborted, finished};
}

// Runs run(n), which is a cancel_at_step(), for n = 0, 1, 2, ... until it has come to
// its end untold. Returns how often it was hit.
template <class Run>
std::size_t until_not_hit(Run run)
{
    constexpr std::size_t most = 1000; // something goes on for ever
    std::size_t hit = 0;
    for (std::size_t n = 0; n != most; ++n) {
        step const s = run(n);
        hit += s.hit;
        if (s.finished)
            return hit;
    }
    BOOST_TEST(false, "it is never done");
    return hit;
}

// Calls run_all(how, processors), which is an until_not_hit(), for schedulers of each
// size and each way to be told.
template <class RunAll>
void over_ways_and_processors(std::initializer_list<by> ways, RunAll run_all)
{
    for (auto const how : ways)
        for (auto const n : processor_counts)
            BOOST_TEST_CONTEXT(n << " processors, " << name_of(how))
            {
                auto const hit = run_all(how, n);
                if (n == 1) // else it may have been done each time
                    BOOST_TEST(hit > 0u);
            }
}

inline constexpr auto cancelled = {by::scope, by::stop};
inline constexpr auto cancelled_or_signalled = {by::scope, by::stop, by::signal};

// All steps on one scheduler: each run cleans up after itself.
inline void
over_every_step(std::function<void()> const& fn, std::initializer_list<by> ways = cancelled)
{
    over_ways_and_processors(ways, [&](by how, unsigned n) {
        on_scheduler s(n);
        return s.run([&] {
            return until_not_hit([&](std::size_t at) { return cancel_at_step(how, fn, at); });
        });
    });
}

// A scheduler for each run: what it has started by go() ends with that.
inline void over_every_step_of_a_program(
    std::function<void()> const& fn, spindle::scheduler_options options = {})
{
    over_ways_and_processors(cancelled, [&](by how, unsigned n) {
        options.processors = n;
        return until_not_hit([&](std::size_t at) {
            auto const s = spindle::run([&] { return cancel_at_step(how, fn, at); }, options);
            check_nothing_left();
            return s;
        });
    });
}

// On io_contexts of the user's, with threads of his own.
inline void over_every_step_of_guests(
    std::function<void()> const& fn, std::initializer_list<by> ways = cancelled)
{
    for (auto const how : ways)
        over_threads([&](asio::io_context& ioc, unsigned threads) {
            BOOST_TEST_INFO_SCOPE(name_of(how));
            std::size_t hit = 0;
            spindle::spawn(
                ioc,
                [&] {
                    return until_not_hit(
                        [&](std::size_t at) { return cancel_at_step(how, fn, at); });
                },
                [&](std::exception_ptr e, std::size_t n) {
                    hit = n;
                    BOOST_TEST(!e);
                });
            run_on(ioc, threads);
            if (threads == 1)
                BOOST_TEST(hit > 0u);
        });
}

} // namespace spindle_test

#endif // SPINDLE_TEST_SUPPORT_EVERY_STEP_HPP
