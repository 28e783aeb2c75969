//
// asio/fiber.cpp
// ~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/fiber.hpp>

#include <spindle/detail/base/fatal.hpp>
#include <spindle/detail/fiber/hooks.hpp>
#include <spindle/detail/fiber/waiter.hpp>

#include <mutex>

namespace spindle::detail {

// Whoever takes it out of waiter_, under lock_, wakes it: the end of the fiber,
// or the stop of the one that waits.
class join_state::waiting final : public stop_hook {
public:
    explicit waiting(join_state& s)
        : stop_hook{[](stop_hook& h) noexcept {
              auto& self = static_cast<waiting&>(h);
              if (self.state_.take(&self)) {
                  self.aborted = true;
                  self.waiter.wake();
              }
          }},
          state_(s)
    {
    }

    detail::waiter waiter;
    bool aborted = false;

private:
    join_state& state_;
};

join_state::waiting* join_state::take(waiting* expected) noexcept
{
    std::lock_guard guard(lock_);
    if (expected && waiter_ != expected)
        return nullptr;
    return std::exchange(waiter_, nullptr);
}

void join_state::finish(std::exception_ptr e, bool stopped) noexcept
{
    waiting* w;
    {
        std::lock_guard guard(lock_);
        error = std::move(e);
        was_stopped = stopped;
        done_.store(true, std::memory_order_release);
        w = std::exchange(waiter_, nullptr);
    }
    if (w)
        w->waiter.wake();
}

bool join_state::wait(bool cancellable)
{
    if (finished())
        return true;
    if (!cancellable && where_am_i() == standing::in_handler)
        fatal(
            "a spindle::fiber was destroyed in a completion handler while its fiber runs: "
            "detach() it there, or let it be destroyed in a fiber");
    require_may_wait();
    waiting w(*this);
    auto* const g = w.waiter.fiber();
    {
        std::lock_guard guard(lock_);
        if (finished())
            return true;
        waiter_ = &w;
    }
    if (!g || !cancellable) {
        w.waiter.wait(wait_reason::join);
        return true;
    }
    if (!hook_wait(*g, w)) {
        if (take(&w)) {
            yield(*g);
            return false;
        }
        // It has just ended, or the stop has found us hooked: the wake-up is on its way.
        w.waiter.wait(wait_reason::join);
        return !w.aborted;
    }
    w.waiter.wait(wait_reason::join);
    unhook_wait(*g, w);
    return !w.aborted;
}

void lost(join_state& s) noexcept
{
    try {
        std::rethrow_exception(s.error);
    } catch (...) {
        s.core->unhandled_elsewhere();
    }
}

} // namespace spindle::detail
