//
// spindle/observe/trace.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~
// A timeline of processors, threads and fibers.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_OBSERVE_TRACE_HPP
#define SPINDLE_OBSERVE_TRACE_HPP

#include <spindle/config.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>

namespace spindle {

/// A timeline of processors, threads and fibers, for Perfetto and Chrome's tracing page.
/**
 * @par Example
 * @code
 * spindle::trace::start("slow.json");
 * handle(request);
 * spindle::trace::stop(); // open the file at https://ui.perfetto.dev
 * @endcode
 *
 * It shows when each fiber ran and where, what it waited for, who made it ready, and how
 * long it then waited for a processor; what processors stole and lost; what threads did
 * else: Asio's turns, calls inside `blocking`, sleep. The guide "Tracing" reads one.
 */
namespace trace {

/// How much is kept.
struct options {
    /// For each thread. When there are more, the oldest are dropped.
    /**
     * Rounded up to a power of two. An event takes 32 bytes; a fiber that waits and runs
     * again makes three.
     */
    std::size_t events_per_thread = 32 * 1024;

    /// How many fibers get a line of their own; the others are on those of their processors.
    std::size_t fiber_lines = 1000;
};

/// What a trace has become.
struct summary {
    std::size_t events = 0;    ///< in the file's timeline
    std::uint64_t dropped = 0; ///< older ones that have made room for them
    std::size_t threads = 0;   ///< that have recorded something
    std::size_t fibers = 0;    ///< that are in it
};

/// Begins to record all schedulers and io_contexts of the process.
/**
 * The file is opened now and written by `stop()`. Fibers that were ready before appear
 * when they become ready for the next time.
 *
 * What it costs: some 0.1 us for each time that a fiber waits, and the memory of
 * `events_per_thread` for each thread that runs fibers or readies one, until the thread
 * ends or another trace begins. Nothing when none is being recorded.
 *
 * @par Thread Safety
 * Any thread, any fiber.
 *
 * @throws system_error what the system says when the file cannot be opened;
 * `boost::system::errc::device_or_resource_busy` while a trace is being recorded already.
 */
SPINDLE_DECL void start(std::filesystem::path const& file, options how = {});

/// Ends the recording, and writes it.
/**
 * @par Blocking
 * Blocks the thread while it writes, for seconds where events are many: a fiber had
 * better call it inside `blocking`.
 *
 * @par Thread Safety
 * Any thread, any fiber.
 *
 * @throws system_error `boost::system::errc::operation_not_permitted` when nothing is
 * being recorded; `boost::system::errc::io_error` when the file could not be written.
 * The recording has ended then, too.
 */
SPINDLE_DECL summary stop();

/// Whether a trace is being recorded.
[[nodiscard]] SPINDLE_DECL bool is_recording() noexcept;

/// Records for as long as it lives.
/**
 * @par Example
 * @code
 * {
 *     spindle::trace::recording const whole_run("run.json");
 *     spindle::run(server);
 * }
 * @endcode
 */
class recording {
public:
    /// As `start`.
    explicit recording(std::filesystem::path const& file, options how = {}) { start(file, how); }

    recording(recording const&) = delete;
    recording& operator=(recording const&) = delete;

    /// As `stop`, unless that was called; says on standard error what went wrong.
    SPINDLE_DECL ~recording();

    /// As `trace::stop`. Then the destructor has nothing to do.
    summary stop()
    {
        on_ = false;
        return trace::stop();
    }

private:
    bool on_ = true;
};

} // namespace trace

} // namespace spindle

#endif // SPINDLE_OBSERVE_TRACE_HPP
