//
// sync/wait_queue.cpp
// ~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/sync/wait_queue.hpp>

#include <spindle/detail/asio/timers.hpp>
#include <spindle/detail/base/cpu_relax.hpp>
#include <spindle/detail/fiber/stop.hpp>
#include <spindle/detail/fiber/waiter.hpp>
#include <spindle/error.hpp>

#include <mutex>

namespace spindle::detail {

namespace {

template <class Lock>
bool commit_unlock(void* lock) noexcept
{
    static_cast<Lock*>(lock)->unlock();
    return true;
}

} // namespace

template <class Lock>
void blocked_wait<Lock>::stop_now(stop_hook& h) noexcept
{
    auto& b = static_cast<blocked_wait&>(h);
    if (b.end_wait(wait_result::aborted))
        ready(*b.waiter_.fiber);
}

template <class Lock>
void blocked_wait<Lock>::arm()
{
    when = deadline_;
    expired = [](timer_entry& e) noexcept {
        auto& b = static_cast<blocked_wait&>(e);
        auto* const g = b.waiter_.fiber;
        auto const owed = b.end_wait(wait_result::timed_out);
        b.left_.store(true, std::memory_order_release); // the frame may go now
        if (owed)
            ready(*g);
    };
    auto& timers = timers_for(waiter_.fiber);
    timers.push(*this);
    timers_ = &timers;
}

template <class Lock>
void blocked_wait<Lock>::disarm() noexcept
{
    if (timers_->erase(*this))
        return;
    // It has expired, and is about to leave.
    spin_while([this] { return !left_.load(std::memory_order_acquire); });
}

template <class Lock>
bool blocked_wait<Lock>::end_wait(wait_result why) noexcept
{
    std::lock_guard guard(lock_);
    (why == wait_result::timed_out ? passed_ : aborted_) = true;
    if (!waiter_.parked || !waiter_.may_leave())
        return false;
    waiter_.leave_queue();
    waiter_.result = why;
    return true;
}

template <class Lock>
void blocked_wait<Lock>::abort() noexcept
{
    if (end_wait(wait_result::aborted))
        waiter_.wake();
}

template <class Lock>
inline void blocked_wait<Lock>::wait_in_fiber(wait_reason why, cancellable c) noexcept
{
    auto& self = *waiter_.fiber;
    auto const refuse = [this](wait_result r) noexcept {
        waiter_.leave_queue();
        waiter_.result = r;
        lock_.unlock();
    };
    if (passed_)
        return refuse(wait_result::timed_out);
    if (c == cancellable::no) {
        park(self, &commit_unlock<Lock>, &lock_, why);
        return;
    }
    if (try_hook_wait(self, *this)) [[likely]]
        park(self, &commit_unlock<Lock>, &lock_, why);
    else
        refuse(wait_result::aborted);
    unhook_wait(self, *this); // not below the lock: the stopper that is inside wants it
}

template <class Lock>
SPINDLE_NOINLINE void blocked_wait<Lock>::wait_in_thread(wait_reason why) noexcept
{
    waiter thread;
    waiter_.context = &thread;
    waiter_.resume = [](queued_waiter& w) noexcept { static_cast<waiter*>(w.context)->wake(); };
    lock_.unlock();
    if (!thread.wait_until(deadline_) && !end_wait(wait_result::timed_out))
        thread.wait(why); // taken out just now: the wake-up is on its way
}

template <class Lock>
SPINDLE_FLATTEN wait_result blocked_wait<Lock>::wait(wait_reason why, cancellable c) noexcept
{
    waiter_.result = wait_result::waiting;
    waiter_.parked = true; // once the lock is released
    if (aborted_ && c == cancellable::yes) {
        waiter_.leave_queue();
        waiter_.result = wait_result::aborted;
        lock_.unlock();
    } else if (waiter_.fiber)
        wait_in_fiber(why, c);
    else
        wait_in_thread(why);
    return waiter_.result;
}

template class blocked_wait<spin_lock>;
template class blocked_wait<biased_lock>;

void throw_aborted(fiber_record* self)
{
    if (self)
        throw_stopped(*self);
    throw_error(operation_aborted());
}

} // namespace spindle::detail
