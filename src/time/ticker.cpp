//
// time/ticker.cpp
// ~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/time/ticker.hpp>

#include <spindle/detail/asio/timers.hpp>
#include <spindle/detail/base/fatal.hpp>
#include <spindle/detail/time/timer_queue.hpp>

#include <mutex>
#include <new>

namespace spindle::detail {

namespace {

// Who may touch what
//
//   dropped_, armed_   below the channel's lock
//   the entry          whoever takes it out of the queue: expiry, or the last
//                      handle's end
//
// Invariants
//
//   I1  While armed_, the queue's entry holds a reference.
//
// Why it is correct
//
//   Expiry puts the entry back below the channel's lock, after it has looked at
//   dropped_; the last handle sets dropped_ and takes the entry out below the same
//   lock. So either it finds the entry in the queue, or expiry finds it dropped.
//
// Evidence: test/time/ticker.cpp
class timer_channel final : public channel_state<time_point>, timer_entry {
public:
    timer_channel(time_point first, duration period)
        : channel_state(1), period_(period), timers_(timers_for(nullptr))
    {
        when = first;
        expired = [](timer_entry& e) noexcept { static_cast<timer_channel&>(e).tick(); };
        if (first == time_point::max())
            return;
        std::lock_guard guard(lock); // it may be due at once
        timers_.push(*this);
        add_reference();
        armed_ = true;
    }

private:
    void tick() noexcept
    {
        auto again = false;
        {
            chan_section section(*this);
            if (!dropped_) {
                auto const at = time_of_waits();
                (void)put(at, section.wake); // full: this tick is dropped
                if (period_ != duration::zero()) {
                    // In step with the first, whatever was missed.
                    when += period_ * ((at - when) / period_ + 1);
                    again = true;
                    rearm();
                }
            }
            armed_ = again;
        }
        if (!again)
            drop_reference();
    }

    void rearm() noexcept
    try {
        timers_.push(*this);
    } catch (std::bad_alloc const&) {
        fatal("out of memory: a ticker could not be armed again");
    }

    void last_handle_gone() noexcept override
    {
        auto erased = false;
        {
            std::lock_guard guard(lock);
            dropped_ = true;
            erased = armed_ && timers_.erase(*this);
        }
        if (erased)
            drop_reference();
        channel_state::last_handle_gone();
    }

    duration const period_; // zero: once
    timer_queue& timers_;
    bool dropped_ = false;
    bool armed_ = false;
};

} // namespace

receive_channel<time_point> make_timer_channel(time_point first, duration period)
{
    return channel_access::make<receive_channel<time_point>>(
        channel_handle<time_point>::adopt(new timer_channel(first, period)));
}

void refuse_ticker()
{
    throw_error(
        make_error_code(boost::system::errc::invalid_argument),
        "a ticker's period must be positive");
}

} // namespace spindle::detail
