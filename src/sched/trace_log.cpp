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
#include <fstream>
#include <limits>
#include <mutex>
#include <new>
#include <string>
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

// An event's time is what is read fastest: the processor's counter, where the kernel's
// own clock relies on that. It becomes nanoseconds when the trace is over.
struct moment {
    std::uint64_t nanoseconds = 0;
    std::uint64_t raw = 0;
};

#if defined(__x86_64__) && defined(__GNUC__)
std::uint64_t cycles() noexcept { return __builtin_ia32_rdtsc(); }

bool may_count_cycles()
{
    std::string name;
    std::ifstream source("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    return source >> name && name == "tsc";
}
#else
std::uint64_t cycles() noexcept { return 0; }
bool may_count_cycles() { return false; }
#endif

std::uint64_t nanoseconds(time_point t) noexcept
{
    return static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::nanoseconds>(t.time_since_epoch()).count());
}

std::uint64_t raw_time(bool in_cycles) noexcept
{
    return in_cycles ? cycles() : nanoseconds(now());
}

moment this_moment(bool in_cycles) noexcept
{
    return {nanoseconds(now()), raw_time(in_cycles)};
}

constinit atomic<std::uint64_t> session_now{0}; // odd: a trace is going on
constinit atomic<bool> counts_cycles{false};    // changes between two traces

struct log {
    mutex lock; // leaf; for writing what is above, too
    // Under lock:
    std::size_t capacity = 0;
    std::vector<std::unique_ptr<thread_ring>> rings;
    std::vector<thread_info> threads;
    std::uint64_t refused = 0; // events without a ring
    moment start;

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

// The thread's ring, where it has one.
thread_local constinit thread_ring* ring_here = nullptr;

// Gives it up when the thread ends. Not what add() looks at: a thread-local with a
// destructor is looked up by way of a guard.
struct end_of_thread {
    bool awaited = false;

    ~end_of_thread()
    {
        if (!ring_here)
            return;
        auto& all = log::get();
        std::lock_guard guard(all.lock);
        if (ring_here->session == session_now.load(std::memory_order_relaxed))
            ring_here->left = true;
        else
            all.drop(ring_here);
        ring_here = nullptr;
    }
};

thread_local end_of_thread at_end;

// The thread's first event of a trace.
SPINDLE_NOINLINE thread_ring* new_ring() noexcept
{
    auto& all = log::get();
    std::lock_guard guard(all.lock);
    if (ring_here)
        all.drop(std::exchange(ring_here, nullptr));
    auto const session = session_now.load(std::memory_order_relaxed);
    if (session % 2 == 0)
        return nullptr;
    try {
        if (all.threads.size() == thread_limit)
            throw std::bad_alloc();
        auto r = std::make_unique<thread_ring>(all.capacity, session, all.threads.size());
        all.rings.reserve(all.rings.size() + 1);
        all.threads.push_back(this_thread());
        ring_here = r.get();
        all.rings.push_back(std::move(r));
        at_end.awaited = true;
        return ring_here;
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
    auto const cycles = may_count_cycles();
    counts_cycles.store(cycles, std::memory_order_relaxed);
    all.start = this_moment(cycles);
    session_now.store(
        session_now.load(std::memory_order_relaxed) + 1, std::memory_order_release);
}

void add(trace_event const& e) noexcept
{
#if defined(__GNUC__)
    asm volatile("");
#endif
    auto* r = ring_here;
    if (!r || r->session != session_now.load(std::memory_order_acquire)) [[unlikely]] {
        r = new_ring();
        if (!r)
            return;
    }
    r->ring.push(e, r->thread, raw_time(counts_cycles.load(std::memory_order_relaxed)));
}

contents close()
{
    auto& all = log::get();
    std::lock_guard guard(all.lock);
    auto const session = session_now.load(std::memory_order_relaxed);
    session_now.store(session + 1, std::memory_order_release);
    auto const start = all.start;
    auto const end = this_moment(counts_cycles.load(std::memory_order_relaxed));
    contents c;
    c.lost = all.refused;
    for (auto const& r : all.rings)
        if (r->session == session) {
            auto const first = c.events.size();
            c.lost += r->ring.collect(c.events);
            // The counter may be read a little early, or late: not in another order.
            for (auto i = first + 1; i < c.events.size(); ++i)
                c.events[i].time = std::max(c.events[i].time, c.events[i - 1].time);
        }
    std::erase_if(all.rings, [](auto const& r) { return r->left; });
    c.threads = std::move(all.threads);
    all.threads.clear();
    std::erase_if(c.events, [&](auto const& e) { return e.time < start.raw; });
    auto const scale = end.raw > start.raw
        ? static_cast<double>(end.nanoseconds - start.nanoseconds)
            / static_cast<double>(end.raw - start.raw)
        : 1;
    for (auto& e : c.events)
        e.time = start.nanoseconds
            + static_cast<std::uint64_t>(static_cast<double>(e.time - start.raw) * scale);
    std::stable_sort(c.events.begin(), c.events.end(), [](auto const& a, auto const& b) {
        return a.time < b.time;
    });
    return c;
}

} // namespace trace_log

} // namespace spindle::detail
