//
// group/task_group.cpp
// ~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/group/task_group.hpp>

#include <spindle/detail/asio/asio_core.hpp>
#include <spindle/detail/base/fatal.hpp>
#include <spindle/detail/fiber/hooks.hpp>
#include <spindle/detail/fiber/waiter.hpp>
#include <spindle/error.hpp>

#include <boost/system/errc.hpp>

#include <mutex>

namespace spindle {

using namespace detail;

// Who may touch what
//
//   scope_      constant: the children's, inside of the one where the group was made
//   the rest    under lock_
//
// Invariants
//
//   I1  running_ counts the children that run, and those that a place is kept for.
//   I2  Somebody waits for a place only where running_ has reached limit_.
//   I3  Whoever takes somebody out of a list, under lock_, wakes it: the end of a
//       child, a limit that was raised, or the stop of the one that waits.
//
// Why it is correct
//
//   A child that ends gives its place, under one lock, to the first that waits for
//   one, or gives it up; if it was the last, it takes all out who wait for the end.
//   It does not touch the group after it has released the lock: whoever finds
//   running_ zero, under the lock, may destroy it.
//   A failure cancels the others before its child gives up its place: until then
//   the group is there.
//
// Evidence: test/group/task_group.cpp
struct task_group::waiting final : stop_hook, queued {
    waiting(task_group& g, queue& q)
        : stop_hook{[](stop_hook& h) noexcept {
              auto& w = static_cast<waiting&>(h);
              if (w.group.take_back(w.in, w)) {
                  w.aborted = true;
                  w.waiter.wake();
              }
          }},
          group(g), in(q)
    {
    }

    task_group& group;
    queue& in;
    detail::waiter waiter;
    bool aborted = false;
};

task_group::task_group()
{
    auto* const self = current_fiber();
    scope_ = scope_state::open_beside(self ? self->scope : nullptr);
    if (self && !self->scope)
        scope_->values.copy(self->values);
}

task_group::~task_group()
{
    {
        std::unique_lock guard(lock_);
        if (running_ != 0) {
            guard.unlock();
            if (where_am_i() == standing::in_handler)
                fatal(
                    "a spindle::task_group was destroyed in a completion handler while its "
                    "children run: wait() for them in a fiber");
            cancel();
            (void)block(false, false);
        }
    }
    scope_->close(nullptr);
    if (!first_failure_ || seen_)
        return;
    try {
        std::rethrow_exception(first_failure_);
    } catch (...) {
        core_->unhandled_elsewhere();
    }
}

bool task_group::take_back(queue& q, waiting& w) noexcept
{
    std::lock_guard guard(lock_);
    if (w.taken)
        return false;
    w.taken = true;
    q.erase(q.iterator_to(w));
    return true;
}

// With the lock taken.
void task_group::take(queue& from, queue& woken) noexcept
{
    from.front().taken = true;
    woken.splice(woken.end(), from, from.begin());
}

// With nothing held.
void task_group::wake(queue& woken) noexcept
{
    while (!woken.empty()) {
        auto& w = static_cast<waiting&>(woken.front());
        woken.pop_front();
        w.waiter.wake(); // it may be gone now
    }
}

// Until there is a place, which is then kept for the caller, or until no child runs.
// False: the caller was asked to stop.
bool task_group::block(bool for_a_place, bool cancellable)
{
    auto& q = for_a_place ? for_a_place_ : for_the_end_;
    waiting w(*this, q);
    {
        std::lock_guard guard(lock_);
        if (for_a_place ? running_ < limit_ : running_ == 0) {
            running_ += for_a_place;
            return true;
        }
        q.push_back(w);
    }
    auto* const g = w.waiter.fiber();
    if (!g || !cancellable) {
        w.waiter.wait(wait_reason::task_group);
        return true;
    }
    if (!hook_wait(*g, w)) {
        if (take_back(q, w))
            return false;
        w.waiter.wait(wait_reason::task_group); // it has just been taken out
        return !w.aborted;
    }
    w.waiter.wait(wait_reason::task_group);
    unhook_wait(*g, w);
    return !w.aborted;
}

bool task_group::try_reserve() noexcept
{
    std::lock_guard guard(lock_);
    if (running_ >= limit_)
        return false;
    ++running_;
    return true;
}

void task_group::reserve()
{
    if (try_reserve())
        return;
    require_may_wait();
    if (!block(true, true))
        throw_stopped(*current_fiber());
}

void task_group::set_limit(std::size_t n)
{
    if (n == 0)
        throw_error(
            make_error_code(boost::system::errc::invalid_argument),
            "set_limit(0) of a task_group: nothing could ever be spawned");
    queue woken;
    {
        std::lock_guard guard(lock_);
        limit_ = n;
        while (running_ < limit_ && !for_a_place_.empty()) {
            ++running_;
            take(for_a_place_, woken);
        }
    }
    wake(woken);
}

void task_group::finish(std::exception_ptr failure) noexcept
{
    if (failure) {
        bool first = false;
        {
            std::lock_guard guard(lock_);
            if (!first_failure_) {
                first = true;
                first_failure_ = std::move(failure);
                core_ = asio_core_of(*current_fiber());
            }
        }
        if (first)
            cancel();
        failure = nullptr;
    }
    queue woken;
    {
        std::lock_guard guard(lock_);
        --running_;
        if (running_ < limit_ && !for_a_place_.empty()) {
            ++running_;
            take(for_a_place_, woken);
        } else if (running_ == 0) {
            while (!for_the_end_.empty())
                take(for_the_end_, woken);
        }
    }
    wake(woken);
}

void task_group::wait()
{
    require_may_wait();
    auto const stopped = !block(false, true);
    if (stopped) {
        cancel();
        (void)block(false, false);
    }
    std::exception_ptr failure;
    {
        std::lock_guard guard(lock_);
        failure = first_failure_;
        seen_ = true;
    }
    if (failure)
        std::rethrow_exception(failure);
    if (stopped)
        throw_stopped(*current_fiber());
}

} // namespace spindle
