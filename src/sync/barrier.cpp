//
// sync/barrier.cpp
// ~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/sync/barrier.hpp>

#include <spindle/detail/base/fatal.hpp>
#include <spindle/detail/fiber/hooks.hpp>

#include <mutex>

namespace spindle::detail {

barrier_core::barrier_core(std::ptrdiff_t expected) noexcept : expected_(expected), left_(expected)
{
    if (expected < 0)
        fatal("barrier(%td): a group has no fewer than none", expected);
}

void barrier_core::take_off(std::ptrdiff_t n) noexcept
{
    if (n <= 0 || n > left_)
        fatal("barrier: %td arrived where %td were expected in this phase", n, left_);
    left_ -= n;
}

std::uint64_t barrier_core::arrive(std::ptrdiff_t n, bool& last) noexcept
{
    std::lock_guard guard(lock_);
    take_off(n);
    last = left_ == 0;
    return phase_;
}

void barrier_core::begin_phase() noexcept
{
    wait_queue through;
    {
        std::lock_guard guard(lock_);
        ++phase_;
        left_ = expected_;
        through.swap(waiters_);
        for (auto& w : through)
            w.result = wait_result::done;
    }
    wake_all(through);
}

void barrier_core::drop() noexcept
{
    std::lock_guard guard(lock_);
    if (expected_ == 0)
        fatal("barrier::arrive_and_drop(): all have dropped out already");
    --expected_;
}

void barrier_core::wait(std::uint64_t phase)
{
    blocked_waiter<> w(lock_, waiting_fiber());
    lock_.lock();
    if (phase_ != phase) {
        lock_.unlock();
        return;
    }
    waiters_.push_back(w);
    w.wait(wait_reason::barrier, cancellable::no);
}

bool barrier_core::arrive_and_wait()
{
    blocked_waiter<> w(lock_, waiting_fiber());
    lock_.lock();
    take_off(1);
    if (left_ == 0) {
        lock_.unlock();
        return true;
    }
    waiters_.push_back(w);
    w.wait(wait_reason::barrier, cancellable::no);
    return false;
}

} // namespace spindle::detail
