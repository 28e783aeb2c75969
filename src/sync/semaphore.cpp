//
// sync/semaphore.cpp
// ~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/sync/semaphore.hpp>

#include <spindle/detail/base/fatal.hpp>
#include <spindle/detail/fiber/hooks.hpp>
#include <spindle/detail/sync/wait_for.hpp>

#include <mutex>

namespace spindle::detail {

bool semaphore_core::acquire_slow(fiber_record* self, time_point deadline)
{
    auto const result = [&] {
        blocked_waiter<> w(lock, self, deadline);
        return wait_for(*this, w, wait_reason::semaphore);
    }();
    if (result == wait_result::aborted)
        throw_aborted(self);
    return result == wait_result::done;
}

bool semaphore_core::take_one(std::size_t then, std::size_t otherwise) noexcept
{
    auto word = word_.load(std::memory_order_relaxed);
    for (;;) {
        auto const there = word >= one;
        if (word_.compare_exchange_weak(
                word, there ? (word - one) / one * one + then : otherwise,
                std::memory_order_acquire, std::memory_order_relaxed))
            return there;
    }
}

bool semaphore_core::must_wait() noexcept
{
    return !waiters.empty() || !take_one(0, mark);
}

bool semaphore_core::try_acquire_marked() noexcept
{
    std::lock_guard guard(lock);
    return waiters.empty() && take_one(0, 0);
}

void semaphore_core::hand_out() noexcept
{
    wait_queue served;
    {
        std::lock_guard guard(lock);
        while (!waiters.empty() && take_one(mark, mark)) {
            auto& w = waiters.front();
            waiters.pop_front();
            w.result = wait_result::done;
            served.push_back(w);
        }
        if (waiters.empty())
            word_.fetch_and(~mark, std::memory_order_relaxed);
    }
    wake_all(served);
    explored_point();
}

void bad_permits(char const* where, std::ptrdiff_t n, std::ptrdiff_t most) noexcept
{
    fatal("%s(%td): a semaphore has between 0 and max() = %td permits", where, n, most);
}

} // namespace spindle::detail
