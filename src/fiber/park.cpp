//
// fiber/park.cpp
// ~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/fiber/park.hpp>

#include <spindle/detail/base/fatal.hpp>
#include <spindle/detail/fiber/gate.hpp>
#include <spindle/detail/fiber/hooks.hpp>
#include <spindle/detail/fiber/machine.hpp>
#include <spindle/detail/fiber/watch.hpp>
#include <spindle/error.hpp>

#include <boost/assert.hpp>
#include <boost/fiber/scheduler.hpp>

#include <thread>

namespace spindle::detail {

fiber_record* current_fiber() noexcept
{
    auto* const m = machine::current();
    return m ? m->running() : nullptr;
}

namespace {

[[noreturn]] SPINDLE_NOINLINE void refuse_without_scheduler() noexcept
{
    fatal(
        "a fiber of Boost.Fiber's own, on a thread without a scheduler of Spindle's, would "
        "have to wait in a primitive of Spindle's: call spindle::attach(io_context, {}) and "
        "run that io_context on the thread, or use spindle::spawn");
}

} // namespace

// The rest of park(). There is no clock at hand: a free fiber, which has lost its
// processor, reads one. All of it out of line, since a call in the midst of park() costs
// every park the registers that are to be saved for it. With a name that a dump knows for
// a wait's: park() is not on the stack below it.
SPINDLE_NOINLINE SPINDLE_FLATTEN static void park_without_processor(
    machine& m, fiber_record& self, commit_function commit, void* argument) noexcept
{
    self.since = self.bound ? time_point() : now();
    m.give_way(self, commit, argument);
    self.reason.store(wait_reason::none, std::memory_order_relaxed);
}

SPINDLE_FLATTEN void park(
    fiber_record& self, commit_function commit, void* argument, wait_reason reason) noexcept
{
    if (!self.bound && !self.scheduler()) [[unlikely]]
        refuse_without_scheduler();
    self.reason.store(reason, std::memory_order_relaxed);
    // Release: whoever sees that it waits sees for what, and what it did before.
    self.state.store(fiber_state::waiting, std::memory_order_release);
    auto& m = *machine_here();
    m.stay_in();
    auto* const p = m.held();
    if (!p) [[unlikely]]
        return park_without_processor(m, self, commit, argument);
    self.since = p->coarse_now;
    p->stats.parks.add();
    m.give_way(self, commit, argument);
    self.reason.store(wait_reason::none, std::memory_order_relaxed);
}

void yield(fiber_record& self) noexcept
{
    machine_here()->give_turn(self);
}

void rest(fiber_record& self, commit_function commit) noexcept
{
    auto& m = *machine::current();
    m.stay_in();
    m.give_way(self, commit, &self);
}

namespace {

// A bound fiber. One of the scheduler's own threads need not count itself: the
// scheduler joins it.
SPINDLE_NOINLINE void post_slice(fiber_record& g) noexcept
{
    auto& home = *g.scheduler();
    auto* const m = machine::current();
    if (m && m->is_hired() && m->home() == &home) {
        g.bound->post_slice(g);
        return;
    }
    core::caller const here(home);
    g.bound->post_slice(g);
}

// The owner of `p`.
void put(core& home, processor& p, fiber_record& g, lane where) noexcept
{
    switch (where) {
    case lane::next:
        home.put_next(p, g);
        return;
    case lane::last:
        home.put_last(p, g);
        return;
    case lane::fresh:
        home.put_new(p, g);
        return;
    }
}

// Inside, by a thread that holds `p` or nothing. A free fiber.
void ready_inside(processor* p, fiber_record& g, lane where) noexcept
{
    auto& home = *g.scheduler();
    if (!p || p->unwatched.load(std::memory_order_relaxed) != &home) [[unlikely]] {
        ready_by_the_long_way(p, g, where);
        return;
    }
    put(home, *p, g, where);
}

} // namespace

void ready_by_the_long_way(
    processor* p, fiber_record& g, lane where, bool by_itself) noexcept
{
    auto& home = *g.scheduler();
    if (home.watched() != 0)
        note_ready(g, by_itself);
    if (!p || &p->owner != &home) {
        home.submit(g);
        return;
    }
    put(home, *p, g, where);
}

SPINDLE_FLATTEN SPINDLE_NOINLINE void ready(fiber_record& g, lane where) noexcept
{
    g.state.store(fiber_state::runnable, std::memory_order_relaxed);
    if (g.bound) [[unlikely]] {
        post_slice(g);
        return;
    }
    visit const inside(machine_here());
    ready_inside(inside.held(), g, where);
}

void ready_new(fiber_record& g, lane where) noexcept
{
    g.state.store(fiber_state::created, std::memory_order_relaxed);
    {
        visit const inside;
        auto* const p = inside.held();
        if (p)
            p->stats.spawned.add();
        else if (inside.here() && inside.here()->is_hired())
            g.scheduler()->count_spawned();
        if (!g.bound) {
            ready_inside(p, g, where);
            return;
        }
    }
    post_slice(g);
}

bool worth_spinning() noexcept
{
    static auto const cores = std::thread::hardware_concurrency();
    if (cores == 1)
        return false;
    auto* const m = machine::current();
    auto* const p = m ? m->held() : nullptr;
    return !p || (p->owner.processor_count() > 1 && p->empty_hint());
}

// --- hooks ------------------------------------------------------------------------

constinit hooks hooks::instance_;

fiber_record* hooks::open()
{
    return pass_gate([](void const* const (&)[asio_heads]) { return true; });
}

standing where_am_i() noexcept
{
    static constexpr void const* none[asio_heads] = {};
    auto* const m = machine::current();
    auto const in_fiber = m && m->running();
    if (!hooks::get().unchanged(in_fiber ? m->entry_mark : none))
        return standing::in_handler;
    return in_fiber ? standing::in_fiber : standing::on_thread;
}

fiber_record* pass_gate_slowly()
{
    switch (where_am_i()) {
    case standing::in_fiber:
        return current_fiber();
    case standing::on_thread:
        return nullptr;
    case standing::in_handler:
        break;
    }
    // Deeper than when the slice began: Asio runs somebody's handler on this
    // fiber's stack, and holds a strand or a list that it must unwind.
    throw_in_handler();
}

void const* whoever_calls() noexcept
{
    static thread_local char thread;
    asm volatile("");
    void const* const fiber = current_fiber();
    return fiber ? fiber : &thread;
}

namespace {

void refuse_inside_blocking()
{
    if (auto* const m = machine::current(); m && m->is_blocking())
        throw_error(
            make_error_code(errc::not_in_fiber),
            "inside blocking() nothing may park the fiber: wait before it or after it, or use a "
            "try_ form");
}

} // namespace

void throw_in_handler()
{
    refuse_inside_blocking();
    throw_error(
        make_error_code(errc::not_in_fiber),
        "a completion handler must not wait: spawn a fiber from it, or use a try_ or async_ "
        "form");
}

void require_may_wait() { (void)waiting_fiber(); }

void require_thread()
{
    if (where_am_i() != standing::on_thread)
        throw_error(
            make_error_code(errc::not_in_fiber),
            "this blocks its thread, so it is for plain threads only: not for fibers or "
            "completion handlers");
}

void require_fiber()
{
    if (where_am_i() == standing::in_fiber)
        return;
    refuse_inside_blocking();
    throw_error(
        make_error_code(errc::not_in_fiber),
        "only a fiber can wait here: start one with spindle::spawn or spindle::run");
}

fiber_record& fiber_that_may_park()
{
    require_fiber();
    return *current_fiber();
}

} // namespace spindle::detail
