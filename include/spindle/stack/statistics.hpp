//
// spindle/stack/statistics.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// How many stacks there are, and what they cost.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_STACK_STATISTICS_HPP
#define SPINDLE_STACK_STATISTICS_HPP

#include <spindle/config.hpp>

#include <cstddef>

namespace spindle::stack {

/// What lies below a stack, to catch its overflow.
enum class guard_kind : unsigned char {
    madvise,  ///< Guard pages inside the mapping (Linux 6.13): any number of them.
    mprotect, ///< Inaccessible mappings: the system allows some ten thousand.
    none      ///< Nothing: an overflow runs on into other memory.
};

/// The process-wide pool of stacks, at one moment.
/**
 * @par Example
 * @snippet stack/statistics.cpp statistics
 */
struct statistics {
    std::size_t mapped_bytes = 0; ///< Address space taken; a page costs memory when touched.
    std::size_t maps = 0;         ///< Mappings made; each holds many stacks.
    std::size_t slots = 0;        ///< Stacks made so far, some of them ahead: `in_use` + `idle`.
    std::size_t in_use = 0;       ///< Handed out.
    std::size_t idle = 0;         ///< Waiting for the next fiber.
    std::size_t high_water = 0;   ///< Most ever in use, for each size, summed.
    std::size_t trimmed = 0;      ///< Times that an idle stack's memory was given back.

    guard_kind guard = guard_kind::none; ///< What a new stack gets now.
    std::size_t guarded_by_madvise = 0;  ///< Stacks with guard_kind::madvise.
    std::size_t guarded_by_mprotect = 0; ///< Stacks with guard_kind::mprotect.
    std::size_t unguarded = 0;           ///< Stacks with guard_kind::none.
};

/// Reads the pool's counters.
/**
 * Each size of stack is read at one moment, the sizes one after another.
 *
 * @par Blocking
 * Does not suspend the fiber.
 *
 * @par Thread Safety
 * Safe from any thread.
 */
[[nodiscard]] SPINDLE_DECL statistics get_statistics() noexcept;

} // namespace spindle::stack

#endif // SPINDLE_STACK_STATISTICS_HPP
