//
// testing/run_case.cpp
// ~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/testing/run_case.hpp>

#include <spindle/detail/asio/asio_access.hpp>
#include <spindle/detail/asio/host.hpp>
#include <spindle/detail/asio/spawn_fiber.hpp>
#include <spindle/detail/fiber/hooks.hpp>
#include <spindle/spawn.hpp>

#include <boost/core/demangle.hpp>

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <mutex>
#include <optional>
#include <system_error>
#include <typeinfo>
#include <utility>

namespace spindle::testing {

namespace {

namespace d = spindle::detail;
using d::now;
using d::time_point;

// 0: the system does not tell.
std::size_t threads_of_process()
{
    std::error_code ec;
    std::filesystem::directory_iterator const tasks("/proc/self/task", ec);
    return ec ? 0 : static_cast<std::size_t>(std::distance(begin(tasks), end(tasks)));
}

std::string describe(std::exception_ptr e)
try {
    std::rethrow_exception(std::move(e));
} catch (std::exception const& x) {
    return boost::core::demangle(typeid(x).name()) + ": " + x.what();
} catch (...) {
    return "an exception";
}

// Whether a scheduler can go on by itself.
class watch {
public:
    watch(d::host& h, std::size_t threads_before)
        : host_(h), alone_(threads_before == 1), others_(others())
    {
        for (unsigned i = 0; i != host_.processor_count(); ++i)
            pending_.push_back(pending(i));
    }

    // True: all fibers wait, and nobody is there who could wake one. Two looks that see
    // the same, with a pause between them, so that nothing was under way; false at first.
    bool asleep_for_ever()
    {
        auto const seen = alone_ ? look() : std::nullopt;
        return std::exchange(last_, seen) == seen && seen;
    }

private:
    // How much has happened so far; nothing where something is under way.
    std::optional<std::uint64_t> look() const
    {
        auto const s = host_.stats();
        if (s.fibers == 0 || s.queued != 0 || s.idle_processors != s.processors
            || others() != others_)
            return std::nullopt;
        for (unsigned i = 0; i != host_.processor_count(); ++i)
            if (host_.processor_at(i).timers->earliest_hint() != time_point::max()
                || pending(i) > pending_[i])
                return std::nullopt;
        return s.switches + s.parks + s.polls + s.wakes + s.spawned;
    }

    long pending(unsigned i) const
    {
        return d::asio_work_hint(
            boost::asio::use_service<boost::asio::detail::scheduler>(host_.processor_at(i).io));
    }

    // Threads that are not the scheduler's.
    std::size_t others() const { return threads_of_process() - host_.stats().threads; }

    d::host& host_;
    bool const alone_;
    std::size_t const others_;
    std::vector<long> pending_;
    std::optional<std::uint64_t> last_;
};

// What the fiber of the case and the thread that waits for it share.
struct progress {
    std::mutex mutex;
    std::condition_variable changed;
    bool returned = false;
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
                "an exception left " + who.name + ", spawned from " + who.spawned_from + ": "
                + describe(std::move(e)));
        };
    auto const before = threads_of_process();
    std::optional<scheduler> sched(std::in_place, settings);
    auto& host = static_cast<d::host&>(d::core_of(*sched));
    watch quiet(host, before);
    d::start_task(
        d::place{&host, nullptr}, {.name = "test"}, d::call_site(), body{fn, *sched, shared});

    // Until `done`; or what has gone wrong.
    std::unique_lock lock(shared.mutex);
    auto const wait = [&](auto done, d::duration limit) -> std::string {
        auto const end = d::deadline_after(limit);
        auto pause = 1ms;
        while (!done()) {
            shared.changed.wait_for(lock, pause);
            pause = std::min(pause * 2, 20ms);
            lock.unlock();
            auto const asleep = quiet.asleep_for_ever();
            lock.lock();
            if (done())
                break;
            if (asleep)
                return "deadlock: all fibers wait, and nothing will wake them";
            if (now() > end)
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
            if (host.processor_at(i).timers->earliest_hint() != time_point::max())
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
