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

// The handler of the second step: it has the lock again. What the user's hears is how
// the first one ended.
template <class Lock, class Handler>
struct relocked {
    void operator()(error_code, Lock lock) { std::move(handler)(ended, std::move(lock)); }

    Handler handler;
    error_code ended;
};

// The handler of the first step: notified, or cancelled. The second one is not cancelled:
// who waited gets its lock, whatever else it hears.
template <class Lock, class Handler>
struct relocking {
    void operator()(error_code ec)
    {
        asynchronously<Lock>::lock(
            *mutex,
            boost::asio::bind_cancellation_slot(
                boost::asio::cancellation_slot(),
                relocked<Lock, Handler>{std::move(handler), ec}));
    }

    Handler handler;
    typename Lock::mutex_type* mutex;
};

struct initiate_condition_wait {
    template <class Handler, class Lock>
    void operator()(Handler&& handler, condition_core* c, Lock lock) const
    {
        using waiting = relocking<Lock, std::decay_t<Handler>>;
        using operation = wait_operation<condition_core&, waiting>;
        operation::make(waiting{std::forward<Handler>(handler), lock.mutex()}, *c).start();
        lock.unlock(); // condition_core, Q: the operation may be over by now
    }
};

} // namespace spindle::detail

// Both have what the user's handler has.
template <
    template <class, class> class Associator, class Lock, class Handler, class Default>
struct boost::asio::associator<Associator, spindle::detail::relocking<Lock, Handler>, Default>
    : Associator<Handler, Default> {
    static auto get(spindle::detail::relocking<Lock, Handler> const& h) noexcept
    {
        return Associator<Handler, Default>::get(h.handler);
    }
    static auto get(
        spindle::detail::relocking<Lock, Handler> const& h, Default const& d) noexcept
    {
        return Associator<Handler, Default>::get(h.handler, d);
    }
};

template <
    template <class, class> class Associator, class Lock, class Handler, class Default>
struct boost::asio::associator<Associator, spindle::detail::relocked<Lock, Handler>, Default>
    : Associator<Handler, Default> {
    static auto get(spindle::detail::relocked<Lock, Handler> const& h) noexcept
    {
        return Associator<Handler, Default>::get(h.handler);
    }
    static auto get(
        spindle::detail::relocked<Lock, Handler> const& h, Default const& d) noexcept
    {
        return Associator<Handler, Default>::get(h.handler, d);
    }
};

#endif // SPINDLE_DETAIL_SYNC_ASYNC_RELOCK_HPP
