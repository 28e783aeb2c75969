//
// sched/global_queue.cpp
// ~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/sched/global_queue.hpp>

#include <algorithm>
#include <new>
#include <utility>

namespace spindle::detail {

void global_queue::push(std::span<runnable* const> items) noexcept
{
    if (items.empty())
        return;
    mutex_.lock();
    if (list_.empty() && make_room(items.size())) {
        for (auto* const r : items)
            ring_[tail_++ & (capacity_ - 1)] = r;
    } else {
        for (auto* const r : items)
            list_.push_back(*r);
    }
    size_.store(tail_ - head_ + list_.size(), std::memory_order_relaxed);
    mutex_.unlock();
}

std::size_t global_queue::pop(std::span<runnable*> room) noexcept
{
    if (size_hint() == 0)
        return 0;
    std::size_t n = 0;
    mutex_.lock();
    while (n != room.size() && head_ != tail_)
        room[n++] = ring_[head_++ & (capacity_ - 1)];
    while (n != room.size() && !list_.empty())
        room[n++] = list_.pop_front();
    size_.store(tail_ - head_ + list_.size(), std::memory_order_relaxed);
    mutex_.unlock();
    return n;
}

// Under the lock. False: no memory.
bool global_queue::make_room(std::size_t n) noexcept
{
    auto const used = tail_ - head_;
    if (used + n <= capacity_)
        return true;
    auto larger = std::max(capacity_, first_capacity / 2);
    while (larger < used + n)
        larger *= 2;
    if (growths_to_fail_ != 0) {
        --growths_to_fail_;
        return false;
    }
    std::unique_ptr<runnable*[]> ring(new (std::nothrow) runnable*[larger]);
    if (!ring)
        return false;
    for (std::size_t i = 0; i != used; ++i)
        ring[i] = ring_[(head_ + i) & (capacity_ - 1)];
    ring_ = std::move(ring);
    capacity_ = larger;
    head_ = 0;
    tail_ = used;
    return true;
}

} // namespace spindle::detail
