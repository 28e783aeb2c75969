//
// spindle/chan/channel.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_CHAN_CHANNEL_HPP
#define SPINDLE_CHAN_CHANNEL_HPP

#include <spindle/config.hpp>
#include <spindle/detail/base/clock.hpp>
#include <spindle/detail/chan/async.hpp>
#include <spindle/detail/chan/handle.hpp>
#include <spindle/detail/chan/state.hpp>
#include <spindle/error.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <iterator>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace spindle {

template <class T>
class receive_channel;

/// What every kind of handle to a channel can say of it.
template <class T>
class channel_view {
public:
    using value_type = T;

    channel_view() noexcept = default;

    /// Values that lie in the channel now.
    [[nodiscard]] std::size_t size() const noexcept
    {
        return handle_.state() ? handle_.state()->size() : 0;
    }

    /// Values that fit in.
    [[nodiscard]] std::size_t capacity() const noexcept
    {
        return handle_.state() ? handle_.state()->capacity() : 0;
    }

    /// True once it was closed, even if values lie in it.
    [[nodiscard]] bool is_closed() const noexcept
    {
        return handle_.state() && handle_.state()->is_closed();
    }

    /// False: a nil channel.
    explicit operator bool() const noexcept { return handle_.state() != nullptr; }

    /// Whether both stand for the same channel.
    friend bool operator==(channel_view const& a, channel_view const& b) noexcept
    {
        return a.handle_.state() == b.handle_.state();
    }

protected:
    explicit channel_view(detail::channel_handle<T> h) noexcept : handle_(std::move(h)) {}

    auto* state() const noexcept { return handle_.state(); }

private:
    friend struct detail::channel_access;

    detail::channel_handle<T> handle_;
};

/// Members of the handles that can send.
template <class T, class Base>
class channel_sender : public Base {
public:
    /// Sends a value; waits until there is room, or somebody who takes it.
    /**
     * @par Exceptions
     * `errc::channel_closed`; `operation_aborted` when the fiber was asked to
     * stop; `errc::not_in_fiber` in a completion handler; what moving a `T`
     * throws. `v` is moved from only if it was sent.
     */
    void send(T&& v) const
    {
        detail::report_send(detail::send_blocking(this->state(), v), nullptr);
    }

    /// As `send(T&&)`; the error goes to `ec`, but for `errc::not_in_fiber`: that is thrown.
    void send(T&& v, error_code& ec) const
    {
        detail::report_send(detail::send_blocking(this->state(), v), &ec);
    }

    /// Sends a copy, which is made first.
    void send(T const& v) const
        requires std::copy_constructible<T>
    {
        send(T(v));
    }

    void send(T const& v, error_code& ec) const
        requires std::copy_constructible<T>
    {
        send(T(v), ec);
    }

    /// Sends if that needs no waiting. Anywhere, in a handler too.
    /**
     * @returns false, and `would_block` or `errc::channel_closed`, where it did
     * not; `v` is as it was.
     */
    bool try_send(T&& v, error_code& ec) const
    {
        auto* const s = this->state();
        detail::explored_point();
        return detail::report_limited(
            s ? s->try_send(std::move(v)) : detail::chan_result::waiting, ec);
    }

    bool try_send(T const& v, error_code& ec) const
        requires std::copy_constructible<T>
    {
        return try_send(T(v), ec);
    }

    /// As `send`, until `deadline`.
    /**
     * @returns false, and `asio::error::timed_out`, `errc::channel_closed` or
     * `operation_aborted`, where the value was not sent; `v` is as it was.
     */
    bool send_until(T&& v, std::chrono::steady_clock::time_point deadline, error_code& ec) const
    {
        return detail::report_waited(detail::send_limited(this->state(), v, deadline), ec);
    }

    bool send_until(
        T const& v, std::chrono::steady_clock::time_point deadline, error_code& ec) const
        requires std::copy_constructible<T>
    {
        return send_until(T(v), deadline, ec);
    }

    /// As `send_until`, for at most `d`.
    template <class Rep, class Period>
    bool send_for(T&& v, std::chrono::duration<Rep, Period> const& d, error_code& ec) const
    {
        return send_until(std::move(v), detail::deadline_after(d), ec);
    }

    template <class Rep, class Period>
        requires std::copy_constructible<T>
    bool send_for(T const& v, std::chrono::duration<Rep, Period> const& d, error_code& ec) const
    {
        return send_until(T(v), detail::deadline_after(d), ec);
    }

    /// Starts to send: `void(error_code)`.
    /**
     * For handlers, coroutines and futures; any thread. `v` is moved in at once;
     * where the send fails it is lost. The error is `errc::channel_closed`, or
     * `operation_aborted` by the token's cancellation slot (any type) or when no
     * handle to the channel is left.
     */
    template <class Token>
    auto async_send(T v, Token&& token) const
    {
        return detail::async_send<T>(
            std::move(v), std::forward<Token>(token), detail::channel_access::handle(*this));
    }

    /// Closes the channel: nothing more can be sent, what lies in it can be received.
    /**
     * Wakes every receiver and every sender. Any thread, and any handler.
     *
     * @throws system_error `errc::channel_closed` if it is closed already;
     * `invalid_argument` for a nil channel.
     */
    void close() const { detail::close_channel(this->state()); }

protected:
    using Base::Base;
};

/// Those of a `channel<void>`.
template <class Base>
class channel_sender<void, Base> : public Base {
public:
    /// Sends a signal; waits until there is room, or somebody who takes it.
    void send() const
    {
        std::monostate v;
        detail::report_send(detail::send_blocking(this->state(), v), nullptr);
    }

    /// As `send()`; the error goes to `ec`.
    void send(error_code& ec) const
    {
        std::monostate v;
        detail::report_send(detail::send_blocking(this->state(), v), &ec);
    }

    /// Sends if that needs no waiting.
    bool try_send(error_code& ec) const
    {
        auto* const s = this->state();
        detail::explored_point();
        return detail::report_limited(
            s ? s->try_send(std::monostate()) : detail::chan_result::waiting, ec);
    }

    /// As `send`, until `deadline`.
    bool send_until(std::chrono::steady_clock::time_point deadline, error_code& ec) const
    {
        std::monostate v;
        return detail::report_waited(detail::send_limited(this->state(), v, deadline), ec);
    }

    /// As `send_until`, for at most `d`.
    template <class Rep, class Period>
    bool send_for(std::chrono::duration<Rep, Period> const& d, error_code& ec) const
    {
        return send_until(detail::deadline_after(d), ec);
    }

    /// Starts to send: `void(error_code)`.
    template <class Token>
    auto async_send(Token&& token) const
    {
        return detail::async_send<void>(
            std::monostate(), std::forward<Token>(token), detail::channel_access::handle(*this));
    }

    /// Closes the channel.
    void close() const { detail::close_channel(this->state()); }

protected:
    using Base::Base;
};

/// Goes over what a channel brings, until it is closed and empty.
/**
 * A move-only input iterator that holds the current value: leaving the loop
 * loses nothing. Of a `channel<void>` each value is a `std::monostate`.
 */
template <class T>
class channel_iterator {
public:
    using iterator_concept = std::input_iterator_tag;
    using value_type = detail::carried_t<T>;
    using difference_type = std::ptrdiff_t;

    explicit channel_iterator(detail::channel_handle<T> h) : handle_(std::move(h)) { ++*this; }

    channel_iterator(channel_iterator&&) noexcept(
        std::is_nothrow_move_constructible_v<value_type>) = default;
    channel_iterator& operator=(channel_iterator&&) = default;

    value_type& operator*() const noexcept { return *value_; }
    value_type* operator->() const noexcept { return &*value_; }

    channel_iterator& operator++()
    {
        value_.reset();
        detail::report_receive(detail::receive_blocking(handle_.state(), value_), nullptr);
        return *this;
    }
    void operator++(int) { ++*this; }

    friend bool operator==(channel_iterator const& i, std::default_sentinel_t) noexcept
    {
        return !i.value_;
    }

private:
    detail::channel_handle<T> handle_;
    mutable std::optional<value_type> value_;
};

/// Members of the handles that can receive.
template <class T, class Base>
class channel_receiver : public Base {
public:
    /// Receives a value; waits until there is one.
    /**
     * @returns the value; `nullopt` once the channel is closed and empty.
     *
     * @par Exceptions
     * `operation_aborted` when the fiber was asked to stop; `errc::not_in_fiber`
     * in a completion handler; what moving a `T` throws.
     */
    std::optional<T> receive() const
    {
        std::optional<T> v;
        detail::report_receive(detail::receive_blocking(this->state(), v), nullptr);
        return v;
    }

    /// As `receive()`; `operation_aborted` goes to `ec`.
    /**
     * `nullopt` and no error: closed and empty.
     */
    std::optional<T> receive(error_code& ec) const
    {
        std::optional<T> v;
        detail::report_receive(detail::receive_blocking(this->state(), v), &ec);
        return v;
    }

    /// Receives if that needs no waiting. Anywhere, in a handler too.
    /**
     * @returns `nullopt`, and `would_block` or `errc::channel_closed`, where
     * there is nothing.
     */
    std::optional<T> try_receive(error_code& ec) const
    {
        std::optional<T> v;
        auto* const s = this->state();
        detail::explored_point();
        detail::report_limited(s ? s->try_receive(v) : detail::chan_result::waiting, ec);
        return v;
    }

    /// As `receive`, until `deadline`.
    /**
     * @returns `nullopt`, and `asio::error::timed_out`, `errc::channel_closed` or
     * `operation_aborted`, where nothing was received.
     */
    std::optional<T> receive_until(
        std::chrono::steady_clock::time_point deadline, error_code& ec) const
    {
        std::optional<T> v;
        detail::report_waited(detail::receive_limited(this->state(), v, deadline), ec);
        return v;
    }

    /// As `receive_until`, for at most `d`.
    template <class Rep, class Period>
    std::optional<T> receive_for(
        std::chrono::duration<Rep, Period> const& d, error_code& ec) const
    {
        return receive_until(detail::deadline_after(d), ec);
    }

    /// Starts to receive: `void(error_code, std::optional<T>)`.
    /**
     * For handlers, coroutines and futures; any thread. `nullopt` and no error:
     * closed and empty. The only error is `operation_aborted`, by the token's
     * cancellation slot (any type) or when no handle to the channel is left.
     *
     * @code
     * while (auto job = co_await jobs.async_receive(asio::use_awaitable))
     *     co_await work_on(*job);
     * @endcode
     */
    template <class Token>
    auto async_receive(Token&& token) const
    {
        return detail::async_receive<T>(
            std::forward<Token>(token), detail::channel_access::handle(*this));
    }

    /// Receives the first value: `for (auto& v : ch)`, until closed and empty.
    [[nodiscard]] channel_iterator<T> begin() const
    {
        return channel_iterator<T>(detail::channel_access::handle(*this));
    }
    [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

protected:
    using Base::Base;
};

/// Those of a `channel<void>`.
template <class Base>
class channel_receiver<void, Base> : public Base {
public:
    /// Receives a signal; waits until there is one. False: closed and empty.
    bool receive() const
    {
        std::optional<std::monostate> v;
        return detail::report_receive(detail::receive_blocking(this->state(), v), nullptr);
    }

    /// As `receive()`; `operation_aborted` goes to `ec`.
    bool receive(error_code& ec) const
    {
        std::optional<std::monostate> v;
        return detail::report_receive(detail::receive_blocking(this->state(), v), &ec);
    }

    /// Receives if that needs no waiting.
    bool try_receive(error_code& ec) const
    {
        std::optional<std::monostate> v;
        auto* const s = this->state();
        detail::explored_point();
        return detail::report_limited(s ? s->try_receive(v) : detail::chan_result::waiting, ec);
    }

    /// As `receive`, until `deadline`.
    bool receive_until(std::chrono::steady_clock::time_point deadline, error_code& ec) const
    {
        std::optional<std::monostate> v;
        return detail::report_waited(detail::receive_limited(this->state(), v, deadline), ec);
    }

    /// As `receive_until`, for at most `d`.
    template <class Rep, class Period>
    bool receive_for(std::chrono::duration<Rep, Period> const& d, error_code& ec) const
    {
        return receive_until(detail::deadline_after(d), ec);
    }

    /// Starts to receive: `void(error_code, bool)`.
    template <class Token>
    auto async_receive(Token&& token) const
    {
        return detail::async_receive<void>(
            std::forward<Token>(token), detail::channel_access::handle(*this));
    }

    [[nodiscard]] channel_iterator<void> begin() const
    {
        return channel_iterator<void>(detail::channel_access::handle(*this));
    }
    [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

protected:
    using Base::Base;
};

/// Go's channel: a queue between fibers, threads, handlers and coroutines.
/**
 * A handle: copies stand for the same channel, which lives as long as any of
 * them. With capacity 0 a send waits for its receiver. Waiters are served first
 * come, first served; a value that somebody waits for is handed over directly.
 * A channel never closes by itself: `close()`, or a `close_guard`.
 *
 * `T` is any movable type, or void for signals.
 *
 * @par Example
 * @code
 * spindle::channel<int> numbers(16);
 * spindle::go([numbers] {
 *     spindle::close_guard closing(numbers);
 *     for (int i = 0; i != 100; ++i)
 *         numbers.send(i);
 * });
 * for (int n : numbers)
 *     std::cout << n << '\n';
 * @endcode
 *
 * @par Blocking
 * `send` and `receive` and their forms with a limit park the calling fiber; they
 * block a plain thread; in a completion handler they throw `errc::not_in_fiber`,
 * whether or not they would have to wait. `try_` and `async_` forms and `close`
 * work everywhere.
 *
 * @par Cancellation
 * Cancellation points: after a stop they fail with `operation_aborted`, also
 * where they would not have had to wait.
 *
 * @par Thread Safety
 * @e Distinct @e objects: Safe.@n
 * @e Shared @e objects: Safe, but for assignment to a handle and its destruction.
 * From fibers of any scheduler, plain threads and handlers.
 *
 * @par Exceptions of T
 * Where moving a `T` throws, the exception leaves the call that moved it, and
 * the value stays with its sender, who keeps its place. Moves of `T` run under
 * the channel's lock: they must neither park nor use the channel. A `select`, and
 * an `async_receive`, move once more, to where the value goes: what that throws
 * leaves the `select`, or the handler's executor, and the value is lost.
 *
 * @par Source
 * Go's `runtime/chan.go`: direct hand-over and the order of waiters. After
 * Hoare, Communicating Sequential Processes, 1978.
 */
template <class T>
class channel
    : public channel_receiver<T, channel_sender<T, channel_view<T>>> {
    using base = channel_receiver<T, channel_sender<T, channel_view<T>>>;

public:
    /// Makes a channel in which `capacity` values fit.
    explicit channel(std::size_t capacity = 0)
        : base(detail::channel_handle<T>::adopt(
            new typename detail::channel_handle<T>::state_type(capacity)))
    {
    }
};

/// The sending side of a channel.
/**
 * One that was default-constructed, or moved from, is Go's nil channel: never
 * ready. A select passes by it; sending on it waits until the fiber is stopped.
 */
template <class T>
class send_channel : public channel_sender<T, channel_view<T>> {
    using base = channel_sender<T, channel_view<T>>;

public:
    send_channel() noexcept = default;

    /// The sending side of `ch`.
    send_channel(channel<T> const& ch) noexcept : base(detail::channel_access::handle(ch)) {}
};

/// The receiving side of a channel.
/**
 * One that was default-constructed, or moved from, is Go's nil channel.
 */
template <class T>
class receive_channel : public channel_receiver<T, channel_view<T>> {
    using base = channel_receiver<T, channel_view<T>>;

public:
    receive_channel() noexcept = default;

    /// The receiving side of `ch`.
    receive_channel(channel<T> const& ch) noexcept : base(detail::channel_access::handle(ch)) {}

private:
    friend struct detail::channel_access;

    explicit receive_channel(detail::channel_handle<T> h) noexcept : base(std::move(h)) {}
};

/// Closes a channel on every way out of a scope.
/**
 * A channel that somebody else has closed by then is left alone.
 */
template <class T>
class [[nodiscard]] close_guard {
public:
    explicit close_guard(send_channel<T> ch) noexcept : channel_(std::move(ch)) {}
    explicit close_guard(channel<T> const& ch) noexcept : channel_(ch) {}
    close_guard(close_guard const&) = delete;
    close_guard& operator=(close_guard const&) = delete;

    ~close_guard()
    {
        if (auto* const s = detail::channel_access::handle(channel_).state())
            s->try_close();
    }

private:
    send_channel<T> channel_;
};

} // namespace spindle

#endif // SPINDLE_CHAN_CHANNEL_HPP
