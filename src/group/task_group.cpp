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
//
// Why it is correct
//
//   Who waits: wait_queue.hpp.
//   A child that ends gives its place, under one lock, to the first that waits for
//   one, or gives it up; if it was the last, it takes all out who wait for the end.
//   It does not touch the group after it has released the lock: whoever finds
//   running_ zero, under the lock, may destroy it.
//   A failure cancels the others before its child gives up its place: until then
//   the group is there.
//
// Evidence: test/group/task_group.cpp
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
            (void)block(false, cancellable::no);
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

// With the lock taken.
void task_group::take_first(wait_queue& from, wait_queue& woken) noexcept
{
    auto& w = from.front();
    from.pop_front();
    w.result = wait_result::done;
    woken.push_back(w);
}

// Until there is a place, which is then kept for the caller, or until no child runs.
// False: the caller was asked to stop.
bool task_group::block(bool for_a_place, cancellable c)
{
    blocked_waiter<> w(lock_, current_fiber());
    lock_.lock();
    if (for_a_place ? running_ < limit_ : running_ == 0) {
        running_ += for_a_place;
        lock_.unlock();
        return true;
    }
    (for_a_place ? for_a_place_ : for_the_end_).push_back(w);
    return w.wait(wait_reason::task_group, c) != wait_result::aborted;
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
    if (!block(true, cancellable::yes))
        throw_stopped(*current_fiber());
}

void task_group::set_limit(std::size_t n)
{
    if (n == 0)
        throw_error(
            make_error_code(boost::system::errc::invalid_argument),
            "set_limit(0) of a task_group: nothing could ever be spawned");
    wait_queue woken;
    {
        std::lock_guard guard(lock_);
        limit_ = n;
        while (running_ < limit_ && !for_a_place_.empty()) {
            ++running_;
            take_first(for_a_place_, woken);
        }
    }
    wake_all(woken);
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
    wait_queue woken;
    {
        std::lock_guard guard(lock_);
        --running_;
        if (running_ < limit_ && !for_a_place_.empty()) {
            ++running_;
            take_first(for_a_place_, woken);
        } else if (running_ == 0) {
            while (!for_the_end_.empty())
                take_first(for_the_end_, woken);
        }
    }
    wake_all(woken);
}

void task_group::wait()
{
    require_may_wait();
    auto const stopped = !block(false, cancellable::yes);
    if (stopped) {
        cancel();
        (void)block(false, cancellable::no);
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
