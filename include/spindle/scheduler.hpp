//
// spindle/scheduler.hpp
// ~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_SCHEDULER_HPP
#define SPINDLE_SCHEDULER_HPP

#include <spindle/config.hpp>
#include <spindle/scheduler_options.hpp>
#include <spindle/scheduler_stats.hpp>

#include <boost/asio/io_context.hpp>

#include <memory>

namespace spindle {

class scheduler;

namespace detail {
class host;
class asio_core;
class runner;
struct run_on_caller {};
[[nodiscard]] SPINDLE_DECL asio_core& core_of(scheduler& s) noexcept;
} // namespace detail

/// Runs fibers on threads of its own: one processor a core, each with an io_context.
/**
 * @par Example
 * @code
 * spindle::scheduler sched;
 * tcp::acceptor acceptor(sched.get_executor(), {tcp::v4(), 8080});
 * spindle::spawn(sched, [&] { serve(acceptor); }, asio::detached);
 * sched.join();
 * @endcode
 *
 * It is not an `execution_context`: an I/O object is made with one of its
 * executors. `get_executor()` is always the same one; `next_executor()` goes
 * round the processors, so `acceptor.async_accept(sched.next_executor(), ...)`
 * spreads connections over them.
 *
 * Handlers of one processor's io_context never run at the same time as each
 * other; those of different processors do. An exception that leaves a handler
 * on one of these threads goes to `scheduler_options::unhandled_exception`.
 *
 * @par Blocking
 * The constructor starts the threads. The destructor stops all fibers, waits
 * for them, at most for `shutdown_grace`, and joins the threads. Idle threads
 * use no CPU.
 *
 * @par Thread Safety
 * @e Distinct @e objects: Safe.@n
 * @e Shared @e objects: Safe, but for construction and destruction.
 *
 * @par Lifetime
 * Outlives every I/O object that was made with its executors. Several may live
 * in one process. Must not be destroyed by one of its own fibers.
 */
class scheduler {
public:
    using executor_type = boost::asio::io_context::executor_type;

    /// Starts the threads.
    /**
     * @throws system_error `errc::thread_limit` when the system refuses a
     * thread, `boost::system::errc::invalid_argument` when an option is out of
     * bounds. Nothing is left behind.
     */
    SPINDLE_DECL explicit scheduler(scheduler_options options = {});

    /// Stops the fibers, waits for them, joins the threads.
    SPINDLE_DECL ~scheduler();

    scheduler(scheduler const&) = delete;
    scheduler& operator=(scheduler const&) = delete;

    /// The executor of the first processor's io_context.
    [[nodiscard]] SPINDLE_DECL executor_type get_executor() const noexcept;

    /// The executor of the next processor's io_context, in turn.
    [[nodiscard]] SPINDLE_DECL executor_type next_executor() noexcept;

    /// Asks every fiber to stop, now and in future.
    /**
     * Each cancellable wait of theirs fails with `operation_aborted`. Returns
     * at once. Any thread, any fiber.
     */
    SPINDLE_DECL void stop() noexcept;

    /// Waits until no fiber is alive.
    /**
     * @par Blocking
     * Blocks the calling thread.
     *
     * @throws system_error `errc::deadlock` when one of its own fibers or handlers
     * calls it.
     */
    SPINDLE_DECL void join();

    /// How many fibers run at the same time.
    [[nodiscard]] SPINDLE_DECL unsigned processors() const noexcept;

    /// Changes how many fibers run at the same time, while they run.
    /**
     * Returns at once; the processors come and go as soon as they can. One that goes
     * hands its fibers to the others. Its io_context stays, with all that was made
     * there, and a thread that serves it; `next_executor()` passes it by. Any thread,
     * any fiber.
     *
     * @throws system_error `boost::system::errc::invalid_argument` unless `n` is from 1
     * to 1024, `errc::thread_limit` when there is no thread for another processor: then
     * there are as many as could be had.
     */
    SPINDLE_DECL void set_processors(unsigned n);

    /// What it does, and what it has done so far. Any thread, at any time.
    /**
     * Looks at each fiber of the process, which takes about 0.1 us for each; nobody
     * waits for that, but who makes the first fiber on a new stack, for 20 us at most.
     */
    [[nodiscard]] SPINDLE_DECL scheduler_stats stats() const;

    /// Whether to measure how long fibers that are ready wait until they run.
    /**
     * For `scheduler_stats::latency`, which goes on from what it had. At first it is
     * `scheduler_options::measure_latency`. Off, it costs nothing; on, two readings of
     * the clock for each time that a fiber waits. Any thread, at any time.
     */
    SPINDLE_DECL void measure_latency(bool on) noexcept;

private:
    friend class detail::runner;
    SPINDLE_DECL scheduler(detail::run_on_caller, scheduler_options options);

    friend SPINDLE_DECL detail::asio_core& detail::core_of(scheduler& s) noexcept;

    std::unique_ptr<detail::host> host_;
};

namespace detail {

// A scheduler whose first processor is run by the thread that made it.
class runner {
public:
    SPINDLE_DECL explicit runner(scheduler_options options);

    // Returns after finish(), once no fiber is left.
    SPINDLE_DECL void run() noexcept;

    // The main fiber, when it ends.
    SPINDLE_DECL void finish() noexcept;

    asio_core& core() noexcept { return core_of(sched_); }

private:
    scheduler sched_;
};

} // namespace detail

} // namespace spindle

#endif // SPINDLE_SCHEDULER_HPP
