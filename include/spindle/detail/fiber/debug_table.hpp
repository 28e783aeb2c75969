//
// spindle/detail/fiber/debug_table.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// Where a debugger finds the fibers, of a program without debugging information.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_FIBER_DEBUG_TABLE_HPP
#define SPINDLE_DETAIL_FIBER_DEBUG_TABLE_HPP

#include <spindle/config.hpp>

#include <cstdint>

// tools/spindle-gdb.py has the same list. A new entry goes to the end; a change of
// meaning gets another first one.
enum spindle_debug_entry {
    spindle_debug_magic, // "SPINDLE1" once the table is filled
    spindle_debug_root,  // the address of the ring of records: next is its first word
    // Offsets in a record:
    spindle_debug_node, // of its place in the ring
    spindle_debug_id,
    spindle_debug_life,
    spindle_debug_state,
    spindle_debug_reason,
    spindle_debug_name,
    spindle_debug_spawn_site,
    spindle_debug_spawner,
    spindle_debug_context,
    spindle_debug_waits_on,
    spindle_debug_since,
    spindle_debug_stack_size,
    spindle_debug_saved,     // in the context: where its registers are, or null
    spindle_debug_registers, // in words from there: rbx, rbp, r12 to r15, the return address
    spindle_debug_state_names = spindle_debug_registers + 7, // the address of an array
    spindle_debug_reason_names,
    spindle_debug_string_data, // in a std::string: the address of its text, and its length
    spindle_debug_string_size,
    spindle_debug_entries,
};

extern "C" SPINDLE_DECL std::int64_t spindle_debug[spindle_debug_entries];

namespace spindle::detail {

struct fiber_record;

// Under the registry's lock, for the first record. -1: unknown.
void fill_debug_table(fiber_record& any, void const* root, void const* node) noexcept;

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_FIBER_DEBUG_TABLE_HPP
