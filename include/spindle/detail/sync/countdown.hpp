//
// spindle/detail/sync/countdown.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// A counter, and those who wait until it is zero: what a wait_group and a latch
// are made of.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_SYNC_COUNTDOWN_HPP
#define SPINDLE_DETAIL_SYNC_COUNTDOWN_HPP

#include <spindle/config.hpp>
#include <spindle/detail/base/atomic.hpp>
#include <spindle/detail/base/spin_lock.hpp>
#include <spindle/detail/fiber/wait_reason.hpp>
#include <spindle/detail/sync/wait_queue.hpp>

#include <cstddef>
#include <stop_token>

namespace spindle::detail {

// Shape
//
//   word_      the counter, times two, plus one where somebody may wait
//   waiters    who waits, under lock
//
// Who may touch what
//
//   word_      any thread; the mark is set and taken off under lock
//   waiters    under lock
//
// Invariants
//
//   I1  Whoever is in the queue, outside the lock: the word is marked.
//   I2  The mark alone, without a count: one thread is between its subtraction and
//       the end of its section under the lock, where it takes the mark off. Until
//       then nobody counts up, and nobody finds the counter zero.
//
// Why it is correct
//
//   Z  Who subtracts the last piece of a word without the mark touches the counter
//      no more: whoever comes next sees zero, and may destroy it. With the mark, it
//      takes the lock, takes all out who wait, and the mark off; they are woken
//      after the lock, and the counter may be gone at the first wake-up. That no
//      other thread is on the same way, late, is I2. A mark without a waiter, of one
//      who was cancelled, costs the last piece a lock, no more.
//   W  A waiter marks the word by a compare-exchange that fails where it has become
//      zero meanwhile. One that finds the mark alone queues up: who set it to that
//      is about to come for the lock. One that finds zero takes the lock all the
//      same: so whoever took the mark off there has left that.
//   R  Release by count_down() and acquire by wait() carry what the pieces did.
//
// Evidence: test/model/countdown.cpp, test/sync/wait_group.cpp, test/sync/latch.cpp
class countdown {
public:
    explicit countdown(std::size_t n) noexcept : word_(n * one) {}

    // Any thread.
    void add(std::size_t n) noexcept
    {
        auto word = word_.load(std::memory_order_relaxed);
        do
            while (word == mark) [[unlikely]] // I2
                word = wait_for_last();
        while (!word_.compare_exchange_weak(
            word, word + n * one, std::memory_order_relaxed, std::memory_order_relaxed));
    }

    // Any thread. False: fewer were left, and the counter is of no use any more.
    [[nodiscard]] bool count_down(std::size_t n) noexcept
    {
        auto const before = word_.fetch_sub(n * one, std::memory_order_acq_rel); // R
        return before > n * one + mark || count_down_slow(before, n);
    }

    // A moment late where somebody waits.
    bool is_zero() const noexcept { return word_.load(std::memory_order_acquire) == 0; } // R

    // Returns when it is zero. Throws errc::not_in_fiber where one must not wait.
    SPINDLE_DECL void wait(wait_reason why);

    // The same, or throws operation_aborted when the token, or the fiber itself, is
    // asked to stop.
    SPINDLE_DECL void wait(wait_reason why, std::stop_token token);

    // For async_wait().
    SPINDLE_DECL bool must_wait() noexcept;

    spin_lock lock;
    wait_queue waiters;

private:
    SPINDLE_DECL bool count_down_slow(std::size_t before, std::size_t n) noexcept;
    SPINDLE_DECL std::size_t wait_for_last() noexcept;
    bool settled() noexcept;

    static constexpr std::size_t one = 2;
    static constexpr std::size_t mark = 1;

    atomic<std::size_t> word_;
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_SYNC_COUNTDOWN_HPP
