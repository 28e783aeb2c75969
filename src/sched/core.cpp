//
// sched/core.cpp
// ~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/sched/core.hpp>

#include <algorithm>

namespace spindle::detail {

bool core::add(processor& p) noexcept
{
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
    auto const share = queued / std::max(1u, processor_count()) + 1;
    auto const room = local_queue::capacity / 2;
    auto list = global_.pop(static_cast<std::uint32_t>(std::min<std::size_t>(share, room)));
    auto* const first = list.pop_front();
    if (!first)
        return nullptr;
    p.stats.global_takes.add();
    while (auto* const r = list.pop_front())
        put_tail(p, *r);
    return first;
}

runnable* core::steal(processor& p, time_point at_time) noexcept
{
    auto const n = processor_count();
    if (n < 2)
        return nullptr;
    if (p.seen.size() < n)
        p.seen.resize(n);
    // Processors may be added at any time; the strides are worked out for the
    // number that was seen last, by this thief alone.
    if (p.victims.count() != n)
        p.victims.reset(n);
    for (auto walk = p.victims.start(p.random.next()); !walk.done(); walk.next()) {
        auto const i = walk.position();
        if (i == p.id)
            continue;
        auto& victim = at(i);
        if (auto* const r = victim.queue.steal_half(p.queue)) {
            p.stats.steals.add();
            p.stats.stolen.add(p.queue.size_hint() + 1);
            return r;
        }
        if (auto* const r = victim.lane.steal(p.seen[i], at_time)) {
            p.stats.steals.add();
            p.stats.stolen.add();
            return r;
        }
    }
    return nullptr;
}

void core::give_up(processor& p) noexcept
{
    runnable_list left;
    if (auto* const r = p.lane.take())
        left.push_back(*r);
    p.queue.drain_to(left);
    if (!left.empty())
        global_.push(std::move(left));
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
