//
// spindle/asio/fiber_executor.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_ASIO_FIBER_EXECUTOR_HPP
#define SPINDLE_ASIO_FIBER_EXECUTOR_HPP

#include <spindle/config.hpp>
#include <spindle/detail/asio/executor_task.hpp>
#include <spindle/detail/asio/place.hpp>
#include <spindle/detail/asio/spawn_fiber.hpp>
#include <spindle/scheduler.hpp>

#include <boost/asio/execution/allocator.hpp>
#include <boost/asio/execution/blocking.hpp>
#include <boost/asio/execution/context.hpp>
#include <boost/asio/execution/executor.hpp>
#include <boost/asio/execution/mapping.hpp>
#include <boost/asio/query.hpp>
#include <boost/asio/require.hpp>

#include <memory>
#include <type_traits>
#include <utility>

namespace spindle {

template <class Executor, class Allocator>
class fiber_executor;

namespace detail {

// What fiber_executor leaves to the executor below.
template <class Property>
inline constexpr bool property_of_fibers = false;
template <>
inline constexpr bool property_of_fibers<boost::asio::execution::blocking_t> = true;
template <int I>
inline constexpr bool
    property_of_fibers<boost::asio::execution::detail::blocking::possibly_t<I>> = true;
template <int I>
inline constexpr bool
    property_of_fibers<boost::asio::execution::detail::blocking::always_t<I>> = true;
template <int I>
inline constexpr bool
    property_of_fibers<boost::asio::execution::detail::blocking::never_t<I>> = true;
template <>
inline constexpr bool property_of_fibers<boost::asio::execution::mapping_t> = true;
template <int I>
inline constexpr bool
    property_of_fibers<boost::asio::execution::detail::mapping::thread_t<I>> = true;
template <int I>
inline constexpr bool
    property_of_fibers<boost::asio::execution::detail::mapping::new_thread_t<I>> = true;
template <int I>
inline constexpr bool
    property_of_fibers<boost::asio::execution::detail::mapping::other_t<I>> = true;
template <class T>
inline constexpr bool property_of_fibers<boost::asio::execution::allocator_t<T>> = true;

template <class Executor, class Property>
concept requires_below = !property_of_fibers<Property>
    && boost::asio::can_require_v<Executor const&, Property>;

template <class Executor, class Property>
concept queries_below = !property_of_fibers<Property>
    && boost::asio::can_query_v<Executor const&, Property>;

} // namespace detail

/// Adapts an Asio executor: every function that is submitted to it runs in a fiber.
/**
 * So a callback that was written for Asio may wait, where it stands.
 *
 * @par Example
 * @code
 * timer.async_wait(asio::bind_executor(spindle::fiber_executor(ioc), [&](error_code ec) {
 *     if (!ec)
 *         report(orders.receive());   // parks the fiber; the thread runs others
 * }));
 * @endcode
 *
 * On which threads it runs is up to the executor below, as with `spawn`: on an
 * io_context's the fiber is free, on every other it is bound, so that
 * `fiber_executor(strand)` serialises each slice with the callbacks of the strand; the
 * strand goes on while the fiber is parked. A function is one fiber: two functions of
 * one strand are not serialised as wholes.
 *
 * @par Properties
 * `blocking.never`, by nature: a function never runs before `execute` returns.
 * `blocking.possibly` and `blocking.always` cannot be required; to prefer them changes
 * nothing. `mapping.other`. `context` is that of the executor below, and `relationship`,
 * `outstanding_work` and what else it has, are asked of it. `allocator` is for
 * functions beyond 192 bytes; smaller ones lie in the fiber.
 *
 * @par Outstanding work
 * A submitted function is one unit of it, from `execute` until it has returned, parked or
 * not.
 *
 * @par The other way round
 * `asio::strand<fiber_executor<...>>` is a strand in a fiber, not fibers on a strand: a
 * function of it that would park gets `errc::not_in_fiber`. Use `fiber_executor(strand)`.
 *
 * @par Exceptions
 * One that leaves a function cannot leave a thread's `run()`, for the fiber may be on any
 * thread: it goes to `scheduler_options::unhandled_exception`, unless it is the fiber's
 * stop. `execute` throws what `go` throws.
 *
 * @par Thread Safety
 * @e Distinct @e objects: Safe.@n
 * @e Shared @e objects: Safe.
 *
 * @par Lifetime
 * Used while the execution context lives. A function that has not begun when its context
 * is destroyed is destroyed without being called.
 */
template <class Executor, class Allocator = std::allocator<void>>
class fiber_executor {
    static_assert(
        boost::asio::execution::is_executor_v<Executor>,
        "fiber_executor adapts an executor of Asio's, or one like it");

public:
    /// The executor below.
    using inner_executor_type = Executor;

    /// Adapts `ex`; attaches to its execution context, as the first `spawn` does.
    /**
     * @throws system_error `invalid_argument` for an io_context that was made without
     * locking.
     */
    template <class Other>
        requires(!std::is_same_v<Other, fiber_executor> && std::is_convertible_v<Other, Executor>)
    explicit fiber_executor(Other const& ex, Allocator const& allocator = Allocator())
        : executor_(ex), allocator_(allocator), core_(&detail::core_for(executor_))
    {
    }

    /// Adapts the executor of an io_context, a thread_pool, ...
    template <class Context>
        requires std::is_convertible_v<Context&, boost::asio::execution_context&>
    explicit fiber_executor(Context& context) : fiber_executor(context.get_executor())
    {
    }

    /// Adapts a scheduler's executor.
    explicit fiber_executor(scheduler& sched) : fiber_executor(sched.get_executor()) {}

    /// The executor below.
    [[nodiscard]] Executor get_inner_executor() const noexcept { return executor_; }

    /// Runs `f` in a fiber. Never before it returns.
    template <class Function>
    SPINDLE_CALLED_FROM_HERE void execute(Function&& f) const
    {
        detail::start_task(
            detail::place_in(*core_, executor_), {}, detail::call_site(),
            detail::make_executor_task(std::forward<Function>(f), allocator_));
    }

    // --- properties -----------------------------------------------------------------

    static constexpr boost::asio::execution::blocking_t query(
        boost::asio::execution::blocking_t) noexcept
    {
        return boost::asio::execution::blocking.never;
    }

    static constexpr boost::asio::execution::mapping_t query(
        boost::asio::execution::mapping_t) noexcept
    {
        return boost::asio::execution::mapping.other;
    }

    template <class OtherAllocator>
    constexpr Allocator query(boost::asio::execution::allocator_t<OtherAllocator>) const noexcept
    {
        return allocator_;
    }

    template <class Property>
        requires detail::queries_below<Executor, Property>
    constexpr decltype(auto) query(Property const& p) const
        noexcept(boost::asio::is_nothrow_query_v<Executor const&, Property>)
    {
        return boost::asio::query(executor_, p);
    }

    fiber_executor require(boost::asio::execution::blocking_t::never_t) const noexcept
    {
        return *this;
    }

    fiber_executor require(boost::asio::execution::mapping_t::other_t) const noexcept
    {
        return *this;
    }

    template <class OtherAllocator>
    fiber_executor<Executor, OtherAllocator> require(
        boost::asio::execution::allocator_t<OtherAllocator> a) const noexcept
    {
        return {executor_, a.value(), core_};
    }

    fiber_executor<Executor> require(
        boost::asio::execution::allocator_t<void>) const noexcept
    {
        return {executor_, std::allocator<void>(), core_};
    }

    template <class Property>
        requires detail::requires_below<Executor, Property>
    auto require(Property const& p) const
        noexcept(boost::asio::is_nothrow_require_v<Executor const&, Property>)
    {
        using below = std::decay_t<decltype(boost::asio::require(executor_, p))>;
        return fiber_executor<below, Allocator>(
            boost::asio::require(executor_, p), allocator_, core_);
    }

    /// The same executor below, and the same allocator.
    friend bool operator==(fiber_executor const& a, fiber_executor const& b) noexcept
    {
        return a.executor_ == b.executor_ && a.allocator_ == b.allocator_;
    }

    friend bool operator!=(fiber_executor const& a, fiber_executor const& b) noexcept
    {
        return !(a == b);
    }

private:
    template <class, class>
    friend class fiber_executor;

    fiber_executor(
        Executor const& ex, Allocator const& allocator, detail::asio_core* core) noexcept
        : executor_(ex), allocator_(allocator), core_(core)
    {
    }

    // Where a fiber goes that is spawned here: where the functions go.
    friend Executor const& executor_below(fiber_executor const& ex) noexcept
    {
        return ex.executor_;
    }

    Executor executor_;
    [[no_unique_address]] Allocator allocator_;
    detail::asio_core* core_;
};

template <class Executor>
fiber_executor(Executor const&) -> fiber_executor<Executor>;

template <class Executor, class Allocator>
fiber_executor(Executor const&, Allocator const&) -> fiber_executor<Executor, Allocator>;

template <class Context>
    requires std::is_convertible_v<Context&, boost::asio::execution_context&>
fiber_executor(Context&) -> fiber_executor<typename Context::executor_type>;

fiber_executor(scheduler&) -> fiber_executor<scheduler::executor_type>;

} // namespace spindle

#endif // SPINDLE_ASIO_FIBER_EXECUTOR_HPP
