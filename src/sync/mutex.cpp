//
// sync/mutex.cpp
// ~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/sync/mutex_core.hpp>

#include <spindle/detail/base/fatal.hpp>
#include <spindle/detail/fiber/hooks.hpp>
#include <spindle/detail/fiber/park.hpp>
#include <spindle/detail/fiber/stop.hpp>

#include <mutex>

namespace spindle::detail {

namespace {

// How often a waiter wakes up in vain.
constexpr int patience = 1;

} // namespace

bool mutex_core::lock_until_slow(fiber_record* self, time_point deadline)
{
    auto const result = wait_for_lock(self, deadline, cancellable::yes);
    if (result == wait_result::aborted)
        throw_stopped(*self);
    return result == wait_result::done;
}

wait_result mutex_core::wait_for_lock(fiber_record* self, time_point deadline, cancellable c)
{
    if (spin_for([this] { return try_lock(); }))
        return wait_result::done;
    blocked_waiter<mutex_waiter> w(lock_, self, deadline);
    for (int wakes = 0;; ++wakes) {
        // The flag that taking the mutex, or queueing up, clears.
        auto const mine = wakes == 0 ? 0 : woken;
        if (wakes != 0 && spin_for([this] { return try_take(woken); })) // W
            return wait_result::done;
        lock_.lock();
        if (take_or_announce(mine)) {
            lock_.unlock();
            return wait_result::done;
        }
        w.entitled = wakes == patience; // I3
        if (wakes == 0)
            queue_.push_back(w);
        else
            queue_.push_front(w);
        auto const result = w.wait(wait_reason::mutex, c);
        if (result != wait_result::done || w.owns)
            return result;
    }
}

// With lock_ held. True: taken. False: `waiting` is set, and its owner will see it.
bool mutex_core::take_or_announce(word_type mine) noexcept
{
    auto word = word_.load(std::memory_order_relaxed);
    for (;;) {
        auto const to = (word & ~mine) | ((word & locked) == 0 ? locked : waiting);
        if (take(word, to)) // Q, W
            return (word & locked) == 0;
    }
}

bool mutex_core::lock_or_queue(mutex_waiter& w) noexcept
{
    std::lock_guard guard(lock_);
    if (take_or_announce(0))
        return true;
    w.entitled = true;
    queue_.push_back(w);
    return false;
}

void mutex_core::unlock_slow(word_type word) noexcept
{
    for (;;) {
        if ((word & locked) == 0)
            fatal("a mutex was unlocked that nobody has locked");
        if ((word & waiting) == 0 || (word & woken) != 0) {
            if (word_.compare_exchange_weak(
                    word, word & ~locked, std::memory_order_release, std::memory_order_relaxed))
                return;
            continue;
        }
        lock_.lock();
        if (!queue_.empty())
            break;
        word_.fetch_and(~waiting, std::memory_order_relaxed); // L
        lock_.unlock();                                       // D
        word = word_.load(std::memory_order_relaxed);
    }
    // Locked, `waiting`, not `woken`: nobody but the owner changes the word now.
    auto& w = queue_.front();
    queue_.pop_front();
    w.result = wait_result::done;
    w.owns = w.entitled;
    auto const rest = queue_.empty() ? 0 : waiting;
    word_.store(rest | (w.owns ? locked : woken), std::memory_order_release); // I2
    lock_.unlock();                                                           // D
    w.wake();
    explored_point();
}

void mutex_core::destroyed_in_use() noexcept
{
    fatal("a mutex was destroyed while somebody owned it or waited for it");
}

} // namespace spindle::detail
