//
// spindle/error.hpp
// ~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_ERROR_HPP
#define SPINDLE_ERROR_HPP

#include <spindle/config.hpp>

#include <boost/system/error_category.hpp>
#include <boost/system/error_code.hpp>
#include <boost/system/error_condition.hpp>
#include <boost/system/system_error.hpp>

#include <type_traits>

namespace spindle {

using boost::system::error_code;
using boost::system::system_error;

/// What Spindle itself can report.
/**
 * Everything that Asio or the system reports keeps its own code; a cancelled
 * wait is always `boost::asio::error::operation_aborted`. Each value compares
 * equal to a portable condition, so that a caller may test for either:
 *
 * | value             | `boost::system::errc` condition    |
 * | ----------------- | ---------------------------------- |
 * | channel_closed    | broken_pipe                        |
 * | not_in_fiber      | operation_not_permitted            |
 * | deadlock          | resource_deadlock_would_occur      |
 * | thread_limit      | resource_unavailable_try_again     |
 * | no_stack_memory   | not_enough_memory                  |
 * | scheduler_stopped | operation_canceled                 |
 */
enum class errc {
    /// The channel was closed.
    channel_closed = 1,
    /// The operation would have to suspend, and there is no fiber to suspend.
    not_in_fiber,
    /// The wait could never end.
    deadlock,
    /// The system refused a thread.
    thread_limit,
    /// There is no memory, or no address space, for a fiber's stack.
    no_stack_memory,
    /// The scheduler has been stopped and takes no new fibers.
    scheduler_stopped,
};

/// The category of `errc`.
[[nodiscard]] SPINDLE_DECL boost::system::error_category const& spindle_category() noexcept;

/// Makes an `error_code` of `spindle_category()`; found by argument-dependent lookup.
[[nodiscard]] inline error_code make_error_code(errc e) noexcept
{
    return {static_cast<int>(e), spindle_category()};
}

namespace detail {

// What every cancelled wait reports: boost::asio::error::operation_aborted,
// spelt without Asio for the rooms that may not see it.
[[nodiscard]] SPINDLE_DECL error_code operation_aborted() noexcept;

[[noreturn]] SPINDLE_DECL void throw_error(error_code ec);

// The errors of misuse carry a sentence that says what to do instead.
[[noreturn]] SPINDLE_DECL void throw_error(error_code ec, char const* advice);

} // namespace detail

} // namespace spindle

template <>
struct boost::system::is_error_code_enum<spindle::errc> : std::true_type {};

#endif // SPINDLE_ERROR_HPP
