//
// spindle/detail/time/timer_queue.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// Deadlines that somebody waits for, below a lock of their own.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_TIME_TIMER_QUEUE_HPP
#define SPINDLE_DETAIL_TIME_TIMER_QUEUE_HPP

#include <spindle/config.hpp>
#include <spindle/detail/base/atomic.hpp>
#include <spindle/detail/base/clock.hpp>
#include <spindle/detail/base/spin_lock.hpp>
#include <spindle/detail/time/heap.hpp>

#include <mutex>

namespace spindle::detail {

// A deadline and what happens when it is reached.
struct timer_entry : timer_node {
    // Once, with nothing held, on the thread that found it due. The entry is
    // out of the queue, and may be gone when this returns.
    void (*expired)(timer_entry&) noexcept = nullptr;
};

// Invariant: whoever takes an entry out, by expiry or by erase(), is alone in
// doing so, and it is that one who wakes the waiter. So a waiter's frame may be
// left as soon as erase() has returned true, or expired() has been called.
class timer_queue {
public:
    virtual ~timer_queue() = default;

    // Any thread. Throws bad_alloc, and has then done nothing.
    void push(timer_entry& e)
    {
        std::unique_lock guard(lock_);
        heap_.push(e);
        if (heap_.top() == &e) {
            earliest_.store(e.when, std::memory_order_relaxed);
            on_earliest(e.when);
        }
    }

    // Any thread. False: it has expired.
    bool erase(timer_entry& e) noexcept
    {
        std::lock_guard guard(lock_);
        if (e.index == timer_node::npos)
            return false;
        heap_.erase(e);
        publish();
        return true;
    }

    // Any thread. Calls expired() of all that is due. Returns how many.
    std::size_t expire(time_point at) noexcept
    {
        std::size_t n = 0;
        for (;; ++n) {
            timer_entry* e;
            {
                std::lock_guard guard(lock_);
                e = static_cast<timer_entry*>(heap_.pop_expired(at));
                publish();
            }
            if (!e)
                return n;
            e->expired(*e);
        }
    }

    // Any thread. The earliest deadline, or max(); may be out of date.
    time_point earliest_hint() const noexcept
    {
        return earliest_.load(std::memory_order_relaxed);
    }

protected:
    // Any thread. Asks for the earliest deadline once more.
    void rearm() noexcept
    {
        std::lock_guard guard(lock_);
        if (auto const* const top = heap_.top())
            on_earliest(top->when);
    }

private:
    // Under the lock.
    virtual void on_earliest(time_point) noexcept {}
    virtual void on_empty() noexcept {}

    void publish() noexcept
    {
        auto const* const top = heap_.top();
        earliest_.store(top ? top->when : time_point::max(), std::memory_order_relaxed);
        if (!top)
            on_empty();
    }

    spin_lock lock_; // leaf, but for Asio's own below on_earliest()
    timer_heap heap_;
    atomic<time_point> earliest_{time_point::max()};
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_TIME_TIMER_QUEUE_HPP
