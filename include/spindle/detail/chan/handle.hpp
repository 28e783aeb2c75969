//
// spindle/detail/chan/handle.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// What a user holds of a channel, and the calls behind its members.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_CHAN_HANDLE_HPP
#define SPINDLE_DETAIL_CHAN_HANDLE_HPP

#include <spindle/config.hpp>
#include <spindle/error.hpp>

#include <spindle/detail/chan/state.hpp>
#include <spindle/detail/fiber/stop.hpp>

#include <cstddef>
#include <optional>
#include <type_traits>
#include <utility>
#include <variant>

namespace spindle::detail {

// What a channel of T carries.
template <class T>
struct carried {
    using type = T;
};

template <>
struct carried<void> {
    using type = std::monostate;
};

template <class T>
using carried_t = typename carried<T>::type;

// Reports how a wait ended; true: the value has changed hands. Stopped: yields
// first, so that a loop that goes on trying does not keep the thread.
SPINDLE_DECL bool report(chan_result r, error_code* ec);

inline bool report_send(chan_result r, error_code* ec)
{
    return r == chan_result::done && !ec ? true : report(r, ec);
}

inline bool report_receive(chan_result r, error_code* ec)
{
    if (r == chan_result::done && !ec) [[likely]]
        return true;
    if (r != chan_result::closed)
        return report(r, ec);
    if (ec)
        ec->clear();
    return false;
}

// The same for the forms with a limit, to whom "closed" and "not yet" are errors.
SPINDLE_DECL bool report_limited(chan_result r, error_code& ec) noexcept; // would_block
SPINDLE_DECL bool report_waited(chan_result r, error_code& ec);           // timed_out

SPINDLE_DECL void close_channel(chan_core* c);

// Calls wait(fiber), where that is null on a plain thread; not in a fiber that was
// asked to stop. Throws not_in_fiber in a completion handler.
template <class Wait>
chan_result unless_stopped(Wait wait)
{
    auto* const self = waiting_fiber();
    return self && stop_seen(*self) ? chan_result::aborted : wait(self);
}

// A null state is Go's nil channel.

template <class T>
chan_result send_blocking(channel_state<T>* s, T& v)
{
    return unless_stopped(
        [&](fiber_record* self) { return s ? s->send(v, self) : wait_for_nothing(self); });
}

template <class T>
chan_result receive_blocking(channel_state<T>* s, std::optional<T>& out)
{
    return unless_stopped(
        [&](fiber_record* self) { return s ? s->receive(out, self) : wait_for_nothing(self); });
}

template <class T>
chan_result send_limited(channel_state<T>* s, T& v, time_point deadline)
{
    return unless_stopped([&](fiber_record* self) {
        return s ? s->send_until(v, self, deadline) : wait_for_nothing(self, deadline);
    });
}

template <class T>
chan_result receive_limited(channel_state<T>* s, std::optional<T>& out, time_point deadline)
{
    return unless_stopped([&](fiber_record* self) {
        return s ? s->receive_until(out, self, deadline) : wait_for_nothing(self, deadline);
    });
}

// A counted handle; null stands for a nil channel.
template <class T>
class channel_handle {
public:
    using state_type = channel_state<carried_t<T>>;

    channel_handle() noexcept = default;
    explicit channel_handle(state_type& s) noexcept : state_(&s) { s.add_handle(); }
    channel_handle(channel_handle const& other) noexcept : state_(other.state_)
    {
        if (state_)
            state_->add_handle();
    }
    channel_handle(channel_handle&& other) noexcept : state_(std::exchange(other.state_, nullptr))
    {
    }
    channel_handle& operator=(channel_handle other) noexcept
    {
        std::swap(state_, other.state_);
        return *this;
    }
    // What find_leaks() sees of a handle that is gone is no handle: volatile, since else
    // nobody reads that any more, and compilers leave it out.
    ~channel_handle()
    {
        if (state_)
            state_->drop_handle();
        static_cast<state_type* volatile&>(state_) = nullptr;
    }

    // Takes over the handle that a state is made with.
    static channel_handle adopt(state_type* s) noexcept
    {
        channel_handle h;
        h.state_ = s;
        return h;
    }

    state_type* state() const noexcept { return state_; }

private:
    state_type* state_ = nullptr;
};

// The handle inside any kind of view.
struct channel_access {
    template <class View>
    static auto const& handle(View const& v) noexcept
    {
        return v.handle_;
    }

    template <class View, class T>
    static View make(channel_handle<T> h) noexcept
    {
        return View(std::move(h));
    }
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_CHAN_HANDLE_HPP
