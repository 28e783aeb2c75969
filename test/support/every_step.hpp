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
#include <spindle/spawn.hpp>
#include <spindle/this_fiber.hpp>

#include <support/asio_fixture.hpp>

#include <spindle/detail/base/scope_exit.hpp>

#include <boost/test/unit_test.hpp>

#include <atomic>
#include <cstddef>
#include <functional>

namespace spindle_test {

// How a run is told to end.
enum class by { scope, stop };

// What became of one run.
struct step {
    bool hit;      // it was left by operation_aborted
    bool finished; // it had ended before it was cancelled
};

// Runs `fn` in a fiber, and cancels it once fibers have parked n times since it began;
// before it begins, if n is 0. It must end in any case, in no way but by returning or
// by operation_aborted.
inline step cancel_at_step(
    by how, spindle::scheduler& sched, std::function<void()> const& fn, std::size_t n)
{
    auto const start = sched.stats().parks;
    std::atomic<bool> over{false};
    spindle::cancel_scope const scope;
    auto child = spindle::spawn([&] {
        spindle::detail::scope_exit const said([&] { over = true; });
        fn();
    });
    while (!over && sched.stats().parks - start < n)
        spindle::this_fiber::yield();
    auto const finished = over.load();
    if (how == by::scope)
        scope.cancel();
    else
        child.request_stop();
    error_code ec;
    spindle::shielded([&] { ec = error_of([&] { child.join(); }); });
    if (ec != error_code() && ec != aborted)
        BOOST_TEST(ec == aborted, "step " << n << ": " << ec.message());
    if (finished)
        BOOST_TEST(!ec);
    return {ec == aborted, finished};
}

// Runs run(n), which is a cancel_at_step(), for n = 0, 1, 2, ... until it has come to
// its end uncancelled. Returns how often it was hit.
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

// The same on schedulers of several sizes, both ways.
inline void over_every_step(std::function<void()> const& fn)
{
    for (auto const how : {by::scope, by::stop})
        for (unsigned const n : {1u, 2u, 4u})
            BOOST_TEST_CONTEXT(n << " processors, " << (how == by::scope ? "scope" : "stop"))
            {
                on_scheduler s(n);
                auto const hit = s.run([&] {
                    return until_not_hit(
                        [&](std::size_t at) { return cancel_at_step(how, s.get(), fn, at); });
                });
                if (n == 1) // else it may have been done each time
                    BOOST_TEST(hit > 0u);
            }
}

} // namespace spindle_test

#endif // SPINDLE_TEST_SUPPORT_EVERY_STEP_HPP
