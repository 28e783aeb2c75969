//
// observe/leaks.cpp
// ~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/observe/leaks.hpp>

#include <spindle/detail/chan/core.hpp>
#include <spindle/detail/fiber/dump.hpp>
#include <spindle/detail/fiber/saved_registers.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <ostream>
#include <set>
#include <utility>

#if defined(__linux__)
#include <sys/uio.h>
#include <unistd.h>
#endif

namespace spindle {

using namespace detail;

namespace {

// A word that may lie in memory which was given back: the system reads it, and says so.
bool read_carefully([[maybe_unused]] void const* at, [[maybe_unused]] std::size_t& word) noexcept
{
#if defined(__linux__)
    ::iovec const to = {&word, sizeof word};
    ::iovec const from = {const_cast<void*>(at), sizeof word};
    return ::process_vm_readv(::getpid(), &to, 1, &from, 1, 0) == sizeof word;
#else
    return false;
#endif
}

bool in_channel(fiber_sight const& s) noexcept
{
    return s.state == fiber_state::waiting &&
           (s.reason == wait_reason::send || s.reason == wait_reason::receive);
}

// While the fiber is examined: if it has not gone on by the end of that, its channel was
// there. How many handles that has; 0: unknown.
std::uintptr_t count_handles(fiber_sight const& s) noexcept
{
    std::size_t n = 0;
    return in_channel(s) && read_carefully(chan_core::handles_of(s.waits_on), n) ? n : 0;
}

struct channel_seen {
    std::size_t handles = 0;
    std::size_t waiting = 0;
    bool elsewhere = false; // on the stack of a fiber that does not wait in it
};

// Those that nobody else seems to have, by the address of their lock.
std::set<void const*> abandoned_channels()
{
    std::map<void const*, channel_seen> channels;
    if (why_no_stacks())
        return {};
    std::vector<fiber_sight> some;
    {
        fiber_walk walk(fiber_walk::stacks::no, &count_handles);
        while (walk.next(some))
            for (auto const& s : some)
                if (s.note != 0) {
                    auto& c = channels[s.waits_on];
                    c.handles = s.note;
                    ++c.waiting;
                }
    }
    std::erase_if(channels, [](auto const& c) { return c.second.handles > c.second.waiting; });
    std::map<std::uintptr_t, void const*> by_address; // of the whole: what handles point to
    for (auto const& [lock, c] : channels)
        by_address[reinterpret_cast<std::uintptr_t>(chan_core::core_of(lock))] = lock;
    if (channels.empty())
        return {};
    fiber_walk walk(fiber_walk::stacks::yes);
    while (walk.next(some))
        for (auto const& s : some)
            for (auto const word : s.stack)
                if (auto const c = by_address.find(word); c != by_address.end())
                    if (!in_channel(s) || s.waits_on != c->second)
                        channels[c->second].elsewhere = true;
    std::set<void const*> abandoned;
    for (auto const& [lock, c] : channels)
        if (!c.elsewhere)
            abandoned.insert(lock);
    return abandoned;
}

bool is_of_others(fiber_sight const& s) noexcept
{
    return s.state == fiber_state::waiting && s.reason != wait_reason::none &&
           s.reason != wait_reason::operation && s.reason != wait_reason::sleep &&
           s.reason != wait_reason::blocking && s.reason != wait_reason::stock;
}

std::vector<fiber_entry> long_waits(duration bound, bool stacks)
{
    auto const at = now();
    auto found = collect_fibers({.stacks = stacks}, [&](fiber_sight const& s) {
        return is_of_others(s) && s.since != time_point() && at - s.since >= bound;
    });
    std::stable_sort(found.begin(), found.end(), [](auto const& a, auto const& b) {
        return a.seen.since < b.seen.since;
    });
    return found;
}

} // namespace

std::vector<leaked_fiber> find_leaks(std::chrono::steady_clock::duration bound)
{
    auto const found = long_waits(bound, false);
    auto const abandoned = abandoned_channels();
    auto const at = now();
    std::vector<leaked_fiber> all;
    for (auto const& f : found) {
        auto const& s = f.seen;
        all.push_back(
            {s.name.empty() ? "fiber " + std::to_string(s.number) : '"' + s.name + '"',
             describe_site(s.spawn_site),
             describe_wait(s),
             at - s.since,
             s.reason == wait_reason::nil_channel ||
                 (in_channel(s) && abandoned.contains(s.waits_on))});
    }
    return all;
}

void dump_leaks(std::ostream& os, std::chrono::steady_clock::duration bound)
{
    auto const found = long_waits(bound, true);
    auto const abandoned = abandoned_channels();
    std::vector<fiber_entry> for_ever, others;
    for (auto const& f : found) {
        auto const certain = f.seen.reason == wait_reason::nil_channel ||
                             (in_channel(f.seen) && abandoned.contains(f.seen.waits_on));
        (certain ? for_ever : others).push_back(f);
    }
    os << "spindle: " << found.size() << " fibers have waited for long, " << for_ever.size()
       << " of them for what nobody else has\n";
    if (!for_ever.empty())
        os << "\n=== abandoned ===\n" << text_of(for_ever, {});
    if (!others.empty())
        os << "\n=== waiting ===\n" << text_of(others, {});
    os.flush();
}

} // namespace spindle
