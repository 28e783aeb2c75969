//
// spindle/observe/dump.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_OBSERVE_DUMP_HPP
#define SPINDLE_OBSERVE_DUMP_HPP

#include <spindle/config.hpp>

#include <cstddef>
#include <iosfwd>
#include <string>

namespace spindle {

/// What `dump` says.
struct dump_options {
    /// The call stack of each fiber that is not running, and of the one that asks.
    bool stacks = true;
    /// All of it: Spindle's and Boost's functions, too, through which it waits.
    bool all_frames = false;
    /// How many fibers are listed of those that have the same stack.
    std::size_t listed = 10;
};

/// Writes down every fiber of the process: what it waits for, since when, and where.
/**
 * @par Example
 * @code
 * spindle::dump(std::cerr);
 * @endcode
 *
 * For each fiber its number, its name, its state; what it waits for, on what
 * object, a select in which channels, for how long (to the precision of its processor's
 * clock, which is read once for some fibers; fibers without a processor, bound to an
 * executor or pinned, have none); the thread that it runs on; where it was spawned; its
 * call stack. Fibers in the same place are one paragraph, the largest first.
 *
 * Who spawned a fiber is said of those that were spawned after `remember_spawners()`.
 *
 * The functions are named by the symbol tables of the program and its libraries.
 * Stacks are read on x86-64 Linux, not in builds for sanitizers; elsewhere the dump
 * says so, and has the rest.
 *
 * @par Blocking
 * Nothing is stopped: fibers and threads go on meanwhile. What is said of a fiber
 * was so at one moment; of two fibers, at two. A running fiber's stack is its own to
 * tell: the caller's is there, of others there is none, and a debugger shows it.
 *
 * @par Thread Safety
 * From any thread and any fiber; not from a signal handler: that is what
 * `dump_on_signal` is for.
 *
 * @par Exceptions
 * `std::bad_alloc`, and what the stream throws.
 */
SPINDLE_DECL void dump(std::ostream& os, dump_options const& options = {});

/// The same, as a string.
[[nodiscard]] SPINDLE_DECL std::string dump_string(dump_options const& options = {});

/// From now on each fiber remembers which one has spawned it.
/**
 * For good. Costs a spawn some instructions; without it, none.
 */
SPINDLE_DECL void remember_spawners() noexcept;

/// Dumps to standard error whenever the process gets that signal.
/**
 * @par Example
 * @code
 * spindle::dump_on_signal(SIGQUIT); // kill -QUIT, or Ctrl-\ in its terminal
 * @endcode
 *
 * The process goes on after it. Implies `remember_spawners()`.
 *
 * The signal's handler is replaced, in a way that lets interrupted system calls go
 * on. It wakes a thread that writes the dump, made by the first call; so it works
 * when all of Spindle's threads are stuck. That thread runs nothing else. A program that
 * closes descriptors which it does not know, as daemons do by `closefrom(3)`, closes the
 * pipe between the two: the thread ends, and the signal does nothing any more until
 * `dump_on_signal` is called again. So it is called after that.
 *
 * @par Thread Safety
 * Any thread. Signals that come during a dump are one more after it.
 *
 * @throws system_error when the system refuses the handler, the thread or a pipe.
 */
SPINDLE_DECL void dump_on_signal(int signal, dump_options const& options = {});

} // namespace spindle

#endif // SPINDLE_OBSERVE_DUMP_HPP
