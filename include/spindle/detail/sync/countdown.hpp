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
//   I1  Whoever is in the queue, outside the lock: the counter is not zero, and
//       the word is marked.
//   I2  A marked word becomes zero under the lock only.
//
// Why it is correct
//
//   Counting down to zero without the mark touches the counter no more: whoever
//   comes next sees zero, and may destroy it. With the mark, it is done under the
//   lock, together with taking all out who wait; they are woken after the lock,
//   and the counter may be gone at the first wake-up. A mark without a waiter, of
//   one who was cancelled, costs the last piece a lock, no more.
//   A waiter marks the word by a compare-exchange that fails where the counter
//   has become zero meanwhile. One that finds zero takes the lock all the same:
//   so whoever made it zero under the lock has left that.
//   Release by count_down() and acquire by wait() carry what the pieces did.
//
// Evidence: test/sync/wait_group.cpp, test/sync/latch.cpp
class countdown {
public:
    explicit countdown(std::size_t n) noexcept : word_(n * one) {}

    // Any thread.
    void add(std::size_t n) noexcept { word_.fetch_add(n * one, std::memory_order_relaxed); }

    // Any thread. False: fewer were left, and nothing was done.
    [[nodiscard]] bool count_down(std::size_t n) noexcept
    {
        auto word = word_.load(std::memory_order_relaxed);
        while (word > n * one + mark) // not the last piece
            if (word_.compare_exchange_weak(
                    word, word - n * one, std::memory_order_release, std::memory_order_relaxed))
                return true;
        return count_down_slow(n);
    }

    bool is_zero() const noexcept { return word_.load(std::memory_order_acquire) < one; }

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
    SPINDLE_DECL bool count_down_slow(std::size_t n) noexcept;
    bool settled() noexcept;

    static constexpr std::size_t one = 2;
    static constexpr std::size_t mark = 1;

    atomic<std::size_t> word_;
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_SYNC_COUNTDOWN_HPP
