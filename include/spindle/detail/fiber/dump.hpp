//
// spindle/detail/fiber/dump.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// All fibers as text: what each waits for, since when, and where.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_FIBER_DUMP_HPP
#define SPINDLE_DETAIL_FIBER_DUMP_HPP

#include <spindle/config.hpp>
#include <spindle/detail/base/clock.hpp>
#include <spindle/detail/fiber/look.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace spindle::detail {

// What of a fiber is said, once its stack has been read.
struct fiber_entry {
    fiber_sight seen;                  // without the copy of its stack
    std::vector<std::uintptr_t> calls; // innermost first: the addresses returned to
};

struct dump_style {
    bool stacks = true;
    bool all_frames = false;          // Spindle's own, and Boost's below it, too
    std::size_t most_listed = 10;     // of a group
    core const* only = nullptr;       // the fibers of that scheduler
};

// Any thread. Those that are alive and wanted.
[[nodiscard]] SPINDLE_DECL std::vector<fiber_entry> collect_fibers(
    dump_style const& style,
    std::function<bool(fiber_sight const&)> const& wanted = {});

// Equal ones together, the largest group first.
[[nodiscard]] SPINDLE_DECL std::string text_of(
    std::vector<fiber_entry> const& fibers, dump_style const& style);

// Both, with a line of numbers at the top.
[[nodiscard]] SPINDLE_DECL std::string dump_text(dump_style const& style);

// "channel send", "mutex lock, mutex 0x7f...", as far as it is known.
[[nodiscard]] SPINDLE_DECL std::string describe_wait(fiber_sight const& s);

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_FIBER_DUMP_HPP
