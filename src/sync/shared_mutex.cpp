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

#include <boost/assert.hpp>

#include <mutex>

namespace spindle::detail {

void shared_mutex_core::lock_slow(fiber_record* self)
{
    blocked_waiter<waiting_writer> w(lock_, self);
    lock_.lock();
    if (close_or_announce()) {
        lock_.unlock();
        return;
    }
    writers_.push_back(w);
    w.wait(wait_reason::shared_mutex, cancellable::no);
}

// One of the next batch.
void shared_mutex_core::lock_shared_slow(fiber_record* self)
{
    blocked_waiter<waiting_reader> r(lock_, self);
    do {
        lock_.lock();
        if (was_let_in()) {
            lock_.unlock();
            return;
        }
        readers_.push_back(r);
        r.wait(wait_reason::shared_mutex, cancellable::no);
        r.entitled = true; // E
    } while (!r.owns && !enter());
}

bool shared_mutex_core::lock_or_queue(waiting_writer& w) noexcept
{
    std::lock_guard guard(lock_);
    if (close_or_announce())
        return true;
    writers_.push_back(w);
    return false;
}

bool shared_mutex_core::lock_or_queue(waiting_reader& r) noexcept
{
    if (enter())
        return true;
    std::lock_guard guard(lock_);
    if (was_let_in())
        return true;
    r.entitled = true;
    readers_.push_back(r);
    return false;
}

// With lock_ held. True: the caller owns it. False: it is to queue up, and whoever
// passes the mutex on will see it.
bool shared_mutex_core::close_or_announce() noexcept
{
    auto word = word_.load(std::memory_order_relaxed);
    word_type to;
    do
        to = word | ((word & closed) == 0 ? closed : queued);
    while (!word_.compare_exchange_weak(
        word, to, std::memory_order_acquire, std::memory_order_relaxed)); // C, Q
    for_nobody_ = false;
    if ((word & closed) != 0)
        return false;
    auto const inside = word / reading;
    return inside == 0
        || leaving_.fetch_add(inside, std::memory_order_acq_rel) + inside == 0; // C
}

// With lock_ held, by one of the next batch. False: it is to queue up.
bool shared_mutex_core::was_let_in() noexcept
{
    if (passes_ != 0) { // P
        --passes_;
        return true;
    }
    BOOST_ASSERT((word_.load(std::memory_order_relaxed) & closed) != 0); // I3
    return for_nobody_ && join_leaving(1);                               // L
}

// With lock_ held, for readers that are here. False: one is about to pass the mutex
// on, or a writer owns it.
bool shared_mutex_core::join_leaving(word_type n) noexcept
{
    auto leaving = leaving_.load(std::memory_order_relaxed);
    while (leaving != 0)
        if (leaving_.compare_exchange_weak(
                leaving, leaving + n, std::memory_order_relaxed, std::memory_order_relaxed))
            return true;
    return false;
}

void shared_mutex_core::unlock_slow(word_type word) noexcept
{
    if ((word & closed) == 0)
        fatal("a shared_mutex was unlocked that no writer has locked");
    pass_on(turn::readers);
}

void shared_mutex_core::unlock_shared_slow(word_type before) noexcept
{
    if (before < reading)
        fatal("a shared_mutex was unlocked by a reader, and no reader has locked it");
    if (leaving_.fetch_sub(1, std::memory_order_acq_rel) == 1) // C, D
        pass_on(turn::writers);
}

// Whoever was the last to let go.
void shared_mutex_core::pass_on(turn first) noexcept
{
    for (;;) {
        lock_.lock();
        for_nobody_ = false;
        auto const here = word_.load(std::memory_order_relaxed) / reading;
        if (here != 0 && (first == turn::readers || writers_.empty())) {
            let_readers_in(here);
            return;
        }
        if (!writers_.empty()) {
            hand_to_writer();
            return;
        }
        word_.fetch_and(~queued, std::memory_order_relaxed); // L
        lock_.unlock();
        word_type alone = closed;
        if (open(alone)) // Q, D
            return;
    }
}

// With lock_ held, which it releases.
void shared_mutex_core::let_readers_in(word_type here) noexcept
{
    wait_queue_of<waiting_reader> taken;
    auto const open_to_all = writers_.empty();
    auto const of = take_readers(taken, open_to_all);
    if (open_to_all) {
        auto const flags = word_.load(std::memory_order_relaxed) & (closed | queued);
        here = word_.fetch_sub(flags + of.competing * reading, std::memory_order_release) / reading
            - of.competing;
    } else
        leaving_.store(here, std::memory_order_relaxed); // those that come are the next batch
    passes_ += here - of.owning;
    lock_.unlock(); // D
    wake_all(taken);
}

// With lock_ held, which it releases.
void shared_mutex_core::hand_to_writer() noexcept
{
    auto& w = writers_.front();
    writers_.pop_front();
    w.result = wait_result::done;
    if (writers_.empty())
        word_.fetch_and(~queued, std::memory_order_relaxed);
    lock_.unlock(); // D
    w.wake();
}

// With lock_ held. Those that `may_compete` are to come in by themselves, unless they
// are entitled.
auto shared_mutex_core::take_readers(
    wait_queue_of<waiting_reader>& taken, bool may_compete) noexcept -> batch
{
    taken.swap(readers_);
    batch n;
    for (auto& r : taken) {
        r.result = wait_result::done;
        r.owns = r.entitled || !may_compete;
        ++(r.owns ? n.owning : n.competing);
    }
    return n;
}

bool shared_mutex_core::withdraw(waiting_writer& w) noexcept
{
    wait_queue_of<waiting_reader> taken;
    {
        std::lock_guard guard(lock_);
        if (!w.may_leave())
            return false;
        w.leave_queue();
        for_nobody_ = writers_.empty() && join_leaving(readers_.size()); // L
        if (for_nobody_)
            (void)take_readers(taken, false);
    }
    wake_all(taken);
    return true;
}

bool shared_mutex_core::withdraw(waiting_reader& r) noexcept
{
    std::lock_guard guard(lock_);
    if (!r.may_leave())
        return false;
    r.leave_queue();
    word_.fetch_sub(reading, std::memory_order_relaxed);
    return true;
}

void shared_mutex_core::destroyed_in_use() noexcept
{
    fatal("a shared_mutex was destroyed while somebody owned it or waited for it");
}

} // namespace spindle::detail
