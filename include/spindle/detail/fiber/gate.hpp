//
// spindle/detail/fiber/gate.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// Who may wait here. On the way of every channel operation, so all in one piece.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_FIBER_GATE_HPP
#define SPINDLE_DETAIL_FIBER_GATE_HPP

#include <spindle/detail/fiber/hooks.hpp>
#include <spindle/detail/fiber/machine.hpp>

namespace spindle::detail {

// machine::current(), to those who keep no address of it: it is read anew after
// whatever may park. The library is not opened at run time, so it can lie at a
// fixed offset: one load instead of a call.
#if defined(__GNUC__)
[[gnu::tls_model("initial-exec")]]
#endif
extern thread_local constinit machine* this_machine;

// The same, for functions that are not inlined and ask once, before anything that
// may park.
inline machine* machine_here() noexcept
{
#if defined(__GNUC__)
    asm volatile("");
#endif
    return this_machine;
}

// On a thread, in a fiber that has no record yet, in a handler.
SPINDLE_DECL SPINDLE_NOINLINE fiber_record* pass_gate_slowly();

// The body of waiting_fiber(): `unchanged` says whether Asio's heads are those
// that were marked. For functions that are not inlined.
template <class Unchanged>
inline fiber_record* pass_gate(Unchanged unchanged)
{
    auto* const m = machine_here();
    if (m && m->record_ && unchanged(m->entry_mark)) [[likely]]
        return m->record_;
    return pass_gate_slowly();
}

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_FIBER_GATE_HPP
