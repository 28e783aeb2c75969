//
// spindle/detail/base/fatal.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// The end of the process when an invariant of the library itself is broken.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_BASE_FATAL_HPP
#define SPINDLE_DETAIL_BASE_FATAL_HPP

#include <spindle/config.hpp>

namespace spindle::detail {

// Any thread. Writes "spindle: fatal: ", the message (as printf does, cut at
// about a kilobyte) and a newline to stderr, then aborts. Allocates nothing
// and takes no lock of ours.
[[noreturn, gnu::format(printf, 1, 2)]] SPINDLE_DECL void fatal(
    char const* format, ...) noexcept;

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_BASE_FATAL_HPP
