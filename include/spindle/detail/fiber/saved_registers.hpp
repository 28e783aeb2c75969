//
// spindle/detail/fiber/saved_registers.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// Where Boost.Context leaves the registers of what does not run.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_FIBER_SAVED_REGISTERS_HPP
#define SPINDLE_DETAIL_FIBER_SAVED_REGISTERS_HPP

#include <spindle/config.hpp>

#include <cstddef>
#include <cstdint>

namespace spindle::detail {

// x86-64: rbx, rbp, r12 to r15 in that order. In words from the saved stack pointer
// on; the return address is the last one, and what lies above is the frame of the
// function that switched.
struct saved_registers {
    static constexpr std::size_t count = 6;

    std::uint8_t at[count];
    std::uint8_t return_address;
};

// Any thread. Switches to a stack and back once, with known values in the registers,
// and looks where they are: Boost has moved them before. Null: not found.
[[nodiscard]] SPINDLE_DECL saved_registers const* find_saved_registers() noexcept;

// Null where the stack of a fiber that does not run can be read; else why not.
[[nodiscard]] SPINDLE_DECL char const* why_no_stacks() noexcept;

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_FIBER_SAVED_REGISTERS_HPP
