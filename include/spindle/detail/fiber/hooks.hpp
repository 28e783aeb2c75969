//
// spindle/detail/fiber/hooks.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// What the rooms that may not see Asio need to know of it.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_FIBER_HOOKS_HPP
#define SPINDLE_DETAIL_FIBER_HOOKS_HPP

#include <spindle/config.hpp>

namespace spindle::detail {

inline constexpr int asio_heads = 3;

// Asio keeps lists of frames per thread: the io_contexts that the thread runs,
// and the strands, of two kinds, that it is in. Their heads say whether somebody's
// handler is on the stack. mark() stores them; where nothing of Asio is linked
// in, they stay null.
class hooks {
public:
    using mark_function = void (*)(void const* (&heads)[asio_heads]) noexcept;

    static SPINDLE_DECL hooks& get() noexcept;

    void mark(void const* (&heads)[asio_heads]) const noexcept { mark_(heads); }
    void set(mark_function f) noexcept { mark_ = f; }

private:
    static void nothing(void const* (&)[asio_heads]) noexcept {}

    mark_function mark_ = &nothing; // set before the first fiber starts
};

// Where the caller stands.
enum class standing {
    in_fiber,   // may park
    on_thread,  // may block its thread
    in_handler, // must do neither
};

[[nodiscard]] SPINDLE_DECL standing where_am_i() noexcept;

// Throws errc::not_in_fiber unless the caller may park or block.
SPINDLE_DECL void require_may_wait();

// Throws errc::not_in_fiber unless the caller may block its thread.
SPINDLE_DECL void require_thread();

// Throws errc::not_in_fiber unless the caller may park.
SPINDLE_DECL void require_fiber();

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_FIBER_HOOKS_HPP
