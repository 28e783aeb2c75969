//
// asio/host_monitor.cpp
// ~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/asio/host_monitor.hpp>

#include <spindle/detail/asio/host.hpp>
#include <spindle/detail/fiber/fiber_pool.hpp>
#include <spindle/detail/fiber/machine_list.hpp>
#include <spindle/detail/sched/monitor_policy.hpp>

#include <algorithm>
#include <new>

#if defined(__linux__)
#include <sys/prctl.h>
#endif

namespace spindle::detail {

void host_monitor::start()
{
    auto const& options = host_.options();
    hogs_.reserve(options.processors); // here, for the sake of those who count
    to_wake_.reserve(options.processors);
    thread_ = std::thread(
        [this, policy = monitor_policy(
                   options.handoff_after, options.preempt_after, options.processors)]() mutable {
            run(policy);
        });
}

void host_monitor::end() noexcept
{
    if (!thread_.joinable())
        return;
    ending_.store(true, std::memory_order_seq_cst);
    wake_.unpark();
    thread_.join();
}

void host_monitor::run(monitor_policy& policy) noexcept
{
#if defined(__linux__)
    if (auto const slack = ::prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0); slack > 0)
        usual_slack_ = static_cast<unsigned long>(slack);
#endif
    bystander const here;
    hurry(true);
    auto trims = time_point::min();
    while (!ending_.load(std::memory_order_seq_cst)) {
        if (soon_.exchange(false, std::memory_order_relaxed))
            policy.look_often();
        auto const pause = host_.look_round(policy, hogs_, to_wake_);
        report(hogs_);
        hogs_.clear();
        if (auto const at = now(); at >= trims || pause == duration::max())
            trims = trim_resting(at);
        if (pause != duration::max()) {
            pauses_.store(pause > policy.shortest(), std::memory_order_seq_cst);
            if (!soon_.load(std::memory_order_seq_cst))
                (void)wake_.park_until(now() + pause);
            pauses_.store(false, std::memory_order_relaxed);
            continue;
        }
        asleep_.exchange(true, std::memory_order_seq_cst);
        heavy_barrier();
        // At least: a deadline may be past, and nothing can be done about it just now.
        auto until = now() + policy.longest();
        if (host_.all_asleep()) {
            until = std::max(until, host_.earliest_deadline());
            if (until == time_point::max())
                if (auto const p = host_.look_for_deadlock(); p != duration::max())
                    until = now() + p;
            until = std::min(until, trims);
        }
        (void)wake_.park_until(until);
        asleep_.store(false, std::memory_order_relaxed);
        trims = std::min(trims, now() + trim_time); // who has run may rest
    }
}

void host_monitor::hurry([[maybe_unused]] bool on) noexcept
{
#if defined(__linux__)
    ::prctl(PR_SET_TIMERSLACK, on ? 1UL : usual_slack_, 0, 0, 0); // or 20 us take 70
#endif
}

// With nothing held.
void host_monitor::report(hog_list const& hogs) noexcept
{
    auto const& f = host_.options().on_hog;
    if (!f)
        return;
    for (auto const& h : hogs) {
        fiber_info info;
        try {
            if (!reported_.insert(h.spawn_site).second)
                continue;
            info = {h.name,
                    h.spawn_site ? describe_site(h.spawn_site) : "an asynchronous operation"};
        } catch (std::bad_alloc const&) {
            continue; // no memory for a report
        }
        f(info, h.ran);
    }
}

} // namespace spindle::detail
