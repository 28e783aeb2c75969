//
// spindle/detail/sync/async_wait.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// A wait for callbacks, coroutines and futures.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_SYNC_ASYNC_WAIT_HPP
#define SPINDLE_DETAIL_SYNC_ASYNC_WAIT_HPP

#include <spindle/config.hpp>
#include <spindle/detail/sync/queued_operation.hpp>
#include <spindle/detail/sync/wait_queue.hpp>
#include <spindle/error.hpp>

#include <boost/asio/async_result.hpp>

#include <mutex>
#include <type_traits>
#include <utility>

namespace spindle::detail {

// Waits for `What`, a reference or what stands for one, which has
//
//   lock, waiters      a lock, and the wait_queue under it
//   bool must_wait()   with the lock held. False: whoever asks may go on, and has
//                      what it came for; true: it is to join the queue
//   void give_back()   if anything was got: from one that is destroyed before its
//                      handler could run
//   always_posted      a type, if no handler is to run in the immediate executor
template <class What, class Handler>
class wait_operation final
    : public queued_operation<wait_operation<What, Handler>, queued_waiter, Handler> {
    using base = queued_operation<wait_operation<What, Handler>, queued_waiter, Handler>;

public:
    static constexpr bool at_once
        = !requires { typename std::remove_reference_t<What>::always_posted; };

    wait_operation(Handler&& handler, What what)
        : base(std::move(handler), what.lock), what_(std::forward<What>(what))
    {
    }

    ~wait_operation()
    {
        if constexpr (requires { what_.give_back(); })
            if (this->result == wait_result::done)
                what_.give_back();
    }

    void start()
    {
        base::start([this] {
            std::lock_guard guard(what_.lock);
            if (!what_.must_wait()) {
                this->result = wait_result::done;
                return false;
            }
            what_.waiters.push_back(*this);
            return true; // *this may be complete as soon as the lock is released
        });
    }

    void finish()
    {
        auto handler = std::move(this->handler());
        auto const ec
            = this->result == wait_result::aborted ? operation_aborted() : error_code();
        this->result = wait_result::waiting; // the handler has it
        this->release(handler);
        std::move(handler)(ec);
    }

private:
    What what_; // may be gone where it was waited for, and there is nothing to give back
};

struct initiate_wait {
    template <class Handler, class What>
    void operator()(Handler&& handler, What* what) const
    {
        using operation = wait_operation<What&, std::decay_t<Handler>>;
        operation::make(std::forward<Handler>(handler), *what).start();
    }
};

template <class What, class Token>
auto async_wait(What& what, Token&& token)
{
    return boost::asio::async_initiate<Token, void(error_code)>(initiate_wait(), token, &what);
}

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_SYNC_ASYNC_WAIT_HPP
