//
// sync/shared_mutex.cpp
// ~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/sync/shared_mutex_core.hpp>

#include <spindle/detail/base/fatal.hpp>
#include <spindle/detail/fiber/hooks.hpp>
#include <spindle/detail/fiber/park.hpp>

#include <mutex>

namespace spindle::detail {

void shared_mutex_core::lock_slow(fiber_record* self)
{
    if (spin_for([this] { return try_lock(); }))
        return;
    blocked_waiter<waiting_writer> w(lock_, self);
    lock_.lock();
    if (take_or_announce(false)) {
        lock_.unlock();
        return;
    }
    writers_.push_back(w);
    w.wait(wait_reason::shared_mutex, cancellable::no);
}

void shared_mutex_core::lock_shared_slow(fiber_record* self)
{
    if (spin_for([this] { return try_lock_shared(); }))
        return;
    blocked_waiter<waiting_reader> r(lock_, self);
    lock_.lock();
    if (take_or_announce(true)) {
        lock_.unlock();
        return;
    }
    readers_.push_back(r);
    r.wait(wait_reason::shared_mutex, cancellable::no);
}

bool shared_mutex_core::lock_or_queue(waiting_writer& w) noexcept
{
    std::lock_guard guard(lock_);
    if (take_or_announce(false))
        return true;
    writers_.push_back(w);
    return false;
}

bool shared_mutex_core::lock_or_queue(waiting_reader& r) noexcept
{
    std::lock_guard guard(lock_);
    if (take_or_announce(true))
        return true;
    readers_.push_back(r);
    return false;
}

// With lock_ held. True: taken. False: `waiting` is set, and whoever lets go last
// will see it.
bool shared_mutex_core::take_or_announce(bool shared) noexcept
{
    auto word = word_.load(std::memory_order_relaxed);
    for (;;) {
        auto const free = shared ? (word & (writing | waiting)) == 0 : word == 0;
        auto const to = !free ? word | waiting : shared ? word + reading : writing;
        if (take(word, to)) // Q
            return free;
    }
}

void shared_mutex_core::unlock_slow(word_type word) noexcept
{
    if ((word & writing) == 0)
        fatal("a shared_mutex was unlocked that no writer has locked");
    lock_.lock();
    if (!readers_.empty()) {
        auto taken = take_readers();
        auto const rest = writers_.empty() ? 0 : waiting;
        word_.store(reading * taken.size() | rest, std::memory_order_release);
        lock_.unlock(); // D
        wake_all(taken);
    } else if (!writers_.empty()) {
        hand_to_writer();
    } else { // L
        word_.store(writing, std::memory_order_relaxed);
        lock_.unlock();
        unlock();
    }
}

void shared_mutex_core::unlock_shared_slow() noexcept
{
    auto word = word_.load(std::memory_order_relaxed);
    for (;;) {
        if (word < reading)
            fatal("a shared_mutex was unlocked by a reader, and no reader has locked it");
        if (word != (reading | waiting)) {
            if (let_go(word, word - reading))
                return;
            continue;
        }
        lock_.lock();
        word = word_.load(std::memory_order_acquire); // of all readers before this one
        if (word == (reading | waiting) && !writers_.empty()) {
            hand_to_writer();
            return;
        }
        lock_.unlock();
        left_queue(); // L
        word = word_.load(std::memory_order_relaxed);
    }
}

// With lock_ held, which it releases. Only the caller owns the mutex.
void shared_mutex_core::hand_to_writer() noexcept
{
    auto& w = writers_.front();
    writers_.pop_front();
    w.result = wait_result::done;
    auto const rest = writers_.empty() && readers_.empty() ? 0 : waiting;
    word_.store(writing | rest, std::memory_order_release);
    lock_.unlock(); // D
    w.wake();
}

// With lock_ held.
wait_queue_of<waiting_reader> shared_mutex_core::take_readers() noexcept
{
    wait_queue_of<waiting_reader> taken;
    taken.swap(readers_);
    for (auto& r : taken)
        r.result = wait_result::done;
    return taken;
}

void shared_mutex_core::left_queue() noexcept
{
    lock_.lock();
    auto word = word_.load(std::memory_order_relaxed);
    if (!writers_.empty() || (word & (writing | waiting)) != waiting) {
        lock_.unlock(); // whoever lets go last sees to it
        return;
    }
    auto taken = take_readers();
    auto const n = reading * taken.size();
    while (!word_.compare_exchange_weak(
        word, (word & ~waiting) + n, std::memory_order_relaxed, std::memory_order_relaxed)) {
    }
    lock_.unlock();
    wake_all(taken);
}

void shared_mutex_core::destroyed_in_use() noexcept
{
    fatal("a shared_mutex was destroyed while somebody owned it or waited for it");
}

} // namespace spindle::detail
