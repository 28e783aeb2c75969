//
// spindle/detail/fiber/look.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// Looking at all fibers, and at their stacks, while they go on.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_FIBER_LOOK_HPP
#define SPINDLE_DETAIL_FIBER_LOOK_HPP

#include <spindle/config.hpp>

#include <spindle/detail/base/clock.hpp>
#include <spindle/detail/fiber/record.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace spindle::detail {

// Shape
//
//   A walk goes through the registry, some records at a time under its lock, and
//   makes a sight of each: a copy of what it says, and of the stack of a fiber that
//   is parked. Nothing is stopped, and no fiber waits for a walk.
//
// Who may touch what
//
//   state of a record   the walk puts `examined` in the place of what is there, and
//                       takes it back, both by compare-exchange; all else stores
//   name of a record    under its stopper lock, while the record is registered
//   the rest            read as it is, and thrown away if it may have changed
//
// Invariants
//
//   I1  A record, and the stack that it lies on, is there as long as it is
//       registered: it leaves the registry, under the lock, before its stack goes.
//   I2  Whoever makes a fiber run stores its state first, over `examined` as well;
//       and only a walk stores `examined`, one walk at a time.
//
// Why it is correct
//
//   S  The walk puts `examined` over the state, copies, and takes that back by a
//      compare-exchange. Where it succeeds nothing has happened to the fiber that
//      stores a state; and if its saved stack pointer was there after the first
//      step, it lay there all the time: Boost.Context keeps that null from a
//      fiber's resumption until its registers are saved. A copy that was torn is
//      thrown away, and while it is made it is words, and nothing in it is followed.
//   B  What the fiber wrote before its registers were saved is read after: a heavy
//      barrier lies between reading the saved stack pointer and the copy. What a
//      resumed fiber writes comes after the store of I2, and the walk reads the
//      state after the copy, behind a fence.
//   N  A std::string cannot be read while it changes: so a name is set and cleared
//      under a lock; fibers that have none never take it.
//
// Not done, and why
//
//   Stopping the processors: their threads may be in code that does not come back,
//   which is when a dump is wanted.
//   A freeze that ready() would have to look at: an instruction for each wake-up,
//   for what is asked for once a month.
//
// Evidence: test/fiber/look.cpp

// A channel that a select waits in.
struct select_sight {
    void const* channel; // its lock
    bool sends;
};

struct fiber_sight {
    fiber_id id;
    std::uint64_t number = 0; // as its display_name says
    fiber_id spawner;         // 0: unknown, or no fiber
    std::string name;
    fiber_state state = fiber_state::idle;
    wait_reason reason = wait_reason::none; // while waiting
    bool bound = false;                     // to an executor
    bool pinned = false;
    bool returned = false;          // its function has, and it is at its end
    bool stock = false;             // made by Boost.Fiber's API
    bool stopping = false;          // was asked to stop
    bool blocking = false;          // runs, in a call inside blocking()
    time_point since{};             // waiting; the epoch: unknown
    void const* waits_on = nullptr; // what its commit function was given
    std::vector<select_sight> selects; // from the channels of its cases, in their order
    void const* spawn_site = nullptr;
    core const* home = nullptr;
    long thread = 0;                   // running: the system's number of the thread; 0: unknown
    std::uintptr_t note = 0;           // of the walk's note_function
    std::uintptr_t stack_pointer = 0;  // as it was saved; 0: no copy
    std::vector<std::uintptr_t> stack; // from there on, upwards
    std::uintptr_t function_at = 0;    // with stacks: where its function object lies, if
    std::vector<std::uintptr_t> function; // that is in the record; and the words there

    bool has_name() const noexcept { return !name.empty(); }
};

// Set by the room that has select, if that is linked in: its channels, as many as there
// is room for, and how many those are. What it is given may be gone.
using select_function = std::size_t (*)(void const* waits_on, select_sight* out, std::size_t most);
SPINDLE_DECL extern constinit atomic<select_function> look_at_select;

// Any thread; one walk at a time, others wait. Fibers that begin meanwhile may be
// seen, too.
class SPINDLE_DECL fiber_walk {
public:
    enum class stacks : bool { no, yes };

    // Called while a waiting fiber is examined, for what may be read only then: if the
    // fiber has gone on meanwhile the result is thrown away, but it must not crash.
    using note_function = std::uintptr_t (*)(fiber_sight const& s) noexcept;

    explicit fiber_walk(stacks with, note_function note = nullptr);
    ~fiber_walk();
    fiber_walk(fiber_walk const&) = delete;
    fiber_walk& operator=(fiber_walk const&) = delete;

    // Some more, instead of what is there; false: there are none.
    bool next(std::vector<fiber_sight>& out);

private:
    stacks const with_;
    note_function const note_;
    record_walk records_;
    bool over_ = false;
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_FIBER_LOOK_HPP
