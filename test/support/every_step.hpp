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

// Runs `fn` in a fiber, again and again: the n-th time it is cancelled once fibers
// have parked n times since it began; before it begins, at first. Ends when it has
// come to its end uncancelled. It must end in any case, in no way but by returning
// or by operation_aborted. Returns how often it was hit.
inline std::size_t cancel_at_every_step(
    by how, spindle::scheduler& sched, std::function<void()> const& fn)
{
    constexpr std::size_t most = 1000; // something goes on for ever
    std::size_t hit = 0;
    for (std::size_t n = 0; n != most; ++n) {
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
        hit += ec == aborted;
        if (finished) {
            BOOST_TEST(!ec);
            return hit;
        }
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
                auto const hit
                    = s.run([&] { return cancel_at_every_step(how, s.get(), fn); });
                if (n == 1) // else it may have been done each time
                    BOOST_TEST(hit > 0u);
            }
}

} // namespace spindle_test

#endif // SPINDLE_TEST_SUPPORT_EVERY_STEP_HPP
