//
// spindle/detail/observe/timeline.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// From what a trace has recorded to what Perfetto and Chrome show.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_OBSERVE_TIMELINE_HPP
#define SPINDLE_DETAIL_OBSERVE_TIMELINE_HPP

#include <spindle/detail/sched/trace_log.hpp>
#include <spindle/observe/trace.hpp>

#include <cstddef>
#include <iosfwd>

namespace spindle::detail {

// The trace event format: one JSON object, whose "traceEvents" are complete events ("X")
// for what lasts, instants, and flows from a waker to what it wakes.
trace::summary write_timeline(
    std::ostream& os, trace_log::contents const& log, std::size_t fiber_lines);

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_OBSERVE_TIMELINE_HPP
