//
// sync/countdown.cpp
// ~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/sync/countdown.hpp>

#include <spindle/detail/base/cpu_relax.hpp>
#include <spindle/detail/fiber/stop.hpp>
#include <spindle/detail/sync/wait_for.hpp>

#include <mutex>

namespace spindle::detail {

// The last piece, or one too many.
bool countdown::count_down_slow(std::size_t before, std::size_t n) noexcept
{
    if (before != n * one + mark)
        return before == n * one; // Z
    wait_queue done;
    {
        std::lock_guard guard(lock);
        word_.store(0, std::memory_order_release); // I2
        done.swap(waiters);
        for (auto& w : done)
            w.result = wait_result::done;
    }
    wake_all(done);
    return true;
}

std::size_t countdown::wait_for_last() noexcept
{
    spin_while([this] { return word_.load(std::memory_order_relaxed) == mark; });
    return word_.load(std::memory_order_relaxed);
}

bool countdown::must_wait() noexcept
{
    auto word = word_.load(std::memory_order_acquire); // R
    do {
        if (word == 0)
            return false;
    } while (!word_.compare_exchange_weak(
        word, word | mark, std::memory_order_acquire, std::memory_order_acquire)); // W
    return true;
}

bool countdown::settled() noexcept
{
    if (!is_zero())
        return false;
    std::lock_guard guard(lock); // W
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
