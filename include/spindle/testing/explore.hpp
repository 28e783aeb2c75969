//
// spindle/testing/explore.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_TESTING_EXPLORE_HPP
#define SPINDLE_TESTING_EXPLORE_HPP

#include <spindle/config.hpp>

#include <spindle/detail/asio/spawn_fiber.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iosfwd>
#include <stdexcept>
#include <string>

namespace spindle::testing {

/// How a seed decides who runs next.
enum class strategy {
    /// Any of those that can run, each as likely.
    random,
    /// PCT: each fiber has a random priority, and the highest runs; at a few random
    /// steps the one that runs falls below all others. Finds what needs few switches at
    /// the right places, and those that are starved.
    pct,
    /// Odd seeds `random`, even ones `pct`.
    both,
};

/// What is done to a test besides.
struct faults {
    /// The chance, at each operation of a fiber that may wait, that the fiber is asked to
    /// stop right there. Not the main one.
    double cancel = 0;
    /// The chance, at each switch, that the next deadline passes before whoever can run
    /// does: as on a machine that is busy with something else.
    double delay = 0;
};

/// What `explore` explores.
/**
 * An aggregate: name what differs.
 *
 * @code
 * spindle::testing::explore(test, {.seeds = 10'000, .strategy = strategy::pct});
 * @endcode
 */
struct explore_options {
    /// How many schedules. The environment's `SPINDLE_SEEDS` wins.
    std::uint64_t seeds = 1000;
    /// The first one's seed; the next ones have the numbers after it.
    std::uint64_t first_seed = 1;
    testing::strategy strategy = testing::strategy::both;
    /// With `pct`: one more than the number of steps at which a priority changes.
    unsigned depth = 3;
    testing::faults faults = {};
    /// Whether a fiber may also lose its turn in operations that never wait.
    /**
     * Those are `try_` forms, `select` with `otherwise`, `close`, `notify_one` and
     * `notify_all`, before they do anything; and `unlock` and `release`, after they have
     * woken somebody. Not for a test that calls them with a `std::mutex` locked or in a
     * `std::stop_callback`: both are allowed, and mean that the thread goes on; here
     * another fiber would wait for the thread that it runs on.
     */
    bool fine_points = false;
    /// A run that has not ended by then fails.
    std::size_t max_steps = 100'000;
    /// The same, in the time of the run.
    std::chrono::steady_clock::duration max_time = std::chrono::hours(24 * 365);
    /// How long real time may pass, when all wait and operations of Asio's are pending,
    /// before the run's own time does. Zero: a look is all they get.
    std::chrono::steady_clock::duration io_patience = {};
    std::size_t stack_size = 256 * 1024;
    /// Asked after each run; true: it has failed, by a check that does not throw.
    std::function<bool()> failed = {};
    /// Where the failing seed is reported. Null: `std::cerr`.
    std::ostream* log = nullptr;
};

/// What `explore` has done.
struct exploration {
    std::uint64_t seeds = 0;     ///< runs
    std::uint64_t steps = 0;     ///< of all of them
    std::uint64_t schedules = 0; ///< that differ
};

/// A schedule under which a test deadlocks, leaks a fiber, does not end, or fails a check.
class schedule_error : public std::runtime_error {
public:
    schedule_error(std::string const& what, std::uint64_t seed)
        : std::runtime_error(what), seed_(seed)
    {
    }

    /// What `explore_options::first_seed`, with one of `seeds`, repeats it by.
    std::uint64_t seed() const noexcept { return seed_; }

private:
    std::uint64_t seed_;
};

namespace detail {
SPINDLE_DECL exploration
explore(std::function<void()> fn, explore_options const& options, void const* site);
}

/// Runs a function in a fiber under many schedules, each decided by a seed.
/**
 * Everything of Spindle's works inside: `go`, `spawn`, channels, `select`, mutexes,
 * groups, scopes, sleeps, tickers. All fibers run on the calling thread. Who runs next
 * is chosen by the seed wherever a fiber waits, yields or ends, before each operation
 * that may wait, and where a fiber is started: the new one may run before the call that
 * starts it has returned, as it may on several processors, where another one steals it.
 * `explore_options::fine_points` adds what never waits. Time is the run's own: it
 * stands still while somebody can run, and goes to the next deadline when all wait. So a
 * test that sleeps an hour takes no time.
 *
 * A run fails when an exception leaves `fn`, a fiber that nobody waits for, or a handler;
 * when all fibers wait and no deadline is left (a deadlock; or, once `fn` has returned,
 * a leak: `explore` waits for all fibers that it has started); when it does not end; or
 * when `failed` says so. Then `explore` reports the seed, the fibers and the last steps,
 * runs the seed once more to see whether it fails again, and throws: the exception that
 * was thrown inside, or a `schedule_error`. With `SPINDLE_SEED` in the environment that
 * seed alone is run.
 *
 * @par Example
 * @code
 * spindle::testing::explore([] {
 *     spindle::channel<int> ch;
 *     spindle::go([ch] { ch.send(1); });
 *     assert(ch.receive() == 1);
 * });
 * @endcode
 *
 * @param fn Called once for each seed; makes what it uses itself, so that each run
 * begins alike. Fibers that a failed run has left in waits that no stop ends keep their
 * stacks for ever.
 *
 * @par Not seen
 * What happens between two operations is one step: data races, and code that shares
 * data by atomics alone, unless it calls `testing::point()`. Threads, real I/O and
 * `std::chrono::steady_clock::now()` are not decided by the seed; `testing::clock` is.
 *
 * @par Blocking
 * On a plain thread only: throws `errc::not_in_fiber` in a fiber or a handler.
 *
 * @par Thread Safety
 * Several threads may explore at the same time.
 */
template <class Function>
SPINDLE_CALLED_FROM_HERE exploration explore(Function&& fn, explore_options const& options = {})
{
    return detail::explore(
        std::function<void()>(std::ref(fn)), options, spindle::detail::call_site());
}

/// As above: so many schedules.
template <class Function>
SPINDLE_CALLED_FROM_HERE exploration explore(Function&& fn, std::uint64_t seeds)
{
    return detail::explore(
        std::function<void()>(std::ref(fn)), {.seeds = seeds}, spindle::detail::call_site());
}

/// The calling fiber may lose its turn here, as at any operation that may wait.
/**
 * For code that shares data without one. Does nothing where no schedule is explored.
 */
SPINDLE_DECL void point();

} // namespace spindle::testing

#endif // SPINDLE_TESTING_EXPLORE_HPP
