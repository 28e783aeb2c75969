//
// sync/countdown.cpp
// ~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/sync/countdown.hpp>

#include <spindle/detail/fiber/stop.hpp>

#include <mutex>

namespace spindle::detail {

bool countdown::count_down_slow(std::size_t n) noexcept
{
    auto word = word_.load(std::memory_order_relaxed);
    do {
        if (word / one < n)
            return false;
        if (word == n * one + mark) [[unlikely]] {
            wait_queue done;
            {
                std::lock_guard guard(lock);
                bool last;
                do
                    last = word == n * one + mark; // or added to, meanwhile
                while (!word_.compare_exchange_weak(
                    word, last ? 0 : word - n * one, std::memory_order_acq_rel,
                    std::memory_order_relaxed));
                if (last)
                    done.swap(waiters);
                for (auto& w : done)
                    w.result = wait_result::done;
            }
            wake_all(done);
            return true;
        }
    } while (!word_.compare_exchange_weak(
        word, word - n * one, std::memory_order_acq_rel, std::memory_order_relaxed));
    return true;
}

bool countdown::must_wait() noexcept
{
    auto word = word_.load(std::memory_order_acquire);
    do {
        if (word < one)
            return false;
    } while (!word_.compare_exchange_weak(
        word, word | mark, std::memory_order_acquire, std::memory_order_acquire));
    return true;
}

bool countdown::settled() noexcept
{
    if (!is_zero())
        return false;
    std::lock_guard guard(lock);
    return true;
}

void countdown::wait(wait_reason why)
{
    auto* const self = waiting_fiber();
    if (settled())
        return;
    blocked_waiter<> w(lock, self);
    (void)wait_for(*this, w, why, cancellable::no);
}

void countdown::wait(wait_reason why, std::stop_token token)
{
    auto* const self = waiting_fiber_unless_stopped();
    if (settled())
        return;
    auto const result = [&] {
        blocked_waiter<> w(lock, self);
        std::stop_callback const on_stop(std::move(token), [&w]() noexcept { w.abort(); });
        return wait_for(*this, w, why);
    }();
    if (result == wait_result::aborted)
        throw_aborted(self);
}

} // namespace spindle::detail
