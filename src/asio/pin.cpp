//
// asio/pin.cpp
// ~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/pin.hpp>

#include <spindle/detail/asio/host.hpp>
#include <spindle/detail/base/fatal.hpp>
#include <spindle/detail/fiber/hooks.hpp>
#include <spindle/detail/fiber/park.hpp>
#include <spindle/error.hpp>

#include <boost/system/errc.hpp>

namespace spindle {

pin::pin()
{
    auto& g = detail::fiber_that_may_park();
    if (g.pinned)
        return;
    auto* const core = detail::asio_core_of(g);
    if (!core || g.bound || !core->moves_processors())
        detail::throw_error(
            make_error_code(boost::system::errc::operation_not_supported),
            "only a free fiber of a spindle::scheduler can be pinned: other threads are not ours");
    static_cast<detail::host&>(*core).pin(g);
    fiber_ = &g;
}

pin::~pin()
{
    if (!fiber_)
        return;
    if (detail::current_fiber() != fiber_)
        detail::fatal("a spindle::pin must be destroyed by the fiber that made it");
    static_cast<detail::host&>(*detail::asio_core_of(*fiber_)).unpin(*fiber_);
}

} // namespace spindle
