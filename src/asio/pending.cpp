//
// asio/pending.cpp
// ~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/asio/pending.hpp>

#include <mutex>
#include <thread>
#include <utility>

namespace spindle::detail {

boost::asio::execution_context::id pending_service::id;

void pending_operation::list_in(boost::asio::execution_context& context)
{
    auto& service = boost::asio::use_service<pending_service>(context);
    std::lock_guard guard(service.mutex_);
    service.all_.push_back(*this);
    service_ = &service;
    listed_ = true;
}

void pending_operation::unlist() noexcept
{
    if (!service_)
        return;
    std::lock_guard guard(service_->mutex_);
    if (std::exchange(listed_, false))
        service_->all_.erase(service_->all_.iterator_to(*this));
}

pending_operation::completing::completing(pending_operation& op) noexcept : service_(op.service_)
{
    if (!service_)
        return;
    std::lock_guard guard(service_->mutex_);
    if (std::exchange(op.listed_, false))
        service_->all_.erase(service_->all_.iterator_to(op));
    ++service_->completing_;
}

pending_operation::completing::~completing()
{
    if (!service_)
        return;
    std::lock_guard guard(service_->mutex_);
    --service_->completing_;
}

void pending_service::shutdown() noexcept
{
    for (;;) {
        pending_operation* op = nullptr;
        {
            std::lock_guard guard(mutex_);
            if (all_.empty() && completing_ == 0)
                return;
            if (!all_.empty() && all_.front().withdraw_listed()) {
                op = &all_.front();
                all_.pop_front();
            }
        }
        if (op)
            op->drop();
        else
            std::this_thread::yield(); // another thread is about to post it
    }
}

} // namespace spindle::detail
