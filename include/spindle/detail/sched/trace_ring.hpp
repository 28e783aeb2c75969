//
// spindle/detail/sched/trace_ring.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// An event of a trace, and the ring that one thread writes them to.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_SCHED_TRACE_RING_HPP
#define SPINDLE_DETAIL_SCHED_TRACE_RING_HPP

#include <spindle/detail/base/atomic.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace spindle::detail {

enum class trace_kind : std::uint8_t {
    created,  // a fiber; value: where it was spawned
    name,     // its name; value: eight letters of it, detail: which eight
    ready,    // it may run; value: the fiber that made it ready, or 0; detail: trace_waker
    begin,    // it runs; value: the first eight letters of its name
    end,      // it runs no more; detail: wait_reason, or one of trace_end
    block,    // it makes a call inside blocking()
    unblock,  // that has returned
    steal,    // a processor has taken; value: from which one, and how many (value_of_steal)
    handoff,  // a processor was taken from who makes a blocking call; fiber: who
    preempt,  // the same, from a hog; fiber: which, 0 for a handler
    take,     // a thread has got a processor
    poll,     // Asio's turn
    polled,   // its end
    sleep,    // a thread waits for events
    woke,     // it does not any more
};

enum class trace_waker : std::uint8_t {
    itself,  // it has given up its turn
    fiber,   // `value`
    handler, // Asio, a timer, a stop; on a thread that runs fibers
    thread,  // any other thread
};

// Beside the wait reasons.
enum trace_end : std::uint8_t { trace_end_yielded = 0xff, trace_end_over = 0xfe };

// A processor, with its scheduler.
inline constexpr std::uint32_t no_processor = ~std::uint32_t{0};
inline std::uint32_t trace_processor(unsigned scheduler, unsigned id) noexcept
{
    return (scheduler & 0x1f'ffff) << 11 | id; // at most 1024 of them
}

inline std::uint64_t value_of_steal(unsigned from, std::size_t fibers) noexcept
{
    return std::uint64_t{from} << 32 | static_cast<std::uint32_t>(fibers);
}

struct trace_event {
    trace_kind kind = trace_kind::created;
    std::uint8_t detail = 0;
    std::uint16_t thread = 0; // filled in by the log
    std::uint32_t processor = no_processor;
    std::uint64_t fiber = 0; // fiber_id
    std::uint64_t value = 0;
    std::uint64_t time = 0; // filled in by the log; ns of clock when that is closed
};

// Shape
//
//   A ring of events. Its thread writes one after another, and over the oldest ones.
//
// Who may touch what
//
//   all of it   written by its thread, read by who collects
//
// Invariants
//
//   I1  begun_ is written_, or one more.
//   I2  Event i lies in slot i % capacity, until i + capacity has begun.
//
// Why it is correct
//
//   W  An event's words are stored before written_, with release: who acquires that
//      has the words of all events before, or of later ones.
//   B  begun_ is stored before the words, with a release fence between; the collector
//      reads the words, then begun_, with an acquire fence between. If it has a
//      word of event j, then it sees that j has begun, and by I2 which events are lost.
//
// Not done, and why
//
//   One ring for all threads: they would meet on its index at each event.
//   A ring for each processor: readies come from threads that hold none, and a thread
//   that has lost its processor inside a call comes back with events, too.
//   Two buffers, exchanged when full: the newest events are wanted, not the first.
//
// Evidence
//
//   test/sched/trace_log.cpp   a reader beside a writer that does not wait for it
//   test/model/trace_ring.cpp  every W and B under Relacy: weaken one, and an event
//                              comes out that is half another one (mutants.txt)
class trace_ring {
public:
    explicit trace_ring(std::size_t capacity) // a power of two
        : mask_(capacity - 1), words_(new atomic<std::uint64_t>[capacity * words_per_event]())
    {
    }

    // Its thread only. `thread` and `time` are in the place of the event's own.
    void push(trace_event const& e, std::uint16_t thread, std::uint64_t time) noexcept
    {
        auto const n = written_.load(std::memory_order_relaxed);
        begun_.store(n + 1, std::memory_order_relaxed);
        fence(std::memory_order_release); // B
        auto* const slot = &words_[(n & mask_) * words_per_event];
        slot[0].store(time, std::memory_order_relaxed);
        slot[1].store(
            std::uint64_t{e.processor} << 32 | std::uint64_t{thread} << 16
                | std::uint64_t{e.detail} << 8 | static_cast<std::uint64_t>(e.kind),
            std::memory_order_relaxed);
        slot[2].store(e.fiber, std::memory_order_relaxed);
        slot[3].store(e.value, std::memory_order_relaxed);
        written_.store(n + 1, std::memory_order_release); // W
    }

    void push(trace_event const& e) noexcept { push(e, e.thread, e.time); }

    // Any thread, one at a time. Appends what is there, oldest first; returns how many
    // events are lost.
    std::uint64_t collect(std::vector<trace_event>& into) const
    {
        auto const capacity = std::uint64_t{mask_} + 1;
        auto const end = written_.load(std::memory_order_acquire); // W
        auto const first = end > capacity ? end - capacity : 0;
        auto const start = into.size();
        into.reserve(start + static_cast<std::size_t>(end - first));
        for (auto i = first; i != end; ++i)
            into.push_back(read(i));
        fence(std::memory_order_acquire); // B
        auto const begun = begun_.load(std::memory_order_relaxed);
        // The others were written over meanwhile.
        auto const kept = std::min(end, std::max(first, begun > capacity ? begun - capacity : 0));
        auto const at = into.begin() + static_cast<std::ptrdiff_t>(start);
        into.erase(at, at + static_cast<std::ptrdiff_t>(kept - first));
        return kept;
    }

private:
    trace_event read(std::uint64_t i) const
    {
        auto const* const slot
            = &words_[(static_cast<std::size_t>(i) & mask_) * words_per_event];
        trace_event e;
        e.time = slot[0].load(std::memory_order_relaxed);
        auto const packed = slot[1].load(std::memory_order_relaxed);
        e.processor = static_cast<std::uint32_t>(packed >> 32);
        e.thread = static_cast<std::uint16_t>(packed >> 16);
        e.detail = static_cast<std::uint8_t>(packed >> 8);
        e.kind = static_cast<trace_kind>(packed & 0xff);
        e.fiber = slot[2].load(std::memory_order_relaxed);
        e.value = slot[3].load(std::memory_order_relaxed);
        return e;
    }

    static constexpr std::size_t words_per_event = 4;

    std::size_t const mask_;
    std::unique_ptr<atomic<std::uint64_t>[]> words_;
    atomic<std::uint64_t> begun_{0};
    atomic<std::uint64_t> written_{0};
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_SCHED_TRACE_RING_HPP
