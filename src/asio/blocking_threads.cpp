//
// asio/blocking_threads.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/asio/blocking_threads.hpp>

#include <spindle/detail/fiber/park.hpp>
#include <spindle/error.hpp>

#include <cerrno>
#include <chrono>
#include <system_error>
#include <utility>

namespace spindle::detail {

blocking_threads::~blocking_threads()
{
    std::unique_lock guard(mutex_);
    ending_ = true;
    more_.notify_all();
    none_.wait(guard, [&] { return threads_.empty(); });
    join_those_that_left(guard);
}

int blocking_threads::run(fiber_record& self, void (*call)(void*) noexcept, void* argument)
{
    {
        std::unique_lock guard(mutex_);
        want_thread(guard);
        ++under_way_;
    }
    job j{*this, self, call, argument};
    park(self, &commit, &j, wait_reason::blocking);
    return j.error;
}

std::size_t blocking_threads::count() const
{
    std::lock_guard guard(mutex_);
    return threads_.size();
}

void blocking_threads::wait() noexcept
{
    std::unique_lock guard(mutex_);
    none_.wait(guard, [&] { return under_way_ == 0; });
}

// Before the fiber parks, since it may throw.
void blocking_threads::want_thread(std::unique_lock<std::mutex>& guard)
{
    join_those_that_left(guard);
    if (threads_.size() > under_way_ || threads_.size() >= most_)
        return;
    try {
        std::list<std::thread> another(1);
        auto const at = another.begin();
        *at = std::thread([this, at] { work(at); }); // it waits for mutex_
        threads_.splice(threads_.end(), another);
    } catch (std::system_error const&) {
        if (threads_.empty())
            throw_error(
                make_error_code(errc::thread_limit),
                "a blocking call on a user's io_context needs a thread, and the system has "
                "none: raise its limit, or run the call in a spindle::scheduler");
    }
}

// On the next stack.
bool blocking_threads::commit(void* argument) noexcept
{
    auto& j = *static_cast<job*>(argument);
    auto& self = j.threads;
    std::lock_guard guard(self.mutex_);
    *self.end_ = &j;
    self.end_ = &j.next;
    self.more_.notify_one();
    return true;
}

void blocking_threads::work(std::list<std::thread>::iterator self) noexcept
{
    std::unique_lock guard(mutex_);
    for (;;) {
        auto const there = more_.wait_for(
            guard, spare_thread_time, [&] { return first_ != nullptr || ending_; });
        if (!first_) {
            if (there || threads_.size() > under_way_)
                break;
            continue; // it may have been promised to somebody
        }
        auto& j = *first_;
        first_ = j.next;
        if (!first_)
            end_ = &first_;
        guard.unlock();
        errno = 0;
        j.call(j.argument);
        j.error = errno;
        ready(j.fiber, lane::last); // and j is gone
        guard.lock();
        if (--under_way_ == 0)
            none_.notify_all();
    }
    left_.splice(left_.end(), threads_, self);
    if (threads_.empty())
        none_.notify_all();
}

void blocking_threads::join_those_that_left(std::unique_lock<std::mutex>& guard) noexcept
{
    std::list<std::thread> left;
    left.swap(left_);
    guard.unlock();
    for (auto& t : left)
        t.join();
    guard.lock();
}

} // namespace spindle::detail
