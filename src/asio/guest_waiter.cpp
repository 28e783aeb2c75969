//
// asio/guest_waiter.cpp
// ~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/asio/guest_waiter.hpp>

#include <spindle/detail/asio/guest.hpp>

#include <boost/asio/executor_work_guard.hpp>

namespace spindle::detail {

void guest_waiter::wait_until(time_point deadline) noexcept
{
    lock_.lock();
    auto* const g = guest_;
    lock_.unlock();
    auto* const io = g ? g->io() : nullptr;
    if (!io) {
        parker_.park_until(deadline);
        return;
    }
    auto const inside = g->runs_here();
    auto const stopped = io->stopped();
    if (inside && stopped) {
        // From its own handlers; it must not be restarted below them.
        parker_.park_until(deadline);
        return;
    }
    {
        auto const guard = boost::asio::make_work_guard(*io);
        if (stopped)
            io->restart();
        if (deadline == time_point::max())
            io->run_one();
        else if (deadline <= now())
            io->poll_one();
        else
            io->run_one_until(deadline);
    }
    // Our guard may have been the last work, and its end stops the io_context: it
    // stays as the user had it.
    if (stopped)
        io->stop();
    else if (!inside && io->stopped())
        io->restart();
}

void guest_waiter::interrupt() noexcept
{
    parker_.unpark();
    lock_.lock();
    if (guest_)
        guest_->wake_one();
    lock_.unlock();
}

void guest_waiter::close() noexcept
{
    lock_.lock();
    guest_ = nullptr;
    lock_.unlock();
    parker_.unpark();
}

void guest_waiter::leave(processor& p) noexcept
{
    lock_.lock();
    if (guest_)
        guest_->leave(p);
    lock_.unlock();
}

} // namespace spindle::detail
