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
#include <type_traits>

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

// An executor that is made of another one, and says so by executor_below(), starts its
// fibers there. Inside a polymorphic one nobody sees that; so each such type enters
// itself here when the first of it is made.
class layered_executor {
public:
    using any = boost::asio::any_io_executor;

    // Once for each type. Any thread.
    template <class Executor>
    static void enter() noexcept
    {
        static layered_executor instance(
            [](any const& ex) noexcept { return ex.target<Executor>() != nullptr; },
            [](any const& ex) -> asio_core& { return core_below(*ex.target<Executor>()); },
            [](asio_core& core, any const& ex) {
                return place_below(core, *ex.target<Executor>());
            });
        (void)instance;
    }

    // Nullptr: none, as far as is known.
    SPINDLE_DECL static layered_executor const* find(any const& ex) noexcept;

    asio_core& core(any const& ex) const { return core_(ex); }
    place place_in(asio_core& core, any const& ex) const { return place_(core, ex); }

private:
    using test_function = bool (*)(any const&) noexcept;
    using core_function = asio_core& (*)(any const&);
    using place_function = place (*)(asio_core&, any const&);

    // Below, where what they call is known.
    template <class Executor>
    static asio_core& core_below(Executor const& ex);
    template <class Executor>
    static place place_below(asio_core& core, Executor const& ex);

    SPINDLE_DECL layered_executor(test_function t, core_function c, place_function p) noexcept;

    test_function const is_target_;
    core_function const core_;
    place_function const place_;
    layered_executor const* next_ = nullptr;
};

template <class Executor>
layered_executor const* layers_of(Executor const& ex) noexcept
{
    if constexpr (std::is_base_of_v<boost::asio::any_io_executor, Executor>)
        return layered_executor::find(ex);
    else
        return nullptr;
}

// What runs the fibers of an executor.
template <class Executor>
asio_core& core_for(Executor const& ex)
{
    if constexpr (requires { executor_below(ex); }) {
        return core_for(executor_below(ex));
    } else {
        if (auto* const io = free_context(ex))
            return boost::asio::use_service<context_service>(*io).core_for(*io);
        if (auto const* const layers = layers_of(ex))
            return layers->core(ex);
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
    if constexpr (requires { executor_below(ex); }) {
        return place_in(core, executor_below(ex));
    } else {
        static_assert(
            !requires { executor_below(ex.get_inner_executor()); },
            "a strand over a fiber_executor runs its functions in fibers, and a fiber cannot "
            "be run by one: use fiber_executor(strand), or the strand without it");
        if (free_context(ex))
            return {&core, nullptr};
        if (auto const* const layers = layers_of(ex))
            return layers->place_in(core, ex);
        return {&core, std::make_unique<bound_executor>(ex)};
    }
}

template <class Executor>
place place_of(Executor const& ex)
{
    return place_in(core_for(ex), ex);
}

template <class Executor>
asio_core& layered_executor::core_below(Executor const& ex)
{
    return core_for(ex);
}

template <class Executor>
place layered_executor::place_below(asio_core& core, Executor const& ex)
{
    return detail::place_in(core, ex);
}

// For `go`, spawn(fn) and the like: beside the running fiber, or on the
// io_context whose handler is running. Throws errc::not_in_fiber on a plain
// thread.
[[nodiscard]] SPINDLE_DECL place place_here();
} // namespace spindle::detail

#endif // SPINDLE_DETAIL_ASIO_PLACE_HPP
