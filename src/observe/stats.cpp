//
// observe/stats.cpp
// ~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/observe/stats.hpp>

#include <spindle/detail/asio/context_service.hpp>

namespace spindle {

scheduler_stats get_stats(boost::asio::io_context& ioc)
{
    using service = detail::context_service;
    if (!boost::asio::has_service<service>(ioc))
        return {};
    return boost::asio::use_service<service>(ioc).core().stats();
}

void measure_latency(boost::asio::io_context& ioc, bool on)
{
    boost::asio::use_service<detail::context_service>(ioc).core().watch(
        detail::core::watch_latency, on);
}

} // namespace spindle
