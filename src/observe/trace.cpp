//
// observe/trace.cpp
// ~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/observe/trace.hpp>

#include <spindle/detail/observe/timeline.hpp>
#include <spindle/detail/sched/core.hpp>
#include <spindle/detail/sched/trace_log.hpp>
#include <spindle/error.hpp>

#include <boost/system/errc.hpp>
#include <boost/system/system_error.hpp>

#include <cerrno>
#include <cstdio>
#include <exception>
#include <fstream>
#include <mutex>
#include <string>
#include <utility>

namespace spindle::trace {

namespace {

// Guarded by `lock`, which is outside all others.
struct state {
    std::mutex lock;
    bool recording = false;
    std::ofstream file;
    std::string path;
    options how;

    static state& get()
    {
        static state& instance = *new state;
        return instance;
    }
};

} // namespace

void start(std::filesystem::path const& file, options how)
{
    auto& s = state::get();
    std::lock_guard guard(s.lock);
    if (s.recording)
        detail::throw_error(
            make_error_code(boost::system::errc::device_or_resource_busy),
            "a trace is being recorded already: call spindle::trace::stop() first");
    errno = 0;
    std::ofstream out(file, std::ios::binary | std::ios::trunc);
    if (!out) {
        auto const error = errno != 0 ? errno : EIO;
        auto const advice = "cannot open " + file.string() + " to write a trace to it";
        detail::throw_error(
            error_code(error, boost::system::system_category()), advice.c_str());
    }
    s.path = file.string();
    s.file = std::move(out);
    s.how = how;
    detail::trace_log::open(how.events_per_thread);
    s.recording = true;
    detail::core::watch_all(detail::core::watch_trace, true);
}

summary stop()
{
    auto& s = state::get();
    std::lock_guard guard(s.lock);
    if (!s.recording)
        detail::throw_error(
            make_error_code(boost::system::errc::operation_not_permitted),
            "no trace is being recorded: call spindle::trace::start() first");
    detail::core::watch_all(detail::core::watch_trace, false);
    s.recording = false;
    auto file = std::move(s.file);
    auto const log = detail::trace_log::close();
    auto const sum = detail::write_timeline(file, log, s.how.fiber_lines);
    file.close();
    if (!file) {
        auto const advice = "cannot write the whole trace to " + s.path;
        detail::throw_error(
            make_error_code(boost::system::errc::io_error), advice.c_str());
    }
    return sum;
}

bool is_recording() noexcept
{
    auto& s = state::get();
    std::lock_guard guard(s.lock);
    return s.recording;
}

recording::~recording()
{
    if (!on_)
        return;
    try {
        (void)trace::stop();
    } catch (std::exception const& e) {
        std::fprintf(stderr, "spindle: %s\n", e.what());
    }
}

} // namespace spindle::trace
