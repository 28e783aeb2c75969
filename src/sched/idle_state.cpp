//
// sched/idle_state.cpp
// ~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/sched/idle_state.hpp>

#include <boost/assert.hpp>

#include <algorithm>

namespace spindle::detail {

idle_state::idle_state(unsigned processors, unsigned most)
    : processors_(processors), word_(processors * one_awake),
      asleep_(std::make_unique<atomic<bool>[]>(std::max(processors, most)))
{
    most = std::max(processors, most);
    BOOST_ASSERT(processors != 0 && most < 0x8000);
    idle_.reserve(most);
    for (unsigned i = 0; i != most; ++i)
        asleep_[i].store(false, std::memory_order_relaxed); // not shared yet
}

unsigned idle_state::take_idle() noexcept
{
    mutex_.lock();
    auto id = none;
    // Again, now that awake stands still (I1). Behind F1 as before.
    if (wanted(word_.load(std::memory_order_relaxed))) {
        id = idle_.back();
        idle_.pop_back();
        asleep_[id].store(false, std::memory_order_relaxed);
        word_.fetch_add(one_awake + one_searching, std::memory_order_relaxed); // S4
    }
    mutex_.unlock();
    return id;
}

unsigned idle_state::another_to_wake() noexcept
{
    auto id = none;
    mutex_.lock();
    if (!idle_.empty()) {
        id = idle_.back();
        idle_.pop_back();
        asleep_[id].store(false, std::memory_order_relaxed);
        word_.fetch_add(one_awake + one_searching, std::memory_order_relaxed);
    }
    mutex_.unlock();
    return id;
}

void idle_state::admit() noexcept
{
    mutex_.lock();
    processors_.store(processors() + 1, std::memory_order_relaxed);
    word_.fetch_add(one_awake, std::memory_order_relaxed);
    mutex_.unlock();
}

void idle_state::expel() noexcept
{
    mutex_.lock();
    word_.fetch_sub(one_awake, std::memory_order_relaxed);
    processors_.store(processors() - 1, std::memory_order_relaxed);
    mutex_.unlock();
}

bool idle_state::begin_idle(unsigned id, bool was_searching) noexcept
{
    mutex_.lock();
    BOOST_ASSERT(std::find(idle_.begin(), idle_.end(), id) == idle_.end());
    idle_.push_back(id);
    asleep_[id].store(true, std::memory_order_relaxed);
    auto const leave = one_awake + (was_searching ? one_searching : 0);
    auto const before = word_.fetch_sub(leave, std::memory_order_relaxed); // G1
    mutex_.unlock();
    fence(std::memory_order_seq_cst); // F2, pairs with F1
    return searching(before - leave) == 0;
}

bool idle_state::end_idle(unsigned id, bool searching) noexcept
{
    mutex_.lock();
    auto const at = std::find(idle_.begin(), idle_.end(), id);
    auto const there = at != idle_.end();
    if (there) {
        idle_.erase(at);
        asleep_[id].store(false, std::memory_order_relaxed);
        word_.fetch_add(
            one_awake + (searching ? one_searching : 0), std::memory_order_relaxed);
    }
    mutex_.unlock();
    return there;
}

} // namespace spindle::detail
