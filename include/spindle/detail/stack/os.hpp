//
// spindle/detail/stack/os.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~
// What the stack pool asks of the operating system: address space, guards,
// and pages taken back.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_STACK_OS_HPP
#define SPINDLE_DETAIL_STACK_OS_HPP

#include <spindle/config.hpp>
#include <spindle/stack/statistics.hpp>

#include <cstddef>

namespace spindle::detail {

// All functions: any thread. Addresses and sizes are multiples of the page.

// A power of two.
SPINDLE_DECL std::size_t os_page_size() noexcept;

// Address space that reads as zero and costs a page when it is touched, at a
// multiple of alignment (a power of two). nullptr when refused.
SPINDLE_DECL void* os_reserve(std::size_t bytes, std::size_t alignment) noexcept;

// Undoes os_reserve, of a part too.
SPINDLE_DECL void os_release(void* p, std::size_t bytes) noexcept;

// Makes an access a fault, and says by what means. none: refused, and the
// memory stays as accessible as it was. Guards are for ever.
SPINDLE_DECL stack::guard_kind os_guard(void* p, std::size_t bytes) noexcept;

// The same for `count` of them, each `stride` bytes after the one before, where one
// call can do it: how many of the first are guards now, by madvise. None on a system
// that has no such call; os_guard is for the rest.
SPINDLE_DECL std::size_t os_guard_row(
    void* first, std::size_t bytes, std::size_t stride, std::size_t count) noexcept;

// What os_guard tries first. Asks the system at the first call.
SPINDLE_DECL stack::guard_kind os_guard_means() noexcept;

// Gives the pages back: they read as zero again. Guards in between stay. false
// when refused (locked memory): then nothing has changed.
SPINDLE_DECL bool os_decommit(void* p, std::size_t bytes) noexcept;

// For tests. The next n calls of os_reserve are refused.
SPINDLE_DECL void os_refuse_reserves(unsigned n) noexcept;

// For tests. What os_guard tries first from now on. madvise where the system
// does not know it is not taken.
SPINDLE_DECL void os_set_guard_means(stack::guard_kind kind) noexcept;

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_STACK_OS_HPP
