//
// sync/condition_variable.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/sync/condition_core.hpp>

#include <spindle/detail/base/fatal.hpp>
#include <spindle/detail/fiber/park.hpp>
#include <spindle/detail/fiber/stop.hpp>

#include <mutex>
#include <thread>

namespace spindle::detail {

condition_core::~condition_core()
{
    {
        std::lock_guard guard(lock);
        if (!waiters.empty())
            fatal("a condition_variable was destroyed while somebody waited for it");
    }
    while (inside_.load(std::memory_order_acquire) != 0) { // D
        if (auto* const self = current_fiber())
            yield(*self);
        else
            std::this_thread::yield();
    }
}

void condition_core::notify_one() noexcept
{
    queued_waiter* w;
    {
        std::lock_guard guard(lock);
        if (waiters.empty())
            return;
        w = &waiters.front();
        waiters.pop_front();
        w->result = wait_result::done;
        if (!w->parked)
            return;
    }
    w->wake();
}

void condition_core::notify_all() noexcept
{
    wait_queue owed;
    {
        std::lock_guard guard(lock);
        while (!waiters.empty()) {
            auto& w = waiters.front();
            waiters.pop_front();
            w.result = wait_result::done;
            if (w.parked)
                owed.push_back(w);
        }
    }
    wake_all(owed);
}

condition_wait::presence::presence(condition_core& c) noexcept : core(c)
{
    core.inside_.fetch_add(1, std::memory_order_relaxed);
}

condition_wait::presence::~presence()
{
    core.inside_.fetch_sub(1, std::memory_order_release); // D
}

condition_wait::condition_wait(condition_core& c, time_point deadline)
    : inside_(c), waiter_(c.lock, waiting_fiber(), deadline)
{
    std::lock_guard guard(c.lock);
    c.waiters.push_back(waiter_); // Q
}

condition_wait::~condition_wait()
{
    std::lock_guard guard(inside_.core.lock);
    if (waiter_.may_leave())
        waiter_.leave_queue(); // unlocking the mutex threw
}

void condition_wait::token_stopped() noexcept
{
    {
        std::lock_guard guard(inside_.core.lock);
        if (!waiter_.parked || !waiter_.may_leave())
            return;
        waiter_.leave_queue();
        waiter_.result = wait_result::done;
    }
    waiter_.wake();
}

wait_result condition_wait::wait(std::stop_token const& token) noexcept
{
    auto* const self = waiter_.fiber;
    auto told = token_owner();
    if (self && token.stop_possible())
        told = find_token_owner(*self, [&](token_owner const& o) { return o.has(token); });
    std::stop_callback const stops(token, [this]() noexcept { token_stopped(); });
    auto& lock = inside_.core.lock;
    auto may_end = cancellable::yes;
    lock.lock();
    while (waiter_.result == wait_result::waiting) {
        if (token.stop_requested()) { // T
            waiter_.leave_queue();
            break;
        }
        auto const result = waiter_.wait(wait_reason::condition_variable, may_end);
        if (result != wait_result::aborted)
            return result;
        if (stop_seen_beside(*self, told)) {
            yield(*self); // a loop that goes on trying must not keep the thread
            return result;
        }
        may_end = cancellable::no; // the token is about to be requested
        lock.lock();
        waiter_.result = wait_result::waiting;
        inside_.core.waiters.push_back(waiter_);
    }
    lock.unlock();
    return wait_result::done;
}

} // namespace spindle::detail
