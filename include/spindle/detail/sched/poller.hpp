//
// spindle/detail/sched/poller.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// Where a thread that has nothing to run waits. The seam that keeps Asio out
// of the rooms below it.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_SCHED_POLLER_HPP
#define SPINDLE_DETAIL_SCHED_POLLER_HPP

#include <spindle/detail/base/clock.hpp>

namespace spindle::detail {

struct poller {
    // The waiting thread. Returns by `deadline`, or after interrupt(), or
    // earlier for reasons of its own.
    virtual void wait_until(time_point deadline) noexcept = 0;

    // Any thread. Ends the wait that goes on, or else the next one.
    virtual void interrupt() noexcept = 0;

    // The waiting thread. What main waited for has come.
    virtual void main_goes_on() noexcept {}

    // The waiting thread, inside the scheduler: it is about to touch its processor,
    // which is being watched for that.
    virtual void comes_in() noexcept {}

protected:
    ~poller() = default;
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_SCHED_POLLER_HPP
