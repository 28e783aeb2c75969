//
// spindle/detail/fiber/stop.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// Asking a fiber to stop, from any thread, whatever it waits for.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_FIBER_STOP_HPP
#define SPINDLE_DETAIL_FIBER_STOP_HPP

#include <spindle/config.hpp>
#include <spindle/detail/base/asymmetric_barrier.hpp>
#include <spindle/detail/base/cpu_relax.hpp>
#include <spindle/detail/fiber/hooks.hpp>
#include <spindle/detail/fiber/record.hpp>

#include <cstdint>
#include <mutex>
#include <stop_token>

namespace spindle::detail {

// Shape
//
//   life      four times the number of the fiber's life; plus 1 once it was asked
//             to stop, or plus 2 once it is over
//   hook      null, or the stop_hook of the wait that goes on
//   stopper   a lock: a stopper is inside, and may use what hook and source name
//   source    null, or what std::stop_tokens of this life hang on
//
// Who may touch what
//
//   field     the fiber                               a stopper
//   life      store, at a life's begin and end        CAS alive -> asked
//   hook      store its own, or null                  load, then store null, with
//                                                     stopper taken
//   stopper   load                                    takes it, releases it
//   source    store                                   load, with stopper taken
//
// Invariants
//
//   I1  A wait is hooked only within one life, and a life ends only unhooked.
//   I2  While a stopper is inside, the fiber neither leaves its wait's frame nor
//       drops its source.
//
// Why it is correct
//
//   D  The fiber changes hook (or source), then reads life; the stopper changes
//      life, then reads hook and source. One of them sees the other: the fiber
//      fails at once, or the stopper calls the hook.
//   F  The fiber takes its hook away, then reads stopper; the stopper takes
//      stopper, then reads hook. One of them sees the other: the stopper finds
//      nothing, or the fiber waits for it.
//   D and F each want a full barrier between the two steps, on both sides. Waits
//   are many and stops are few: so the fiber has the light side of an asymmetric
//   barrier, and the stopper pays for both (asymmetric_barrier.hpp).
//   L  A stopper that comes after the life it meant changes nothing: its CAS on
//      life fails, or, once it is inside, it reads another life. A fiber that
//      ends changes life, and if it was asked to stop waits until nobody is
//      inside, before it drops source, or begins a life that makes another one;
//      all seq_cst.
//
//   A stopper takes away the hook that it is about to call, so that a wait which
//   several cancel, a scope and the one around it, is told once.
//   Scopes: the fiber waits in the innermost one, and its reason is to D what life
//   is; scope.hpp.
//
// Not done, and why: a mutex in each record, which the fiber's own way through a
// wait would take twice; a compare-exchange on hook on the way in and on the way
// out, which was here before: 15 ns a wait.
//
// Evidence
//
//   test/fiber/stop.cpp         stops at every moment of a wait, over many lives
//   test/cancel/every_step.cpp  scopes cancelled at every wait of a function

// The fiber only: whether it was asked to stop, as a whole.
[[nodiscard]] inline bool stop_requested(fiber_record const& self) noexcept
{
    return (self.life.load(std::memory_order_seq_cst) & 1) != 0;
}

// The fiber only: whether its waits are to end, because it was asked to stop, or
// because the scope that it is in is cancelled.
[[nodiscard]] inline bool stop_seen(fiber_record const& self) noexcept
{
    return (stop_requested(self) && self.shielded == 0)
        || (self.scope && self.scope->cancelled());
}

// The fiber only: waits until no stopper is inside.
SPINDLE_DECL void await_stopper(fiber_record const& self) noexcept;

// The fiber only, on its way out of the wait. A stopper that is inside the
// hook is waited for.
inline void unhook_wait(fiber_record& self, stop_hook&) noexcept
{
    store_then_light_barrier(self.hook, static_cast<stop_hook*>(nullptr));
    if (self.stopper.load(std::memory_order_seq_cst)) [[unlikely]] // F
        await_stopper(self);
}

// The fiber only. False: it was asked to stop, and must not wait; it is hooked
// all the same, and a stopper may be inside.
[[nodiscard]] inline bool try_hook_wait(fiber_record& self, stop_hook& hook) noexcept
{
    store_then_light_barrier(self.hook, &hook);
    return !stop_seen(self); // D
}

// The fiber only. False: it was asked to stop, and is not hooked; the wait
// must not begin.
[[nodiscard]] inline bool hook_wait(fiber_record& self, stop_hook& hook) noexcept
{
    if (try_hook_wait(self, hook)) [[likely]]
        return true;
    unhook_wait(self, hook);
    return false;
}

// Any thread. The life that is going on; 0 if there is none.
[[nodiscard]] inline std::uint64_t life_of(fiber_record const& g) noexcept
{
    auto const life = g.life.load(std::memory_order_seq_cst);
    return (life & 2) == 0 ? life & ~std::uint64_t{3} : 0;
}

// Any thread that keeps the record from being destroyed. Asks that life of the
// fiber to stop; nothing happens if it is over or was asked before.
SPINDLE_DECL void request_stop(fiber_record& g, std::uint64_t life) noexcept;

// As request_stop(), but leaves to the end of `c` what must not be done under a
// lock of the caller's: the user's stop callbacks, other fibers.
SPINDLE_DECL void begin_stop(fiber_record& g, std::uint64_t life, cancellation& c) noexcept;

// Whoever is in the fiber as a stopper.
class stopper_lock {
public:
    explicit stopper_lock(fiber_record& g) noexcept : fiber_(g)
    {
        spin_while([&] { return !try_take(g); });
    }
    stopper_lock(fiber_record& g, std::adopt_lock_t) noexcept : fiber_(g) {}
    static bool try_take(fiber_record& g) noexcept
    {
        return !g.stopper.exchange(true, std::memory_order_seq_cst);
    }
    ~stopper_lock() { fiber_.stopper.store(false, std::memory_order_release); }
    stopper_lock(stopper_lock const&) = delete;
    stopper_lock& operator=(stopper_lock const&) = delete;

private:
    fiber_record& fiber_;
};

// With stopper taken, after the heavy barrier: the wait that goes on, if one does.
inline void stop_wait(fiber_record& g) noexcept
{
    if (auto* const hook = g.hook.load(std::memory_order_seq_cst)) {
        g.hook.store(nullptr, std::memory_order_relaxed);
        hook->stop(*hook);
    }
}

// Any thread. Asks every fiber of `home` to stop; those that begin later are
// born stopped if home.stopping().
SPINDLE_DECL void request_stop_all(core& home);

// The fiber only. Begins a life, and ends it: from then on no stopper of that
// life touches the record.
SPINDLE_DECL void begin_life(fiber_record& self) noexcept;
SPINDLE_DECL void end_life(fiber_record& self) noexcept;

// The fiber only. Its stop, or that of the scope that it has opened last, as a
// std::stop_token; made on first use.
[[nodiscard]] SPINDLE_DECL std::stop_token stop_token_of(fiber_record& self);

// Who has a std::stop_token that tells a fiber of its stop: a scope that is open in it, or
// the fiber itself.
struct token_owner {
    fiber_record* fiber = nullptr; // null: nobody
    scope_state* scope = nullptr;  // null: the fiber itself

    // The fiber only, with nothing held.
    [[nodiscard]] SPINDLE_DECL bool has(std::stop_token const& token) const noexcept;

    // The fiber; a stopper that is in it. Whether that token is requested, or is about
    // to be.
    [[nodiscard]] SPINDLE_DECL bool stopped() const noexcept;
};

// The fiber only. Throws operation_aborted, after a yield: a loop that goes on
// trying must not keep the thread.
[[noreturn]] SPINDLE_DECL void throw_stopped(fiber_record& self);

// The fiber only, with nothing held. The innermost one of which `which` is true, or nobody.
template <class Which>
[[nodiscard]] token_owner find_token_owner(fiber_record& self, Which which) noexcept
{
    for (auto* s = self.scope; s != self.base; s = s->outer())
        if (token_owner const o{&self, s}; which(o))
            return o;
    token_owner const own{&self, nullptr};
    return which(own) ? own : token_owner();
}

// The fiber only, with nothing held. Whether it was asked to stop, and `told` does not
// hear of that.
[[nodiscard]] inline bool stop_seen_beside(fiber_record& self, token_owner const& told) noexcept
{
    if (!stop_seen(self)) [[likely]]
        return false;
    if (!told.fiber)
        return true;
    // A cancellation comes by from the innermost scope outwards: once it is through.
    stopper_lock const guard(self);
    return !told.stopped();
}

// At the beginning of what may wait and is a cancellation point, whether it has to
// or not: waiting_fiber(). Throws operation_aborted if it was asked to stop.
[[nodiscard]] inline fiber_record* waiting_fiber_unless_stopped()
{
    auto* const self = waiting_fiber();
    if (self && stop_seen(*self)) [[unlikely]]
        throw_stopped(*self);
    return self;
}

// Whether a fiber runs here that was asked to stop, and may see it.
[[nodiscard]] SPINDLE_DECL bool is_stopped_here() noexcept;

// In a catch block. True: the exception is the stop of the running fiber, and no
// failure.
[[nodiscard]] SPINDLE_DECL bool left_by_stop() noexcept;

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_FIBER_STOP_HPP
