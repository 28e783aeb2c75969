//
// sched/trace_log.cpp
// ~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/sched/trace_log.hpp>

#include <spindle/detail/base/mutex.hpp>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <mutex>
#include <new>
#include <utility>

#if defined(__linux__)
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace spindle::detail {

namespace trace_log {

namespace {

constexpr auto thread_limit = std::size_t{std::numeric_limits<std::uint16_t>::max()};

// A ring lives as long as its trace and its thread: so who collects finds what ended
// threads have left, and no thread writes to what is gone.
struct thread_ring {
    thread_ring(std::size_t capacity, std::uint64_t s, std::size_t t)
        : ring(capacity), session(s), thread(static_cast<std::uint16_t>(t))
    {
    }

    trace_ring ring;
    std::uint64_t const session;
    std::uint16_t const thread;
    bool left = false; // under the log's lock: the thread has ended
};

struct log {
    mutex lock; // leaf
    atomic<std::uint64_t> session{0}; // odd: a trace is going on. Written under lock
    // Under lock:
    std::size_t capacity = 0;
    std::vector<std::unique_ptr<thread_ring>> rings;
    std::vector<thread_info> threads;
    std::uint64_t refused = 0; // events without a ring
    std::uint64_t since = 0;

    static log& get()
    {
        static log& instance = *new log; // threads may outlive main()
        return instance;
    }

    void drop(thread_ring* r) noexcept
    {
        std::erase_if(rings, [&](auto const& owned) { return owned.get() == r; });
    }
};

std::uint64_t nanoseconds(time_point t) noexcept
{
    return static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::nanoseconds>(t.time_since_epoch()).count());
}

thread_info this_thread()
{
    thread_info info{};
#if defined(__linux__)
    info.system_id = static_cast<std::uint64_t>(::syscall(SYS_gettid));
    char name[32] = "";
    if (::pthread_getname_np(::pthread_self(), name, sizeof name) == 0)
        info.name = name;
#endif
    return info;
}

struct holder {
    thread_ring* ring = nullptr;

    ~holder()
    {
        if (!ring)
            return;
        auto& all = log::get();
        std::lock_guard guard(all.lock);
        if (ring->session == all.session.load(std::memory_order_relaxed))
            ring->left = true;
        else
            all.drop(ring);
        ring = nullptr;
    }
};

thread_local holder mine;

// The thread's first event of a trace.
SPINDLE_NOINLINE thread_ring* new_ring(log& all) noexcept
{
    std::lock_guard guard(all.lock);
    if (mine.ring)
        all.drop(std::exchange(mine.ring, nullptr));
    auto const session = all.session.load(std::memory_order_relaxed);
    if (session % 2 == 0)
        return nullptr;
    try {
        if (all.threads.size() == thread_limit)
            throw std::bad_alloc();
        auto r = std::make_unique<thread_ring>(all.capacity, session, all.threads.size());
        all.rings.reserve(all.rings.size() + 1);
        all.threads.push_back(this_thread());
        mine.ring = r.get();
        all.rings.push_back(std::move(r));
        return mine.ring;
    } catch (std::bad_alloc const&) {
        ++all.refused;
        return nullptr;
    }
}

} // namespace

void open(std::size_t events_per_thread)
{
    auto& all = log::get();
    std::lock_guard guard(all.lock);
    std::erase_if(all.rings, [](auto const& r) { return r->left; });
    all.threads.clear();
    all.refused = 0;
    all.capacity = std::bit_ceil(std::max<std::size_t>(events_per_thread, 2));
    all.since = nanoseconds(now());
    all.session.store(
        all.session.load(std::memory_order_relaxed) + 1, std::memory_order_release);
}

void add(trace_event e) noexcept
{
#if defined(__GNUC__)
    asm volatile("");
#endif
    auto& all = log::get();
    auto* r = mine.ring;
    if (!r || r->session != all.session.load(std::memory_order_acquire)) [[unlikely]] {
        r = new_ring(all);
        if (!r)
            return;
    }
    e.thread = r->thread;
    e.time = nanoseconds(now());
    r->ring.push(e);
}

contents close()
{
    auto& all = log::get();
    std::lock_guard guard(all.lock);
    auto const session = all.session.load(std::memory_order_relaxed);
    all.session.store(session + 1, std::memory_order_release);
    contents c;
    c.lost = all.refused;
    for (auto const& r : all.rings)
        if (r->session == session)
            c.lost += r->ring.collect(c.events);
    std::erase_if(all.rings, [](auto const& r) { return r->left; });
    c.threads = std::move(all.threads);
    all.threads.clear();
    std::erase_if(c.events, [&](auto const& e) { return e.time < all.since; });
    std::stable_sort(c.events.begin(), c.events.end(), [](auto const& a, auto const& b) {
        return a.time < b.time;
    });
    return c;
}

} // namespace trace_log

} // namespace spindle::detail
