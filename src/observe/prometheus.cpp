//
// observe/prometheus.cpp
// ~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/observe/prometheus.hpp>

#include <array>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace spindle {

namespace {

// What the histogram's buckets are cut to: of less than 128 ns nobody cares which, and
// 8.6 s is long enough. Their bounds stay the same, so that they can be added up.
constexpr std::size_t first_bucket = 7;
constexpr std::size_t last_bucket = 33;
static_assert(last_bucket + 1 < latency_histogram::bucket_count);

struct source {
    std::string label; // scheduler="...", or nothing
    scheduler_stats const& stats;
};

// In a label's value: backslash, quote and newline.
std::string escaped(std::string_view text)
{
    std::string out;
    for (auto const c : text) {
        if (c == '\\' || c == '"')
            out += '\\';
        if (c == '\n')
            out += "\\n";
        else
            out += c;
    }
    return out;
}

// Whatever locale the stream has.
std::string digits(double value)
{
    std::array<char, 32> text;
    auto const end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
    return {text.data(), end};
}

std::string label(std::string_view name, std::string_view value)
{
    return std::string(name).append("=\"").append(value).append(1, '"');
}

class writer {
public:
    writer(std::ostream& os, std::span<source const> all) : os_(os), all_(all) {}

    template <class Get>
    void gauge(std::string_view name, std::string_view help, Get get)
    {
        describe(name, help, "gauge");
        for (auto const& s : all_)
            sample(name, s.label, {}, get(s.stats));
    }

    template <class Get>
    void counter(std::string_view name, std::string_view help, Get get)
    {
        describe(name, help, "counter");
        for (auto const& s : all_)
            sample(name, s.label, {}, get(s.stats));
    }

    template <class Get>
    void gauge_by_processor(std::string_view name, std::string_view help, Get get)
    {
        describe(name, help, "gauge");
        by_processor(name, get);
    }

    template <class Get>
    void counter_by_processor(std::string_view name, std::string_view help, Get get)
    {
        describe(name, help, "counter");
        by_processor(name, get);
    }

    void states()
    {
        constexpr std::string_view name = "spindle_fibers";
        describe(name, "Fibers alive, by what they are doing.", "gauge");
        for (auto const& s : all_) {
            auto const& n = s.stats.states;
            sample(name, s.label, label("state", "created"), n.created);
            sample(name, s.label, label("state", "runnable"), n.runnable);
            sample(name, s.label, label("state", "running"), n.running);
            sample(name, s.label, label("state", "blocking"), n.blocking);
            sample(name, s.label, label("state", "waiting"), n.waiting);
        }
    }

    void latency()
    {
        constexpr std::string_view name = "spindle_scheduling_latency_seconds";
        auto described = false;
        for (auto const& s : all_) {
            auto const& h = s.stats.latency;
            if (!s.stats.measures_latency && h.count() == 0)
                continue;
            if (!std::exchange(described, true))
                describe(
                    name, "How long fibers that were ready have waited until they ran.",
                    "histogram");
            auto const bucket = std::string(name) + "_bucket";
            std::uint64_t n = 0;
            for (std::size_t i = 0; i <= last_bucket; ++i) {
                n += h.counts[i];
                if (i >= first_bucket)
                    sample(bucket, s.label, label("le", digits(seconds(h.bound(i)))), n);
            }
            n = h.count();
            sample(bucket, s.label, label("le", "+Inf"), n);
            line(std::string(name) + "_sum", s.label, {}, digits(seconds(h.total)));
            sample(std::string(name) + "_count", s.label, {}, n);
        }
    }

private:
    static double seconds(std::chrono::nanoseconds d)
    {
        return std::chrono::duration<double>(d).count();
    }

    void describe(std::string_view name, std::string_view help, std::string_view type)
    {
        os_ << "# HELP " << name << ' ' << help << "\n# TYPE " << name << ' ' << type << '\n';
    }

    template <class Get>
    void by_processor(std::string_view name, Get get)
    {
        for (auto const& s : all_)
            for (auto const& p : s.stats.by_processor)
                sample(
                    name, s.label, label("processor", std::to_string(p.id)),
                    static_cast<std::uint64_t>(get(p)));
    }

    void sample(
        std::string_view name, std::string_view label, std::string_view more, std::uint64_t value)
    {
        line(name, label, more, std::to_string(value));
    }

    void line(
        std::string_view name, std::string_view label, std::string_view more,
        std::string_view value)
    {
        os_ << name;
        if (!label.empty() || !more.empty())
            os_ << '{' << label << (label.empty() || more.empty() ? "" : ",") << more << '}';
        os_ << ' ' << value << '\n';
    }

    std::ostream& os_;
    std::span<source const> all_;
};

void write(std::ostream& os, std::span<source const> all)
{
    using s = scheduler_stats const&;
    using p = processor_stats const&;
    writer w(os, all);
    w.states();
    w.gauge(
        "spindle_fibers_kept", "Fibers of the process that are over, kept for the next ones.",
        [](s x) { return x.states.dead; });
    w.gauge(
        "spindle_processors", "Processors: how many fibers run at the same time.",
        [](s x) { return x.processors; });
    w.gauge(
        "spindle_processors_idle", "Processors that sleep.",
        [](s x) { return x.idle_processors; });
    w.gauge(
        "spindle_processors_searching", "Processors that look for work.",
        [](s x) { return x.searching_processors; });
    w.gauge("spindle_threads", "Threads that run processors, or rest.", [](s x) {
        return x.threads;
    });
    w.gauge("spindle_threads_spare", "Threads that rest.", [](s x) { return x.spare_threads; });
    w.gauge(
        "spindle_global_run_queue_length", "Fibers in the run queue that all processors share.",
        [](s x) { return x.queued_globally; });
    w.gauge_by_processor(
        "spindle_run_queue_length", "Fibers in a processor's run queue.",
        [](p x) { return x.queued; });
    w.counter("spindle_fibers_spawned_total", "Fibers started.", [](s x) { return x.spawned; });
    w.counter("spindle_fibers_finished_total", "Fibers that ended.", [](s x) {
        return x.finished;
    });
    w.counter_by_processor(
        "spindle_switches_total", "Times that a fiber was given a thread.",
        [](p x) { return x.switches; });
    w.counter_by_processor(
        "spindle_parks_total", "Times that a fiber waited.", [](p x) { return x.parks; });
    w.counter_by_processor(
        "spindle_steals_total", "Times that a processor took from another one.",
        [](p x) { return x.steals; });
    w.counter_by_processor(
        "spindle_stolen_fibers_total", "Fibers that were taken so.",
        [](p x) { return x.stolen; });
    w.counter_by_processor(
        "spindle_run_queue_overflows_total", "Times that a full run queue gave half away.",
        [](p x) { return x.overflows; });
    w.counter_by_processor(
        "spindle_global_takes_total", "Times that a processor took from the global queue.",
        [](p x) { return x.global_takes; });
    w.counter_by_processor(
        "spindle_polls_total", "Turns that Asio was given.", [](p x) { return x.polls; });
    w.counter_by_processor(
        "spindle_idles_total", "Times that a processor went to sleep.",
        [](p x) { return x.idles; });
    w.counter("spindle_wakes_total", "Processors woken for work.", [](s x) { return x.wakes; });
    w.counter(
        "spindle_handoffs_total", "Processors that a blocking call has lost.",
        [](s x) { return x.handoffs; });
    w.counter(
        "spindle_preemptions_total", "Processors that a hog has lost.",
        [](s x) { return x.preemptions; });
    w.latency();
}

} // namespace

void write_prometheus(std::ostream& os, scheduler_stats const& stats)
{
    source const one{{}, stats};
    write(os, {&one, 1});
}

void write_prometheus(std::ostream& os, std::span<named_stats const> all)
{
    std::vector<source> sources;
    for (auto const& n : all)
        sources.push_back({label("scheduler", escaped(n.name)), n.stats});
    write(os, sources);
}

} // namespace spindle
