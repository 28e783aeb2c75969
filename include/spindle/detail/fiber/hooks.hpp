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
#include <spindle/detail/base/atomic.hpp>

namespace spindle::detail {

struct fiber_record;

inline constexpr int asio_heads = 3;

// Asio keeps lists of frames per thread: the io_contexts that the thread runs,
// and the strands, of two kinds, that it is in. Their heads say whether somebody's
// handler is on the stack. mark() stores them, unchanged() compares; gate() is
// waiting_fiber() below. Where nothing of Asio is linked in, they stay null.
class hooks {
public:
    using mark_function = void (*)(void const* (&heads)[asio_heads]) noexcept;
    using compare_function = bool (*)(void const* const (&heads)[asio_heads]) noexcept;

    using gate_function = fiber_record* (*)();

    static hooks& get() noexcept { return instance_; }

    void mark(void const* (&heads)[asio_heads]) const noexcept { mark_(heads); }

    // Whether the heads are those that were marked.
    bool unchanged(void const* const (&heads)[asio_heads]) const noexcept
    {
        return compare_(heads);
    }

    fiber_record* gate() const { return gate_.load(std::memory_order_relaxed)(); }

    void set(mark_function m, compare_function c, gate_function g) noexcept
    {
        mark_ = m;
        compare_ = c;
        gate_.store(g, std::memory_order_relaxed);
    }

    // Has g called instead: each operation that may wait comes by, with nothing held.
    // Functions: no data hangs on them.
    gate_function gate_now() const noexcept { return gate_.load(std::memory_order_relaxed); }
    void set_gate(gate_function g) noexcept { gate_.store(g, std::memory_order_relaxed); }

    // The same for those that never wait; null: nothing. See explored_point().
    using point_function = void (*)() noexcept;
    point_function point_now() const noexcept { return point_.load(std::memory_order_relaxed); }
    void set_point(point_function p) noexcept { point_.store(p, std::memory_order_relaxed); }

private:
    static void nothing(void const* (&)[asio_heads]) noexcept {}
    static SPINDLE_DECL SPINDLE_NOINLINE fiber_record* open();
    static bool always(void const* const (&)[asio_heads]) noexcept { return true; }

    mark_function mark_ = &nothing; // set before the first fiber starts
    compare_function compare_ = &always;
    atomic<gate_function> gate_{&open};
    atomic<point_function> point_{nullptr};

    static SPINDLE_DECL hooks instance_;
};

// Where the caller stands.
enum class standing {
    in_fiber,   // may park
    on_thread,  // may block its thread
    in_handler, // must do neither
};

[[nodiscard]] SPINDLE_DECL standing where_am_i() noexcept;

// Who calls, to tell it from others that are alive: the fiber, or its thread.
[[nodiscard]] SPINDLE_DECL SPINDLE_NOINLINE void const* whoever_calls() noexcept;

// Throws errc::not_in_fiber unless the caller may park or block.
SPINDLE_DECL void require_may_wait();

// The same, in one step: the fiber that may park here, or nullptr where a thread
// may block.
[[nodiscard]] inline fiber_record* waiting_fiber() { return hooks::get().gate(); }

// Where a schedule is explored, the calling fiber may lose its turn here. In what never
// waits, but not on the short ways of unlock() and release(): before anything is done, or
// at the very end. With nothing of ours held; what the user holds is for him to know.
inline void explored_point() noexcept
{
    if (auto const point = hooks::get().point_now()) [[unlikely]]
        point();
}

[[noreturn]] SPINDLE_DECL void throw_in_handler();

// Throws errc::not_in_fiber unless the caller may block its thread.
SPINDLE_DECL void require_thread();

// Throws errc::not_in_fiber unless the caller may park.
SPINDLE_DECL void require_fiber();

// The same, and which one it is.
[[nodiscard]] SPINDLE_DECL fiber_record& fiber_that_may_park();

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_FIBER_HOOKS_HPP
