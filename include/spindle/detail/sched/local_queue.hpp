//
// spindle/detail/sched/local_queue.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// The bounded run queue of one processor: its owner pushes and pops, any
// thread steals.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_SCHED_LOCAL_QUEUE_HPP
#define SPINDLE_DETAIL_SCHED_LOCAL_QUEUE_HPP

#include <spindle/detail/base/atomic.hpp>
#include <spindle/detail/base/cache_line.hpp>
#include <spindle/detail/sched/runnable.hpp>

#include <boost/assert.hpp>

#include <array>
#include <cstdint>
#include <span>
#include <utility>

namespace spindle::detail {

// Shape
//
//   A ring of `capacity` slots. head_ and tail_ only grow (mod 2^32); the
//   entries are [head_, tail_) and entry i lives in slots_[i % capacity].
//
// Who may touch what
//
//   field    owner           thief           ordering
//   head_    CAS             CAS             (H) release on success / acquire on load
//   tail_    store           load            (T) release store / acquire load
//   slots_   load, store     load            relaxed; made safe by H and T
//
//   The owner is whoever holds the processor. Handing a processor on is a
//   synchronisation of its own, so two owners, one after the other, count
//   as one here.
//
// Invariants
//
//   I1  tail_ - head_ <= capacity, at every moment.
//   I2  The owner writes slot i only when i == tail_ and I1 leaves room.
//   I3  Whoever moves head_ over i owns entry i, exactly once.
//
// Why it is correct
//
//   T  push writes the slot, then stores tail_ with release. A thief that
//      acquires that tail_ sees the slot, and the item as it was pushed.
//   H  a taker reads the slots, then CASes head_ with release. The owner
//      acquires head_ before it writes, so it cannot overwrite a slot whose
//      reader is still going to win. A reader that loses the CAS throws its
//      copy away, which is why slots_ are atomic though relaxed. A thief is
//      the owner of the queue that it fills, and acquires that head_ as well.
//   A thief loads head_ before tail_. A stale head_ can make the difference
//   look larger than capacity; then the CAS is bound to fail, so retry at once.
//   The overflow takes its half as a thief does, by one CAS, and copies it out
//   after: what head_ has passed stays in its slots until the owner pushes.
//   2^32 wrap: a thief would have to sleep between load and CAS through
//   exactly 2^32 takes from this queue.
//
// Not done, and why
//
//   Chase-Lev (unbounded, LIFO for the owner): FIFO is wanted for fairness,
//   and overflow has a home already, the global queue.
//   Stealing into a queue that is not empty: nobody steals while it has work.
//   Overflow as a linked list, as in Go: links lie in the items, so linking and
//   unlinking 128 of them is 256 cache misses before any of them runs.
//
// Evidence
//
//   test/sched/local_queue.cpp  one thread; thieves and overflow under TSan
//   test/model/local_queue.cpp  every T, and I1 to I3, under Relacy: weaken any
//                               of them and it fails (test/model/mutants.txt)
//   H is argued only. It forbids a load from being overtaken by a later store,
//   which neither TSan nor Relacy acts out.
//
// Capacity is a parameter for the tests' sake: a model checker needs it tiny.
template <std::uint32_t Capacity>
class basic_local_queue {
public:
    static constexpr std::uint32_t capacity = Capacity;
    static_assert(capacity >= 2 && (capacity & (capacity - 1)) == 0);

    basic_local_queue() noexcept = default;
    basic_local_queue(basic_local_queue const&) = delete;
    basic_local_queue& operator=(basic_local_queue const&) = delete;

    // Owner only. False when full.
    bool try_push(runnable& r) noexcept
    {
        auto const h = head_.load(std::memory_order_acquire); // pairs with H
        auto const t = tail_.load(std::memory_order_relaxed); // ours
        if (t - h == capacity)
            return false;
        slot(t).store(&r, std::memory_order_relaxed);
        tail_.store(t + 1, std::memory_order_release); // T
        return true;
    }

    // Owner only. When full, takes the older half out and calls
    // sink(std::span<runnable* const>) once with it and `r`, in the order in
    // which they were pushed; else pushes and does not call it. The sink may
    // push to another queue, but not to this one.
    template <class Overflow>
    void push(runnable& r, Overflow&& sink)
    {
        while (!try_push(r)) {
            std::array<runnable*, capacity / 2 + 1> half;
            if (try_take_half(half)) {
                half.back() = &r;
                std::forward<Overflow>(sink)(std::span<runnable* const>(half));
                return;
            }
            // A thief made room meanwhile.
        }
    }

    // Owner only.
    runnable* try_pop() noexcept
    {
        auto const t = tail_.load(std::memory_order_relaxed); // ours
        auto h = head_.load(std::memory_order_acquire);
        while (h != t) {
            auto* const r = slot(h).load(std::memory_order_relaxed);
            if (head_.compare_exchange_weak(
                    h, h + 1, std::memory_order_release, std::memory_order_acquire)) // H
                return r;
        }
        return nullptr;
    }

    // Any thread. Takes half of *this, rounded up: returns one entry to run
    // now and leaves the others in `mine`, which the caller must own and
    // which must be empty. nullptr when there was nothing to take.
    runnable* steal_half(basic_local_queue& mine) noexcept
    {
        BOOST_ASSERT(&mine != this);
        auto const dst = mine.tail_.load(std::memory_order_relaxed);                // ours
        [[maybe_unused]] auto const h0 = mine.head_.load(std::memory_order_acquire); // with H
        BOOST_ASSERT(h0 == dst);
        auto h = head_.load(std::memory_order_acquire);
        for (;;) {
            auto const t = tail_.load(std::memory_order_acquire); // pairs with T
            auto const n = (t - h) - (t - h) / 2;
            if (n == 0)
                return nullptr;
            if (n > capacity / 2) { // h is stale
                h = head_.load(std::memory_order_acquire);
                continue;
            }
            for (std::uint32_t i = 0; i != n; ++i)
                mine.slot(dst + i).store(
                    slot(h + i).load(std::memory_order_relaxed), std::memory_order_relaxed);
            if (head_.compare_exchange_weak(
                    h, h + n, std::memory_order_release, std::memory_order_acquire)) { // H
                mine.tail_.store(dst + (n - 1), std::memory_order_release);            // T
                return mine.slot(dst + (n - 1)).load(std::memory_order_relaxed);
            }
        }
    }

    // Owner only. Where there are more than `n`, the one that is likely to be popped
    // next, to be fetched into the cache; not to be looked into: a thief may have it.
    runnable const* peek_if_more_than(std::uint32_t n) const noexcept
    {
        auto const h = head_.load(std::memory_order_relaxed);
        return tail_.load(std::memory_order_relaxed) - h > n
            ? slots_[h % capacity].load(std::memory_order_relaxed)
            : nullptr;
    }

    // Any thread. How many entries have left so far, modulo 2^32.
    std::uint32_t left_hint() const noexcept { return head_.load(std::memory_order_relaxed); }

    // Any thread. A hint: may be stale by the time the caller looks at it.
    std::uint32_t size_hint() const noexcept
    {
        auto const h = head_.load(std::memory_order_relaxed);
        auto const t = tail_.load(std::memory_order_relaxed);
        return t - h <= capacity ? t - h : 0;
    }

private:
    // Owner only, when full. False when a thief was faster: nothing taken.
    bool try_take_half(std::array<runnable*, capacity / 2 + 1>& half) noexcept
    {
        constexpr auto n = capacity / 2;
        auto const t = tail_.load(std::memory_order_relaxed); // ours
        auto h = head_.load(std::memory_order_acquire);
        if (t - h != capacity)
            return false;
        if (!head_.compare_exchange_strong(
                h, h + n, std::memory_order_release, std::memory_order_relaxed)) // H
            return false;
        // Ours to write are only slots from tail_ on, and only we write: what
        // head_ has just passed is still in its slots.
        for (std::uint32_t i = 0; i != n; ++i)
            half[i] = slot(h + i).load(std::memory_order_relaxed);
        return true;
    }

    atomic<runnable*>& slot(std::uint32_t i) noexcept { return slots_[i % capacity]; }

    alignas(cache_line_size) atomic<std::uint32_t> head_{0};
    alignas(cache_line_size) atomic<std::uint32_t> tail_{0};
    alignas(cache_line_size) std::array<atomic<runnable*>, capacity> slots_{};
};

using local_queue = basic_local_queue<256>;

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_SCHED_LOCAL_QUEUE_HPP
