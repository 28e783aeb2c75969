//
// spindle/detail/sched/runnable.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// What the scheduler core sees of a fiber: a link; and the list of them.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_SCHED_RUNNABLE_HPP
#define SPINDLE_DETAIL_SCHED_RUNNABLE_HPP

#include <cstddef>
#include <utility>

namespace spindle::detail {

// Base of whatever is run. The link belongs to the list that holds the
// runnable; in a local_queue or a run_next it is not used.
struct runnable {
    runnable* next = nullptr;
};

// An intrusive FIFO. Owns nothing. Not thread-safe. A moved-from list is empty.
class runnable_list {
public:
    runnable_list() noexcept = default;

    runnable_list(runnable_list&& other) noexcept
        : head_(std::exchange(other.head_, nullptr)), tail_(std::exchange(other.tail_, nullptr)),
          size_(std::exchange(other.size_, 0))
    {
    }

    runnable_list& operator=(runnable_list&& other) noexcept
    {
        auto taken = std::move(other);
        std::swap(head_, taken.head_);
        std::swap(tail_, taken.tail_);
        std::swap(size_, taken.size_);
        return *this;
    }

    void push_back(runnable& r) noexcept
    {
        r.next = nullptr;
        (tail_ ? tail_->next : head_) = &r;
        tail_ = &r;
        ++size_;
    }

    // nullptr when empty.
    runnable* pop_front() noexcept
    {
        auto* const r = head_;
        if (!r)
            return nullptr;
        head_ = std::exchange(r->next, nullptr);
        if (!head_)
            tail_ = nullptr;
        --size_;
        return r;
    }

    // Puts all of `other` behind the last. `other` is left empty.
    void append(runnable_list&& other) noexcept
    {
        auto taken = std::move(other);
        if (taken.empty())
            return;
        (tail_ ? tail_->next : head_) = taken.head_;
        tail_ = taken.tail_;
        size_ += taken.size_;
    }

    runnable* front() const noexcept { return head_; }
    bool empty() const noexcept { return !head_; }
    std::size_t size() const noexcept { return size_; }

private:
    runnable* head_ = nullptr;
    runnable* tail_ = nullptr;
    std::size_t size_ = 0;
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_SCHED_RUNNABLE_HPP
