//
// spindle/detail/asio/guest_waiter.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// How a thread of the user's sleeps, and is woken, when what it waits for is
// Boost.Fiber's own.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_ASIO_GUEST_WAITER_HPP
#define SPINDLE_DETAIL_ASIO_GUEST_WAITER_HPP

#include <spindle/config.hpp>
#include <spindle/detail/base/mutex.hpp>
#include <spindle/detail/sched/parker.hpp>
#include <spindle/detail/sched/poller.hpp>
#include <spindle/detail/sched/processor.hpp>

namespace spindle::detail {

class guest;

// Main sleeps inside the io_context, so that handlers run meanwhile; or, where
// the user has stopped that, or it is gone, beside it.
//
// Kept by the thread's machine and by the guest: Boost.Fiber calls notify() for
// as long as the thread lives, and the io_context, with the guest in it, may go
// first.
//
// Who may touch what: guest_ under lock_, cleared by the guest's end; interrupt()
// from any thread, the rest from the waiting one.
class SPINDLE_DECL guest_waiter final : public poller {
public:
    explicit guest_waiter(guest& g) noexcept : guest_(&g) {}

    void wait_until(time_point deadline) noexcept override;
    void interrupt() noexcept override;

    // The guest's end.
    void close() noexcept;

    // Gives a processor back that the thread has had from the guest. Nothing if
    // the guest is gone.
    void leave(processor& p) noexcept;

private:
    mutex lock_;   // below it: Asio's
    guest* guest_; // under lock_; read without by the waiting thread, whose
                   // io_context is not destroyed while it waits in there
    parker parker_;
};
} // namespace spindle::detail

#endif // SPINDLE_DETAIL_ASIO_GUEST_WAITER_HPP
