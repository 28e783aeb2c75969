//
// fiber/look.cpp
// ~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/base/asymmetric_barrier.hpp>
#include <spindle/detail/fiber/boost_access.hpp>
#include <spindle/detail/fiber/look.hpp>
#include <spindle/detail/fiber/machine_list.hpp>
#include <spindle/detail/fiber/saved_registers.hpp>
#include <spindle/detail/fiber/stop.hpp>

#include <algorithm>
#include <mutex>
#include <new>
#include <span>
#include <utility>

namespace spindle::detail {

namespace {

// More of one stack is not copied: then its outer frames are missing.
constexpr std::size_t most_words = 128 * 1024 / sizeof(std::uintptr_t);

// Of a select.
constexpr std::size_t most_selects = 16;

// A fiber that goes on each time it is looked at is taken as it then is.
constexpr int attempts = 3;

std::mutex walking; // outside the registry's lock

constexpr std::size_t most_in_part = record_part;

// One record of a part, while that is looked at.
struct examination {
    fiber_record* g = nullptr;
    fiber_state was = fiber_state::idle; // and is `examined`
    std::uintptr_t saved = 0;            // its stack pointer
    bool done = false;
};

struct part_of_walk {
    fiber_walk::stacks with;
    fiber_walk::note_function note;
    std::vector<fiber_sight>& out;
    std::vector<machine_sight> machines;
    examination all[most_in_part] = {};
    std::size_t count = 0;
};

void begin(examination& e) noexcept
{
    e.was = e.g->state.load(std::memory_order_relaxed);
    e.done = false;
    if (e.was == fiber_state::idle ||
        !e.g->state.compare_exchange_strong(
            e.was, fiber_state::examined, std::memory_order_seq_cst, std::memory_order_relaxed)) {
        e.g = nullptr; // between two lives, or just now another
        return;
    }
    e.saved = saved_stack_pointer(*e.g->ctx());
}

// What may be read at any time.
void take_basics(fiber_sight& s, fiber_record const& g)
{
    if (s.id != id_of(g)) {
        s.id = id_of(g);
        s.name.clear(); // of its last life
    }
    s.number = g.id;
    s.home = g.home.load(std::memory_order_acquire);
    s.stopping = (g.life.load(std::memory_order_relaxed) & 1) != 0;
    s.spawner = {peek(&g.spawner)};
    s.spawn_site = reinterpret_cast<void const*>(peek(&g.spawn_site));
    s.bound = peek(&g.bound) != 0;
    s.pinned = peek(g.pinned);
    s.returned = peek(g.returned);
    s.stock = (peek(g.entry) & fiber_record::entry_stock) != 0;
}

// As with the stack: without, where there is no memory. Others are being examined.
void take_selects(fiber_sight& s) noexcept
try {
    select_sight some[most_selects];
    if (auto const look = look_at_select.load(std::memory_order_relaxed))
        s.selects.assign(some, some + look(s.waits_on, some, most_selects));
} catch (std::bad_alloc const&) {
}

void take(
    examination const& e, fiber_walk::stacks with, fiber_walk::note_function note, fiber_sight& s)
{
    auto& g = *e.g;
    s.state = e.was;
    if (e.saved == 0)
        return;                          // it runs, or is about to park
    if (e.was == fiber_state::running) { // and does not: no other way is there
        s.state = fiber_state::waiting;
        s.reason = wait_reason::stock;
    } else if (e.was == fiber_state::waiting) {
        s.reason = g.reason.load(std::memory_order_relaxed);
        s.since = time_point(duration(static_cast<duration::rep>(peek(&g.since))));
        s.waits_on = reinterpret_cast<void const*>(peek(&g.commit_argument));
        if (s.reason == wait_reason::select)
            take_selects(s);
        if (note)
            s.note = note(s);
    }
    if (with == fiber_walk::stacks::no || why_no_stacks())
        return;
    // The context lies at the top.
    auto const top = reinterpret_cast<std::uintptr_t>(g.ctx());
    if (top <= e.saved || e.saved % sizeof(std::uintptr_t) != 0)
        return;
    auto const n = std::min((top - e.saved) / sizeof(std::uintptr_t), most_words);
    try {
        s.stack.resize(n);
    } catch (std::bad_alloc const&) {
        return; // without it
    }
    peek(s.stack.data(), reinterpret_cast<void const*>(e.saved), n);
    s.stack_pointer = e.saved;
}

// Also of a fiber that runs: what a function has captured stays, mostly.
void take_function(fiber_sight& s, fiber_record const& g) noexcept
try {
    auto const at = reinterpret_cast<std::uintptr_t>(&g.storage);
    if (peek(&g.task) != at)
        return;
    s.function.resize(fiber_record::storage_size / sizeof(std::uintptr_t));
    peek(s.function.data(), &g.storage, s.function.size());
    s.function_at = at;
} catch (std::bad_alloc const&) {
}

// True: it was the same all the time.
bool end(examination& e) noexcept
{
    fence(std::memory_order_seq_cst);
    auto expected = fiber_state::examined;
    return e.g->state.compare_exchange_strong(
        expected, e.was, std::memory_order_seq_cst, std::memory_order_relaxed);
}

void take_runner(part_of_walk const& part, fiber_record const& g, fiber_sight& s) noexcept
{
    for (auto const& m : part.machines)
        if (m.fiber == &g) {
            s.thread = m.thread;
            s.blocking = m.blocking;
        }
}

// A fiber that was seen in the midst of something.
void take_as_it_is(fiber_record& g, fiber_sight& s)
{
    s.state = g.state.load(std::memory_order_relaxed);
    if (s.state == fiber_state::idle)
        s.state = fiber_state::runnable; // it is about to begin
}

void look_at_part(std::span<fiber_record* const> records, void* argument)
{
    auto& part = *static_cast<part_of_walk*>(argument);
    for (auto* const g : records)
        if (life_of(*g) != 0)
            part.all[part.count++].g = g;
    std::span const all(part.all, part.count);
    for (auto& e : all) {
        auto& s = part.out.emplace_back();
        stopper_lock const guard(*e.g);
        s.id = id_of(*e.g);
        s.name = e.g->name;
    }
    machine_entry::list(part.machines);
    for (auto left = attempts; left != 0; --left) {
        examination tried[most_in_part];
        auto again = false;
        for (std::size_t i = 0; i != all.size(); ++i) {
            tried[i] = {all[i].g};
            if (all[i].done)
                tried[i].g = nullptr;
            else
                begin(tried[i]);
        }
        heavy_barrier(); // B
        for (std::size_t i = 0; i != all.size(); ++i) {
            if (all[i].done)
                continue;
            auto& s = part.out[i];
            if (take_basics(s, *all[i].g); tried[i].g) {
                take(tried[i], part.with, part.note, s);
                all[i].done = end(tried[i]);
            }
            if (!all[i].done) {
                fiber_sight anew;
                anew.id = s.id;
                anew.name = std::move(s.name);
                s = std::move(anew);
                take_basics(s, *all[i].g);
                take_as_it_is(*all[i].g, s);
                again = true;
            }
            if (part.with == fiber_walk::stacks::yes && s.function.empty())
                take_function(s, *all[i].g);
            if (s.state == fiber_state::running)
                take_runner(part, *all[i].g, s);
        }
        if (!again)
            break;
    }
}

} // namespace

constinit atomic<select_function> look_at_select{nullptr};

fiber_walk::fiber_walk(stacks with, note_function note) : with_(with), note_(note)
{
    walking.lock();
}

fiber_walk::~fiber_walk() { walking.unlock(); }

bool fiber_walk::next(std::vector<fiber_sight>& out)
{
    out.clear();
    out.reserve(most_in_part);
    if (over_)
        return false;
    part_of_walk part{with_, note_, out, {}};
    over_ = !records_.next(&look_at_part, &part);
    return true;
}

} // namespace spindle::detail
