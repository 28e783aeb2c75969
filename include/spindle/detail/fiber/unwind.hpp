//
// spindle/detail/fiber/unwind.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// The call stack of a fiber that does not run, from a copy of its stack.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_FIBER_UNWIND_HPP
#define SPINDLE_DETAIL_FIBER_UNWIND_HPP

#include <spindle/config.hpp>

#include <spindle/detail/fiber/look.hpp>
#include <spindle/detail/fiber/modules.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace spindle::detail {

// A function that has called another one.
struct stack_frame {
    std::uintptr_t returns_to;
    std::uintptr_t function; // where it begins
};

// Shape
//
//   The tables that exceptions are thrown by (.eh_frame, found by .eh_frame_hdr) say
//   for each place in the code where the caller's registers are. They are interpreted
//   on the copy: what lies outside of it is not read, so a broken table or stack
//   gives fewer frames, and no fault. The tables are the libraries', so this is done
//   while none of those can be unloaded, one stack at a time.
//
// Not done, and why
//
//   libunwind: it reads these tables as well, and on Linux brings functions of the
//   same names as libgcc's, which then throw the program's exceptions.
//   _Unwind_Backtrace on behalf of the fiber: it follows what it finds, on the stack
//   itself, so the fiber would have to be held still.
//   Frame pointers: code that is compiled without them, the C library's first, ends
//   the walk or derails it.
//
// Evidence: test/fiber/look.cpp, test/observe/dump.cpp
//
// One thread at a time.
class SPINDLE_DECL unwinder {
public:
    // Innermost first: the function that has switched away. Empty without a copy. Frames of
    // a library that is gone are the end of it.
    [[nodiscard]] std::vector<stack_frame> unwind(fiber_sight const& s);

private:
    present_modules modules_;
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_FIBER_UNWIND_HPP
