//
// spindle/this_fiber.hpp
// ~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_THIS_FIBER_HPP
#define SPINDLE_THIS_FIBER_HPP

#include <spindle/config.hpp>
#include <spindle/detail/base/clock.hpp>
#include <spindle/detail/fiber/record.hpp>

#include <boost/asio/any_io_executor.hpp>

#include <chrono>
#include <stop_token>
#include <string>

namespace spindle {

class scheduler;

/// What a fiber can say of itself and do with itself.
/**
 * But for `is_fiber`, `yield` and the sleeps, which work on a plain thread too,
 * all of these throw `errc::not_in_fiber` outside a fiber.
 */
namespace this_fiber {

/// A number that no other fiber of the process has.
using id = detail::fiber_id;

/// True in a fiber that may park here; false on a plain thread and in a handler.
[[nodiscard]] SPINDLE_DECL bool is_fiber() noexcept;

/// Lets the other fibers of this processor run first.
/**
 * On a plain thread: `std::this_thread::yield()`. In a completion handler:
 * throws `errc::not_in_fiber`. Not a cancellation point.
 */
SPINDLE_DECL void yield();

/// Sleeps until `when`.
/**
 * @par Blocking
 * Parks the fiber; blocks a plain thread. In a completion handler: throws
 * `errc::not_in_fiber`.
 *
 * @par Cancellation
 * A cancellation point: throws `operation_aborted`.
 */
SPINDLE_DECL void sleep_until(std::chrono::steady_clock::time_point when);

/// Sleeps for at least `d`. As `sleep_until`.
template <class Rep, class Period>
void sleep_for(std::chrono::duration<Rep, Period> const& d)
{
    sleep_until(detail::deadline_after(d));
}

/// This fiber's id.
[[nodiscard]] SPINDLE_DECL id get_id();

/// Its name, as in `spawn_options::name`; empty if it has none.
[[nodiscard]] SPINDLE_DECL std::string const& name();

/// The executor to make this fiber's I/O objects with.
/**
 * A bound fiber's is the one that it is bound to. A free one's is the user's
 * io_context, or, on a `scheduler`, that of the processor which runs it now:
 * another one after it has parked, and each as good.
 */
[[nodiscard]] SPINDLE_DECL boost::asio::any_io_executor get_executor();

/// The scheduler that runs this fiber.
/**
 * @throws system_error `errc::not_in_fiber` for a fiber on a user's own
 * io_context, too.
 */
[[nodiscard]] SPINDLE_DECL scheduler& get_scheduler();

/// This fiber's stop, for what takes a `std::stop_token`.
/**
 * Inside a `cancel_scope` it is the innermost one's: requested when that scope is
 * cancelled, one around it, or the fiber.
 *
 * A wait that the stop ends may throw a moment before the token says so, and before its
 * callbacks have run: `stop_requested()` below is true by then.
 */
[[nodiscard]] SPINDLE_DECL std::stop_token get_stop_token();

/// True once this fiber was asked to stop, or the scope that it is in is cancelled.
[[nodiscard]] SPINDLE_DECL bool stop_requested();

} // namespace this_fiber

} // namespace spindle

#endif // SPINDLE_THIS_FIBER_HPP
