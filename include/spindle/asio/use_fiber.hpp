//
// spindle/asio/use_fiber.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_ASIO_USE_FIBER_HPP
#define SPINDLE_ASIO_USE_FIBER_HPP

#include <spindle/config.hpp>
#include <spindle/detail/asio/operation.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/redirect_error.hpp>

#include <tuple>
#include <type_traits>
#include <utility>

namespace spindle {

/// `use_fiber[ec]`: the error goes to `ec`, nothing is thrown.
struct use_fiber_with_error {
    error_code* ec;
};

/// Completion token: the fiber waits for the operation, its thread does not.
/**
 * Any Asio operation, simple or composed, Boost's or another library's, becomes
 * a call that returns the operation's result.
 *
 * @par Example
 * @code
 * auto n = socket.async_read_some(asio::buffer(data), spindle::use_fiber);
 *
 * error_code ec;
 * asio::async_write(socket, asio::buffer(data, n), spindle::use_fiber[ec]);
 *
 * auto [ec2, peer] = acceptor.async_accept(asio::as_tuple(spindle::use_fiber));
 * @endcode
 *
 * @par Result
 * Of a completion signature `void(error_code, T)` it returns `T`; of
 * `void(error_code)`, nothing; of `void(error_code, T1, T2)` a
 * `std::tuple<T1, T2>`; of several signatures a `std::variant`. A leading
 * `std::exception_ptr` is rethrown.
 *
 * @par Exceptions
 * An `error_code` is thrown as `boost::system::system_error`, unless
 * `use_fiber[ec]`, `redirect_error` or `as_tuple` gives it back. Throws
 * `errc::not_in_fiber` outside a fiber and in a completion handler.
 *
 * @par Blocking
 * Parks the fiber until the operation completes. From Boost 1.82 on, an
 * operation that completes at once does not park, but for one in 128; before,
 * Asio posts that completion, too.
 * An initiation of your own may wait in the same ways as any function of a fiber.
 *
 * @par Cancellation
 * A stop of the fiber emits `cancellation_type::all` to the operation, where its
 * intermediate handlers run; the operation then answers, as a rule with
 * `operation_aborted`. Once the fiber was asked to stop, further operations are
 * not started and report `operation_aborted`. A slot that is bound to the token
 * replaces this. An operation that Asio drops (its io_context is destroyed)
 * reports `operation_aborted`.
 *
 * @par Memory
 * The operation's memory, up to 2 KiB, lies in the parked fiber's frame. A bound
 * allocator replaces that. Of a composed operation, as `async_write`, Asio keeps
 * what cancels its parts, some 64 bytes, where it keeps that for any handler with a
 * cancellation slot: in a store of its thread's, or on the heap.
 *
 * @par Thread Safety
 * The operation's handlers run one at a time, on whatever threads its
 * io_context has: no strand is needed for the fiber's own operation. An executor
 * that is bound to the token, or the fiber's, is where they run.
 */
template <class Executor = boost::asio::any_io_executor>
struct use_fiber_t {
    constexpr use_fiber_t() noexcept = default;

    /// Gives the error to `ec` instead of throwing it.
    [[nodiscard]] constexpr use_fiber_with_error operator[](error_code& ec) const noexcept
    {
        return {&ec};
    }

    /// An executor whose I/O objects use this token where none is given.
    template <class InnerExecutor>
    struct executor_with_default : InnerExecutor {
        using default_completion_token_type = use_fiber_t;

        executor_with_default(InnerExecutor const& ex) noexcept : InnerExecutor(ex) {}

        template <
            class Other,
            std::enable_if_t<
                !std::is_same_v<Other, executor_with_default>
                    && std::is_convertible_v<Other, InnerExecutor>,
                int> = 0>
        executor_with_default(Other const& ex) noexcept : InnerExecutor(ex)
        {
        }
    };

    /// `use_fiber_t<>::as_default_on_t<tcp::socket>`.
    template <class T>
    using as_default_on_t = typename T::template rebind_executor<
        executor_with_default<typename T::executor_type>>::other;

    /// The object, with this token as its default.
    template <class T>
    static as_default_on_t<std::decay_t<T>> as_default_on(T&& object)
    {
        return as_default_on_t<std::decay_t<T>>(std::forward<T>(object));
    }
};

/// The token itself.
inline constexpr use_fiber_t<> use_fiber{};

namespace detail {

template <class... Signatures>
struct initiate_and_wait {
    template <class Initiation, class... Args>
    static operation_result_t<Signatures...> run(
        error_code* ec, Initiation&& initiation, Args&&... args)
    {
        operation<Signatures...> op;
        return op.run(
            [&](auto&& handler) {
                std::forward<Initiation>(initiation)(
                    std::forward<decltype(handler)>(handler), std::forward<Args>(args)...);
            },
            ec);
    }
};

} // namespace detail

} // namespace spindle

template <class Executor, class... Signatures>
class boost::asio::async_result<spindle::use_fiber_t<Executor>, Signatures...> {
public:
    // For bind_allocator and bind_cancellation_slot of Boost 1.81.
    using return_type = spindle::detail::operation_result_t<Signatures...>;

    template <class Initiation, class... Args>
    static spindle::detail::operation_result_t<Signatures...> initiate(
        Initiation&& initiation, spindle::use_fiber_t<Executor>, Args&&... args)
    {
        return spindle::detail::initiate_and_wait<Signatures...>::run(
            nullptr, std::forward<Initiation>(initiation), std::forward<Args>(args)...);
    }
};

template <class... Signatures>
class boost::asio::async_result<spindle::use_fiber_with_error, Signatures...> {
public:
    // For bind_allocator and bind_cancellation_slot of Boost 1.81.
    using return_type = spindle::detail::operation_result_t<Signatures...>;

    template <class Initiation, class... Args>
    static spindle::detail::operation_result_t<Signatures...> initiate(
        Initiation&& initiation, spindle::use_fiber_with_error token, Args&&... args)
    {
        return spindle::detail::initiate_and_wait<Signatures...>::run(
            token.ec, std::forward<Initiation>(initiation), std::forward<Args>(args)...);
    }
};

// redirect_error(use_fiber, ec) is use_fiber[ec]; through Asio's own adapter it
// could not report the stop of an operation that was not started.
template <class Executor, class... Args>
struct boost::asio::async_result<
    boost::asio::redirect_error_t<spindle::use_fiber_t<Executor>>,
    void(boost::system::error_code, Args...)> {
    template <class Initiation, class Token, class... InitArgs>
    static spindle::detail::operation_result_t<void(boost::system::error_code, Args...)> initiate(
        Initiation&& initiation, Token&& token, InitArgs&&... args)
    {
        return spindle::detail::initiate_and_wait<void(boost::system::error_code, Args...)>::run(
            &token.ec_, std::forward<Initiation>(initiation), std::forward<InitArgs>(args)...);
    }
};

#endif // SPINDLE_ASIO_USE_FIBER_HPP
