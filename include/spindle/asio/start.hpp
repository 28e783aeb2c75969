//
// spindle/asio/start.hpp
// ~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_ASIO_START_HPP
#define SPINDLE_ASIO_START_HPP

#include <spindle/config.hpp>
#include <spindle/detail/asio/started.hpp>
#include <spindle/error.hpp>

#include <boost/system/errc.hpp>

#include <utility>

namespace spindle {

namespace detail {
struct operation_access;
}

/// An Asio operation in flight that its fiber does not wait for, yet.
/**
 * Made by `start`. Stays in flight from one `select` to the next and keeps its
 * result until it is taken, by `get` or by `on_completion`; after that it is
 * empty, and can be started again.
 *
 * @par Example
 * @code
 * auto reading = spindle::start(socket.async_read_some(asio::buffer(data), asio::deferred));
 * for (;;)
 *     spindle::select(
 *         spindle::on_completion(reading, [&](error_code ec, std::size_t n) {
 *             consume(ec, n);
 *             reading.start(socket.async_read_some(asio::buffer(data), asio::deferred));
 *         }),
 *         spindle::on_receive(orders, [&](auto order) { obey(order); }));
 * @endcode
 *
 * @par Lifetime
 * Belongs to the fiber and the scope that started it: neither copied nor moved.
 * The destructor cancels what is in flight and waits for it. The operation's
 * buffers and its I/O object must outlive it, and it a `make_select` that it is
 * in; until that has completed, `start` and `get` throw `invalid_argument`.
 *
 * @par Memory
 * The operation's memory, up to 2 KiB, lies in here.
 *
 * @par Thread Safety
 * For the fiber that started it only, and for a `make_select` that it is in.
 */
template <class... Signatures>
class operation {
public:
    /// Starts `op`, which takes a completion token, as what `asio::deferred` makes.
    /**
     * @throws system_error `errc::not_in_fiber` outside a fiber; what the
     * initiation throws.
     */
    template <detail::deferred_operation Deferred>
    explicit operation(Deferred&& op)
    {
        start(std::forward<Deferred>(op));
    }

    operation(operation const&) = delete;
    operation& operator=(operation const&) = delete;

    /// Starts another one; cancels, and waits for, the one in flight.
    /**
     * In a fiber that was asked to stop nothing is started: the result is
     * `operation_aborted`.
     */
    template <detail::deferred_operation Deferred>
    void start(Deferred&& op)
    {
        started_.progress().check_not_lent();
        started_.drop();
        started_.start(
            [&](auto&& handler) { std::forward<Deferred>(op)(std::move(handler)); });
    }

    /// True: `get` will not wait.
    [[nodiscard]] bool ready() const noexcept { return started_.over(); }

    /// True: neither in flight nor with a result.
    [[nodiscard]] bool empty() const noexcept { return started_.empty(); }

    /// Asks it to cancel itself, by `cancellation_type::all`. It is still to be waited for.
    void cancel() noexcept { started_.cancel(); }

    /// Waits for the result and takes it, as the operation with `use_fiber`.
    /**
     * @throws system_error `invalid_argument` if it is empty.
     *
     * @par Cancellation
     * A cancellation point: a stop cancels the operation, which then answers.
     */
    auto get() { return take(nullptr); }

    /// As `get()`; the error goes to `ec`.
    auto get(error_code& ec) { return take(&ec); }

private:
    friend struct detail::operation_access;

    using started = detail::started_operation<Signatures...>;

    auto take(error_code* ec)
    {
        started_.progress().check_not_lent();
        if (started_.empty())
            detail::throw_error(
                make_error_code(boost::system::errc::invalid_argument),
                "get() of an operation that was not started, or whose result was taken");
        if (!started_.wait(true)) {
            started_.cancel();
            (void)started_.wait(false);
        }
        return started_.take(ec);
    }

    started started_;
};

namespace detail {

template <class Started>
struct operation_of_started;

template <class... Signatures>
struct operation_of_started<started_operation<Signatures...>> {
    using type = spindle::operation<Signatures...>;
};

struct operation_access {
    template <class... Signatures>
    static started_operation<Signatures...>& started(spindle::operation<Signatures...>& op) noexcept
    {
        return op.started_;
    }
};

} // namespace detail

/// Starts an Asio operation without waiting for it.
/**
 * @code
 * auto reading = spindle::start(socket.async_read_some(buffer, asio::deferred));
 * @endcode
 *
 * @returns an `operation<Signature>`.
 */
template <detail::deferred_operation Deferred>
[[nodiscard]] auto start(Deferred&& op)
{
    using started = detail::started_of<Deferred>;
    return typename detail::operation_of_started<started>::type(std::forward<Deferred>(op));
}

} // namespace spindle

#endif // SPINDLE_ASIO_START_HPP
