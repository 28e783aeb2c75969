//
// asio/schedtrace.cpp
// ~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/asio/schedtrace.hpp>

#include <spindle/detail/asio/asio_core.hpp>
#include <spindle/detail/fiber/machine_list.hpp>
#include <spindle/error.hpp>

#include <boost/system/errc.hpp>

#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string_view>

namespace spindle::detail {

duration wanted_schedtrace()
{
    auto const* const text = std::getenv("SPINDLE_SCHEDTRACE");
    if (!text || !*text)
        return {};
    std::uint32_t n = 0;
    std::string_view const all(text);
    auto const [end, error] = std::from_chars(all.data(), all.data() + all.size(), n);
    if (error != std::errc{} || end != all.data() + all.size())
        throw_error(
            make_error_code(boost::system::errc::invalid_argument),
            "SPINDLE_SCHEDTRACE must be a number of milliseconds; 0 or nothing: no lines");
    return std::chrono::milliseconds(n);
}

std::string schedtrace_line(scheduler_stats const& s, unsigned scheduler, duration since_start)
{
    auto const ms = std::chrono::duration_cast<std::chrono::milliseconds>(since_start).count();
    auto line = "SCHED " + std::to_string(ms) + "ms:";
    auto const say = [&](char const* name, std::uint64_t value) {
        line.append(1, ' ').append(name).append(1, '=').append(std::to_string(value));
    };
    say("scheduler", scheduler);
    say("processors", s.processors);
    say("idle", s.idle_processors);
    say("searching", s.searching_processors);
    say("threads", s.threads);
    say("spare", s.spare_threads);
    say("fibers", s.fibers);
    say("queued", s.queued);
    say("global", s.queued_globally);
    line += " [";
    for (auto const& p : s.by_processor) {
        if (p.id != 0)
            line += ' ';
        line += std::to_string(p.queued);
    }
    line += ']';
    say("switches", s.switches);
    say("steals", s.steals);
    say("handoffs", s.handoffs);
    say("preemptions", s.preemptions);
    return line;
}

void schedtrace::start(asio_core const& of, duration every) noexcept
{
    if (every == duration::zero())
        return;
    try {
        thread_ = std::thread([this, &of, every] { run(of, every); });
    } catch (std::exception const&) {
        std::fprintf(stderr, "spindle: no thread for SPINDLE_SCHEDTRACE\n");
    }
}

void schedtrace::stop() noexcept
{
    if (!thread_.joinable())
        return;
    {
        std::lock_guard guard(mutex_);
        end_ = true;
    }
    ending_.notify_all();
    thread_.join();
}

void schedtrace::run(asio_core const& of, duration every)
{
    bystander const here; // it wakes nobody
    auto const start = now();
    std::unique_lock guard(mutex_);
    for (auto next = start + every;; next += every) {
        auto const last = ending_.wait_until(guard, next, [&] { return end_; });
        auto const line = schedtrace_line(of.stats(true), of.number(), now() - start) + '\n';
        std::fwrite(line.data(), 1, line.size(), stderr); // in one piece
        if (last)
            return;
    }
}

} // namespace spindle::detail
