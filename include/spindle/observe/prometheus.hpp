//
// spindle/observe/prometheus.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// Statistics in the text form that Prometheus reads.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_OBSERVE_PROMETHEUS_HPP
#define SPINDLE_OBSERVE_PROMETHEUS_HPP

#include <spindle/config.hpp>
#include <spindle/scheduler_stats.hpp>

#include <iosfwd>
#include <span>
#include <string>

namespace spindle {

/// What a `/metrics` answers with, beside its own: `text/plain; version=0.0.4`.
inline constexpr char const* prometheus_content_type
    = "text/plain; version=0.0.4; charset=utf-8";

/// Statistics of one scheduler, and what it is called where there are several.
struct named_stats {
    std::string name; ///< the value of the label `scheduler`
    scheduler_stats stats;
};

/// Writes statistics in Prometheus' text format.
/**
 * @par Example
 * @code
 * http::response<http::string_body> res;
 * res.set(http::field::content_type, spindle::prometheus_content_type);
 * std::ostringstream body;
 * spindle::write_prometheus(body, sched.stats());
 * res.body() = body.str();
 * @endcode
 *
 * Each metric begins with `spindle_`, and has its `HELP` and `TYPE`. What the processors
 * do comes with a label `processor`, so that Prometheus does the sums:
 * `sum(rate(spindle_steals_total[1m]))`. The latency is a histogram in seconds,
 * `histogram_quantile(0.99, rate(spindle_scheduling_latency_seconds_bucket[1m]))`; it is
 * left out while it was never measured.
 *
 * @par Exceptions
 * Those of the stream.
 */
SPINDLE_DECL void write_prometheus(std::ostream& os, scheduler_stats const& stats);

/// The same of several schedulers, each with a label `scheduler`.
/**
 * All in one call: the format wants every metric described once.
 */
SPINDLE_DECL void write_prometheus(std::ostream& os, std::span<named_stats const> all);

} // namespace spindle

#endif // SPINDLE_OBSERVE_PROMETHEUS_HPP
