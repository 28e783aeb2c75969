//
// spindle/observe/stats.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~
// Numbers of the fibers on a user's io_context.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_OBSERVE_STATS_HPP
#define SPINDLE_OBSERVE_STATS_HPP

#include <spindle/config.hpp>
#include <spindle/scheduler_stats.hpp>

#include <boost/asio/io_context.hpp>

namespace spindle {

/// What `scheduler::stats()` is for a scheduler, for fibers on a user's io_context.
/**
 * There a processor is a thread's right to run fibers for the length of a handler:
 * `processors` says how many threads were ever seen running fibers at once. `threads` are
 * those that `blocking` has started; the user's own are not counted. What only a
 * scheduler does stays 0: `searching_processors`, `spare_threads`, `polls`, `idles`,
 * `wakes`, `handoffs`, `preemptions`.
 *
 * Of a scheduler's own io_context it is that scheduler's. All zero where no fiber was
 * ever spawned.
 *
 * @par Example
 * @code
 * asio::io_context ioc;
 * spindle::attach(ioc, {.measure_latency = true});
 * ...
 * spindle::write_prometheus(body, spindle::get_stats(ioc));
 * @endcode
 *
 * @par Blocking
 * Does not suspend the fiber. Looks at each fiber of the process.
 *
 * @par Thread Safety
 * Safe from any thread, as long as `ioc` lives.
 */
[[nodiscard]] SPINDLE_DECL scheduler_stats get_stats(boost::asio::io_context& ioc);

/// What `scheduler::measure_latency` is, for fibers on a user's io_context.
SPINDLE_DECL void measure_latency(boost::asio::io_context& ioc, bool on);

} // namespace spindle

#endif // SPINDLE_OBSERVE_STATS_HPP
