//
// spindle/detail/fiber/exception_state.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// A fiber's own share of the C++ runtime's per-thread exception state.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_FIBER_EXCEPTION_STATE_HPP
#define SPINDLE_DETAIL_FIBER_EXCEPTION_STATE_HPP

#include <spindle/config.hpp>

namespace spindle::detail {

// The layout that the Itanium C++ ABI gives __cxa_eh_globals: the stack of
// caught exceptions and the count of uncaught ones. Boost.Context before 1.88
// leaves both to the thread, so a fiber that parks in a catch block would
// rethrow another fiber's exception.
//
// The pointer is the thread's and constant while the thread lives. Compilers
// know that (the runtime declares the getter const) and would keep it across a
// switch; so a machine asks once, through this function that cannot be
// inlined, and only ever uses its own copy.
struct exception_state {
    void* caught = nullptr;
    unsigned int uncaught = 0;

    [[nodiscard]] static SPINDLE_DECL exception_state* of_this_thread() noexcept;
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_FIBER_EXCEPTION_STATE_HPP
