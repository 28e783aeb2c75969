//
// fiber/dump.cpp
// ~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/fiber/dump.hpp>
#include <spindle/detail/fiber/modules.hpp>
#include <spindle/detail/fiber/park.hpp>
#include <spindle/detail/fiber/saved_registers.hpp>
#include <spindle/detail/fiber/unwind.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <map>
#include <string_view>
#include <tuple>
#include <unwind.h>
#include <utility>

namespace spindle::detail {

namespace {

// What kind of thing a lock lies in whose address is known.
char const* kind_of(wait_reason r) noexcept
{
    switch (r) {
    case wait_reason::send:
    case wait_reason::receive:
        return "channel";
    case wait_reason::mutex:
        return "mutex";
    case wait_reason::shared_mutex:
        return "shared_mutex";
    case wait_reason::condition_variable:
        return "condition_variable";
    case wait_reason::semaphore:
        return "semaphore";
    case wait_reason::latch:
        return "latch";
    case wait_reason::barrier:
        return "barrier";
    case wait_reason::wait_group:
        return "wait_group";
    case wait_reason::task_group:
        return "task_group";
    case wait_reason::singleflight:
        return "flight";
    case wait_reason::operation:
        return "operation";
    default:
        return nullptr; // nothing beside the fiber's own stack
    }
}

std::string hexadecimal(void const* p)
{
    char text[32];
    std::snprintf(text, sizeof text, "%p", p);
    return text;
}

// Two digits and a unit.
std::string rough(duration d)
{
    using namespace std::chrono;
    auto const s = duration_cast<std::chrono::duration<double>>(d).count();
    char text[32];
    if (s < 1e-3)
        return "less than 1 ms";
    if (s < 1)
        std::snprintf(text, sizeof text, "%.0f ms", s * 1e3);
    else if (s < 60)
        std::snprintf(text, sizeof text, "%.1f s", s);
    else if (s < 3600)
        std::snprintf(
            text, sizeof text, "%d min %d s", static_cast<int>(s) / 60, static_cast<int>(s) % 60);
    else
        std::snprintf(
            text,
            sizeof text,
            "%d h %d min",
            static_cast<int>(s / 3600),
            static_cast<int>(s) / 60 % 60);
    return text;
}

std::string title(std::uint64_t number, std::string const& name)
{
    auto text = "fiber " + std::to_string(number);
    if (!name.empty())
        text += " \"" + name + '"';
    return text;
}

// "waiting: channel receive", "running, in a blocking call".
std::string state_of(fiber_sight const& s)
{
    if (s.state == fiber_state::waiting) {
        if (s.reason == wait_reason::none)
            return "about to wait";
        return std::string("waiting: ") + to_string(s.reason);
    }
    if (s.blocking)
        return "running, in a call inside blocking()";
    return to_string(s.state);
}

// The qualified name of a demangled function, without what it returns and takes.
std::string_view bare_name(std::string_view f) noexcept
{
    std::size_t begin = 0;
    int depth = 0;
    for (std::size_t i = 0; i != f.size(); ++i) {
        auto const c = f[i];
        if (f.substr(i).starts_with("(anonymous namespace)")) {
            i += std::string_view("(anonymous namespace)").size() - 1;
        } else if (c == '<' || c == '{' || c == '[') {
            ++depth;
        } else if ((c == '>' && i != 0 && f[i - 1] != '-') || c == '}' || c == ']') {
            --depth;
        } else if (c == ' ' && depth == 0) {
            begin = i + 1;
        } else if (c == '(' && depth == 0) {
            return f.substr(begin, i - begin);
        }
    }
    return f.substr(begin);
}

template <std::size_t N>
bool is_of(code_name const& n, char const* const (&rooms)[N]) noexcept
{
    auto const name = bare_name(n.function);
    return std::any_of(rooms, rooms + N, [&](char const* room) { return name.starts_with(room); });
}

// How a fiber switches.
bool is_switch(code_name const& n) noexcept
{
    return is_of(
        n, {"boost::fibers::", "boost::context::", "make_fcontext", "spindle::detail::park"});
}

// What lies between that and the user's functions.
bool is_machinery(code_name const& n) noexcept
{
    return is_switch(n) || is_of(
                               n,
                               {"spindle::detail::",
                                "spindle::dump",
                                "boost::asio::async_result",
                                "boost::asio::async_initiate",
                                "boost::asio::detail::",
                                "std::invoke",
                                "std::__invoke"});
}

// The call of a fiber's function, which may have been inlined into it: what that
// function is, from set_task<go_task<F> >(...). Empty: it is another function.
std::string_view task_in(std::string_view function) noexcept
{
    auto const at = function.find("spindle::detail::set_task<");
    if (at == function.npos)
        return {};
    auto task = function.substr(at);
    for (auto const* const wrapper : {"_task<", "spindle::run<"}) {
        auto const inner = task.find(wrapper);
        if (inner == task.npos)
            continue;
        task.remove_prefix(inner + std::string_view(wrapper).size());
        int depth = 0;
        for (std::size_t i = 0; i != task.size(); ++i)
            if (task[i] == '<' || task[i] == '(' || task[i] == '{')
                ++depth;
            else if (task[i] == ')' || task[i] == '}' || (task[i] == '>' && depth != 0))
                --depth;
            else if (depth == 0 && (task[i] == '>' || task[i] == ',')) {
                task = task.substr(0, i);
                break;
            }
    }
    return task;
}

std::string described(code_name n, std::uintptr_t address)
{
    if (auto const task = task_in(n.function); !task.empty())
        n.function = std::string(task);
    return to_string(n, address);
}

// Of a stack, what is not the way into a wait, nor what a fiber begins with.
std::pair<std::size_t, std::size_t> users_part(
    std::vector<std::uintptr_t> const& calls, std::map<std::uintptr_t, code_name> const& names)
{
    auto const without = [&](bool (*what)(code_name const&) noexcept) {
        std::size_t first = 0, last = calls.size();
        while (first != last && what(names.at(calls[first])))
            ++first;
        while (last != first && what(names.at(calls[last - 1])))
            --last;
        return std::pair(first, last);
    };
    if (auto const part = without(&is_machinery); part.first != part.second)
        return part;
    // All may have been inlined into the machinery. Better too much than nothing.
    for (std::size_t i = 0; i != calls.size(); ++i)
        if (!task_in(names.at(calls[i]).function).empty())
            return {i, i + 1};
    return without(&is_switch);
}

// What members of a group have in common.
using group_key =
    std::tuple<fiber_state, wait_reason, bool, void const*, std::vector<std::uintptr_t>>;

struct group {
    std::vector<fiber_entry const*> members;
};

std::map<std::uintptr_t, code_name> name_all(std::vector<fiber_entry> const& fibers)
{
    std::vector<std::uintptr_t> all;
    for (auto const& f : fibers) {
        all.insert(all.end(), f.calls.begin(), f.calls.end());
        if (f.seen.spawn_site)
            all.push_back(reinterpret_cast<std::uintptr_t>(f.seen.spawn_site));
    }
    std::sort(all.begin(), all.end());
    all.erase(std::unique(all.begin(), all.end()), all.end());
    auto names = names_of_code(loaded_modules(), all);
    std::map<std::uintptr_t, code_name> by_address;
    for (std::size_t i = 0; i != all.size(); ++i)
        by_address.emplace(all[i], std::move(names[i]));
    return by_address;
}

// ", receive from channel 0x7f..., send to channel 0x7f...": of a select.
std::string cases(fiber_sight const& s)
{
    std::string text;
    for (auto const& c : s.selects)
        text +=
            (c.sends ? ", send to channel " : ", receive from channel ") + hexadecimal(c.channel);
    return text;
}

class writer {
public:
    writer(std::vector<fiber_entry> const& fibers, dump_style const& style)
        : fibers_(fibers), style_(style), names_(name_all(fibers)), now_(now())
    {
        for (auto const& f : fibers)
            ids_[f.seen.id] = &f.seen;
    }

    std::string write()
    {
        std::map<group_key, group> groups;
        for (auto const& f : fibers_)
            groups[{f.seen.state, f.seen.reason, f.seen.blocking, f.seen.spawn_site, f.calls}]
                .members.push_back(&f);
        std::vector<group*> order;
        for (auto& [key, g] : groups) {
            std::stable_sort(g.members.begin(), g.members.end(), [](auto* a, auto* b) {
                return a->seen.since < b->seen.since;
            });
            order.push_back(&g);
        }
        std::stable_sort(order.begin(), order.end(), [](group const* a, group const* b) {
            return a->members.size() > b->members.size();
        });
        for (auto const* const g : order)
            write(*g);
        return std::move(out_);
    }

private:
    void write(group const& g)
    {
        auto const& first = *g.members.front();
        out_ += '\n';
        if (g.members.size() == 1) {
            out_ += title(first.seen.number, first.seen.name) + ", " + state_of(first.seen);
            out_ += details(first.seen) + '\n';
        } else {
            out_ += std::to_string(g.members.size()) + " fibers, " + state_of(first.seen) + '\n';
            auto const listed = std::min(g.members.size(), style_.most_listed);
            for (std::size_t i = 0; i != listed; ++i) {
                auto const& s = g.members[i]->seen;
                out_ += "  " + title(s.number, s.name) + details(s) + '\n';
            }
            if (listed != g.members.size())
                out_ += "  and " + std::to_string(g.members.size() - listed) + " more\n";
        }
        write_origin(g);
        if (style_.stacks)
            write_stack(first);
    }

    // What differs from one member to the next.
    std::string details(fiber_sight const& s) const
    {
        std::string text;
        if (s.state == fiber_state::waiting) {
            if (auto const* const kind = kind_of(s.reason); kind && s.waits_on)
                text += std::string(", ") + kind + ' ' + hexadecimal(s.waits_on);
            text += cases(s);
            if (s.since != time_point())
                text += ", for " + rough(now_ - s.since);
        }
        if (s.state == fiber_state::running && s.thread != 0)
            text += ", on thread " + std::to_string(s.thread);
        if (s.pinned)
            text += ", pinned";
        else if (s.bound)
            text += ", bound to an executor";
        if (s.stopping)
            text += ", asked to stop";
        if (s.stock)
            text += ", made by Boost.Fiber's API";
        return text;
    }

    void write_origin(group const& g)
    {
        auto const& s = g.members.front()->seen;
        if (s.spawn_site) {
            auto const at = reinterpret_cast<std::uintptr_t>(s.spawn_site);
            out_ += "  spawned from " + described(names_.at(at), at);
        } else if (s.spawner != fiber_id()) {
            out_ += "  spawned";
        } else {
            return;
        }
        auto const same = std::all_of(g.members.begin(), g.members.end(), [&](auto* m) {
            return m->seen.spawner == s.spawner;
        });
        if (!same)
            out_ += ", by several fibers";
        else if (auto const by = ids_.find(s.spawner); by != ids_.end())
            out_ += ", by " + title(by->second->number, by->second->name);
        else if (s.spawner != fiber_id())
            out_ += ", by fiber " + std::to_string(s.spawner.value >> 32) + ", which has ended";
        out_ += '\n';
    }

    void write_stack(fiber_entry const& f)
    {
        if (f.calls.empty()) {
            if (f.seen.state == fiber_state::running && !why_no_stacks())
                out_ += "    (another thread runs it: only a debugger sees its stack)\n";
            return;
        }
        auto const [first, last] = style_.all_frames ? std::pair(std::size_t{0}, f.calls.size())
                                                     : users_part(f.calls, names_);
        for (auto i = first; i != last; ++i)
            out_ += "    " +
                    (style_.all_frames ? to_string(names_.at(f.calls[i]), f.calls[i])
                                       : described(names_.at(f.calls[i]), f.calls[i])) +
                    '\n';
    }

    std::vector<fiber_entry> const& fibers_;
    dump_style const& style_;
    std::map<std::uintptr_t, code_name> names_;
    std::map<fiber_id, fiber_sight const*> ids_;
    time_point const now_;
    std::string out_;
};

} // namespace

std::string describe_wait(fiber_sight const& s)
{
    std::string text = to_string(s.reason);
    if (auto const* const kind = kind_of(s.reason); kind && s.waits_on)
        text += std::string(", ") + kind + ' ' + hexadecimal(s.waits_on);
    return text + cases(s);
}

namespace {

// The calling fiber's: only it can read a stack that is in use.
void add_own_calls(std::vector<std::uintptr_t>& calls)
{
    constexpr std::size_t most = 256;
    calls.reserve(most);
    ::_Unwind_Backtrace(
        [](_Unwind_Context* frame, void* argument) {
            auto& all = *static_cast<std::vector<std::uintptr_t>*>(argument);
            auto const at = ::_Unwind_GetIP(frame);
            if (at == 0 || all.size() == most)
                return _URC_END_OF_STACK;
            all.push_back(at);
            return _URC_NO_REASON;
        },
        &calls);
}

} // namespace

std::vector<fiber_entry>
collect_fibers(dump_style const& style, std::function<bool(fiber_sight const&)> const& wanted)
{
    unwinder stacks;
    std::vector<fiber_entry> fibers;
    std::vector<fiber_sight> some;
    auto const* const caller = current_fiber();
    auto const self = caller ? id_of(*caller) : fiber_id();
    auto const with_stacks = style.stacks && !why_no_stacks();
    fiber_walk walk(style.stacks ? fiber_walk::stacks::yes : fiber_walk::stacks::no);
    while (walk.next(some))
        for (auto& s : some) {
            if ((style.only && s.home != style.only) || (wanted && !wanted(s)))
                continue;
            auto& f = fibers.emplace_back();
            if (with_stacks && s.id == self && s.state == fiber_state::running)
                add_own_calls(f.calls);
            for (auto const& frame : stacks.unwind(s))
                f.calls.push_back(frame.returns_to);
            s.stack = {};
            f.seen = std::move(s);
        }
    return fibers;
}

std::string text_of(std::vector<fiber_entry> const& fibers, dump_style const& style)
{
    return writer(fibers, style).write();
}

std::string dump_text(dump_style const& style)
{
    auto const fibers = collect_fibers(style);
    auto const in = [&](fiber_state state) {
        return std::to_string(std::count_if(
            fibers.begin(), fibers.end(), [&](auto const& f) { return f.seen.state == state; }));
    };
    auto text = "spindle: " + std::to_string(fibers.size()) +
                " fibers: " + in(fiber_state::running) + " running, " + in(fiber_state::runnable) +
                " runnable, " + in(fiber_state::waiting) + " waiting\n";
    if (auto const* const why = style.stacks ? why_no_stacks() : nullptr)
        text += std::string("(no call stacks: ") + why + ")\n";
    return text + text_of(fibers, style);
}

} // namespace spindle::detail
