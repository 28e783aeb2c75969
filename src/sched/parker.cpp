//
// sched/parker.cpp
// ~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/sched/parker.hpp>

#include <mutex>

namespace spindle::detail {

// The token, if it is there.
bool parker::try_take() noexcept
{
    int expected = notified;
    return state_.compare_exchange_strong(
        expected, empty, std::memory_order_acquire, std::memory_order_relaxed); // N
}

// Under mutex_. False: the token came meanwhile, and was taken.
bool parker::prepare() noexcept
{
    int expected = empty;
    if (state_.compare_exchange_strong(
            expected, parked, std::memory_order_relaxed, std::memory_order_relaxed))
        return true;
    state_.exchange(empty, std::memory_order_acquire); // N
    return false;
}

void parker::park() noexcept
{
    if (try_take())
        return;
    std::unique_lock<mutex> lock(mutex_);
    if (!prepare())
        return;
    do
        wake_.wait(lock);
    while (!try_take());
}

bool parker::park_until(time_point deadline) noexcept
{
    if (deadline == time_point::max()) {
        park();
        return true;
    }
    if (try_take())
        return true;
    std::unique_lock<mutex> lock(mutex_);
    if (!prepare())
        return true;
    while (wake_.wait_until(lock, deadline) == std::cv_status::no_timeout)
        if (try_take())
            return true;
    // Not parked any more, whatever it was: a token that came with the
    // timeout is taken.
    return state_.exchange(empty, std::memory_order_acquire) == notified; // N
}

void parker::unpark() noexcept
{
    if (state_.exchange(notified, std::memory_order_release) != parked) // N
        return;
    std::lock_guard<mutex> lock(mutex_); // L
    wake_.notify_one();
}

} // namespace spindle::detail
