//
// spindle/detail/fiber/park.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// The one way to stop running, and the one way to run again.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_FIBER_PARK_HPP
#define SPINDLE_DETAIL_FIBER_PARK_HPP

#include <spindle/config.hpp>
#include <spindle/detail/base/cpu_relax.hpp>
#include <spindle/detail/fiber/record.hpp>

namespace spindle::detail {

struct processor;

// The fiber that runs on this thread, or nullptr. Of Spindle's algorithms only.
[[nodiscard]] SPINDLE_DECL fiber_record* current_fiber() noexcept;

// The running fiber only. Gives the thread to the next one, then has `commit`
// publish the fiber to whoever will ready it. If commit refuses, park()
// returns soon. What commit needs to unlock, it unlocks: nothing else may be
// held. The fiber may come back on another thread: no thread-local's address,
// errno or thread id that was read before may be used after.
SPINDLE_DECL SPINDLE_NOINLINE void park(
    fiber_record& self, commit_function commit, void* argument, wait_reason reason) noexcept;

// The running fiber only. Lets what is queued here run first.
SPINDLE_DECL SPINDLE_NOINLINE void yield(fiber_record& self) noexcept;

// The running fiber only, between two functions: park() that counts nothing.
SPINDLE_DECL SPINDLE_NOINLINE void rest(fiber_record& self, commit_function commit) noexcept;

enum class lane {
    next, // before what is queued: for what its waker waits for, or has just made
    last, // behind it: for what came from outside, so that it takes its turn
};

// Any thread, once for each committed park, and for a new fiber. The fiber
// goes to the caller's processor where that is its scheduler's, else to the
// scheduler's global queue; a bound one to its executor.
SPINDLE_DECL void ready(fiber_record& g, lane where = lane::next) noexcept;

// Inside, by a thread that holds `p` or nothing. For a free fiber that the short way
// does not serve: it is of another scheduler, or somebody watches.
SPINDLE_DECL SPINDLE_NOINLINE void ready_by_the_long_way(
    processor* p, fiber_record& g, lane where, bool by_itself = false) noexcept;

// The same, for a fiber that begins; counts it.
SPINDLE_DECL void ready_new(fiber_record& g) noexcept;

// Any thread. Whether to wait for another one by spinning: it has a core of its
// own, and nothing else is queued to run here meanwhile.
[[nodiscard]] SPINDLE_DECL bool worth_spinning() noexcept;

// Any thread. Tries again and again, for as long as a short section may take that
// another core is in: a switch takes longer than that. False: it is not worth it
// any more.
template <class Try>
[[nodiscard]] bool spin_for(Try attempt) noexcept
{
    constexpr int rounds = 4, pauses = 30;
    for (int i = 0; !attempt(); ++i) {
        if (i == rounds || !worth_spinning())
            return false;
        for (int k = 0; k != pauses; ++k)
            relax_cpu();
    }
    return true;
}

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_FIBER_PARK_HPP
