//
// asio/blocking_call.cpp
// ~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/asio/blocking_call.hpp>

#include <spindle/detail/asio/asio_core.hpp>
#include <spindle/detail/fiber/machine.hpp>
#include <spindle/detail/fiber/park.hpp>
#include <spindle/detail/fiber/watch.hpp>

#include <cerrno>
#include <utility>

namespace spindle::detail {

namespace {

// No frame of Asio's has this address.
constexpr char barred = 0;

// errno's own address must not live across a switch.
SPINDLE_NOINLINE int get_errno() noexcept
{
#if defined(__GNUC__)
    asm volatile("");
#endif
    return errno;
}

SPINDLE_NOINLINE void set_errno(int e) noexcept
{
#if defined(__GNUC__)
    asm volatile("");
#endif
    errno = e;
}

} // namespace

blocking_call::blocking_call()
{
    auto* const m = machine::current();
    if (m && m->is_blocking())
        return; // one inside another
    fiber_ = waiting_fiber();
    if (!fiber_ || !fiber_->scheduler())
        return;
    auto& core = *asio_core_of(*fiber_);
    if ((fiber_->bound && !fiber_->pinned) || !core.moves_processors()) {
        if (!core.closing()) // or nobody else is left to wait for this thread
            where_ = where::elsewhere;
        return;
    }
    where_ = where::marked;
    machine_ = m;
    mark_ = std::exchange(m->entry_mark[0], &barred);
    m->count_blocking();
    fiber_->state.store(fiber_state::blocking, std::memory_order_relaxed);
    if (core.traced()) [[unlikely]] {
        where_ = where::traced;
        note_event(core, trace_kind::block, nullptr, fiber_);
    }
}

blocking_call::~blocking_call()
{
    if (where_ != where::marked) [[unlikely]] {
        if (where_ == where::here)
            return;
        if (where_ == where::elsewhere) {
            set_errno(error_);
            return;
        }
        auto const error = get_errno();
        note_event(*fiber_->scheduler(), trace_kind::unblock, nullptr, fiber_);
        set_errno(error);
    }
    fiber_->state.store(fiber_state::running, std::memory_order_relaxed);
    machine_->count_blocking();
    machine_->entry_mark[0] = mark_;
    auto const was = machine_->come_in();
    auto const stays = machine_->held() || fiber_->pinned;
    machine_->go_out(was);
    if (stays) [[likely]]
        return;
    // The processor is gone. The fiber goes to the end of the global queue.
    auto const error = get_errno();
    yield(*fiber_);
    set_errno(error);
}

void blocking_call::run_elsewhere(void (*call)(void*) noexcept, void* argument)
{
    error_ = asio_core_of(*fiber_)->threads_for_blocking().run(*fiber_, call, argument);
}

} // namespace spindle::detail
