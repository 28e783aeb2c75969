//
// sched/core.cpp
// ~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/sched/core.hpp>

#include <spindle/detail/base/cpu_relax.hpp>
#include <spindle/detail/sched/trace_log.hpp>

#include <algorithm>
#include <array>
#include <mutex>
#include <new>

namespace spindle::detail {

namespace {

// All schedulers of the process, newest first. Takes no memory, and has no destructor:
// guests may outlive it.
struct core_list {
    mutex lock;
    core::listed* first = nullptr;
    unsigned watched = 0; // what those to come are to watch

    static core_list& get() noexcept;
};

constinit core_list all_cores;

core_list& core_list::get() noexcept { return all_cores; }

} // namespace

constinit run_permission core::slice_watcher_ = nullptr;

core::core() noexcept
    : number_([] {
          static constinit atomic<unsigned> made{0};
          return made.fetch_add(1, std::memory_order_relaxed) + 1;
      }())
{
}

core::listed::listed(core& c) noexcept : core_(c)
{
    auto& list = core_list::get();
    std::lock_guard guard(list.lock);
    next_ = list.first;
    if (next_)
        next_->previous_ = this;
    list.first = this;
    for (auto const what : {watch_latency, watch_trace})
        if (list.watched & what)
            c.watch(what, true);
}

core::listed::~listed()
{
    auto& list = core_list::get();
    std::lock_guard guard(list.lock);
    (previous_ ? previous_->next_ : list.first) = next_;
    if (next_)
        next_->previous_ = previous_;
}

void core::watch(watch_kind what, bool on) noexcept
{
    std::lock_guard guard(watching_);
    auto const before = watched_.load(std::memory_order_relaxed);
    auto const after = on ? before | what : before & ~unsigned{what};
    if (what == watch_latency && on && !(before & what))
        watched_since_.store(now(), std::memory_order_relaxed);
    watched_.store(after, std::memory_order_relaxed);
    for (unsigned i = 0; i != processor_count(); ++i)
        show_watched(at(i));
}

// Relaxed: an owner that sees one of these late goes one way or the other, both of
// which are right at any time.
void core::show_watched(processor& p) noexcept
{
    auto const what = watched();
    p.unwatched.store(what == 0 ? this : nullptr, std::memory_order_relaxed);
    auto const traced = (what & watch_trace) != 0 && slice_watcher_ != nullptr;
    p.may_go_on.store(traced ? slice_watcher_ : nullptr, std::memory_order_relaxed);
    p.slices.store(slices_in_a_row + traced, std::memory_order_relaxed);
}

void core::watch_all(watch_kind what, bool on) noexcept
{
    auto& list = core_list::get();
    std::lock_guard guard(list.lock);
    list.watched = on ? list.watched | what : list.watched & ~unsigned{what};
    for (auto* l = list.first; l; l = l->next_)
        l->core_.watch(what, on);
}

void core::await_callers() const noexcept
{
    spin_while([&] { return callers_.load(std::memory_order_seq_cst) != 0; }); // C
}

bool core::add(processor& p) noexcept
{
    std::lock_guard guard(watching_); // or it would miss a change that is going on
    show_watched(p);
    auto const n = count_.load(std::memory_order_relaxed); // one thread at a time
    if (n == max_processors)
        return false;
    table_[n].store(&p, std::memory_order_release);
    count_.store(n + 1, std::memory_order_release); // pairs with processor_count
    return true;
}

runnable* core::take_global(processor& p) noexcept
{
    auto const queued = global_.size_hint();
    if (queued == 0)
        return nullptr;
    // A share for each processor, and never more than half a local queue.
    std::array<runnable*, local_queue::capacity / 2> taken;
    auto const share
        = std::min(taken.size(), queued / std::max(1u, processor_count()) + 1);
    auto const n = global_.pop(std::span(taken).first(share));
    if (n == 0)
        return nullptr;
    p.stats.global_takes.add();
    for (std::size_t i = 1; i != n; ++i)
        put_tail(p, *taken[i]);
    return taken[0];
}

runnable* core::steal(processor& p, time_point at_time) noexcept
{
    auto const n = processor_count();
    if (n < 2)
        return nullptr;
    try {
        if (p.seen.size() < n)
            p.seen.resize(n);
        // Processors may be added at any time; the strides are worked out for the
        // number that was seen last, by this thief alone.
        if (p.victims.count() != n)
            p.victims.reset(n);
    } catch (std::bad_alloc const&) {
        return nullptr; // there may be some the next time
    }
    for (auto walk = p.victims.start(p.random.next()); !walk.done(); walk.next()) {
        auto const i = walk.position();
        if (i == p.id)
            continue;
        auto& victim = at(i);
        auto& seen = p.seen[i];
        // What has not run works with nobody yet.
        if (auto* const r = victim.fresh.steal_half(p.fresh)) {
            note_steal(p, i, p.fresh.size_hint() + 1);
            return r;
        }
        if (seen.queue_waits(victim.queue, at_time)) {
            if (auto* const r = victim.queue.steal_half(p.queue)) {
                note_steal(p, i, p.queue.size_hint() + 1);
                return r;
            }
        }
        if (auto* const r = victim.lane.steal(seen.lane, at_time)) {
            note_steal(p, i, 1);
            return r;
        }
    }
    return nullptr;
}

void core::note_steal(processor& p, unsigned from, std::size_t n) const noexcept
{
    p.stats.steals.add();
    p.stats.stolen.add(n);
    if (traced())
        trace_log::add(
            {.kind = trace_kind::steal,
             .processor = trace_processor(number_, p.id),
             .value = value_of_steal(from, n)});
}

void core::give_up(processor& p) noexcept
{
    if (auto* const r = p.lane.take())
        global_.push(*r);
    while (auto* const r = p.fresh.pop_oldest())
        global_.push(*r);
    while (auto* const r = p.queue.try_pop())
        global_.push(*r);
}

bool core::has_work_hint() const noexcept
{
    if (global_.size_hint() != 0)
        return true;
    auto const n = processor_count();
    for (unsigned i = 0; i != n; ++i)
        if (!at(i).empty_hint())
            return true;
    return false;
}

} // namespace spindle::detail
