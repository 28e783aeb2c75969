//
// spindle/detail/fiber/waiter.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// Somebody who waits for one event: a fiber that parks, or a plain thread that
// blocks.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_FIBER_WAITER_HPP
#define SPINDLE_DETAIL_FIBER_WAITER_HPP

#include <spindle/config.hpp>
#include <spindle/detail/base/atomic.hpp>
#include <spindle/detail/fiber/park.hpp>
#include <spindle/detail/fiber/record.hpp>
#include <spindle/detail/sched/parker.hpp>

#include <memory>

namespace spindle::detail {

// Shape
//
//   word_: arming -> parked -> fired, or arming -> fired at once.
//
// Who may touch what
//
//   the waiter lies in the waiting frame; its owner calls wait() once, somebody
//   else calls wake() exactly once, before or after. Who that is, where several
//   could, is settled elsewhere: by the lock of the list that it is taken from.
//
// Why it is correct
//
//   wake() exchanges: if it finds parked, the fiber has left its stack (commit
//   ran) and is readied; if it finds arming, the commit that comes finds fired
//   and refuses. After the exchange wake() does not touch the waiter, which may
//   be gone; the record of a fiber that has not run since outlives it, and the
//   thread's parker is kept by the reference that wake() takes first.
//   Release on the exchange and acquire on the other side carry the event.
//
// Evidence: test/fiber/waiter.cpp
class waiter {
public:
    // The caller is the one who will wait.
    SPINDLE_DECL waiter();
    waiter(waiter const&) = delete;
    waiter& operator=(waiter const&) = delete;

    // Returns after wake().
    SPINDLE_DECL void wait(wait_reason reason) noexcept;

    // A plain thread only. False: not by then; wake() may still come.
    [[nodiscard]] SPINDLE_DECL bool wait_until(time_point deadline) noexcept;

    // Any thread, once.
    SPINDLE_DECL void wake() noexcept;

    // Nullptr: a plain thread waits.
    fiber_record* fiber() const noexcept { return fiber_; }

private:
    enum : int { arming, parked, fired };

    static bool commit(void* self) noexcept;

    fiber_record* const fiber_;
    atomic<int> word_{arming};
    std::shared_ptr<parker> thread_; // empty: a fiber waits
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_FIBER_WAITER_HPP
