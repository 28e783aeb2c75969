//
// spindle/observe/leaks.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_OBSERVE_LEAKS_HPP
#define SPINDLE_OBSERVE_LEAKS_HPP

#include <spindle/config.hpp>

#include <chrono>
#include <iosfwd>
#include <string>
#include <vector>

namespace spindle {

/// A fiber that has been waiting for long, and may wait for ever.
struct leaked_fiber {
    /// Its name, or "fiber 12".
    std::string name;
    /// Where it was spawned, as far as the program's symbols tell.
    std::string spawned_from;
    /// What it waits for, and the address of that.
    std::string waits_for;
    /// For how long.
    std::chrono::steady_clock::duration waited;
    /// Nobody else has what it waits for; see `find_leaks`.
    bool abandoned;
};

/// Fibers that have been waiting for at least `bound`, the longest first.
/**
 * @par Example
 * @code
 * for (auto const& f : spindle::find_leaks(1min))
 *     log << f.name << " waits for " << f.waits_for << (f.abandoned ? ", for ever\n" : "\n");
 * @endcode
 *
 * For what other fibers and threads do: channels, locks, joins and the like. Fibers in
 * operations of Asio's and in sleeps are not listed, since those end by themselves or
 * by what happens outside; nor are fibers that are bound to an executor or pinned,
 * of which nobody knows since when they wait.
 *
 * `abandoned` is said of a fiber in a nil channel; and of one that sends to or receives
 * from a channel which only such fibers have: the functions of those that wait in it, as
 * they were given to `go` or `spawn`, have captured all handles that there are, and
 * nothing that another fiber has captured, or has on its stack, points to them. A handle
 * anywhere else, in an object on the heap, on a thread's stack, in a container, is one
 * too many, so it is never said then. What it does not see is somebody who has no handle
 * and refers to the captured one: from a handler, from a thread, or from the stack of a
 * fiber that runs just then. (Captured by reference it is in that fiber's function, and
 * seen.)
 *
 * It says nothing of channels that lie in a waiting fiber's own variables, nor of fibers
 * in a `select`. Go finds those out, by its garbage collector, which knows each pointer
 * there is and stops the program to look. Where stacks cannot be read (`dump` says so)
 * only nil channels are abandoned.
 *
 * @par Thread Safety
 * Any thread, any fiber. As `dump`, it stops nobody.
 */
[[nodiscard]] SPINDLE_DECL std::vector<leaked_fiber>
find_leaks(std::chrono::steady_clock::duration bound);

/// The same, as `dump` writes it: with stacks, equal ones together.
SPINDLE_DECL void dump_leaks(std::ostream& os, std::chrono::steady_clock::duration bound);

} // namespace spindle

#endif // SPINDLE_OBSERVE_LEAKS_HPP
