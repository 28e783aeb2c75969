//
// spindle/detail/asio/operation_executor.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// The executor of a fiber's intermediate handlers.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_ASIO_OPERATION_EXECUTOR_HPP
#define SPINDLE_DETAIL_ASIO_OPERATION_EXECUTOR_HPP

#include <spindle/config.hpp>
#include <spindle/detail/asio/asio_core.hpp>
#include <spindle/detail/asio/bound_executor.hpp>
#include <spindle/detail/asio/fiber_io.hpp>

#include <boost/asio/associated_allocator.hpp>
#include <boost/asio/bind_allocator.hpp>
#include <boost/asio/execution/blocking.hpp>
#include <boost/asio/execution/context.hpp>
#include <boost/asio/execution/executor.hpp>
#include <boost/asio/execution/outstanding_work.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/query.hpp>
#include <boost/asio/require.hpp>

#include <type_traits>
#include <utility>

namespace spindle::detail {

// f for the lock, and for `ex`, which is where the caller is. The holder of the lock may
// be anywhere: it sends f back to `ex`, where f may find the lock taken by another one.
// Until it is there f counts as work of `ex`.
template <class Executor, class Function>
class call_on {
public:
    using allocator_type = boost::asio::associated_allocator_t<Function>;

    template <class F>
    call_on(Executor const& ex, fiber_io& io, F&& f)
        : executor_(ex),
          work_(boost::asio::prefer(ex, boost::asio::execution::outstanding_work.tracked)),
          io_(&io),
          function_(std::forward<F>(f))
    {
    }

    allocator_type get_allocator() const noexcept
    {
        return boost::asio::get_associated_allocator(function_);
    }

    void operator()();

private:
    Executor executor_;
    std::decay_t<decltype(boost::asio::prefer(
        std::declval<Executor const&>(), boost::asio::execution::outstanding_work.tracked))>
        work_;
    fiber_io* io_;
    Function function_;
};

// By `ex`: f() under the lock, on `ex` and nowhere else.
template <class Executor, class Function>
void execute_on(Executor const& ex, fiber_io& io, Function&& f)
{
    if (io.is_inside()) { // `ex` has called us at once
        std::forward<Function>(f)();
        return;
    }
    if (io.try_execute(f))
        return;
    // An executor that knows no other place than its caller's has none to go back to.
    if constexpr (boost::asio::can_require_v<
                      Executor, boost::asio::execution::blocking_t::never_t>)
        io.leave(call_on<Executor, std::decay_t<Function>>(ex, io, std::forward<Function>(f)));
    else
        io.leave(std::forward<Function>(f));
}

template <class Executor, class Function>
void call_on<Executor, Function>::operator()()
{
    auto const allocator = get_allocator();
    boost::asio::post(
        work_,
        boost::asio::bind_allocator(
            allocator, [ex = executor_, io = io_, f = std::move(function_)]() mutable {
                execute_on(ex, *io, std::move(f));
            }));
}

// Asio hands every handler of an operation that a fiber waits for, final or
// intermediate, to the handler's associated executor: this one. A free fiber's
// run where they are, under the fiber's lock (fiber_io.hpp), so that they, and a
// cancellation, come one at a time whatever threads the io_context has. A bound
// fiber's run inside its executor, as everything of that fiber does.
//
// It may be used after the operation is over, and after the fiber is: Boost.Beast
// starts a timer with a copy of it, and leaves that behind. So it keeps what it
// needs, and its functions still run under the lock.
//
// Thread safety: any thread. Made while the operation is going on.
template <bool Never>
class basic_operation_executor {
public:
    explicit basic_operation_executor(fiber_io& io) noexcept
        : io_(&io), core_(asio_core_of(io.fiber()))
    {
        if (auto* const bound = io.fiber().bound; bound && !io.fiber().pinned)
            bound_ = static_cast<bound_executor*>(bound)->target();
    }

    // noexcept in words: Asio asks, and boost::intrusive_ptr does not say so.
    basic_operation_executor(basic_operation_executor const&) noexcept = default;
    basic_operation_executor(basic_operation_executor&&) noexcept = default;
    basic_operation_executor& operator=(basic_operation_executor const&) noexcept = default;
    basic_operation_executor& operator=(basic_operation_executor&&) noexcept = default;

    template <bool Other>
    explicit basic_operation_executor(basic_operation_executor<Other> const& other) noexcept
        : io_(other.io_), core_(other.core_), bound_(other.bound_)
    {
    }

    template <class Function>
    void execute(Function&& f) const
    {
        if (!Never && !bound_) {
            io_->execute(std::forward<Function>(f));
            return;
        }
        if (!bound_) {
            boost::asio::post(
                core_->executor_at(nullptr),
                [io = io_, f = std::forward<Function>(f)]() mutable { io->execute(std::move(f)); });
            return;
        }
        auto locked = [to = bound_, io = io_, f = std::forward<Function>(f)]() mutable {
            execute_on(to->executor, *io, std::move(f));
        };
        if constexpr (Never)
            boost::asio::post(bound_->executor, std::move(locked));
        else
            bound_->executor.execute(std::move(locked));
    }

    static constexpr boost::asio::execution::blocking_t query(
        boost::asio::execution::blocking_t) noexcept
    {
        if constexpr (Never)
            return boost::asio::execution::blocking.never;
        else
            return boost::asio::execution::blocking.possibly;
    }

    boost::asio::execution_context& query(boost::asio::execution::context_t) const noexcept
    {
        return core_->context();
    }

    basic_operation_executor<true> require(
        boost::asio::execution::blocking_t::never_t) const noexcept
    {
        return basic_operation_executor<true>(*this);
    }

    basic_operation_executor<false> require(
        boost::asio::execution::blocking_t::possibly_t) const noexcept
    {
        return basic_operation_executor<false>(*this);
    }

    friend bool operator==(
        basic_operation_executor const& a, basic_operation_executor const& b) noexcept
    {
        return a.io_ == b.io_ && a.bound_ == b.bound_;
    }
    friend bool operator!=(
        basic_operation_executor const& a, basic_operation_executor const& b) noexcept
    {
        return !(a == b);
    }

private:
    template <bool>
    friend class basic_operation_executor;

    fiber_io* io_;
    asio_core* core_;
    boost::intrusive_ptr<bound_target> bound_;
};

using operation_executor = basic_operation_executor<false>;

// What bind_executor gave, and there under the fiber's lock: a stop may come at
// any time, and Asio's composed operations are not made for that.
template <class Executor>
class locked_executor {
public:
    locked_executor(Executor const& ex, fiber_io& io) noexcept : executor_(ex), io_(&io) {}

    template <class Function>
    void execute(Function&& f) const
    {
        executor_.execute([ex = executor_, io = io_, f = std::forward<Function>(f)]() mutable {
            execute_on(ex, *io, std::move(f));
        });
    }

    template <class Property>
        requires boost::asio::can_query_v<Executor const&, Property>
    decltype(auto) query(Property const& p) const
    {
        return boost::asio::query(executor_, p);
    }

    template <class Property>
        requires boost::asio::can_require_v<Executor const&, Property>
    auto require(Property const& p) const
    {
        auto ex = boost::asio::require(executor_, p);
        return locked_executor<decltype(ex)>(ex, *io_);
    }

    friend bool operator==(locked_executor const& a, locked_executor const& b) noexcept
    {
        return a.executor_ == b.executor_ && a.io_ == b.io_;
    }
    friend bool operator!=(locked_executor const& a, locked_executor const& b) noexcept
    {
        return !(a == b);
    }

private:
    Executor executor_;
    fiber_io* io_;
};

// An operation that completes at once, inside its initiation, has the lock.
class immediate_executor {
public:
    using is_associated_executor = void; // handlers need not go on from here

    explicit immediate_executor(fiber_io& io) noexcept : io_(&io) {}

    template <class Function>
    void execute(Function&& f) const
    {
        std::forward<Function>(f)();
    }

    static constexpr boost::asio::execution::blocking_t query(
        boost::asio::execution::blocking_t) noexcept
    {
        return boost::asio::execution::blocking.possibly;
    }

    boost::asio::execution_context& query(boost::asio::execution::context_t) const noexcept
    {
        return io_->context();
    }

    friend bool operator==(immediate_executor a, immediate_executor b) noexcept
    {
        return a.io_ == b.io_;
    }
    friend bool operator!=(immediate_executor a, immediate_executor b) noexcept
    {
        return a.io_ != b.io_;
    }

private:
    fiber_io* io_;
};

static_assert(boost::asio::execution::is_executor_v<operation_executor>);
} // namespace spindle::detail

#endif // SPINDLE_DETAIL_ASIO_OPERATION_EXECUTOR_HPP
