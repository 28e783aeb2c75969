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
    : host_(std::make_unique<detail::host>(
        *this, std::move(options), detail::host::first::on_own_thread))
{
}

scheduler::scheduler(detail::run_on_caller, scheduler_options options)
    : host_(std::make_unique<detail::host>(
        *this, std::move(options), detail::host::first::on_caller))
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

void scheduler::set_processors(unsigned n) { host_->set_processors(n); }

scheduler_stats scheduler::stats() const { return host_->stats(); }

void scheduler::measure_latency(bool on) noexcept
{
    host_->watch(detail::core::watch_latency, on);
}

namespace detail {

asio_core& core_of(scheduler& s) noexcept { return *s.host_; }

runner::runner(scheduler_options options) : sched_(run_on_caller(), std::move(options)) {}

void runner::run() noexcept { sched_.host_->run_first(); }

void runner::finish() noexcept { sched_.host_->finish(); }

} // namespace detail

} // namespace spindle
