//
// spindle/chan/select.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_CHAN_SELECT_HPP
#define SPINDLE_CHAN_SELECT_HPP

#include <spindle/asio/start.hpp>
#include <spindle/chan/channel.hpp>
#include <spindle/config.hpp>
#include <spindle/detail/chan/cases.hpp>
#include <spindle/detail/chan/select.hpp>
#include <spindle/detail/chan/select_async.hpp>

#include <boost/asio/async_result.hpp>

#include <array>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <tuple>
#include <type_traits>
#include <utility>

namespace spindle {

/// A case of `select`: runs when `ch` has a value, or is closed.
/**
 * `sink` is an `std::optional<T>` to fill (a `bool` for a `channel<void>`), or a
 * function of `std::optional<T>` (of `bool`), or of nothing. Closed and empty
 * gives `nullopt` (false), for ever: set such a channel to a nil one to leave it
 * out.
 */
template <class Channel>
    requires detail::receivable<Channel>
[[nodiscard]] auto on_receive(
    Channel&& ch, std::optional<detail::carried_t<detail::value_of_channel<Channel>>>& sink)
    requires(!std::is_void_v<detail::value_of_channel<Channel>>)
{
    using T = detail::value_of_channel<Channel>;
    using target = detail::receive_target<std::optional<T>>;
    return detail::receive_case<T, target>(
        detail::channel_access::handle(ch), !std::is_lvalue_reference_v<Channel>, target{&sink});
}

template <class Channel>
    requires detail::receivable<Channel>
[[nodiscard]] auto on_receive(Channel&& ch, bool& sink)
    requires std::is_void_v<detail::value_of_channel<Channel>>
{
    using target = detail::receive_target<bool>;
    return detail::receive_case<void, target>(
        detail::channel_access::handle(ch), !std::is_lvalue_reference_v<Channel>, target{&sink});
}

template <class Channel, class Function = detail::no_function>
    requires detail::receivable<Channel>
    && detail::receive_function<detail::value_of_channel<Channel>, std::decay_t<Function>>
[[nodiscard]] auto on_receive(Channel&& ch, Function&& f = {})
{
    using T = detail::value_of_channel<Channel>;
    return detail::receive_case<T, std::decay_t<Function>>(
        detail::channel_access::handle(ch), !std::is_lvalue_reference_v<Channel>,
        std::forward<Function>(f));
}

/// A case of `select`: sends `v`, and runs `f()`, when somebody takes it.
/**
 * An rvalue is moved from, and an lvalue copied, only if the case commits; what
 * is no `T`, but makes one, is copied into one at once. On a closed channel the
 * case is ready, and `select` throws `errc::channel_closed`.
 */
template <class Channel, class Value, class Function = detail::no_function>
    requires detail::sendable<Channel>
    && (!std::is_void_v<detail::value_of_channel<Channel>>)
    && detail::sendable_value<detail::value_of_channel<Channel>, Value>
    && std::invocable<std::decay_t<Function>&>
[[nodiscard]] auto on_send(Channel&& ch, Value&& v, Function&& f = {})
{
    using T = detail::value_of_channel<Channel>;
    constexpr bool keep = !std::is_lvalue_reference_v<Channel>;
    auto const& handle = detail::channel_access::handle(ch);
    if constexpr (std::is_same_v<std::remove_cvref_t<Value>, T>) {
        constexpr bool moves = std::is_same_v<Value, T>; // an rvalue that is not const
        return detail::send_case<T, std::decay_t<Function>>(
            handle, keep, const_cast<T*>(std::addressof(v)), !moves, std::nullopt,
            std::forward<Function>(f));
    } else {
        return detail::send_case<T, std::decay_t<Function>>(
            handle, keep, nullptr, false, std::optional<T>(std::in_place, std::as_const(v)),
            std::forward<Function>(f));
    }
}

template <class Channel, class Function = detail::no_function>
    requires detail::sendable<Channel> && std::is_void_v<detail::value_of_channel<Channel>>
    && std::invocable<std::decay_t<Function>&>
[[nodiscard]] auto on_send(Channel&& ch, Function&& f = {})
{
    return detail::send_case<void, std::decay_t<Function>>(
        detail::channel_access::handle(ch), !std::is_lvalue_reference_v<Channel>, nullptr, false,
        std::monostate(), std::forward<Function>(f));
}

/// A case of `select`: runs at `when`, if nothing else did.
template <class Function = detail::no_function>
    requires std::invocable<std::decay_t<Function>&>
[[nodiscard]] auto on_timeout(std::chrono::steady_clock::time_point when, Function&& f = {})
{
    return detail::timeout_case<std::decay_t<Function>>(when, std::forward<Function>(f));
}

/// A case of `select`: runs after `d`, counted from this call.
template <class Rep, class Period, class Function = detail::no_function>
    requires std::invocable<std::decay_t<Function>&>
[[nodiscard]] auto on_timeout(std::chrono::duration<Rep, Period> const& d, Function&& f = {})
{
    return on_timeout(detail::deadline_after(d), std::forward<Function>(f));
}

/// A case of `select`: runs once stop is requested.
/**
 * With the fiber's own token, or that of a scope that the fiber has open, the case
 * runs where a stop requests it, and `select` does not throw. For a cancellation of a
 * scope inside of that, which does not, it throws.
 */
template <class Function = detail::no_function>
    requires std::invocable<std::decay_t<Function>&>
[[nodiscard]] auto on_stop(std::stop_token token, Function&& f = {})
{
    return detail::stop_case<std::decay_t<Function>>(
        std::move(token), std::forward<Function>(f));
}

/// A case of `select`: runs when `op` has completed, with its results.
/**
 * `f` is called as a handler is: `f(error_code, std::size_t)` for a read. The
 * operation stays in flight if another case is chosen, and keeps its result. An
 * empty one is never ready. One that is in a `make_select` is nowhere else:
 * `select` throws `invalid_argument`.
 */
template <class... Signatures, class Function>
[[nodiscard]] auto on_completion(operation<Signatures...>& op, Function&& f)
{
    using started = detail::started_operation<Signatures...>;
    return detail::started_case<started, std::decay_t<Function>>(
        detail::operation_access::started(op), std::forward<Function>(f));
}

/// A case of `select`: starts `op`, and runs when it has completed.
/**
 * `op` takes a completion token, as what `asio::deferred` makes. It is started
 * only where nothing else is ready, so never beside `otherwise`, and is
 * cancelled and waited for when it loses: right for what takes nothing from the
 * world (`async_wait`, timers). For a read use `start`: a read that loses may
 * already have taken what arrived. In fibers only.
 */
template <class Deferred, class Function>
    requires detail::deferred_operation<detail::startable<std::decay_t<Deferred>>>
[[nodiscard]] auto on_completion(Deferred&& op, Function&& f)
{
    return detail::deferred_case<std::decay_t<Deferred>, std::decay_t<Function>>(
        std::forward<Deferred>(op), std::forward<Function>(f));
}

/// A case of `select`: runs where no other is ready. Go's default.
template <class Function = detail::no_function>
    requires std::invocable<std::decay_t<Function>&>
[[nodiscard]] auto otherwise(Function&& f = {})
{
    return detail::otherwise_case<std::decay_t<Function>>(std::forward<Function>(f));
}

/// Waits until one of the cases can run, and runs it.
/**
 * Exactly one case commits; where several are ready, each is as likely. A case
 * that did not commit has no effect: nothing was taken from its channel, and
 * nothing of it stays in there. A channel may appear in several cases, and in
 * both directions. Cases of nil channels are never ready; with no other, and
 * with no case at all, `select` waits until the fiber is stopped.
 *
 * @par Example
 * @code
 * std::optional<job> next;
 * switch (spindle::select(
 *     spindle::on_receive(jobs, next),
 *     spindle::on_send(results, std::move(done)),
 *     spindle::on_timeout(3s),
 *     spindle::on_stop(token))) {
 * case 0: ...
 * }
 * @endcode
 *
 * @returns the place of the case that ran, from 0.
 *
 * @par Blocking
 * Parks the fiber; blocks a plain thread; in a completion handler it throws
 * `errc::not_in_fiber`. With `otherwise` it never waits, and works everywhere.
 *
 * @par Cancellation
 * A cancellation point, unless `otherwise` or the fiber's own `on_stop` is there:
 * throws `operation_aborted`, and no case has run.
 *
 * @par Exceptions
 * What a case's function throws, after the case has committed;
 * `errc::channel_closed` for a send to a closed channel.
 *
 * @par Source
 * Go's `runtime/select.go`, `selectgo`.
 */
template <class... Cases>
    requires(std::derived_from<std::remove_cvref_t<Cases>, detail::select_case_base> && ...)
std::size_t select(Cases&&... cases)
{
    constexpr std::size_t n = sizeof...(Cases);
    std::array<detail::select_case_base*, n> const all{&cases...};
    std::array<detail::select_case_base*, n + 1> order;
    std::array<detail::chan_core*, n + 1> locks;
    return detail::run_select(all, order.data(), locks.data());
}

/// A case for a select whose cases are known only at run time.
/**
 * Holds what `on_receive` and the others return, with copies of the channels and
 * values that they name; an `std::optional` or a `bool` to fill stays the
 * caller's. A `select` may be given the same cases again: an `on_timeout` keeps
 * its deadline, an `on_send` whose value was moved from sends what is left of it.
 */
class select_case {
public:
    template <class Case>
        requires std::derived_from<std::remove_cvref_t<Case>, detail::select_case_base>
    select_case(Case&& c)
        : case_(std::make_unique<std::remove_cvref_t<Case>>(std::forward<Case>(c)))
    {
        case_->own();
    }

private:
    friend std::size_t select(std::span<select_case> cases);

    std::unique_ptr<detail::select_case_base> case_;
};

/// As `select(cases...)`.
SPINDLE_DECL std::size_t select(std::span<select_case> cases);

/// A select for callbacks, coroutines and futures; made by `make_select`.
template <class... Cases>
class async_select {
public:
    explicit async_select(Cases... cases) : cases_(std::move(cases)...) {}

    /// Starts the select: `void(error_code, std::size_t)`.
    /**
     * The place of the case that was chosen. Its function runs on the token's
     * executor, just before the completion. The error is `errc::channel_closed`
     * for a send to a closed channel, or `operation_aborted` when the token's
     * cancellation slot was emitted (any type): then no case has run. What a
     * function throws leaves the executor, and the completion is not called.
     *
     * Uses up the cases: call it once.
     */
    template <class Token>
    auto async_wait(Token&& token)
    {
        return boost::asio::async_initiate<Token, void(error_code, std::size_t)>(
            detail::initiate_select(), token, std::move(cases_));
    }

private:
    std::tuple<Cases...> cases_;
};

/// `select` for callbacks, coroutines and futures.
/**
 * The cases keep copies of the channels and values that they name; an
 * `std::optional` or a `bool` to fill stays the caller's, and so does an
 * `operation`, which must live until the select has completed. Where
 * `on_completion` starts a composed operation, the token's executor must be a
 * strand, or an io_context that one thread runs.
 *
 * @par Example
 * @code
 * auto i = co_await spindle::make_select(
 *     spindle::on_receive(jobs, [&](auto job) { begin(job); }),
 *     spindle::on_timeout(1s)).async_wait(asio::use_awaitable);
 * @endcode
 *
 * @par Thread Safety
 * Any thread, fiber or handler.
 */
template <class... Cases>
    requires(std::derived_from<Cases, detail::select_case_base> && ...)
[[nodiscard]] async_select<Cases...> make_select(Cases... cases)
{
    (cases.own(), ...);
    return async_select<Cases...>(std::move(cases)...);
}

} // namespace spindle

#endif // SPINDLE_CHAN_SELECT_HPP
