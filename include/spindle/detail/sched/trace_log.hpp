//
// spindle/detail/sched/trace_log.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// What happened, and when: the rings of all threads.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_SCHED_TRACE_LOG_HPP
#define SPINDLE_DETAIL_SCHED_TRACE_LOG_HPP

#include <spindle/config.hpp>
#include <spindle/detail/base/clock.hpp>
#include <spindle/detail/sched/trace_ring.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace spindle::detail {

// The rings of all threads, for one trace after another.
namespace trace_log {

// One thread at a time, with no trace going on: from now on there are rings of that
// many events (rounded up), and nothing is in them.
SPINDLE_DECL void open(std::size_t events_per_thread);

// Any thread, with whatever held: this locks at most its own. Where there is no memory
// for the thread's ring, or no trace is going on, the event is lost.
SPINDLE_DECL SPINDLE_NOINLINE void add(trace_event const& e) noexcept;

struct thread_info {
    std::uint64_t system_id;
    std::string name; // the system's
};

struct contents {
    std::vector<trace_event> events; // in the order of their times
    std::vector<thread_info> threads; // trace_event::thread is a place in here
    std::uint64_t lost = 0;
};

// One thread at a time. Ends the trace: threads that are still about to add something
// are late.
SPINDLE_DECL contents close();

} // namespace trace_log

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_SCHED_TRACE_LOG_HPP
