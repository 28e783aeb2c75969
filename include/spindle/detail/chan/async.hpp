//
// spindle/detail/chan/async.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// A channel's operations for callbacks, coroutines and futures.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_CHAN_ASYNC_HPP
#define SPINDLE_DETAIL_CHAN_ASYNC_HPP

#include <spindle/config.hpp>
#include <spindle/detail/base/scope_exit.hpp>
#include <spindle/detail/chan/handle.hpp>
#include <spindle/detail/sync/queued_operation.hpp>
#include <spindle/error.hpp>

#include <boost/asio/async_result.hpp>

#include <optional>
#include <type_traits>
#include <utility>
#include <variant>

namespace spindle::detail {

// Beside those that may complete any queued operation: close(), and the end of
// the last handle. The operation keeps the channel's memory, but is no handle.
template <class Operation, class State, class Handler>
class channel_operation : public queued_operation<Operation, chan_waiter, Handler> {
    using base = queued_operation<Operation, chan_waiter, Handler>;

protected:
    channel_operation(Handler&& handler, State& s) : base(std::move(handler), s.lock), state_(s)
    {
        state_.add_reference();
    }

    ~channel_operation() { state_.drop_reference(); }

    // The initiation. `attempt` tries at once, with the lock held.
    template <class Attempt>
    void start(chan_core::queue& q, bool nil, Attempt attempt)
    {
        base::start([&] {
            chan_section section(state_);
            if (!nil)
                this->result = attempt(section.wake);
            if (this->result != chan_result::waiting)
                return false;
            q.push_back(*this);
            return true; // *this may be complete as soon as the lock is released
        });
    }

    State& state() const noexcept { return state_; }

private:
    State& state_;
};

template <class T, class Handler>
class receive_operation final
    : public channel_operation<
          receive_operation<T, Handler>, channel_state<carried_t<T>>, Handler> {
    using base = channel_operation<
        receive_operation<T, Handler>, channel_state<carried_t<T>>, Handler>;

public:
    receive_operation(Handler&& handler, channel_state<carried_t<T>>& s)
        : base(std::move(handler), s)
    {
        this->slot = &value_;
    }

    void start(bool nil)
    {
        auto& s = this->state();
        base::start(s.receivers(), nil, [&](chan_waiter*& wake) { return s.get(value_, wake); });
    }

    void finish()
    {
        auto handler = std::move(this->handler());
        auto const ec
            = this->result == chan_result::aborted ? operation_aborted() : error_code();
        auto value = [&] { // the operation goes also where the move throws
            scope_exit const end([&]() noexcept { this->release(handler); });
            return std::move(value_);
        }();
        if constexpr (std::is_void_v<T>)
            std::move(handler)(ec, value.has_value());
        else
            std::move(handler)(ec, std::move(value));
    }

private:
    std::optional<carried_t<T>> value_;
};

template <class T, class Handler>
class send_operation final
    : public channel_operation<
          send_operation<T, Handler>, channel_state<carried_t<T>>, Handler> {
    using base
        = channel_operation<send_operation<T, Handler>, channel_state<carried_t<T>>, Handler>;

public:
    send_operation(Handler&& handler, channel_state<carried_t<T>>& s, carried_t<T>&& value)
        : base(std::move(handler), s), value_(std::move(value))
    {
        this->slot = &value_;
    }

    ~send_operation()
    {
        if (this->result == chan_result::aborted || this->result == chan_result::waiting)
            this->state().sender_left();
    }

    void start(bool nil)
    {
        auto& s = this->state();
        base::start(
            s.senders(), nil, [&](chan_waiter*& wake) { return s.put(std::move(value_), wake); });
    }

    void finish()
    {
        auto handler = std::move(this->handler());
        error_code ec;
        if (this->result == chan_result::aborted)
            ec = operation_aborted();
        else if (this->result == chan_result::closed)
            ec = make_error_code(errc::channel_closed);
        this->release(handler);
        std::move(handler)(ec);
    }

private:
    carried_t<T> value_;
};

template <class T>
using receive_signature = std::conditional_t<
    std::is_void_v<T>, void(error_code, bool), void(error_code, std::optional<carried_t<T>>)>;

// Where a nil channel's operations wait, and nobody looks for them.
template <class T>
channel_state<T>& state_or_nil(channel_state<T>* s)
{
    if (s)
        return *s;
    static auto& nil = *new channel_state<T>(0);
    return nil;
}

// The handle is taken by value: while it waits, an operation is no handle.
template <class T>
struct initiate_receive {
    template <class Handler>
    void operator()(Handler&& handler, channel_handle<T> h) const
    {
        using operation = receive_operation<T, std::decay_t<Handler>>;
        operation::make(std::forward<Handler>(handler), state_or_nil(h.state()))
            .start(!h.state());
    }
};

template <class T>
struct initiate_send {
    template <class Handler>
    void operator()(Handler&& handler, channel_handle<T> h, carried_t<T> v) const
    {
        using operation = send_operation<T, std::decay_t<Handler>>;
        operation::make(std::forward<Handler>(handler), state_or_nil(h.state()), std::move(v))
            .start(!h.state());
    }
};

template <class T, class Token>
auto async_receive(Token&& token, channel_handle<T> const& h)
{
    return boost::asio::async_initiate<Token, receive_signature<T>>(
        initiate_receive<T>(), token, h);
}

template <class T, class Token>
auto async_send(carried_t<T>&& v, Token&& token, channel_handle<T> const& h)
{
    return boost::asio::async_initiate<Token, void(error_code)>(
        initiate_send<T>(), token, h, std::move(v));
}

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_CHAN_ASYNC_HPP
