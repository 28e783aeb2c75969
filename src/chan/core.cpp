//
// chan/core.cpp
// ~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/chan/core.hpp>

#include <spindle/detail/chan/handle.hpp>
#include <spindle/detail/fiber/park.hpp>
#include <spindle/error.hpp>

#include <boost/system/errc.hpp>

#include <mutex>

namespace spindle::detail {

chan_result chan_core::wait(
    queue& q, void* slot, fiber_record* self, wait_reason why) noexcept
{
    blocked_waiter<chan_waiter> w(lock, self);
    w.slot = slot;
    q.push_back(w);
    return w.wait(why);
}

bool chan_core::try_close() noexcept
{
    chan_woken those;
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
                    those.push(*w);
            }
        }
    }
    chan_woken::wake(those.take());
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
            w->wake();
    }
    drop_reference();
}

// --- several to wake -------------------------------------------------------------------

chan_crowd::chan_crowd(chan_core& c) noexcept : core_(c)
{
    resume = [](queued_waiter& w) noexcept {
        static_cast<chan_crowd&>(static_cast<chan_waiter&>(w)).wake_them();
    };
}

void chan_crowd::add(chan_waiter& w, chan_waiter*& wake) noexcept
{
    if (!wake) {
        wake = &w;
        return;
    }
    if (wake != this) {
        core_.add_reference(); // until wake_them()
        them_.push(*std::exchange(wake, static_cast<chan_waiter*>(this)));
    }
    them_.push(w);
}

void chan_crowd::wake_them() noexcept
{
    chan_waiter* them;
    {
        std::lock_guard guard(core_.lock);
        them = them_.take();
    }
    chan_woken::wake(them);
    core_.drop_reference();
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
    blocked_waiter<chan_waiter> w(nil.lock, self, deadline);
    nil.lock.lock();
    nil.receivers().push_back(w);
    return w.wait(wait_reason::nil_channel);
}

void const* chan_core::core_of(void const* lock) noexcept
{
    nobodys const any;
    auto const* const whole = reinterpret_cast<std::byte const*>(static_cast<chan_core const*>(&any));
    return static_cast<std::byte const*>(lock)
        - (reinterpret_cast<std::byte const*>(&any.lock) - whole);
}

void const* chan_core::handles_of(void const* lock) noexcept
{
    nobodys const any;
    chan_core const& c = any;
    return static_cast<std::byte const*>(lock)
        + (reinterpret_cast<std::byte const*>(&c.handles_)
           - reinterpret_cast<std::byte const*>(&c.lock));
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
    explored_point();
    if (!c->try_close())
        throw_error(
            make_error_code(errc::channel_closed),
            "close() of a channel that is closed: one side closes it, once");
}

} // namespace spindle::detail
