//
// spindle/detail/asio/place.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// Which scheduler a fiber goes to, and whether it is free or bound.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_ASIO_PLACE_HPP
#define SPINDLE_DETAIL_ASIO_PLACE_HPP

#include <spindle/config.hpp>
#include <spindle/detail/asio/asio_core.hpp>
#include <spindle/detail/asio/bound_executor.hpp>
#include <spindle/detail/asio/context_service.hpp>

#include <boost/asio/execution/any_executor.hpp>
#include <boost/asio/execution/context.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/query.hpp>
#include <boost/asio/strand.hpp>

#include <memory>

namespace spindle::detail {

struct place {
    asio_core* core;
    std::unique_ptr<slice_poster> bound; // null: free
    fiber_record const* spawner = nullptr; // beside which it is
};

// An io_context's executor, whatever its properties, with the default
// allocator; a class derived from one, too.
template <std::uintptr_t Bits>
boost::asio::io_context* target_of(
    boost::asio::io_context::basic_executor_type<std::allocator<void>, Bits> const& ex) noexcept
{
    return &boost::asio::query(ex, boost::asio::execution::context);
}

// A polymorphic executor whose target is one.
template <class... Properties>
boost::asio::io_context* target_of(
    boost::asio::execution::any_executor<Properties...> const& ex) noexcept
{
    using plain = boost::asio::io_context::executor_type;
    using tracked = boost::asio::io_context::basic_executor_type<
        std::allocator<void>, boost::asio::detail::io_context_bits::outstanding_work_tracked>;
    if (auto const* const target = ex.template target<plain>())
        return target_of(*target);
    if (auto const* const target = ex.template target<tracked>())
        return target_of(*target);
    return nullptr;
}

// nullptr for everything else: a strand, a thread_pool's, a system_executor, the
// user's own.
template <class Executor>
boost::asio::io_context* free_context(Executor const& ex) noexcept
{
    if constexpr (requires { target_of(ex); })
        return target_of(ex);
    else
        return nullptr;
}

// The io_context below a strand, if that is one.
template <class... Properties>
boost::asio::io_context* context_of_strand(
    boost::asio::execution::any_executor<Properties...> const& ex) noexcept
{
    using of_context = boost::asio::strand<boost::asio::io_context::executor_type>;
    using of_any = boost::asio::strand<boost::asio::any_io_executor>;
    if (auto const* const strand = ex.template target<of_context>())
        return free_context(strand->get_inner_executor());
    if (auto const* const strand = ex.template target<of_any>())
        return free_context(strand->get_inner_executor());
    return nullptr;
}

template <class Executor>
boost::asio::io_context* context_below(Executor const& ex) noexcept
{
    if constexpr (requires { ex.get_inner_executor(); })
        return free_context(ex.get_inner_executor());
    else if constexpr (requires { context_of_strand(ex); })
        return context_of_strand(ex);
    else
        return nullptr;
}

// What runs the fibers of an executor. One that is made of another, and says so by
// executor_below(), has that one's.
template <class Executor>
asio_core& core_for(Executor const& ex)
{
    if constexpr (requires { executor_below(ex); }) {
        return core_for(executor_below(ex));
    } else {
        if (auto* const io = free_context(ex))
            return boost::asio::use_service<context_service>(*io).core_for(*io);
        boost::asio::execution_context& context
            = boost::asio::query(ex, boost::asio::execution::context);
        auto& service = boost::asio::use_service<context_service>(context);
        auto* const io = context_below(ex);
        return io ? service.core_for(*io) : service.core();
    }
}

// `core` is core_for(ex).
template <class Executor>
place place_in(asio_core& core, Executor const& ex)
{
    if constexpr (requires { executor_below(ex); })
        return place_in(core, executor_below(ex));
    else if (free_context(ex))
        return {&core, nullptr};
    else
        return {&core, std::make_unique<bound_executor>(ex)};
}

template <class Executor>
place place_of(Executor const& ex)
{
    return place_in(core_for(ex), ex);
}

// For `go`, spawn(fn) and the like: beside the running fiber, or on the
// io_context whose handler is running. Throws errc::not_in_fiber on a plain
// thread.
[[nodiscard]] SPINDLE_DECL place place_here();
} // namespace spindle::detail

#endif // SPINDLE_DETAIL_ASIO_PLACE_HPP
