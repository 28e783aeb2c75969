//
// asio/scheduler.cpp
// ~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/scheduler.hpp>

#include <spindle/detail/asio/host.hpp>

namespace spindle {

scheduler::scheduler(scheduler_options options)
    : host_(std::make_unique<detail::host>(*this, std::move(options)))
{
}

scheduler::~scheduler() = default;

scheduler::executor_type scheduler::get_executor() const noexcept
{
    return host_->processor_at(0).io.get_executor();
}

scheduler::executor_type scheduler::next_executor() noexcept
{
    return host_->next_io().get_executor();
}

void scheduler::stop() noexcept { host_->stop(); }

void scheduler::join() { host_->join(); }

unsigned scheduler::processors() const noexcept { return host_->processors(); }

scheduler_stats scheduler::stats() const { return host_->stats(); }

namespace detail {

asio_core& core_of(scheduler& s) noexcept { return *s.host_; }

} // namespace detail

} // namespace spindle
