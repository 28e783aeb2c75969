//
// spindle/detail/sched/run_next.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// The one-slot fast lane of a processor: what was readied last runs next,
// while its data is warm; and the bound that keeps that fair.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_SCHED_RUN_NEXT_HPP
#define SPINDLE_DETAIL_SCHED_RUN_NEXT_HPP

#include <spindle/detail/base/asymmetric_barrier.hpp>
#include <spindle/detail/base/atomic.hpp>
#include <spindle/detail/base/cache_line.hpp>
#include <spindle/detail/base/clock.hpp>
#include <spindle/detail/base/cpu_relax.hpp>
#include <spindle/detail/sched/runnable.hpp>

#include <chrono>
#include <cstdint>

namespace spindle::detail {

// Shape
//
//   One slot, and a number that grows by one with each put.
//
// Who may touch what
//
//   field       owner             thief              ordering
//   slot_       exchange, load;   load, CAS to null  (P) release on put / acquire on steal
//               inside: store
//   sequence_   store, load       load               relaxed; made safe by P
//   inside_     store             load               (B), (L)
//   thieves_    load              exchange, store    (B), (L)
//   seen        nothing           its own            plain: one thief, one victim
//
// Invariants
//
//   I1  The owner alone turns the slot from null to an item.
//   I2  Whoever replaces an item in the slot owns it, exactly once.
//   I3  Each put has a number of its own, stored before its item.
//   I4  While the owner is inside, no thief changes the slot; there is one thief
//       at a time.
//
// Why it is correct
//
//   P   put exchanges with release; the thief's CAS acquires, so it sees the
//       item as it was put. The owner takes back only what it put itself,
//       so its own exchanges need nothing: a thief writes null and no data.
//   B   The owner stores inside_, then reads thieves_; a thief changes thieves_,
//       then reads inside_, with the asymmetric barrier between the two steps. So
//       the thief waits until the owner is out, or the owner sees it and takes the
//       slot by an exchange. A thief comes when an item has lain for microseconds,
//       the owner all the time: the owner has the light side.
//   L   Who leaves stores with release, and who finds the other gone has read with
//       acquire: the plain stores of the owner and the CAS of the thief are seen.
//   Age The owner reads no clock. A thief looks twice: it takes an item only
//       if an earlier look of its own, at least `steal_after` ago, met the
//       same sequence_. It loads the slot first, with acquire, then sequence_,
//       and put does it in the opposite order: so a thief that sees an item
//       sees its number, or a later one. Equal numbers mean that the put of
//       this item had begun by the first look. (Begun: that look may have
//       fallen between put's two lines and met the item before, which is a
//       matter of nanoseconds.)
//   ABA The address alone would not do: a pair in ping-pong puts the same two
//       addresses by turns, and a thief would meet an old one half of the
//       time. If the item is taken, run and put again between the second look
//       and the CAS, the CAS takes the new one: it is a live item that the
//       owner has put, so I2 holds, only it is fresh. The same after exactly
//       2^32 puts between two looks. Fresh is unwelcome, never wrong.
//
// Not done, and why
//
//   An exchange each time, which was here before: 6 ns for each put and take.
//   A time stamp by the owner: reads a clock (20 to 30 ns) on every put.
//   The thief sleeping 3 us between its looks, as Go does: its callers go
//   round all victims anyway, and come by again.
//
// Evidence
//
//   test/sched/run_next.cpp  the rules one by one; a thief under TSan
//   test/model/run_next.cpp  P, I2 and Age under Relacy
class run_next {
public:
    // How long an item must have lain before a thief may take it.
    static constexpr duration steal_after = std::chrono::microseconds(3);

    // What one thief remembers of one victim.
    struct observation {
        time_point since{};
        std::uint32_t sequence = 0;
        bool valid = false;
    };

    run_next() noexcept = default;
    run_next(run_next const&) = delete;
    run_next& operator=(run_next const&) = delete;

    // Owner only. Returns what lay there, which the caller must queue
    // elsewhere; nullptr when the slot was empty.
    runnable* put(runnable& r) noexcept
    {
        sequence_.store(
            sequence_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed); // ours
        if (!enter()) [[unlikely]]
            return slot_.exchange(&r, std::memory_order_release); // P
        auto* const old = slot_.load(std::memory_order_relaxed);
        slot_.store(&r, std::memory_order_release); // P
        leave();
        return old;
    }

    // Owner only. nullptr when empty.
    runnable* take() noexcept
    {
        // By I1 an empty slot stays empty until we put.
        if (!slot_.load(std::memory_order_relaxed))
            return nullptr;
        if (!enter()) [[unlikely]]
            return slot_.exchange(nullptr, std::memory_order_relaxed); // by P: our own item
        auto* const r = slot_.load(std::memory_order_relaxed);
        slot_.store(nullptr, std::memory_order_relaxed);
        leave();
        return r;
    }

    // Any thread. Takes the item if it has lain there for `steal_after`, as
    // far as this thief has `seen`; else remembers what it saw. nullptr when
    // it took nothing.
    runnable* steal(observation& seen, time_point at) noexcept
    {
        auto* r = slot_.load(std::memory_order_acquire); // pairs with P
        if (!r) {
            seen.valid = false;
            return nullptr;
        }
        auto const sequence = sequence_.load(std::memory_order_relaxed); // behind P
        if (!seen.valid || seen.sequence != sequence) {
            seen = {at, sequence, true};
            return nullptr;
        }
        if (at - seen.since < steal_after)
            return nullptr;
        auto const present = thieves_.exchange(one, std::memory_order_seq_cst); // B
        if (present == one)
            return nullptr; // the other one has it, most likely
        if (present == none) {
            heavy_barrier(); // B
            spin_while([this] { return inside_.load(std::memory_order_seq_cst); }); // L
        }
        seen.valid = false;
        if (!slot_.compare_exchange_strong(
                r, nullptr, std::memory_order_acquire, std::memory_order_relaxed)) // with P
            r = nullptr;
        thieves_.store(present, std::memory_order_release); // L
        return r;
    }

    // Any thread. A hint.
    bool empty_hint() const noexcept { return !slot_.load(std::memory_order_relaxed); }

private:
    // Always: there may be one at any time, as the kernel has no barrier.
    enum presence : std::uint8_t { none, one, always };

    bool enter() noexcept
    {
        store_then_lightest_barrier(inside_, true);
        if (thieves_.load(std::memory_order_seq_cst) == none) [[likely]] // B, L
            return true;
        leave();
        return false;
    }

    void leave() noexcept { inside_.store(false, std::memory_order_release); } // L

    alignas(cache_line_size) atomic<runnable*> slot_{nullptr};
    atomic<std::uint32_t> sequence_{0};
    atomic<bool> inside_{false};
    atomic<presence> thieves_{has_heavy_barrier ? none : always};
};

// How often the lane may go before the queue. Owner only; not thread-safe.
//
//   if (bound.queue_first())
//       if (auto* r = queue.try_pop()) { bound.reset(); return r; }
//   if (auto* r = lane.take()) { bound.count(); return r; }
//   if (auto* r = queue.try_pop()) { bound.reset(); return r; }
//
// Two fibers that ready each other use the lane for ever; without the bound
// the queue would starve. An empty queue resets nothing: it stays first until
// it had something.
class fast_lane_bound {
public:
    static constexpr unsigned limit = 16;

    bool queue_first() const noexcept { return picks_ >= limit; }

    // An item was picked from the lane.
    void count() noexcept { picks_ += picks_ < limit; }

    // An item was picked from anywhere else.
    void reset() noexcept { picks_ = 0; }

private:
    unsigned picks_ = 0;
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_SCHED_RUN_NEXT_HPP
