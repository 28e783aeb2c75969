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
#include <cstdio>
#include <fstream>
#include <ostream>
#include <span>
#include <string>
#include <utility>
#include <vector>

#if defined(__linux__)
#include <sys/uio.h>
#include <unistd.h>
#endif

namespace spindle {

using namespace detail;

namespace {

using word = std::uintptr_t;

bool in_channel(fiber_sight const& s) noexcept
{
    return s.state == fiber_state::waiting &&
           (s.reason == wait_reason::send || s.reason == wait_reason::receive);
}

// Shape
//
//   Handles are pointers to a channel's state. All memory that the program may write to
//   is searched for those of the channels in which fibers wait, as a conservative
//   garbage collector would: the stacks of parked fibers from where they are saved on,
//   those of running ones as a whole. A pointer that lies on the stack of a fiber which
//   waits in that channel, or in its function's captures, does not count.
//
//   The search itself must leave no such pointer: it keeps them masked, wipes the copies
//   of stacks, and looks neither at its buffer nor below the frame of its caller.
//
// Not done, and why
//
//   Following pointers, as a collector does: what a heap object refers to that only the
//   waiting fiber has is taken for somebody else's. That hides a leak, and invents none.
class handle_search {
public:
    // False: there is memory that cannot be searched, and so nothing to be said.
    bool run(void const* callers_frame)
    {
        frame_ = reinterpret_cast<word>(callers_frame);
        find_channels();
        if (found_.empty())
            return true;
        find_stacks();
        search_fibers();
        return search_mappings();
    }

    // Of a fiber's wait: nobody else has that channel.
    bool has_lost(fiber_sight const& s) const
    {
        auto const* const c = find(reinterpret_cast<word>(chan_core::core_of(s.waits_on)));
        return in_channel(s) && c && !c->elsewhere;
    }

private:
    static constexpr word mask = 0x5a5a'0000'0000'5a5a;
    static constexpr std::size_t page = 4096;
    static constexpr std::size_t largest_mapping = std::size_t{8} << 30;

    struct channel_seen {
        word masked;
        bool elsewhere = false;
    };

    // A pooled fiber's stack, with its record at the top.
    struct block {
        word bottom, top;
        std::uint64_t number;
    };

    channel_seen const* find(word core) const
    {
        auto const at = std::lower_bound(
            found_.begin(), found_.end(), core ^ mask, [](channel_seen const& c, word w) {
                return c.masked < w;
            });
        return at != found_.end() && at->masked == (core ^ mask) ? &*at : nullptr;
    }

    void find_channels()
    {
        std::vector<fiber_sight> some;
        fiber_walk walk(fiber_walk::stacks::no);
        while (walk.next(some))
            for (auto& s : some)
                if (in_channel(s)) {
                    auto const core = reinterpret_cast<word>(chan_core::core_of(s.waits_on));
                    found_.push_back({core ^ mask});
                }
        std::sort(found_.begin(), found_.end(), [](auto const& a, auto const& b) {
            return a.masked < b.masked;
        });
        found_.erase(
            std::unique(
                found_.begin(),
                found_.end(),
                [](auto const& a, auto const& b) { return a.masked == b.masked; }),
            found_.end());
    }

    void find_stacks()
    {
        for_each_record(
            [](fiber_record& g, void* all) {
                if (!g.pooled())
                    return;
                auto const top = reinterpret_cast<word>(&g) + ((sizeof g + 63) & ~std::size_t{63});
                static_cast<std::vector<block>*>(all)->push_back({top - g.stack_size, top, g.id});
            },
            &blocks_);
        std::sort(blocks_.begin(), blocks_.end(), [](block const& a, block const& b) {
            return a.number < b.number;
        });
    }

    void search_fibers()
    {
        std::vector<fiber_sight> some;
        fiber_walk walk(fiber_walk::stacks::yes);
        while (walk.next(some))
            for (auto& s : some) {
                auto const own = in_channel(s)
                                     ? reinterpret_cast<word>(chan_core::core_of(s.waits_on)) ^ mask
                                     : 0;
                look(s.stack, own);
                for (word volatile& w : s.stack)
                    w = 0;
                auto const b = std::lower_bound(
                    blocks_.begin(), blocks_.end(), s.number, [](block const& k, std::uint64_t n) {
                        return k.number < n;
                    });
                if (b == blocks_.end() || b->number != s.number)
                    continue; // begun since, or of Boost.Fiber's: in one of the mappings
                auto begin = b->bottom;
                if (s.stack_pointer != 0)
                    begin = s.stack_pointer + s.stack.size() * sizeof(word);
                else if (frame_ - b->bottom < b->top - b->bottom)
                    begin = frame_; // the caller
                search(begin, b->top, own);
            }
    }

    bool search_mappings()
    {
#if defined(__linux__)
        std::ifstream maps("/proc/self/maps");
        std::vector<std::pair<word, word>> ranges;
        for (std::string line; std::getline(maps, line);) {
            word begin = 0, end = 0;
            char rights[5] = {};
            if (std::sscanf(line.c_str(), "%zx-%zx %4s", &begin, &end, rights) == 3 &&
                rights[0] == 'r' && rights[1] == 'w')
                ranges.emplace_back(begin, end);
        }
        if (ranges.empty())
            return false;
        for (auto const& [begin, end] : ranges) {
            auto const with_stacks =
                std::any_of(blocks_.begin(), blocks_.end(), [b = begin, e = end](auto const& k) {
                    return k.top - 1 - b < e - b;
                });
            if (with_stacks)
                continue;
            if (end - begin > largest_mapping)
                return false;
            // The thread's own stack, if the caller is on that.
            search(frame_ - begin < end - begin ? frame_ : begin, end, 0);
        }
        return true;
#else
        return false;
#endif
    }

    // The system reads it: it may be gone, or have guards.
    void search([[maybe_unused]] word begin, [[maybe_unused]] word end, [[maybe_unused]] word own)
    {
#if defined(__linux__)
        auto const mine = reinterpret_cast<word>(buffer_.data());
        begin &= ~(sizeof(word) - 1);
        while (begin < end) {
            auto n = std::min<word>(end - begin, buffer_.size() * sizeof(word));
            if (mine - begin < n)
                n = std::max<word>(mine - begin, 0);
            if (n == 0 || begin - mine < buffer_.size() * sizeof(word)) {
                begin = mine + buffer_.size() * sizeof(word);
                continue;
            }
            ::iovec const to = {buffer_.data(), n};
            ::iovec const from = {reinterpret_cast<void*>(begin), n};
            auto const got = ::process_vm_readv(::getpid(), &to, 1, &from, 1, 0);
            if (got <= 0) {
                begin = (begin / page + 1) * page;
                continue;
            }
            look({buffer_.data(), static_cast<std::size_t>(got) / sizeof(word)}, own);
            begin += std::max<word>(static_cast<word>(got) & ~(sizeof(word) - 1), sizeof(word));
        }
#endif
    }

    // `own`, masked: the channel that the owner of this memory waits in.
    void look(std::span<word const> words, word own)
    {
        auto const low = found_.front().masked, high = found_.back().masked;
        for (auto const w : words)
            if (auto const masked = w ^ mask; masked >= low && masked <= high && masked != own)
                if (auto* const c = const_cast<channel_seen*>(find(w)))
                    c->elsewhere = true;
    }

    word frame_ = 0;
    std::vector<channel_seen> found_; // sorted
    std::vector<block> blocks_;
    std::vector<word> buffer_ = std::vector<word>(64 * 1024 / sizeof(word));
};

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
    handle_search handles;
    auto const known = !why_no_stacks() && handles.run(__builtin_frame_address(0));
    auto const at = now();
    std::vector<leaked_fiber> all;
    for (auto const& f : found) {
        auto const& s = f.seen;
        all.push_back(
            {s.name.empty() ? "fiber " + std::to_string(s.number) : '"' + s.name + '"',
             describe_site(s.spawn_site),
             describe_wait(s),
             at - s.since,
             s.reason == wait_reason::nil_channel || (known && handles.has_lost(s))});
    }
    return all;
}

void dump_leaks(std::ostream& os, std::chrono::steady_clock::duration bound)
{
    handle_search handles;
    auto const known = !why_no_stacks() && handles.run(__builtin_frame_address(0));
    auto const found = long_waits(bound, true);
    std::vector<fiber_entry> for_ever, others;
    for (auto const& f : found) {
        auto const lost =
            f.seen.reason == wait_reason::nil_channel || (known && handles.has_lost(f.seen));
        (lost ? for_ever : others).push_back(f);
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
