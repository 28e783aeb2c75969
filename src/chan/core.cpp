//
// chan/core.cpp
// ~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/chan/core.hpp>

#include <spindle/detail/asio/timers.hpp>
#include <spindle/detail/base/cpu_relax.hpp>
#include <spindle/detail/chan/handle.hpp>
#include <spindle/detail/fiber/waiter.hpp>
#include <spindle/error.hpp>

#include <boost/system/errc.hpp>

#include <mutex>

namespace spindle::detail {

namespace {

bool commit_unlock(void* core) noexcept
{
    static_cast<chan_core*>(core)->lock.unlock();
    return true;
}

// With c's lock held, which it releases. In the middle of what a fiber does when
// it waits, so in one piece with what is around it.
BOOST_FORCEINLINE chan_result park_in(
    chan_core::queue& q, chan_core& c, chan_waiter& w, stop_hook& hook, wait_reason why) noexcept
{
    auto& self = *w.fiber;
    q.push_back(w);
    if (try_hook_wait(self, hook)) [[likely]] {
        park(self, &commit_unlock, &c, why);
    } else {
        // Not unhook_wait() below the lock: the stopper that is inside wants it.
        w.leave_queue();
        w.result = chan_result::aborted;
        c.lock.unlock();
    }
    unhook_wait(self, hook);
    return w.result;
}

} // namespace

chan_result chan_core::wait(
    queue& q, void* slot, fiber_record* self, wait_reason why) noexcept
{
    blocked_waiter w(*this, slot, self, time_point::max());
    return self ? park_in(q, *this, w, w, why) : w.wait(q, why);
}

bool chan_core::try_close() noexcept
{
    chan_waiter* first = nullptr;
    auto** last = &first;
    {
        std::lock_guard guard(lock);
        if (closed_)
            return false;
        closed_ = true;
        for (auto* q : {&receivers_, &senders_}) {
            bool owed = false;
            while (auto* const w = take(*q, owed)) {
                w->result = chan_result::closed;
                if (owed)
                    last = &(*last = w)->next_woken;
            }
        }
    }
    while (first)
        wake(*std::exchange(first, first->next_woken));
    return true;
}

bool chan_core::is_closed() noexcept
{
    std::lock_guard guard(lock);
    return closed_;
}

std::size_t chan_core::size() noexcept
{
    std::lock_guard guard(lock);
    return count_;
}

void chan_core::last_handle_gone() noexcept
{
    for (;;) {
        chan_waiter* w = nullptr;
        bool owed = false;
        {
            std::lock_guard guard(lock);
            closed_ = true;
            w = take(receivers_, owed);
            if (!w)
                w = take(senders_, owed);
            if (w)
                w->result = chan_result::aborted;
        }
        if (!w)
            break;
        if (owed)
            wake(*w);
    }
    drop_reference();
}

// --- who waits in one channel -----------------------------------------------------------------

void blocked_waiter::stop_now(stop_hook& h) noexcept
{
    auto& w = static_cast<blocked_waiter&>(h);
    if (w.end_wait(chan_result::aborted))
        ready(*w.fiber);
}

void blocked_waiter::arm()
{
    when = deadline_;
    expired = [](timer_entry& e) noexcept {
        auto& w = static_cast<blocked_waiter&>(e);
        auto* const g = w.fiber;
        auto const owed = w.end_wait(chan_result::timed_out);
        w.left_.store(true, std::memory_order_release); // the frame may go now
        if (owed)
            ready(*g);
    };
    auto& timers = timers_for(fiber);
    timers.push(*this);
    timers_ = &timers;
}

void blocked_waiter::disarm() noexcept
{
    if (timers_->erase(*this))
        return;
    // It has expired, and is about to leave.
    spin_while([this] { return !left_.load(std::memory_order_acquire); });
}

bool blocked_waiter::end_wait(chan_result why) noexcept
{
    std::lock_guard guard(core_.lock);
    if (why == chan_result::timed_out)
        passed_ = true;
    if (!chan_waiter::queued())
        return false;
    leave_queue();
    result = why;
    return true;
}

chan_result blocked_waiter::wait(chan_core::queue& q, wait_reason why) noexcept
{
    if (fiber) {
        if (passed_) {
            core_.lock.unlock();
            return chan_result::timed_out;
        }
        return park_in(q, core_, *this, *this, why);
    }
    waiter thread;
    thread_ = &thread;
    resume = [](chan_waiter& w) noexcept {
        static_cast<blocked_waiter&>(w).thread_->wake();
    };
    q.push_back(*this);
    core_.lock.unlock();
    if (!thread.wait_until(deadline_) && !end_wait(chan_result::timed_out))
        thread.wait(why); // taken out just now: the wake-up is on its way
    return result;
}

// --- a nil channel -----------------------------------------------------------------------

namespace {

// A channel that nobody else has.
struct nobodys final : chan_core {
    nobodys() noexcept : chan_core(0) {}
    void destroy() noexcept override {}
};

} // namespace

chan_result wait_for_nothing(fiber_record* self, time_point deadline)
{
    nobodys nil;
    blocked_waiter w(nil, nullptr, self, deadline);
    nil.lock.lock();
    return w.wait(nil.receivers(), wait_reason::nil_channel);
}

// --- how it ended ------------------------------------------------------------------------

namespace {

error_code code_of(chan_result r, error_code if_waiting) noexcept
{
    switch (r) {
    case chan_result::done:
        return {};
    case chan_result::closed:
        return make_error_code(errc::channel_closed);
    case chan_result::aborted:
        return operation_aborted();
    case chan_result::timed_out:
        return error_code(boost::system::errc::timed_out, boost::system::system_category());
    case chan_result::waiting:
    case chan_result::again:
        break;
    }
    return if_waiting;
}

} // namespace

bool report(chan_result r, error_code* ec)
{
    auto const code = code_of(r, {});
    if (r == chan_result::aborted)
        if (auto* const self = current_fiber())
            yield(*self);
    if (ec)
        *ec = code;
    else if (code)
        throw_error(code);
    return !code;
}

bool report_limited(chan_result r, error_code& ec) noexcept
{
    namespace conditions = boost::system::errc;
    ec = code_of(
        r, error_code(conditions::operation_would_block, boost::system::system_category()));
    return r == chan_result::done;
}

bool report_waited(chan_result r, error_code& ec) { return report(r, &ec); }

void close_channel(chan_core* c)
{
    if (!c)
        throw_error(
            make_error_code(boost::system::errc::invalid_argument),
            "close() of a nil channel: it was default-constructed, or moved from");
    if (!c->try_close())
        throw_error(
            make_error_code(errc::channel_closed),
            "close() of a channel that is closed: one side closes it, once");
}

} // namespace spindle::detail
