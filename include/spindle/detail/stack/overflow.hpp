//
// spindle/detail/stack/overflow.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// Says which fiber overflowed its stack, before the process ends of it.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_STACK_OVERFLOW_HPP
#define SPINDLE_DETAIL_STACK_OVERFLOW_HPP

#include <spindle/config.hpp>

#include <cstddef>

namespace spindle::detail {

// Any thread. From the first call on, a fault in the guard of a live stack of
// the pool is reported on stderr and ends the process by abort(). Every other
// fault goes to the handler that was there before, as if it still were:
//
//   a function   is called with the arguments it asked for (SA_SIGINFO), with
//                the signals blocked that it wanted (sa_mask, SA_NODEFER), once
//                if it wanted so (SA_RESETHAND). It always runs on the alternate
//                stack, if the thread has one.
//   SIG_DFL      is restored, and the fault happens again.
//   SIG_IGN      as SIG_DFL for a fault, which cannot be ignored; a signal that
//                was sent by someone is ignored.
//
// A handler that is installed later replaces this one, unless it chains to it.
SPINDLE_DECL void install_overflow_handler() noexcept;

// Writes the name of the fiber on the stack with that top into out, at most
// capacity bytes, and returns how many. Runs in a signal handler, on another
// stack, in the thread that faulted: async-signal-safe, and must not fault.
using overflow_describer =
    std::size_t (*)(void* stack_top, char* out, std::size_t capacity) noexcept;

// Any thread. nullptr: no name is printed.
SPINDLE_DECL void set_overflow_describer(overflow_describer describer) noexcept;

// Gives the calling thread an alternate signal stack for the scope's length. A
// thread that has one already keeps it. Costs two system calls and no mapping,
// but for the first in the process: the memory is kept for the next scope.
//
// Made and destroyed by the same thread, not on a fiber that migrates.
class altstack_scope {
public:
    SPINDLE_DECL altstack_scope() noexcept;
    SPINDLE_DECL ~altstack_scope();

    altstack_scope(altstack_scope const&) = delete;
    altstack_scope& operator=(altstack_scope const&) = delete;

    // False when the thread had its own, or when there was no memory for one.
    bool installed() const noexcept { return memory_ != nullptr; }

private:
    void* memory_ = nullptr;
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_STACK_OVERFLOW_HPP
