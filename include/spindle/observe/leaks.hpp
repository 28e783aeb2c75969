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
    /// Nobody else seems to have what it waits for; see `find_leaks`.
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
 * from a channel which only such fibers have: there are no more handles of it than
 * fibers that wait in it, and on the stack of no other fiber does its address lie. Go
 * finds that out by its garbage collector. This is an approximation, in both ways:
 * a handle that the fiber refers to, and somebody else keeps, on a running fiber's
 * stack or in a heap object, is taken for the fiber's; a channel whose waiting fibers
 * have two handles each is never said to be abandoned. Where stacks cannot be read
 * (`dump` says so) the second half of the rule is missing: then only nil channels are
 * abandoned.
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
