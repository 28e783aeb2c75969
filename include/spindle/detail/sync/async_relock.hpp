//
// spindle/detail/sync/async_relock.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// A condition variable's wait for callbacks, coroutines and futures.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_SYNC_ASYNC_RELOCK_HPP
#define SPINDLE_DETAIL_SYNC_ASYNC_RELOCK_HPP

#include <spindle/config.hpp>
#include <spindle/detail/sync/async_wait.hpp>
#include <spindle/detail/sync/condition_core.hpp>
#include <spindle/error.hpp>

#include <boost/asio/associator.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>

#include <mutex>
#include <shared_mutex>
#include <type_traits>
#include <utility>

namespace spindle::detail {

// How a handler gets a lock.
template <class Lock>
struct asynchronously;

template <class Mutex>
struct asynchronously<std::unique_lock<Mutex>> {
    template <class Handler>
    static void lock(Mutex& m, Handler&& h)
    {
        m.async_lock(std::forward<Handler>(h));
    }
};

template <class Mutex>
struct asynchronously<std::shared_lock<Mutex>> {
    template <class Handler>
    static void lock(Mutex& m, Handler&& h)
    {
        m.async_lock_shared(std::forward<Handler>(h));
    }
};

// The handler of both steps, with what the user's has. First: notified, or cancelled. Then:
// it has the lock again. The second step cannot be cancelled: who waited gets its lock,
// whatever else it hears.
template <class Lock, class Handler>
struct condition_handler {
    void operator()(error_code ec)
    {
        ended = ec;
        auto& m = *mutex;
        asynchronously<Lock>::lock(
            m, boost::asio::bind_cancellation_slot(
                   boost::asio::cancellation_slot(), std::move(*this)));
    }

    void operator()(error_code, Lock lock) { std::move(handler)(ended, std::move(lock)); }

    Handler handler;
    typename Lock::mutex_type* mutex;
    error_code ended;
};

struct initiate_condition_wait {
    template <class Handler, class Lock>
    void operator()(Handler&& handler, condition_core* c, Lock lock) const
    {
        using waiting = condition_handler<Lock, std::decay_t<Handler>>;
        using operation = wait_operation<condition_core&, waiting>;
        operation::make(waiting{std::forward<Handler>(handler), lock.mutex(), {}}, *c).start();
        lock.unlock(); // condition_core, Q: the operation may be over by now
    }
};

} // namespace spindle::detail

template <
    template <class, class> class Associator, class Lock, class Handler, class Default>
struct boost::asio::associator<
    Associator, spindle::detail::condition_handler<Lock, Handler>, Default>
    : Associator<Handler, Default> {
    static auto get(spindle::detail::condition_handler<Lock, Handler> const& h) noexcept
    {
        return Associator<Handler, Default>::get(h.handler);
    }
    static auto get(
        spindle::detail::condition_handler<Lock, Handler> const& h, Default const& d) noexcept
    {
        return Associator<Handler, Default>::get(h.handler, d);
    }
};

#endif // SPINDLE_DETAIL_SYNC_ASYNC_RELOCK_HPP
