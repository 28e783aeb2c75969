//
// asio/this_fiber.cpp
// ~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/this_fiber.hpp>

#include <spindle/asio/use_fiber.hpp>
#include <spindle/detail/asio/asio_core.hpp>
#include <spindle/detail/asio/bound_executor.hpp>
#include <spindle/detail/asio/timers.hpp>
#include <spindle/detail/fiber/hooks.hpp>
#include <spindle/detail/fiber/machine.hpp>
#include <spindle/detail/fiber/park.hpp>
#include <spindle/detail/fiber/stop.hpp>
#include <spindle/detail/fiber/waiter.hpp>
#include <spindle/detail/time/timer_queue.hpp>
#include <spindle/error.hpp>

#include <boost/asio/steady_timer.hpp>

#include <thread>

namespace spindle::this_fiber {

namespace {

using namespace detail;

fiber_record& self()
{
    auto* const g = current_fiber();
    if (!g)
        throw_error(
            make_error_code(errc::not_in_fiber),
            "this_fiber is for fibers: start one with spindle::spawn or spindle::run");
    return *g;
}

// Whoever takes the entry out of the queue, expiry or stop, wakes the sleeper.
class sleeper final : timer_entry, stop_hook {
public:
    explicit sleeper(timer_queue& q)
        : stop_hook{[](stop_hook& h) noexcept {
              auto& s = static_cast<sleeper&>(h);
              if (s.queue_.erase(s)) {
                  s.aborted_ = true;
                  s.waiter_.wake();
              }
          }},
          queue_(q)
    {
        expired = [](timer_entry& e) noexcept { static_cast<sleeper&>(e).waiter_.wake(); };
    }

    // False: stopped.
    bool sleep(time_point until)
    {
        auto& g = *waiter_.fiber();
        when = until;
        queue_.push(*this);
        if (!hook_wait(g, *this)) {
            if (queue_.erase(*this))
                return false;
            // It has just expired; or the stop has found it hooked.
            waiter_.wait(wait_reason::sleep);
            return !aborted_;
        }
        waiter_.wait(wait_reason::sleep);
        unhook_wait(g, *this);
        return !aborted_;
    }

private:
    timer_queue& queue_;
    waiter waiter_;
    bool aborted_ = false;
};

} // namespace

bool is_fiber() noexcept { return where_am_i() == standing::in_fiber; }

void yield()
{
    if (auto* const g = waiting_fiber())
        detail::yield(*g);
    else
        std::this_thread::yield();
}

void sleep_until(std::chrono::steady_clock::time_point when)
{
    auto* const g = waiting_fiber();
    if (!g) {
        std::this_thread::sleep_until(when);
        return;
    }
    if (stop_seen(*g))
        throw_stopped(*g);
    if (when <= time_of_waits()) {
        detail::yield(*g);
        return;
    }
    if (auto* const queue = timers_of(*g)) {
        if (!sleeper(*queue).sleep(when))
            throw_stopped(*g);
    } else {
        // Bound to something that is no io_context: a timer of its own there.
        boost::asio::steady_timer timer(get_executor(), when);
        timer.async_wait(use_fiber);
    }
}

id get_id() { return id_of(self()); }

std::string const& name() { return self().name; }

boost::asio::any_io_executor get_executor()
{
    auto& g = self();
    if (g.bound && !g.pinned)
        return static_cast<bound_executor&>(*g.bound).get();
    auto* const held = machine::current()->held();
    return asio_core_of(g)->executor_at(held && &held->owner == g.scheduler() ? held : nullptr);
}

scheduler& get_scheduler()
{
    auto* const core = asio_core_of(self());
    auto* const s = core ? core->public_scheduler() : nullptr;
    if (!s)
        throw_error(
            make_error_code(errc::not_in_fiber),
            "this fiber runs on an io_context of the user's, which has no spindle::scheduler");
    return *s;
}

std::stop_token get_stop_token() { return stop_token_of(self()); }

bool stop_requested()
{
    auto& g = self();
    return detail::stop_requested(g) || stop_seen(g);
}

} // namespace spindle::this_fiber
