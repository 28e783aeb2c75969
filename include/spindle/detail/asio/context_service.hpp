//
// spindle/detail/asio/context_service.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// From an execution context to its scheduler.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_ASIO_CONTEXT_SERVICE_HPP
#define SPINDLE_DETAIL_ASIO_CONTEXT_SERVICE_HPP

#include <spindle/config.hpp>
#include <spindle/detail/asio/asio_core.hpp>

#include <boost/asio/execution_context.hpp>
#include <boost/asio/io_context.hpp>

namespace spindle::detail {

// Which scheduler runs the fibers that are spawned on an execution context. On
// a host's io_context it is put there by the host; everywhere else the guest
// service makes a scheduler on first use (guest.hpp).
class context_service final : public boost::asio::execution_context::service {
public:
    using key_type = context_service;
    static SPINDLE_DECL boost::asio::execution_context::id id;

    // A host's.
    context_service(boost::asio::execution_context& context, asio_core& owner)
        : service(context), core_(&owner)
    {
    }

    // Somebody else's: a guest is made.
    SPINDLE_DECL explicit context_service(boost::asio::execution_context& context);
    SPINDLE_DECL context_service(
        boost::asio::execution_context& context, scheduler_options options);

    SPINDLE_DECL ~context_service() override;

    // For bound fibers.
    asio_core& core() noexcept { return *core_; }

    // For free fibers: `io` is the context that this is a service of.
    SPINDLE_DECL asio_core& core_for(boost::asio::io_context& io);

private:
    void shutdown() override;

    asio_core* core_;
    bool owned_ = false;
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_ASIO_CONTEXT_SERVICE_HPP
