//
// asio/host_machine.cpp
// ~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/asio/host.hpp>
#include <spindle/detail/asio/host_machine.hpp>
#include <spindle/detail/fiber/watch.hpp>

#include <algorithm>
#include <chrono>

namespace spindle::detail {

bool host_machine::run() noexcept
{
    auto& m = *machine::ensure();
    machine_ = &m;
    leaves_ = false;
    m.set_home(&host_);
    m.set_waiter(this);
    m.move_in();
    while (auto* const p = host_.next_for(*this)) {
        serving_.store(p, std::memory_order_seq_cst);
        if (host_.traced())
            note_event(host_, trace_kind::take, p);
        p->serve(m);
        serving_.store(nullptr, std::memory_order_relaxed);
    }
    m.move_out();
    return !leaves_;
}

// Without a processor. Its dispatcher may have work all the same.
bool host_machine::rest(time_point since) noexcept
{
    auto deadline = dispatch();
    auto const may_leave = on_own_thread_ && !machine_->has_stock_fibers(); // I4
    if (may_leave)
        deadline = std::min(deadline, since + spare_thread_time);
    (void)parker_.park_until(deadline);
    return !may_leave || now() - since < spare_thread_time;
}

time_point host_machine::dispatch() noexcept
{
    if (!machine_->has_stock_fibers())
        return time_point::max();
    (void)machine_->take_notified();
    return machine_->dispatch();
}

// With nothing else to do than to run one fiber.
void host_machine::run_pinned() noexcept
{
    while (pinned_) {
        if (auto* const g = slice_.exchange(nullptr, std::memory_order_acquire)) {
            pinned_slices_.add();
            single_slice const one(*g);
            (void)machine_->run(*g, one.slices, one.may_go_on);
            continue;
        }
        auto const deadline = dispatch();
        if (!slice_.load(std::memory_order_relaxed))
            (void)parker_.park_until(deadline);
    }
}

void host_machine::pin_slices::post_slice(fiber_record& g) noexcept
{
    auto& to = machine_; // the fiber may be gone before the parker was told
    if (g.scheduler()->watched() != 0)
        note_ready(g);
    to.slice_.store(&g, std::memory_order_release);
    to.parker_.unpark();
}

void host_machine::wait_until(time_point deadline) noexcept
{
    auto* const p = serving_.load(std::memory_order_relaxed);
    if (p && (p->holds(*machine_) || p->has_asio(*machine_)))
        p->wait_in_handler(*machine_, deadline);
    else
        (void)parker_.park_until(deadline);
}

// Whoever calls has stored why, seq_cst; the thread stores where it sleeps, and looks.
void host_machine::interrupt() noexcept
{
    parker_.unpark();
    if (auto* const p = serving_.load(std::memory_order_seq_cst))
        p->interrupt();
}

void host_machine::main_goes_on() noexcept
{
    if (auto* const p = serving_.load(std::memory_order_relaxed); p && p->has_asio(*machine_))
        p->turn_.go_on();
}

void host_machine::comes_in() noexcept
{
    if (auto* const p = serving_.load(std::memory_order_relaxed); p && p->holds(*machine_))
        p->wake_up(*machine_);
}

} // namespace spindle::detail
