//
// spindle/testing/run_case.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_TESTING_RUN_CASE_HPP
#define SPINDLE_TESTING_RUN_CASE_HPP

#include <spindle/config.hpp>
#include <spindle/scheduler.hpp>
#include <spindle/scheduler_options.hpp>

#include <chrono>
#include <exception>
#include <functional>
#include <string>
#include <vector>

namespace spindle::testing {

/// How a test case runs in a fiber.
/**
 * An aggregate: name what differs.
 */
struct case_options {
    /// The case runs once on a scheduler of each of these sizes.
    std::vector<unsigned> processors = {1, 2, 4, 8};
    /// How long it may take, each time. Then it fails, its fibers are stopped, and
    /// listed in the log.
    std::chrono::steady_clock::duration timeout = std::chrono::seconds(60);
    /// How long its other fibers may take to end when its function has returned. Those
    /// that do not are leaked; they are stopped, and listed.
    std::chrono::steady_clock::duration leak_grace = std::chrono::seconds(10);
    /// How long those that were stopped may take to leave. Then the process ends.
    std::chrono::steady_clock::duration shutdown_grace = std::chrono::seconds(10);
    /// Stack size and so on; `processors` and `shutdown_grace` are those above.
    scheduler_options scheduler = {};
};

/// What a case has come to, beside what it has checked itself.
struct case_result {
    /// What left the function; null: nothing.
    std::exception_ptr error;
    /// Empty, or what is wrong: a deadlock, a timeout, leaked fibers, sleepers that
    /// nobody has taken back, exceptions that left fibers which nobody waits for.
    std::vector<std::string> faults;
    /// Who was alive then, what it waited for and where it was spawned; a line each.
    std::string fibers;
};

/// Runs `fn` in a fiber on a scheduler of its own, and looks at what it leaves.
/**
 * What the adapters to test frameworks are made of (`boost_test.hpp`).
 *
 * A deadlock is found as soon as all processors sleep, with no deadline and nothing
 * pending in Asio, if the process has no threads but the scheduler's and the caller's;
 * else the timeout tells.
 *
 * @par Blocking
 * Blocks the calling thread; in a fiber it throws `errc::not_in_fiber`.
 */
[[nodiscard]] SPINDLE_DECL case_result run_case(
    std::function<void(scheduler&)> const& fn,
    unsigned processors,
    case_options const& options = {});

} // namespace spindle::testing

#endif // SPINDLE_TESTING_RUN_CASE_HPP
