//
// fiber/fiber_pool.cpp
// ~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/fiber/fiber_pool.hpp>

#include <spindle/detail/base/fatal.hpp>
#include <spindle/detail/base/spin_lock.hpp>
#include <spindle/detail/fiber/boost_access.hpp>
#include <spindle/detail/fiber/machine.hpp>
#include <spindle/detail/fiber/park.hpp>
#include <spindle/detail/fiber/stop.hpp>
#include <spindle/detail/sched/processor.hpp>
#include <spindle/detail/stack/overflow.hpp>
#include <spindle/detail/stack/pool.hpp>
#include <spindle/error.hpp>

#include <boost/fiber/type.hpp>
#include <boost/system/errc.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <mutex>

namespace spindle::detail {

namespace {

// What a processor keeps before it gives half of it to the others, and what
// all together keep of one size once somebody has time to end the rest.
constexpr std::size_t processor_limit = 128;
constexpr std::size_t shared_limit = 16 * 1024;

// Sits between the context and the top of the stack.
constexpr std::size_t record_bytes = (sizeof(fiber_record) + 63) & ~std::size_t{63};

fiber_record& record_at(void* top) noexcept
{
    return *reinterpret_cast<fiber_record*>(static_cast<std::byte*>(top) - record_bytes);
}

// --- the shared lists -------------------------------------------------------------

// Whether a shared list may be too long.
constinit atomic<bool> too_many{false};

// How long ago they came, in looks of trim_resting().
struct shared_list {
    runnable* young = nullptr; // since the last one
    runnable* old = nullptr;   // before that
    runnable* lean = nullptr;  // these have no memory but for their frames
    std::size_t count = 0;

    void push(runnable*& to, runnable& r) noexcept
    {
        r.next = to;
        to = &r;
        grow(1);
    }

    void grow(std::size_t by) noexcept
    {
        count += by;
        if (is_too_long()) [[unlikely]]
            too_many.store(true, std::memory_order_relaxed);
    }

    bool is_too_long() const noexcept { return count > shared_limit; }

    runnable* pop(runnable*& from) noexcept
    {
        auto* const r = from;
        if (r) {
            from = r->next;
            --count;
        }
        return r;
    }

    runnable* pop() noexcept { return pop(young ? young : old ? old : lean); }
    runnable* pop_oldest() noexcept { return pop(lean ? lean : old ? old : young); }
};

struct shared_lists {
    spin_lock lock; // leaf
    std::array<shared_list, 64> by_size; // index: the logarithm of the stack's size
    time_point trimmed{}; // the last look
    atomic<std::size_t> made{0};
    atomic<std::size_t> ended{0};
};

constinit shared_lists shared;

shared_list& list_for(std::size_t stack_size) noexcept
{
    return shared.by_size[static_cast<std::size_t>(std::countr_zero(stack_size))];
}

void share(fiber_record& g) noexcept
{
    std::lock_guard guard(shared.lock);
    auto& list = list_for(g.stack_size);
    list.push(list.young, g);
}

fiber_record* take_shared(processor* p, std::size_t stack_size) noexcept
{
    std::lock_guard guard(shared.lock);
    auto& list = list_for(stack_size);
    auto* const first = list.pop();
    if (!first)
        return nullptr;
    // The processor will want more: half of what it may keep, while we are here.
    if (p && p->fiber_size == stack_size)
        while (p->resting_count < processor_limit / 2) {
            auto* const r = list.pop();
            if (!r)
                break;
            r->next = p->resting;
            p->resting = r;
            ++p->resting_count;
        }
    return static_cast<fiber_record*>(first);
}

fiber_record* take_superfluous() noexcept
{
    if (!too_many.load(std::memory_order_relaxed)) [[likely]]
        return nullptr;
    std::lock_guard guard(shared.lock);
    for (auto& list : shared.by_size)
        if (list.is_too_long())
            return static_cast<fiber_record*>(list.pop_oldest());
    too_many.store(false, std::memory_order_relaxed);
    return nullptr;
}

// Gives the older half to the others.
void share_half(processor& p) noexcept
{
    auto const keep = p.resting_count / 2;
    auto* last = p.resting;
    for (std::size_t i = 1; i < keep; ++i)
        last = last->next;
    auto* const first = last->next;
    last->next = nullptr;
    auto const n = p.resting_count - keep;
    p.resting_count = keep;

    auto* end = first;
    while (end->next)
        end = end->next;
    std::lock_guard guard(shared.lock);
    auto& list = list_for(p.fiber_size);
    end->next = list.young;
    list.young = first;
    list.grow(n);
}

// --- a fiber's loop ---------------------------------------------------------------

// Runs on the next stack: the fiber is at rest from here on.
bool commit_rest(void* argument) noexcept
{
    auto& g = *static_cast<fiber_record*>(argument);
    auto* const p = machine::current()->held();
    if (p && p->fiber_size == g.stack_size) {
        if (p->resting_count == processor_limit)
            share_half(*p);
        g.next = p->resting;
        p->resting = &g;
        ++p->resting_count;
    } else {
        share(g);
    }
    return true;
}

void end_task(fiber_record& g)
{
    auto& home = *g.scheduler();
    end_fiber_specific_data(*g.ctx());
    leave_scopes(g);
    if (g.pinned) [[unlikely]]
        fatal("a fiber must destroy the spindle::pin that it made before it ends");
    end_life(g);
    auto* const bound = std::exchange(g.bound, nullptr);
    g.invoke = nullptr;
    g.task = nullptr;
    g.budget = 0;
    g.shielded = 0;
    {
        visit const inside; // the name, too: the monitor may want it
        if (!g.name.empty())
            clear_name(g);
        if (auto* const p = inside.held())
            p->stats.finished.add();
        else
            home.count_finished();
    }
    home.end_life();
    if (bound)
        delete bound; // and with it the work that it holds
    else
        home.end_work();
}

void fiber_main(fiber_record& g)
{
    for (;;) {
        g.invoke(g);
        end_task(g);
        g.state.store(fiber_state::idle, std::memory_order_relaxed);
        rest(g, &commit_rest);
        if (g.leaving)
            break;
    }
    shared.ended.fetch_add(1, std::memory_order_relaxed);
    machine::current()->expect_release();
}

// --- making one -------------------------------------------------------------------

// What Boost.Fiber takes for an allocator: the stack below the record.
struct stack_below_record {
    stack_block block;

    boost::context::stack_context allocate() const noexcept
    {
        boost::context::stack_context c;
        c.sp = &record_at(block.top);
        c.size = block.size - record_bytes;
        return c;
    }

    void deallocate(boost::context::stack_context&) const noexcept
    {
        stack_pool::instance().deallocate(block);
    }
};

fiber_record& make_fiber(std::size_t stack_size)
{
    auto const block = stack_pool::instance().allocate(stack_size);
    auto& g = *::new (static_cast<void*>(&record_at(block.top))) fiber_record;
    g.stack_size = block.size;
    g.entry = 0;
    boost::fibers::fiber_properties* const properties = &g;
    auto const context = boost::fibers::make_worker_context_with_properties(
        boost::fibers::launch::post, properties, stack_below_record{block},
        [&g] { fiber_main(g); });
    // One reference is the handle's and goes here, one is the context's own.
    register_record(g);
    shared.made.fetch_add(1, std::memory_order_relaxed);
    return g;
}

// Names the fiber whose stack overflowed. In a signal handler.
std::size_t name_for_overflow(void* top, char* out, std::size_t capacity) noexcept
{
    auto const& g = record_at(top);
    if (g.marker != &g || g.name.size() > capacity)
        return 0; // the stack is somebody else's
    std::memcpy(out, g.name.data(), g.name.size());
    return g.name.size();
}

std::size_t real_size(std::size_t wanted)
{
    return std::bit_ceil(std::clamp(wanted, stack_pool::min_size, stack_pool::max_size));
}

// Of a fiber that rests, and that nobody else finds.
void trim(fiber_record& g) noexcept
{
    auto const sp = saved_stack_pointer(*g.ctx());
    auto* const top = reinterpret_cast<std::byte*>(&g) + record_bytes;
    if (reinterpret_cast<std::uintptr_t>(top) - sp < g.stack_size)
        stack_pool::instance().trim_below(
            reinterpret_cast<void*>(sp), {.top = top, .size = g.stack_size});
}

// Inside, by a thread that holds `p` or nothing.
fiber_record* take_resting(processor* p, std::size_t stack_size) noexcept
{
    if (p && p->fiber_size == stack_size && p->resting) [[likely]] {
        auto* const r = p->resting;
        p->resting = r->next;
        --p->resting_count;
        return static_cast<fiber_record*>(r);
    }
    return take_shared(p, stack_size);
}

} // namespace

fiber_record& acquire_fiber(std::size_t stack_size)
{
    if (stack_size < stack_pool::min_size || stack_size > stack_pool::max_size) [[unlikely]]
        throw_error(
            make_error_code(boost::system::errc::invalid_argument),
            "a fiber's stack_size must be between 16 KiB and 1 GiB");
    auto const size = real_size(stack_size);
    {
        visit const inside;
        if (auto* const g = take_resting(inside.held(), size)) [[likely]]
            return *g;
    }
    // Outside: the system's part of it takes so long that the monitor, where the
    // spawner has to give way, would hardly ever find it there.
    static bool const described = [] {
        set_overflow_describer(&name_for_overflow);
        install_overflow_handler();
        return true;
    }();
    (void)described;
    return make_fiber(size);
}

void release_fiber(processor* p, fiber_record& g) noexcept
{
    if (p && p->fiber_size == g.stack_size && p->resting_count < processor_limit) {
        g.next = p->resting;
        p->resting = &g;
        ++p->resting_count;
        return;
    }
    share(g);
}

void release_resting(processor& p) noexcept
{
    while (auto* const r = p.resting) {
        p.resting = r->next;
        --p.resting_count;
        share(static_cast<fiber_record&>(*r));
    }
}

std::size_t end_superfluous(machine& m, std::size_t most) noexcept
{
    std::size_t n = 0;
    for (; n != most; ++n) {
        auto* const g = take_superfluous();
        if (!g)
            break;
        g->leaving = true;
        (void)m.run(*g, 1);
    }
    if (n != 0)
        (void)m.dispatch(); // releases their stacks
    return n;
}

time_point trim_resting(time_point at) noexcept
{
    {
        std::lock_guard guard(shared.lock);
        if (at < shared.trimmed + trim_time)
            return shared.trimmed + trim_time;
        shared.trimmed = at;
    }
    auto more = false;
    std::array<runnable*, 64> some;
    for (auto& list : shared.by_size) {
        std::size_t n;
        do { // outside, where they go to lean at once, nobody finds them; so a few at a time
            {
                std::lock_guard guard(shared.lock);
                for (n = 0; n != some.size() && list.old; ++n)
                    some[n] = list.pop(list.old);
            }
            for (std::size_t i = 0; i != n; ++i)
                trim(static_cast<fiber_record&>(*some[i]));
            std::lock_guard guard(shared.lock);
            for (std::size_t i = 0; i != n; ++i)
                list.push(list.lean, *some[i]);
        } while (n == some.size());
        std::lock_guard guard(shared.lock);
        if (!list.old) // else some came to be old meanwhile, by another look
            list.old = std::exchange(list.young, nullptr);
        more |= list.old != nullptr;
    }
    return more ? at + trim_time : time_point::max();
}

void start_fiber(fiber_record& g, core& home, slice_poster* bound, lane where) noexcept
{
    g.home.store(&home, std::memory_order_release);
    g.bound = bound;
    g.returned = false;
    home.begin_life();
    if (!bound)
        home.begin_work();
    begin_life(g);
    if (home.stopping())
        request_stop(g, life_of(g));
    ready_new(g, where);
}

fiber_pool_statistics get_fiber_pool_statistics() noexcept
{
    fiber_pool_statistics s;
    s.made = shared.made.load(std::memory_order_relaxed);
    s.ended = shared.ended.load(std::memory_order_relaxed);
    std::lock_guard guard(shared.lock);
    for (auto const& list : shared.by_size)
        s.shared += list.count;
    return s;
}

} // namespace spindle::detail
