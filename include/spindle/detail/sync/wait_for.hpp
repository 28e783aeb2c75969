//
// spindle/detail/sync/wait_for.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// Waiting until something says that one need not. A header of its own, so that models
// have it too.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_SYNC_WAIT_FOR_HPP
#define SPINDLE_DETAIL_SYNC_WAIT_FOR_HPP

#include <spindle/detail/fiber/wait_reason.hpp>
#include <spindle/detail/sync/wait_queue.hpp>

namespace spindle::detail {

// Waits for `What`, which has a lock, its waiters, and must_wait() (async_wait.hpp).
// With nothing held; `w` is of that lock.
template <class What>
wait_result wait_for(
    What& what, blocked_waiter<>& w, wait_reason why, cancellable c = cancellable::yes) noexcept
{
    what.lock.lock();
    if (!what.must_wait()) {
        what.lock.unlock();
        return wait_result::done;
    }
    what.waiters.push_back(w);
    return w.wait(why, c);
}

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_SYNC_WAIT_FOR_HPP
