//
// sched/global_queue.cpp
// ~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/sched/global_queue.hpp>

#include <utility>

namespace spindle::detail {

void global_queue::push(runnable& r) noexcept
{
    mutex_.lock();
    list_.push_back(r);
    size_.store(list_.size(), std::memory_order_relaxed);
    mutex_.unlock();
}

void global_queue::push(runnable_list&& list) noexcept
{
    if (list.empty())
        return;
    mutex_.lock();
    list_.append(std::move(list));
    size_.store(list_.size(), std::memory_order_relaxed);
    mutex_.unlock();
}

runnable_list global_queue::pop(std::uint32_t max) noexcept
{
    runnable_list taken;
    if (size_hint() == 0)
        return taken;
    mutex_.lock();
    while (taken.size() != max) {
        auto* const r = list_.pop_front();
        if (!r)
            break;
        taken.push_back(*r);
    }
    size_.store(list_.size(), std::memory_order_relaxed);
    mutex_.unlock();
    return taken;
}

} // namespace spindle::detail
