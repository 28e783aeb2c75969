//
// spindle/detail/sync/queued_operation.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// An asynchronous operation that waits in a queue.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_SYNC_QUEUED_OPERATION_HPP
#define SPINDLE_DETAIL_SYNC_QUEUED_OPERATION_HPP

#include <spindle/detail/asio/pending.hpp>
#include <spindle/detail/sync/wait_queue.hpp>

#include <mutex>
#include <utility>

namespace spindle::detail {

// Who may touch what
//
//   The initiation until it queues the waiter; then whoever takes the waiter out
//   of the queue, under its lock: who it waits for, the cancellation slot, the
//   end of the execution context. That one alone completes or discards it.
//
// `Operation` adds what async_operation wants; its withdraw() may do more than the
// one here, and its `at_once` be false: then its handler is posted even where the
// initiation has ended it.
template <class Operation, class Waiter, class Handler>
class queued_operation : public async_operation<Operation, Handler>, public Waiter {
    using lock_type = typename Waiter::lock_type;

public:
    static constexpr bool at_once = true;

protected:
    queued_operation(Handler&& handler, lock_type& lock)
        : async_operation<Operation, Handler>(std::move(handler)), lock_(lock)
    {
        this->resume = [](queued_waiter& w) noexcept {
            static_cast<Operation&>(static_cast<Waiter&>(w)).complete();
        };
        this->parked = true; // to be woken from when it is in the queue
    }

    ~queued_operation() = default;

    // The initiation. enter() takes the lock, and with it held gets what it came
    // for or queues the operation, and releases the lock. True: it was queued,
    // and may be over already.
    template <class Enter>
    void start(Enter enter)
    {
        try {
            this->prepare([this] {
                if (static_cast<Operation&>(*this).withdraw()) {
                    this->result = wait_result::aborted;
                    this->complete();
                }
            });
            if (enter())
                return;
        } catch (...) {
            this->take_back();
            this->discard();
            throw;
        }
        if constexpr (Operation::at_once)
            this->complete_immediately();
        else
            this->complete();
    }

    // Any thread. False: somebody has taken it out of its queue.
    bool withdraw() noexcept
    {
        std::lock_guard guard(lock_);
        if (!this->may_leave())
            return false;
        this->leave_queue();
        return true;
    }

private:
    friend class async_operation<Operation, Handler>;

    lock_type& lock_;
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_SYNC_QUEUED_OPERATION_HPP
