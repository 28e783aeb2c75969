//
// testing/run_case.cpp
// ~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/testing/run_case.hpp>

#include <spindle/detail/asio/host.hpp>
#include <spindle/detail/asio/spawn_fiber.hpp>
#include <spindle/detail/fiber/hooks.hpp>
#include <spindle/detail/fiber/machine_list.hpp>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <utility>

namespace spindle::testing {

namespace {

namespace d = spindle::detail;

// What the fiber of the case and the thread that waits for it share.
struct progress {
    std::mutex mutex;
    std::condition_variable changed;
    bool returned = false;
    bool asleep = false; // all of them, and nothing will wake one
    case_result result;

    void add_fault(std::string what)
    {
        std::lock_guard const guard(mutex);
        result.faults.push_back(std::move(what));
    }
};

struct body {
    std::function<void(scheduler&)> const& fn;
    scheduler& sched;
    progress& shared;

    void operator()() noexcept
    {
        std::exception_ptr error;
        try {
            fn(sched);
        } catch (...) {
            error = std::current_exception();
        }
        std::lock_guard const guard(shared.mutex);
        shared.result.error = std::move(error);
        shared.returned = true;
        shared.changed.notify_one();
    }
};

} // namespace

case_result run_case(
    std::function<void(scheduler&)> const& fn, unsigned processors, case_options const& options)
{
    using namespace std::chrono_literals;
    d::require_thread();
    progress shared;
    auto settings = options.scheduler;
    settings.processors = processors;
    settings.shutdown_grace = options.shutdown_grace;
    if (!settings.unhandled_exception)
        settings.unhandled_exception = [&shared](std::exception_ptr e, fiber_info const& who) {
            shared.add_fault(
                "an exception left " + who.name + ", spawned from " + who.spawned_from + ": " +
                d::describe_exception(std::move(e)));
        };
    settings.deadlock = [&shared, also = settings.deadlock] {
        {
            std::lock_guard const guard(shared.mutex);
            shared.asleep = true;
            shared.changed.notify_one();
        }
        if (also)
            also();
    };
    std::optional<scheduler> sched(std::in_place, settings);
    auto& host = static_cast<d::host&>(d::core_of(*sched));
    d::start_task(
        d::place{&host, nullptr}, {.name = "test"}, d::call_site(), body{fn, *sched, shared});

    // Until `done`; or what has gone wrong.
    std::unique_lock lock(shared.mutex);
    auto const wait = [&](auto done, d::duration limit) -> std::string {
        d::bystander const here; // this thread wakes nobody
        auto const end = d::deadline_after(limit);
        // Who ends as the last tells nobody here.
        for (auto pause = 1ms; !done(); pause = std::min(pause * 2, 20ms)) {
            shared.changed.wait_for(lock, pause);
            if (done())
                break;
            if (shared.asleep)
                return "deadlock: all fibers wait, and nothing will wake them";
            if (d::now() > end)
                return "timeout";
        }
        return {};
    };

    auto fault = wait([&] { return shared.returned; }, options.timeout);
    auto const in_time = fault.empty();
    if (in_time)
        if (auto const left = wait([&] { return host.live() == 0; }, options.leak_grace);
            !left.empty())
            fault = "leaked: the test has returned, and fibers are alive (" + left + ")";
    lock.unlock();
    if (!fault.empty()) {
        auto fibers = host.describe_live_fibers();
        lock.lock();
        shared.result.fibers = std::move(fibers);
        shared.result.faults.push_back(std::move(fault));
        lock.unlock();
    } else {
        for (unsigned i = 0; i != host.processor_count(); ++i)
            if (host.processor_at(i).timers->earliest_hint() != d::time_point::max())
                shared.add_fault("somebody sleeps whose fiber is over");
    }
    // Who does not leave is named, and the process ends. Until then they may refer to
    // what is on this stack.
    sched.reset();
    if (!in_time)
        shared.result.error = nullptr; // that it was stopped
    return std::move(shared.result);
}

} // namespace spindle::testing
