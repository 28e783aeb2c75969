//
// asio/started.cpp
// ~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/asio/started.hpp>

#include <spindle/detail/base/cpu_relax.hpp>
#include <spindle/detail/base/fatal.hpp>
#include <spindle/detail/fiber/hooks.hpp>
#include <spindle/detail/fiber/stop.hpp>
#include <spindle/detail/fiber/waiter.hpp>
#include <spindle/error.hpp>

#include <boost/system/errc.hpp>

namespace spindle::detail {

started_frame::started_frame()
    : scope_member([](scope_member& m, scope_state&, cancellation&) noexcept {
          static_cast<started_frame&>(m).io_.emit();
      }),
      io_(fiber_io::borrow(fiber_that_may_park(), *this))
{
}

started_frame::~started_frame()
{
    scope_member::leave();
    io_.give_back();
}

bool started_frame::begin() noexcept
{
    if (stop_seen(io_.fiber())) {
        progress_.finish_unstarted(); // without results: aborted
        return false;
    }
    io_.begin();
    progress_.begin();
    return true;
}

void started_frame::started() noexcept
{
    io_.go_on_without_waiting();
    scope_member::leave();
    scope_ = io_.fiber().scope;
    if (scope_ && scope_->join(*this))
        io_.emit();
}

void started_frame::not_started() noexcept
{
    progress_.consume();
    io_.give_up_start();
}

bool completion_state::watch(completion_listener& l) noexcept
{
    listener_ = &l;
    auto expected = state::running;
    return word_.compare_exchange_strong(
        expected, state::watched, std::memory_order_acq_rel, std::memory_order_acquire);
}

void completion_state::unwatch() noexcept
{
    auto now = state::watched;
    if (word_.compare_exchange_strong(
            now, state::running, std::memory_order_acq_rel, std::memory_order_acquire))
        return;
    spin_while([&] { return word_.load(std::memory_order_acquire) == state::notifying; });
}

void completion_state::finish()
{
    auto now = word_.load(std::memory_order_relaxed);
    for (;;) { // the fiber may begin and end to watch meanwhile
        auto const next = now == state::watched ? state::notifying : state::over;
        if (word_.compare_exchange_weak(
                now, next, std::memory_order_acq_rel, std::memory_order_relaxed)) {
            if (next == state::over)
                return;
            break;
        }
    }
    auto& l = *listener_;
    auto const owed = l.completed();
    word_.store(state::over, std::memory_order_release); // *this may go, but for `owed`
    if (owed)
        l.go_on();
}

void completion_state::throw_lent()
{
    throw_error(
        make_error_code(boost::system::errc::invalid_argument),
        "a spindle::operation is in a case of make_select that has not completed");
}

void started_frame::must_not_be_lent() const noexcept
{
    if (progress_.lent())
        fatal("a spindle::operation was destroyed, and is in a case of make_select that has not "
              "completed");
}

namespace {

struct operation_waiter final : completion_listener, stop_hook {
    operation_waiter()
        : stop_hook{[](stop_hook& h) noexcept {
              auto& w = static_cast<operation_waiter&>(h);
              if (!w.woken.exchange(true, std::memory_order_acq_rel)) {
                  w.aborted = true;
                  w.waiter.wake();
              }
          }}
    {
    }

    bool completed() noexcept override
    {
        return !woken.exchange(true, std::memory_order_acq_rel);
    }
    void go_on() noexcept override { waiter.wake(); }

    detail::waiter waiter;
    atomic<bool> woken{false};
    bool aborted = false;
};

} // namespace

bool started_frame::wait(bool cancellable) noexcept
{
    if (!progress_.in_flight())
        return true;
    operation_waiter w;
    auto& self = *w.waiter.fiber();
    if (!progress_.watch(w))
        return true;
    if (!cancellable) {
        w.waiter.wait(wait_reason::operation);
        progress_.unwatch();
        return true;
    }
    if (hook_wait(self, w)) {
        w.waiter.wait(wait_reason::operation);
        unhook_wait(self, w);
    } else if (!w.woken.exchange(true, std::memory_order_acq_rel)) {
        w.aborted = true;
    } else {
        w.waiter.wait(wait_reason::operation); // somebody owes us the wake-up
    }
    progress_.unwatch();
    return !w.aborted || over();
}

} // namespace spindle::detail
