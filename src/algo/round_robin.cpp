//
// algo/round_robin.cpp
// ~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/algo/round_robin.hpp>

#include <spindle/detail/asio/context_service.hpp>
#include <spindle/detail/asio/guest.hpp>

namespace spindle::algo {

round_robin::round_robin(boost::asio::io_context& ioc)
{
    auto& service = boost::asio::use_service<detail::context_service>(ioc);
    auto& g = static_cast<detail::guest&>(service.core_for(ioc));
    waiter_ = g.make_waiter();
    set_waiter(waiter_);
    take(g.acquire());
    set_home(&g);
}

round_robin::~round_robin()
{
    if (auto* const p = held()) {
        drop();
        waiter_->leave(*p);
    }
}

} // namespace spindle::algo
