//
// sync/recursive_mutex.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/sync/mutex.hpp>

#include <spindle/detail/base/fatal.hpp>
#include <spindle/detail/fiber/hooks.hpp>

namespace spindle {

bool recursive_mutex::enter_again() noexcept
{
    if (owner_.load(std::memory_order_relaxed) != detail::whoever_calls())
        return false;
    ++depth_;
    return true;
}

void recursive_mutex::lock()
{
    if (enter_again())
        return;
    core_.lock();
    enter();
}

bool recursive_mutex::try_lock() noexcept
{
    if (enter_again())
        return true;
    detail::explored_point();
    if (!core_.try_lock())
        return false;
    enter();
    return true;
}

void recursive_mutex::enter() noexcept
{
    owner_.store(detail::whoever_calls(), std::memory_order_relaxed);
    depth_ = 1;
}

void recursive_mutex::unlock() noexcept
{
    if (owner_.load(std::memory_order_relaxed) != detail::whoever_calls())
        detail::fatal("a recursive_mutex was unlocked by one who does not own it");
    if (--depth_ != 0)
        return;
    owner_.store(nullptr, std::memory_order_relaxed);
    core_.unlock();
}

} // namespace spindle
