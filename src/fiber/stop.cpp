//
// fiber/stop.cpp
// ~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/fiber/stop.hpp>

#include <spindle/detail/fiber/park.hpp>
#include <spindle/error.hpp>

#include <memory>
#include <span>
#include <thread>
#include <utility>

namespace spindle::detail {

void await_stopper(fiber_record const& self) noexcept
{
    spin_while([&] { return self.stopper.load(std::memory_order_seq_cst); });
}

void begin_life(fiber_record& self) noexcept
{
    auto const last = self.life.load(std::memory_order_relaxed); // over: ours alone
    self.life.store((last | 3) + 1, std::memory_order_seq_cst);
}

void end_life(fiber_record& self) noexcept
{
    auto const life = self.life.load(std::memory_order_relaxed) & ~std::uint64_t{3};
    auto const before = self.life.exchange(life | 2, std::memory_order_seq_cst); // L
    // Without a source, too: a stopper that has seen this life alive and is about
    // to look for one must not find the next life's.
    if ((before & 1) != 0)
        await_stopper(self);
    if (auto* const s = self.source.load(std::memory_order_relaxed)) {
        self.source.store(nullptr, std::memory_order_relaxed);
        delete s;
    }
}

namespace {

// With its stopper taken, after it was asked.
void reach_asked(fiber_record& g, cancellation& c) noexcept
{
    c.reach(g, g.base); // and with it the scopes that it has opened
    if (auto* const s = g.source.load(std::memory_order_seq_cst))
        c.add(*s);
}

} // namespace

void begin_stop(fiber_record& g, std::uint64_t life, cancellation& c) noexcept
{
    auto expected = life;
    if (life == 0
        || !g.life.compare_exchange_strong(
            expected, life | 1, std::memory_order_seq_cst, std::memory_order_relaxed))
        return;
    stopper_lock const guard(g);
    if (g.life.load(std::memory_order_seq_cst) != (life | 1)) // L
        return;
    reach_asked(g, c);
}

void request_stop(fiber_record& g, std::uint64_t life) noexcept
{
    cancellation c; // the user's callbacks: with nothing held
    begin_stop(g, life, c);
}

void request_stop_all(core& home)
{
    // One at a time, and without the registry's lock: what a hook calls may want it.
    // The fiber stays until its stopper is out, since its life was still going on (L).
    struct {
        core& home;
        fiber_record* asked = nullptr; // with its stopper taken
        bool busy = false;

        void look_at(fiber_record& g) noexcept
        {
            auto life = g.life.load(std::memory_order_seq_cst);
            if ((life & 3) != 0 || g.home.load(std::memory_order_acquire) != &home)
                return;
            if (!stopper_lock::try_take(g)) {
                busy = true; // by somebody who may be waiting for the registry's lock
                return;
            }
            if (g.life.compare_exchange_strong(
                    life, life | 1, std::memory_order_seq_cst, std::memory_order_relaxed))
                asked = &g;
            else
                stopper_lock const goes(g, std::adopt_lock);
        }
    } all{home};

    cancellation c;
    do {
        all.busy = false;
        record_walk walk;
        bool more;
        do {
            more = walk.next(
                [](std::span<fiber_record* const> records, void* argument) {
                    for (auto* const g : records)
                        static_cast<decltype(all)*>(argument)->look_at(*g);
                },
                &all, 1);
            if (auto* const g = std::exchange(all.asked, nullptr)) {
                stopper_lock const guard(*g, std::adopt_lock);
                reach_asked(*g, c);
            }
        } while (more);
        if (all.busy)
            std::this_thread::yield();
    } while (all.busy);
}

std::stop_token stop_token_of(fiber_record& self)
{
    if (self.scope != self.base)
        return self.scope->token();
    auto* s = self.source.load(std::memory_order_relaxed); // ours to write
    if (!s) {
        s = std::make_unique<std::stop_source>().release();
        self.source.store(s, std::memory_order_seq_cst);
        if (stop_requested(self) || (self.base && self.base->cancelled()))
            s->request_stop();
    }
    return s->get_token();
}

bool token_owner::has(std::stop_token const& token) const noexcept
{
    if (scope)
        return scope->has_token(token);
    auto const* const s = fiber->source.load(std::memory_order_relaxed);
    return s && s->get_token() == token;
}

bool token_owner::stopped() const noexcept
{
    if (!fiber)
        return false;
    auto const asked = stop_requested(*fiber);
    if (asked && fiber->shielded == 0) // with it, all scopes that it has opened
        return true;
    if (scope)
        return scope->cancelled();
    return asked || (fiber->base && fiber->base->cancelled());
}

void throw_stopped(fiber_record& self)
{
    yield(self);
    throw_error(operation_aborted());
}

bool is_stopped_here() noexcept
{
    auto const* const self = current_fiber();
    return self && stop_seen(*self);
}

bool left_by_stop() noexcept
{
    auto const* const self = current_fiber();
    if (!self || !(stop_requested(*self) || (self->scope && self->scope->cancelled())))
        return false;
    try {
        throw;
    } catch (system_error const& e) {
        return e.code() == operation_aborted();
    } catch (...) {
        return false;
    }
}

} // namespace spindle::detail
