//
// fiber/record.cpp
// ~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/fiber/record.hpp>

#include <spindle/detail/fiber/debug_table.hpp>
#include <spindle/detail/fiber/stop.hpp>

#include <boost/intrusive/list.hpp>
#include <boost/stacktrace/frame.hpp>

#include <mutex>
#include <thread>

#if defined(SPINDLE_ASAN)
#include <sanitizer/lsan_interface.h>
#endif

namespace spindle::detail {

namespace {

// All records of the process, dead or alive. A fiber is entered when its stack
// is made and leaves when that is released, so starting a function on a
// resting fiber does not come by here. Never destroyed: fibers may outlive it.
struct registry {
    using list = boost::intrusive::list<
        fiber_record,
        boost::intrusive::member_hook<
            fiber_record, boost::intrusive::list_member_hook<>, &fiber_record::registered>>;

    std::mutex mutex; // leaf, but for request_stop() under for_each_record()
    list records;
    std::uint64_t serial = 0;

    static registry& get()
    {
        static registry& instance = *new registry;
        return instance;
    }
};

// One that marks a place in the list, and is no fiber.
bool is_placeholder(fiber_record const& g) noexcept { return g.id == 0; }

// Records of pooled fibers lie in mappings, where the leak check does not look:
// what they keep for the next function would be taken for lost.
#if defined(SPINDLE_ASAN)
void show_to_leak_check(fiber_record& g) { __lsan_register_root_region(&g, sizeof g); }
void hide_from_leak_check(fiber_record& g) { __lsan_unregister_root_region(&g, sizeof g); }
#else
void show_to_leak_check(fiber_record&) noexcept {}
void hide_from_leak_check(fiber_record&) noexcept {}
#endif

} // namespace

fiber_record::~fiber_record()
{
    delete source.load(std::memory_order_relaxed);
    if (id != 0) { // not by is_linked(): its neighbours write to the link, under the lock
        auto& all = registry::get();
        std::lock_guard lock(all.mutex);
        all.records.erase(all.records.iterator_to(*this));
        hide_from_leak_check(*this);
    }
}

void register_record(fiber_record& g)
{
    auto& all = registry::get();
    std::lock_guard lock(all.mutex);
    g.id = ++all.serial;
    all.records.push_back(g);
    if (g.id == 1)
        fill_debug_table(
            g, all.records.end().pointed_node(), all.records.iterator_to(g).pointed_node());
    show_to_leak_check(g);
}

void for_each_record(void (*f)(fiber_record&, void*), void* argument)
{
    auto& all = registry::get();
    std::lock_guard lock(all.mutex);
    for (auto& g : all.records)
        if (!is_placeholder(g))
            f(g, argument);
}

record_walk::~record_walk()
{
    if (!placed_)
        return;
    auto& all = registry::get();
    std::lock_guard lock(all.mutex);
    all.records.erase(all.records.iterator_to(here_));
}

bool record_walk::next(
    void (*f)(std::span<fiber_record* const>, void*), void* argument, std::size_t most)
{
    fiber_record* some[record_part];
    std::size_t n = 0;
    auto& all = registry::get();
    std::lock_guard lock(all.mutex);
    auto at = placed_ ? all.records.erase(all.records.iterator_to(here_)) : all.records.begin();
    for (; n != most && at != all.records.end(); ++at)
        if (!is_placeholder(*at))
            some[n++] = &*at;
    placed_ = at != all.records.end();
    if (placed_)
        all.records.insert(at, here_);
    f({some, n}, argument);
    return placed_;
}

namespace {

struct counting {
    core const& home;
    fiber_census n;

    void add(fiber_record const& g) noexcept
    {
        auto const state = g.state.load(std::memory_order_relaxed);
        if (state == fiber_state::idle) {
            ++n.resting;
            return;
        }
        if (g.scheduler() != &home || (g.life.load(std::memory_order_relaxed) & 2) != 0)
            return;
        switch (state) {
        case fiber_state::created:
            ++n.created;
            break;
        case fiber_state::runnable:
            ++n.runnable;
            break;
        case fiber_state::running:
            ++n.running;
            break;
        case fiber_state::blocking:
            ++n.blocking;
            break;
        case fiber_state::examined: // for a moment, by a dump: most of these wait
        case fiber_state::waiting:
            // On somebody else's io_context another thread has the call.
            ++(g.reason.load(std::memory_order_relaxed) == wait_reason::blocking ? n.blocking
                                                                                 : n.waiting);
            break;
        case fiber_state::idle:
            break;
        }
    }
};

} // namespace

fiber_census count_fibers(core const& home)
{
    counting all{home, {}};
    record_walk walk;
    while (walk.next(
        [](std::span<fiber_record* const> records, void* argument) {
            for (auto const* const g : records)
                static_cast<counting*>(argument)->add(*g);
        },
        &all))
        std::this_thread::yield();
    return all.n;
}

void set_name(fiber_record& g, std::string&& name) noexcept
{
    stopper_lock const guard(g);
    g.name = std::move(name);
}

void clear_name(fiber_record& g) noexcept
{
    stopper_lock const guard(g);
    g.name = {};
}

std::string describe_site(void const* address)
{
    if (!address)
        return "an unknown place";
    boost::stacktrace::frame const frame(address);
    auto text = frame.name();
    if (text.empty())
        text = "code at " + [&] {
            char digits[32];
            std::snprintf(digits, sizeof digits, "%p", address);
            return std::string(digits);
        }();
    if (frame.source_line() != 0)
        text += " (" + frame.source_file() + ":" + std::to_string(frame.source_line()) + ")";
    return text;
}

std::string display_name(fiber_record const& g)
{
    return g.name.empty() ? "fiber " + std::to_string(g.id) : '"' + g.name + '"';
}

std::string describe(fiber_record const& g)
{
    return display_name(g) + ", spawned from " + describe_site(g.spawn_site);
}

} // namespace spindle::detail
