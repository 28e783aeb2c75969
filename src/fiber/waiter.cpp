//
// fiber/waiter.cpp
// ~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/fiber/waiter.hpp>

namespace spindle::detail {

namespace {

// One parker a thread, kept by those who are about to wake it.
std::shared_ptr<parker> const& parker_of_this_thread()
{
    thread_local std::shared_ptr<parker> const instance = std::make_shared<parker>();
    return instance;
}

} // namespace

waiter::waiter() : fiber_(current_fiber())
{
    if (!fiber_)
        thread_ = parker_of_this_thread();
}

void waiter::wait(wait_reason reason) noexcept
{
    if (fiber_) {
        if (word_.load(std::memory_order_acquire) != fired)
            park(*fiber_, &commit, this, reason);
        return;
    }
    // The token may be an earlier waiter's of this thread, which saw `fired`
    // before it slept: the word decides.
    while (word_.load(std::memory_order_acquire) != fired)
        thread_->park();
}

bool waiter::wait_until(time_point deadline) noexcept
{
    while (word_.load(std::memory_order_acquire) != fired)
        if (!thread_->park_until(deadline))
            return word_.load(std::memory_order_acquire) == fired;
    return true;
}

bool waiter::commit(void* self) noexcept
{
    auto expected = static_cast<int>(arming);
    return static_cast<waiter*>(self)->word_.compare_exchange_strong(
        expected, parked, std::memory_order_acq_rel, std::memory_order_acquire);
}

void waiter::wake() noexcept
{
    auto* const g = fiber_;
    if (g) {
        if (word_.exchange(fired, std::memory_order_acq_rel) == parked)
            ready(*g);
        return;
    }
    auto const thread = thread_;
    word_.store(fired, std::memory_order_release);
    thread->unpark();
}

} // namespace spindle::detail
