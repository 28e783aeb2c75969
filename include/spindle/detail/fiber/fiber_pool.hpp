//
// spindle/detail/fiber/fiber_pool.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// Whole fibers, used again: context, stack and record stay together from one
// function to the next (Go's list of free Gs).
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_FIBER_FIBER_POOL_HPP
#define SPINDLE_DETAIL_FIBER_FIBER_POOL_HPP

#include <spindle/config.hpp>
#include <spindle/detail/base/clock.hpp>
#include <spindle/detail/fiber/park.hpp>
#include <spindle/detail/fiber/record.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace spindle::detail {

class machine;
struct processor;

// Shape
//
//   A fiber's entry function is a loop: run the function, end the life, rest.
//   Resting is parking in a list: the processor's own, newest first, so that a
//   stack comes back while it is warm; from there, half at a time, the lists
//   that all share, one for each stack size. What those have beyond a bound is
//   told to return from its loop, a few at a time by threads that have nothing
//   else to do; their stacks go back to the stack pool. What nobody has taken out
//   of those for long gives back the memory below its frames: a function that went
//   deep leaves pages behind that the next ones may never touch.
//
// Who may touch what
//
//   processor::resting   the processor's owner
//   the shared lists     any thread, under their lock
//   whether one is too   written under that lock, set where a list grows, cleared where
//   long                 none is; read by any thread, relaxed. Who reads it too early
//                        leaves the end of a fiber to the next that has time
//   a resting fiber      whoever took it out of its list
//
// Not done, and why
//
//   A new Boost.Fiber context for each function: construction, first switch,
//   termination and the dispatcher's round cost four times the rest of a spawn.
//   Trimming a stack when its function ends: a server would pay a system call and
//   a page fault for each fiber that goes deep. By the size of the lists: what is
//   used all the time is worth its memory, however much it is.
//   Unbounded lists: a burst of a million fibers would keep its memory for ever.
//   Ending a fiber that finds the lists full: a burst would pay for the end of
//   fibers that the next burst pays to make again; and it is in a hurry.
//
// Evidence: test/fiber/fiber_pool.cpp

// Any thread. A resting or a new fiber with at least `stack_size` bytes. Throws
// errc::no_stack_memory.
[[nodiscard]] SPINDLE_DECL fiber_record& acquire_fiber(std::size_t stack_size);

// Gives back what acquire_fiber() gave, unused. `p` is the processor that the
// caller holds, or nullptr.
SPINDLE_DECL void release_fiber(processor* p, fiber_record& g) noexcept;

// The processor's owner, before it lets the processor go for good.
SPINDLE_DECL void release_resting(processor& p) noexcept;

// Puts a callable into an acquired fiber. Task: void operator()() noexcept.
template <class Task>
void set_task(fiber_record& g, Task&& task)
{
    using type = std::decay_t<Task>;
    static_assert(noexcept(std::declval<type&>()()));
    constexpr bool fits = sizeof(type) <= fiber_record::storage_size
        && alignof(type) <= alignof(std::max_align_t);
    if constexpr (fits)
        g.task = ::new (static_cast<void*>(g.storage)) type(std::forward<Task>(task));
    else
        g.task = new type(std::forward<Task>(task));
    g.invoke = [](fiber_record& self) noexcept {
        auto* const t = static_cast<type*>(self.task);
        (*t)();
        if constexpr (fits)
            t->~type();
        else
            delete t;
    };
}

// Starts an acquired fiber with its task: a life begins, in `home`. Never runs
// any of it before it returns. Takes over `bound`.
SPINDLE_DECL void start_fiber(
    fiber_record& g, core& home, slice_poster* bound, lane where = lane::fresh) noexcept;

// On a machine's main context, when it has nothing to run. Ends up to `most`
// resting fibers that are too many; returns how many it found.
SPINDLE_DECL std::size_t end_superfluous(machine& m, std::size_t most) noexcept;

// Any thread that has time, with the time by now(); several, too. Trims the stacks of
// the fibers in the shared lists that were there at the last look and the one before;
// looks are trim_time apart. Returns when to come again; max(): there is nothing to do
// until others come to rest.
[[nodiscard]] SPINDLE_DECL time_point trim_resting(time_point at) noexcept;

inline constexpr auto trim_time = std::chrono::seconds(10);

struct fiber_pool_statistics {
    std::size_t shared = 0; // resting in the shared lists
    std::size_t made = 0;   // contexts made since the process started
    std::size_t ended = 0;  // of those, how many returned from their loop
};

[[nodiscard]] SPINDLE_DECL fiber_pool_statistics get_fiber_pool_statistics() noexcept;

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_FIBER_FIBER_POOL_HPP
