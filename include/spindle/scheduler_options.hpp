//
// spindle/scheduler_options.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_SCHEDULER_OPTIONS_HPP
#define SPINDLE_SCHEDULER_OPTIONS_HPP

#include <spindle/config.hpp>

#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>
#include <string>
#include <vector>

namespace spindle {

/// What is said of a fiber where one is reported.
struct fiber_info {
    /// Its name, or "fiber 12".
    std::string name;
    /// Where it was spawned, as far as the program's symbols tell.
    std::string spawned_from;
};

/// How a scheduler is set up.
/**
 * An aggregate: name what differs.
 *
 * @code
 * spindle::scheduler sched({.processors = 4});
 * @endcode
 */
struct scheduler_options {
    /// How many fibers run at the same time (Go's GOMAXPROCS).
    /**
     * 0: what the environment variable `SPINDLE_PROCESSORS` says, else one for
     * each core that this process may use, its affinity and its cgroup's quota
     * counted. At most 1024. On a user's io_context this does not count: there
     * as many fibers run as the user has threads in `run()`.
     */
    unsigned processors = 0;

    /// How many threads a scheduler may have.
    /**
     * One for each processor, and one more for each call or fiber that keeps its
     * own: see `handoff_after` and `preempt_after`. With no thread left, processors
     * wait for those that keep them. At least `processors`.
     */
    unsigned max_threads = 10'000;

    /// How many threads of Spindle's own run a user's io_context.
    /**
     * For `attach`; beside the user's. 0: none, so that only the user's threads run
     * its handlers. With some, handlers that are not in a strand may run at the same
     * time, as with several threads in `run()`. They come when a fiber is spawned, or
     * goes on, and leave when the io_context is stopped or out of work, as `run()`
     * does; after `restart()` they come with the next `spawn`. What a handler
     * throws there goes to `unhandled_exception`. When the io_context is destroyed it
     * is stopped first, and they leave it: it must not be one of them that destroys it.
     * At most 1024.
     */
    unsigned guest_threads = 0;

    /// How long a call inside `blocking` keeps its processor from others.
    /**
     * After that the processor goes to another thread, at the next look of the
     * scheduler's monitor: every 20 us while such calls are being made, up to 10 ms
     * when none were.
     */
    std::chrono::steady_clock::duration handoff_after = std::chrono::microseconds(20);

    /// How long a fiber, or a completion handler, may run before it loses its processor.
    /**
     * It loses it only while something waits for that: a fiber, a completion, a
     * deadline. It runs on by its thread, beside the others.
     */
    std::chrono::steady_clock::duration preempt_after = std::chrono::milliseconds(10);

    /// The address space of a fiber's stack, in bytes: 16 KiB to 1 GiB.
    /**
     * Memory is committed page by page as the fiber touches it.
     */
    std::size_t stack_size = 256 * 1024;

    /// How long a stopped scheduler waits for its fibers to leave.
    /**
     * When it is over, the fibers that have not left are named on standard
     * error and the process ends: the stacks of live fibers cannot be taken
     * from under them.
     */
    std::chrono::steady_clock::duration shutdown_grace = std::chrono::steady_clock::duration::max();

    /// Whether to measure how long fibers that are ready wait until they run.
    /**
     * See `scheduler::measure_latency`, and for a user's io_context the function of that
     * name in `<spindle/observe/stats.hpp>`.
     */
    bool measure_latency = false;

    /// Called with an exception that left a fiber that nobody waits for.
    /**
     * On the fiber itself, in the catch block. Empty: prints what it was and
     * where the fiber was spawned, then calls `std::terminate`.
     */
    std::function<void(std::exception_ptr, fiber_info const&)> unhandled_exception = {};

    /// Called for a fiber that has lost its processor after `preempt_after`.
    /**
     * Once for each place that such fibers are spawned from, with how long it had
     * run then; it runs on. For what blocks its thread there is `blocking`, for what
     * computes `this_fiber::yield`. On the monitor's thread, so that nobody else loses
     * a processor meanwhile: be short, and throw nothing. Empty: they are counted
     * (`scheduler_stats::preemptions`), that is all.
     */
    std::function<void(fiber_info const&, std::chrono::steady_clock::duration)> on_hog = {};

    /// Called when every fiber waits, and nothing is left that could wake one.
    /**
     * That is so when no fiber runs or is ready, no operation of Asio's, timer or work
     * guard is pending on any of the scheduler's io_contexts, nobody sleeps, and the
     * process has no other thread than this scheduler's, and those that wait in its
     * `join()`. Where any of that cannot be known, it is not called: never by mistake.
     * So another scheduler, a `std::thread`, or the one that Asio resolves names by,
     * is enough to keep it from being called, for as long as it is there: it may then be
     * called up to twice as late as that, or half a minute later, whichever is less.
     *
     * On a thread of the scheduler's that runs no fibers; once, until something has run
     * again. It may wake fibers, or `stop()` the scheduler; it must throw nothing.
     * Empty: inside `run` all fibers are written to standard error, as `dump` does it,
     * and the process ends by `std::terminate`; for other schedulers nothing happens.
     * Linux only.
     */
    std::function<void()> deadlock = {};

    /// Called with the fibers that are alive when their scheduler ends, if any are.
    /**
     * When the function of `run` has returned, and when a scheduler is destroyed: they
     * are about to be stopped. For tests, and for programs whose fibers are to be over
     * by then. A fiber that has been joined, or whose task_group has been waited for, is
     * over; one that says by other means that it is done has yet to return. On the thread
     * that ends it; throw nothing.
     */
    std::function<void(std::vector<fiber_info> const&)> on_left = {};
};

namespace detail {

// Throws errc::invalid_argument of Boost.System where a value is out of bounds;
// fills in what 0 stands for.
[[nodiscard]] SPINDLE_DECL scheduler_options resolved(scheduler_options options);

} // namespace detail

} // namespace spindle

#endif // SPINDLE_SCHEDULER_OPTIONS_HPP
