//
// fiber/watch.cpp
// ~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/fiber/watch.hpp>

#include <spindle/detail/base/clock.hpp>
#include <spindle/detail/sched/core.hpp>
#include <spindle/detail/sched/processor.hpp>

namespace spindle::detail {

void note_ready(fiber_record& g, bool) noexcept
{
    g.entry |= fiber_record::entry_noted;
    g.ready_at = now();
}

void note_entry(fiber_record& g, processor* p) noexcept
{
    g.entry &= static_cast<std::uint8_t>(~fiber_record::entry_noted);
    auto& home = *g.scheduler();
    auto const at = now();
    if (!(home.watched() & core::watch_latency) || g.ready_at < home.watched_since())
        return; // it has ended meanwhile, or has begun anew
    if (p && &p->owner == &home)
        p->latency.add(at - g.ready_at);
    else
        home.latency_elsewhere().add_shared(at - g.ready_at);
}

} // namespace spindle::detail
