//
// spindle/detail/asio/schedtrace.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// A line about a scheduler, on standard error, every so many milliseconds.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_ASIO_SCHEDTRACE_HPP
#define SPINDLE_DETAIL_ASIO_SCHEDTRACE_HPP

#include <spindle/detail/base/clock.hpp>
#include <spindle/scheduler_stats.hpp>

#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

namespace spindle::detail {

class asio_core;

// What SPINDLE_SCHEDTRACE asks for; zero: nothing. Throws invalid_argument where it is
// no number of milliseconds.
[[nodiscard]] duration wanted_schedtrace();

// The line, without its end.
[[nodiscard]] std::string schedtrace_line(
    scheduler_stats const& s, unsigned scheduler, duration since_start);

// A thread that writes it; none if it is not wanted. Go's schedtrace. It reads what
// anybody may read, and is not one of the scheduler's.
class schedtrace {
public:
    schedtrace() = default;
    schedtrace(schedtrace const&) = delete;
    schedtrace& operator=(schedtrace const&) = delete;
    ~schedtrace() { stop(); }

    // Who makes the scheduler, when that can be asked for its numbers.
    void start(asio_core const& of, duration every) noexcept;

    // Who destroys it, while it still can. The last line comes from here.
    void stop() noexcept;

private:
    void run(asio_core const& of, duration every);

    std::mutex mutex_;
    std::condition_variable ending_;
    bool end_ = false; // under mutex_
    std::thread thread_;
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_ASIO_SCHEDTRACE_HPP
