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
#include <spindle/detail/fiber/machine_list.hpp>
#include <spindle/detail/fiber/park.hpp>
#include <spindle/detail/fiber/saved_registers.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <ostream>
#include <set>
#include <utility>

namespace spindle {

using namespace detail;

namespace {

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
    return in_channel(s) && peek_carefully(&n, chan_core::handles_of(s.waits_on), sizeof n) ? n : 0;
}

struct channel_seen {
    std::size_t handles = 0;
    std::size_t owned = 0; // of those, in the functions of fibers that wait in it
};

// Words of a fiber that waits in a channel: its stack, or what its function has captured.
struct own_words {
    std::uintptr_t at;
    std::size_t count;
    void const* lock;
};

// Adds the channels whose handles these words may refer to: they point to something that
// is a waiting fiber's own. They are none of a fiber's that waits in `but`. (What points to
// the channel itself is no handle, since those are known, but what is left of one.)
void look_for_owners(
    std::vector<own_words> const& sorted,
    std::vector<std::uintptr_t> const& words,
    void const* but,
    std::set<void const*>& found)
{
    for (auto const word : words) {
        auto const after = std::upper_bound(
            sorted.begin(), sorted.end(), word, [](auto w, auto const& own) { return w < own.at; });
        if (after == sorted.begin())
            continue;
        auto const& own = *std::prev(after);
        if (word - own.at < own.count * sizeof word && own.lock != but)
            found.insert(own.lock);
    }
}

// The caller's own stack, if that is a fiber's, with the registers that a function keeps.
SPINDLE_NOINLINE std::vector<std::uintptr_t> own_stack()
{
    auto* const self = current_fiber();
    if (!self)
        return {};
#if defined(__GNUC__)
    __builtin_unwind_init();
#endif
    std::uintptr_t here = 0;
    auto const* const from = &here;
    auto const top = reinterpret_cast<std::uintptr_t>(self->ctx());
    auto const at = reinterpret_cast<std::uintptr_t>(from);
    if (top <= at || top - at > self->stack_size)
        return {};
    std::vector<std::uintptr_t> words((top - at) / sizeof here);
    peek(words.data(), from, words.size());
    return words;
}

// Those that only the fibers have which wait in them, by the address of their lock. A
// handle that a function has captured is there as long as the function runs: if these are
// all handles that there are, then nobody else has one.
std::set<void const*> abandoned_channels(std::vector<std::uintptr_t> const& callers)
{
    if (why_no_stacks())
        return {};
    std::map<void const*, channel_seen> all; // by the address of the lock
    std::vector<own_words> owned;
    std::vector<fiber_sight> some;
    {
        fiber_walk walk(fiber_walk::stacks::yes, &count_handles);
        while (walk.next(some))
            for (auto const& s : some) {
                if (s.note == 0)
                    continue;
                auto& c = all[s.waits_on];
                c.handles = s.note;
                c.owned += static_cast<std::size_t>(std::count(
                    s.function.begin(),
                    s.function.end(),
                    reinterpret_cast<std::uintptr_t>(chan_core::core_of(s.waits_on))));
                owned.push_back({s.function_at, s.function.size(), s.waits_on});
                owned.push_back({s.stack_pointer, s.stack.size(), s.waits_on});
            }
    }
    // More than there are: something else looks like a handle, so nothing is known.
    std::erase_if(all, [](auto const& c) { return c.second.owned != c.second.handles; });
    std::erase_if(owned, [&](auto const& own) { return !all.contains(own.lock); });
    if (owned.empty())
        return {};
    std::sort(owned.begin(), owned.end(), [](auto const& a, auto const& b) { return a.at < b.at; });
    std::set<void const*> elsewhere;
    look_for_owners(owned, callers, nullptr, elsewhere);
    fiber_walk walk(fiber_walk::stacks::yes);
    while (walk.next(some))
        for (auto const& s : some) {
            auto const* const in = in_channel(s) ? s.waits_on : nullptr;
            look_for_owners(owned, s.function, in, elsewhere);
            look_for_owners(owned, s.stack, in, elsewhere);
        }
    std::set<void const*> abandoned;
    for (auto const& [lock, c] : all)
        if (!elsewhere.contains(lock))
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
    auto const callers = own_stack(); // before anything of ours is on it
    auto const found = long_waits(bound, false);
    auto const abandoned = abandoned_channels(callers);
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
    auto const callers = own_stack(); // before anything of ours is on it
    auto const found = long_waits(bound, true);
    auto const abandoned = abandoned_channels(callers);
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
