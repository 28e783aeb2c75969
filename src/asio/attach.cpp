//
// asio/attach.cpp
// ~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/attach.hpp>

#include <spindle/detail/asio/context_service.hpp>
#include <spindle/error.hpp>

#include <boost/asio/steady_timer.hpp>
#include <boost/system/errc.hpp>

#include <optional>

namespace spindle {

void attach(boost::asio::io_context& ioc, scheduler_options options)
try {
    // Services end in the reverse order of their making: ours, which waits for our
    // threads, must be newer than those that they run.
    std::optional<boost::asio::steady_timer> makes_services;
    if (options.guest_threads != 0)
        makes_services.emplace(ioc);
    boost::asio::make_service<detail::context_service>(ioc, std::move(options)).core_for(ioc);
} catch (boost::asio::service_already_exists const&) {
    detail::throw_error(
        make_error_code(boost::system::errc::invalid_argument),
        "this io_context has fibers already: attach it before the first spawn");
}

} // namespace spindle
