//
// spindle/attach.hpp
// ~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_ATTACH_HPP
#define SPINDLE_ATTACH_HPP

#include <spindle/config.hpp>
#include <spindle/scheduler_options.hpp>

#include <boost/asio/io_context.hpp>

namespace spindle {

/// Sets the options for fibers on a user's io_context.
/**
 * Not needed where the defaults will do: the first `spawn` attaches by itself.
 *
 * @par Example
 * @code
 * asio::io_context ioc;
 * spindle::attach(ioc, {.stack_size = 64 * 1024});
 * @endcode
 *
 * With `guest_threads`, threads of Spindle's run it beside the user's:
 *
 * @code
 * asio::io_context ioc;
 * spindle::attach(ioc, {.guest_threads = 3});
 * spindle::spawn(ioc, serve, asio::detached); // may run before run() is called
 * ioc.run(); // the fourth
 * @endcode
 *
 * @throws system_error `boost::system::errc::invalid_argument` after the first
 * `spawn` on it, for a scheduler's own io_context, for one that was made
 * without locking, and when an option is out of bounds; `errc::thread_limit` when the
 * system refuses one of `guest_threads`: then there is none of them.
 */
SPINDLE_DECL void attach(boost::asio::io_context& ioc, scheduler_options options);

} // namespace spindle

#endif // SPINDLE_ATTACH_HPP
