//
// asio/place.cpp
// ~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/asio/place.hpp>

#include <spindle/detail/asio/guest.hpp>
#include <spindle/detail/base/atomic.hpp>
#include <spindle/detail/fiber/park.hpp>
#include <spindle/error.hpp>

namespace spindle::detail {

namespace {

constinit atomic<layered_executor const*> all_layers{nullptr};

} // namespace

layered_executor::layered_executor(
    test_function t, core_function c, place_function p) noexcept
    : is_target_(t), core_(c), place_(p)
{
    next_ = all_layers.load(std::memory_order_relaxed);
    while (!all_layers.compare_exchange_weak(
        next_, this, std::memory_order_release, std::memory_order_relaxed))
        ;
}

layered_executor const* layered_executor::find(any const& ex) noexcept
{
    auto const* l = all_layers.load(std::memory_order_acquire);
    while (l && !l->is_target_(ex))
        l = l->next_;
    return l;
}

place place_here()
{
    if (auto* const g = current_fiber()) {
        if (auto* const core = asio_core_of(*g))
            return {
                core, std::unique_ptr<slice_poster>(g->bound ? g->bound->clone() : nullptr), g};
    } else if (auto* const core = core_running_here()) {
        return {core, nullptr};
    }
    throw_error(
        make_error_code(errc::not_in_fiber),
        "there is no scheduler here to start a fiber on: name one, as in "
        "spindle::spawn(scheduler, fn, token)");
}

} // namespace spindle::detail
