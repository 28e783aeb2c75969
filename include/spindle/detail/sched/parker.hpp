//
// spindle/detail/sched/parker.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// Where a thread sleeps until any other wakes it.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_SCHED_PARKER_HPP
#define SPINDLE_DETAIL_SCHED_PARKER_HPP

#include <spindle/config.hpp>
#include <spindle/detail/base/atomic.hpp>
#include <spindle/detail/base/clock.hpp>
#include <spindle/detail/base/mutex.hpp>

namespace spindle::detail {

// Shape
//
//   A token: empty, or notified; and a third state, parked, that tells a
//   waker that there is a thread to wake. Below it a mutex and a condition
//   variable do the sleeping.
//
// Who may touch what
//
//   state_   the sleeper: empty -> parked, notified -> empty, parked -> empty
//            any thread:  anything -> notified
//   mutex_   the sleeper from parked on; a waker that saw parked
//
// Invariants
//
//   I1  One thread at a time is the sleeper.
//   I2  unpark() leaves the token; park() returns only by taking it. Several
//       unparks before one park are one token.
//
// Why it is correct
//
//   N   unpark writes notified with release, the sleeper takes it with
//       acquire: what was written before unpark() is seen after park().
//   L   No wake-up is lost: the sleeper turns empty into parked under mutex_
//       and keeps mutex_ until it waits; a waker that sees parked passes
//       through mutex_ before it notifies, so the sleeper is waiting, or has
//       taken the token meanwhile, by a timeout. A waker that sees empty
//       needs no notify: the sleeper's next transition meets notified.
//   Notified under the lock: a sleeper that returns cannot be running inside
//   the condition variable of a waker. Even so the waker touches mutex_ after
//   the token is there: a parker outlives its wakers' calls, which the owner
//   of both must see to.
//
// Not done, and why
//
//   A futex: half the code, but Linux only, and TSan does not understand it.
//   Spinning: the scheduler searches before it parks.
//
// Evidence
//
//   test/sched/parker.cpp  one thread; ping-pong with plain payload under TSan
//   test/model/parker.cpp  L and N under Relacy
class parker {
public:
    parker() = default;
    parker(parker const&) = delete;
    parker& operator=(parker const&) = delete;

    // The sleeper only. Returns once the token was there, and has taken it.
    SPINDLE_DECL void park() noexcept;

    // The sleeper only. As park(), but false if the token was not there by
    // `deadline`. time_point::max() is park().
    SPINDLE_DECL bool park_until(time_point deadline) noexcept;

    // Any thread. Leaves the token and wakes the sleeper, if there is one.
    SPINDLE_DECL void unpark() noexcept;

private:
    enum state : int { empty, parked, notified };

    bool try_take() noexcept;
    bool prepare() noexcept;

    atomic<int> state_{empty};
    mutex mutex_;
    condition_variable wake_;
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_SCHED_PARKER_HPP
