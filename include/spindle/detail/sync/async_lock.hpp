//
// spindle/detail/sync/async_lock.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// Locking a mutex from callbacks, coroutines and futures.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_SYNC_ASYNC_LOCK_HPP
#define SPINDLE_DETAIL_SYNC_ASYNC_LOCK_HPP

#include <spindle/detail/sync/queued_operation.hpp>
#include <spindle/error.hpp>

#include <boost/asio/async_result.hpp>

#include <mutex>
#include <type_traits>
#include <utility>

namespace spindle::detail {

// `Lock` is std::unique_lock<M> or std::shared_lock<M>. `Core` is what M is made of:
//
//   lock_or_queue(Waiter&)   true: it has the lock; false: it is in a queue
//   withdraw(Waiter&)        takes it out of its queue, if that is more than to take
//                            it out; false: it is in none any more
//   queue_lock()
//
// An operation that has the lock and is destroyed before its handler could run
// unlocks it.
template <class Lock, class Core, class Waiter, class Handler>
class lock_operation final
    : public queued_operation<lock_operation<Lock, Core, Waiter, Handler>, Waiter, Handler> {
    using base = queued_operation<lock_operation, Waiter, Handler>;
    using mutex_type = typename Lock::mutex_type;

public:
    lock_operation(Handler&& handler, mutex_type& m, Core& core)
        : base(std::move(handler), core.queue_lock()), mutex_(m), core_(core)
    {
    }

    ~lock_operation()
    {
        if (this->result == wait_result::done)
            (void)take();
    }

    void start()
    {
        base::start([this] {
            if (!core_.lock_or_queue(*this))
                return true;
            this->result = wait_result::done;
            return false;
        });
    }

    void finish()
    {
        auto handler = std::move(this->handler());
        auto const ec
            = this->result == wait_result::aborted ? operation_aborted() : error_code();
        auto lock = ec ? Lock() : take();
        this->release(handler);
        std::move(handler)(ec, std::move(lock));
    }

    bool withdraw() noexcept
    {
        Waiter& w = *this;
        if constexpr (requires { core_.withdraw(w); })
            return core_.withdraw(w);
        else
            return base::withdraw();
    }

private:
    // What was got, once.
    Lock take() noexcept
    {
        this->result = wait_result::waiting;
        return Lock(mutex_, std::adopt_lock);
    }

    mutex_type& mutex_;
    Core& core_;
};

template <class Lock, class Waiter>
struct initiate_lock {
    template <class Handler, class Core>
    void operator()(Handler&& handler, typename Lock::mutex_type* m, Core* core) const
    {
        using operation = lock_operation<Lock, Core, Waiter, std::decay_t<Handler>>;
        operation::make(std::forward<Handler>(handler), *m, *core).start();
    }
};

template <class Lock, class Waiter, class Core, class Token>
auto async_lock(typename Lock::mutex_type& m, Core& core, Token&& token)
{
    return boost::asio::async_initiate<Token, void(error_code, Lock)>(
        initiate_lock<Lock, Waiter>(), token, &m, &core);
}

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_SYNC_ASYNC_LOCK_HPP
