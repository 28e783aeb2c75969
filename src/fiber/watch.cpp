//
// fiber/watch.cpp
// ~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/fiber/watch.hpp>

#include <spindle/detail/base/clock.hpp>
#include <spindle/detail/fiber/machine.hpp>
#include <spindle/detail/sched/core.hpp>
#include <spindle/detail/sched/processor.hpp>
#include <spindle/detail/sched/trace_log.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace spindle::detail {

namespace {

constexpr std::size_t letters_at_once = sizeof(std::uint64_t);
constexpr std::size_t most_letters = 4 * letters_at_once;

std::uint32_t number_of(processor const* p) noexcept
{
    return p ? trace_processor(p->owner.number(), p->id) : no_processor;
}

// The eight letters from `at` on.
std::uint64_t letters(fiber_record const& g, std::size_t at) noexcept
{
    std::uint64_t word = 0;
    if (at < g.name.size())
        std::memcpy(
            &word, g.name.data() + at, std::min(g.name.size() - at, letters_at_once));
    return word;
}

void trace_ready(fiber_record& g, bool by_itself) noexcept
{
    auto const id = id_of(g).value;
    auto const created = g.state.load(std::memory_order_relaxed) == fiber_state::created;
    if (created) {
        trace_log::add(
            {.kind = trace_kind::created,
             .fiber = id,
             .value = reinterpret_cast<std::uintptr_t>(g.spawn_site)});
        auto const n = std::min(g.name.size(), most_letters);
        for (std::size_t at = letters_at_once; at < n; at += letters_at_once)
            trace_log::add(
                {.kind = trace_kind::name,
                 .detail = static_cast<std::uint8_t>(at / letters_at_once),
                 .fiber = id,
                 .value = letters(g, at)});
    }
    trace_event e{.kind = trace_kind::ready, .fiber = id};
    auto const* const m = machine::current();
    auto by = trace_waker::thread;
    if (by_itself) {
        by = trace_waker::itself;
    } else if (m) {
        if (auto const* const waker = m->known_fiber()) {
            by = trace_waker::fiber;
            e.value = id_of(*waker).value;
        } else {
            by = trace_waker::handler;
        }
    }
    e.detail = static_cast<std::uint8_t>(by);
    e.processor = number_of(m ? m->held() : nullptr);
    trace_log::add(e);
}

} // namespace

void note_ready(fiber_record& g, bool by_itself) noexcept
{
    g.entry |= fiber_record::entry_noted;
    auto const what = g.scheduler()->watched();
    g.ready_at = what & core::watch_latency ? now() : time_point::min();
    if (what & core::watch_trace)
        trace_ready(g, by_itself);
}

void note_entry(fiber_record& g, processor* p) noexcept
{
    g.entry &= static_cast<std::uint8_t>(~fiber_record::entry_noted);
    auto& home = *g.scheduler();
    auto const what = home.watched();
    if (what & core::watch_trace)
        trace_log::add(
            {.kind = trace_kind::begin,
             .processor = number_of(p),
             .fiber = id_of(g).value,
             .value = letters(g, 0)});
    // It may have ended meanwhile, or have begun anew.
    if (!(what & core::watch_latency) || g.ready_at < home.watched_since())
        return;
    auto const waited = now() - g.ready_at;
    if (p && &p->owner == &home)
        p->latency.add(waited);
    else
        home.latency_elsewhere().add_shared(waited);
}

void note_leave(fiber_record const& g, processor* p) noexcept
{
    auto why = static_cast<std::uint8_t>(g.reason.load(std::memory_order_relaxed));
    auto const state = g.state.load(std::memory_order_relaxed);
    if (state == fiber_state::idle)
        why = trace_end_over;
    else if (state != fiber_state::waiting)
        why = trace_end_yielded;
    trace_log::add(
        {.kind = trace_kind::end,
         .detail = why,
         .processor = number_of(p),
         .fiber = id_of(g).value});
}

void note_event(
    core const& home, trace_kind kind, processor const* p, fiber_record const* g) noexcept
{
    trace_log::add(
        {.kind = kind,
         .processor = p ? trace_processor(home.number(), p->id) : no_processor,
         .fiber = g ? id_of(*g).value : 0});
}

single_slice::single_slice(fiber_record const& g) noexcept
    : slices(1), may_go_on(nullptr)
{
    if (auto const* const home = g.scheduler(); home && home->traced()) {
        slices = 2;
        may_go_on = &machine::note_slice_end;
    }
}

} // namespace spindle::detail
