//
// sync/wait_group.cpp
// ~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/sync/wait_group.hpp>

#include <spindle/detail/base/fatal.hpp>
#include <spindle/detail/fiber/hooks.hpp>
#include <spindle/detail/fiber/waiter.hpp>

#include <mutex>
#include <utility>

namespace spindle {

// Who may touch what
//
//   word_      any thread
//   waiting_   under lock_; set together with waited_for
//
// Why it is correct
//
//   A piece that takes the counter to zero while waited_for is not set touches
//   the group no more: the waiter that comes next sees zero, and may destroy it.
//   With waited_for set, the waiters are in the list, or hold the lock to get
//   there; the last piece takes them all out under the lock, and until it has
//   woken the last one nobody has returned from wait() who was in the list. It
//   unlocks before it wakes: the group may be gone at the first wake-up.
//   A waiter sets waited_for under the lock, by a compare-exchange that fails
//   when the counter has become zero meanwhile.
//   Release by done() and acquire by wait() carry what the pieces did.
//
// Evidence: test/sync/wait_group.cpp
struct wait_group::waiting {
    detail::waiter waiter;
    waiting* next = nullptr;
};

void wait_group::done() noexcept
{
    auto const before = word_.fetch_sub(one, std::memory_order_acq_rel);
    if (before < one)
        detail::fatal("wait_group::done() was called more often than add()");
    if (before != (one | waited_for))
        return;
    waiting* all;
    {
        std::lock_guard guard(lock_);
        word_.fetch_and(~waited_for, std::memory_order_relaxed);
        all = std::exchange(waiting_, nullptr);
    }
    while (all) {
        auto* const w = all;
        all = all->next;
        w->waiter.wake();
    }
}

void wait_group::wait()
{
    auto word = word_.load(std::memory_order_acquire);
    if (word == 0)
        return;
    detail::require_may_wait();
    waiting self;
    {
        std::lock_guard guard(lock_);
        word = word_.load(std::memory_order_acquire);
        do {
            if (word / one == 0)
                return;
        } while (!word_.compare_exchange_weak(
            word, word | waited_for, std::memory_order_acq_rel, std::memory_order_acquire));
        self.next = waiting_;
        waiting_ = &self;
    }
    self.waiter.wait(detail::wait_reason::wait_group);
}

} // namespace spindle
