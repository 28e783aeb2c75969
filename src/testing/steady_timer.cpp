//
// testing/steady_timer.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/testing/steady_timer.hpp>

#include <spindle/detail/asio/timers.hpp>
#include <spindle/detail/base/cpu_relax.hpp>
#include <spindle/detail/fiber/park.hpp>

#include <limits>
#include <mutex>

namespace spindle::testing::detail {

namespace d = spindle::detail;

timer_state::timer_state() noexcept
{
    expired = [](timer_entry& e) noexcept {
        auto& self = static_cast<timer_state&>(e);
        d::wait_queue due;
        {
            std::lock_guard const guard(self.lock);
            self.passed_ = true;
            due.swap(self.waiters);
            for (auto& w : due)
                w.result = d::wait_result::done;
        }
        self.left_.store(true, std::memory_order_release); // it may go now
        d::wake_all(due);
    };
}

timer_state::~timer_state() { (void)cancel(); }

void timer_state::arm()
{
    if (timers_ || passed_ || expiry_ == clock::time_point::max() || !must_wait())
        return;
    when = expiry_;
    auto& queue = d::timers_for(d::current_fiber());
    left_.store(false, std::memory_order_relaxed);
    try {
        queue.push(*this);
    } catch (...) {
        left_.store(true, std::memory_order_relaxed);
        throw;
    }
    timers_ = &queue;
}

void timer_state::disarm() noexcept
{
    auto* const queue = std::exchange(timers_, nullptr);
    if (!queue)
        return;
    if (queue->erase(*this))
        left_.store(true, std::memory_order_relaxed);
    else // it is due, and about to leave
        d::spin_while([this] { return !left_.load(std::memory_order_acquire); });
}

std::size_t timer_state::end(d::wait_result why, std::size_t most) noexcept
{
    d::wait_queue ended;
    std::size_t n = 0;
    {
        std::lock_guard const guard(lock);
        for (; n != most && !waiters.empty(); ++n) {
            auto& w = waiters.front();
            waiters.pop_front();
            w.result = why;
            ended.push_back(w);
        }
    }
    d::wake_all(ended);
    return n;
}

std::size_t timer_state::cancel() noexcept
{
    disarm();
    return end(d::wait_result::aborted, std::numeric_limits<std::size_t>::max());
}

std::size_t timer_state::cancel_one() noexcept { return end(d::wait_result::aborted, 1); }

std::size_t timer_state::expires_at(clock::time_point t)
{
    auto const n = cancel();
    expiry_ = t;
    passed_ = false;
    return n;
}

} // namespace spindle::testing::detail
