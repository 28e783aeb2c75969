//
// spindle/detail/sched/newborns.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// What was started on a processor and has not run: the newest is next.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_SCHED_NEWBORNS_HPP
#define SPINDLE_DETAIL_SCHED_NEWBORNS_HPP

#include <spindle/detail/base/atomic.hpp>
#include <spindle/detail/base/cache_line.hpp>
#include <spindle/detail/base/spin_lock.hpp>
#include <spindle/detail/sched/runnable.hpp>

#include <boost/assert.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <mutex>
#include <span>
#include <utility>

namespace spindle::detail {

// A tree of fibers, each of which starts others and waits for them, is alive all at
// once where the oldest runs first: level by level. Where the newest does, it is a few
// branches, whose stacks are still in the cache. What is stolen is the oldest: the
// largest part of such a tree.
//
// Shape
//
//   A ring: the owner puts in and takes out at the top, and whoever wants the oldest
//   takes it at the bottom.
//
// Who may touch what
//
//   ring_, bottom_   whoever holds lock_
//   size_            whoever holds lock_ writes, any thread reads
//
// Not done, and why
//
//   A deque without a lock (Chase and Lev): taking the newest then costs a full
//   barrier, or an asymmetric one that thieves pay for with a system call; this lock is
//   one exchange, and only thieves contend for it, who look at size_ first.
//   Newest first in the queue that all others are in: what was woken would wait for what
//   was started after it.
//
// Evidence: test/sched/newborns.cpp
template <std::uint32_t Capacity>
class basic_newborns {
public:
    static constexpr std::uint32_t capacity = Capacity;
    static constexpr std::uint32_t most_at_once = std::min(capacity / 2, 128u);
    static_assert(capacity >= 2 && (capacity & (capacity - 1)) == 0);

    basic_newborns() noexcept = default;
    basic_newborns(basic_newborns const&) = delete;
    basic_newborns& operator=(basic_newborns const&) = delete;

    // Owner only. When full, takes the oldest `most_at_once` out and calls
    // sink(std::span<runnable* const>) with them, oldest first.
    template <class Overflow>
    void push(runnable& r, Overflow&& sink)
    {
        std::array<runnable*, most_at_once> half;
        {
            std::lock_guard guard(lock_);
            auto n = size();
            if (n != capacity) [[likely]] {
                slot(bottom_ + n) = &r;
                set_size(n + 1);
                return;
            }
            for (auto& h : half)
                h = slot(bottom_++);
            n -= most_at_once;
            slot(bottom_ + n) = &r;
            set_size(n + 1);
        }
        std::forward<Overflow>(sink)(std::span<runnable* const>(half));
    }

    // Owner only. nullptr when empty.
    runnable* pop_newest() noexcept
    {
        if (empty_hint()) // only the owner puts in
            return nullptr;
        std::lock_guard guard(lock_);
        auto const n = size();
        if (n == 0)
            return nullptr;
        set_size(n - 1);
        return slot(bottom_ + n - 1);
    }

    // Owner only. nullptr when empty.
    runnable* pop_oldest() noexcept
    {
        if (empty_hint())
            return nullptr;
        std::lock_guard guard(lock_);
        return take_oldest();
    }

    // The owner of `mine`. Takes the older half, rounded up: returns the oldest, and puts
    // the others on top of `mine`, in order. nullptr when there was nothing to take, or the
    // owner was just there. `mine` has room for `most_at_once` more.
    runnable* steal_half(basic_newborns& mine) noexcept
    {
        std::array<runnable*, most_at_once> taken;
        std::uint32_t n = 0;
        if (empty_hint() || !lock_.try_lock())
            return nullptr;
        {
            std::lock_guard guard(lock_, std::adopt_lock);
            auto const half = std::min(size() - size() / 2, most_at_once);
            while (n != half)
                taken[n++] = take_oldest();
        }
        if (n == 0)
            return nullptr;
        std::lock_guard guard(mine.lock_);
        auto const had = mine.size();
        BOOST_ASSERT(had + n - 1 <= capacity);
        for (std::uint32_t i = 1; i != n; ++i)
            mine.slot(mine.bottom_ + had + i - 1) = taken[i];
        mine.set_size(had + n - 1);
        return taken[0];
    }

    // Any thread. Hints.
    std::uint32_t size_hint() const noexcept { return size_.load(std::memory_order_relaxed); }
    bool empty_hint() const noexcept { return size_hint() == 0; }

private:
    runnable*& slot(std::uint32_t i) noexcept { return ring_[i % capacity]; }
    std::uint32_t size() const noexcept { return size_.load(std::memory_order_relaxed); }
    void set_size(std::uint32_t n) noexcept { size_.store(n, std::memory_order_relaxed); }

    runnable* take_oldest() noexcept
    {
        auto const n = size();
        if (n == 0)
            return nullptr;
        set_size(n - 1);
        return slot(bottom_++);
    }

    alignas(cache_line_size) spin_lock lock_; // leaf
    std::uint32_t bottom_ = 0;                // of the oldest
    atomic<std::uint32_t> size_{0};
    std::array<runnable*, capacity> ring_{};
};

using newborns = basic_newborns<1024>;

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_SCHED_NEWBORNS_HPP
