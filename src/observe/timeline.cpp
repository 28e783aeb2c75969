//
// observe/timeline.cpp
// ~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/observe/timeline.hpp>

#include <spindle/detail/fiber/record.hpp>
#include <spindle/detail/fiber/wait_reason.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace spindle::detail {

namespace {

// Groups of lines, in this order. Those of processors have numbers from here on, one
// for each scheduler.
constexpr unsigned fibers_group = 3'000'001;
constexpr unsigned threads_group = 3'000'000;

// A string of JSON's. What is no UTF-8 (a name cut in the middle of a letter, say) is
// replaced.
std::string quoted(std::string_view text)
{
    std::string out = "\"";
    for (std::size_t i = 0; i < text.size();) {
        auto const c = static_cast<unsigned char>(text[i]);
        if (c < 0x80) {
            if (c == '"' || c == '\\') {
                out += '\\';
                out += static_cast<char>(c);
            } else if (c < 0x20 || c == 0x7f) {
                char code[8];
                std::snprintf(code, sizeof code, "\\u%04x", unsigned{c});
                out += code;
            } else {
                out += static_cast<char>(c);
            }
            ++i;
            continue;
        }
        auto const length = c >= 0xc2 && c < 0xe0 ? 2u : c >= 0xe0 && c < 0xf0 ? 3u
            : c >= 0xf0 && c < 0xf5                                             ? 4u
                                                                                : 0u;
        auto whole = length != 0 && i + length <= text.size();
        for (std::size_t k = 1; whole && k != length; ++k)
            whole = (static_cast<unsigned char>(text[i + k]) & 0xc0) == 0x80;
        if (whole && length > 2) { // neither overlong, nor a surrogate, nor beyond the last
            auto const next = static_cast<unsigned char>(text[i + 1]);
            whole = !((c == 0xe0 && next < 0xa0) || (c == 0xed && next >= 0xa0)
                      || (c == 0xf0 && next < 0x90) || (c == 0xf4 && next >= 0x90));
        }
        if (whole)
            out.append(text, i, length);
        else
            out += '?';
        i += whole ? length : 1;
    }
    out += '"';
    return out;
}

std::string numbered(std::string_view text, std::uint64_t n)
{
    return std::string(text).append(std::to_string(n));
}

// Members of an object.
class members {
public:
    members& add(std::string_view key, std::string_view text)
    {
        return put(key, quoted(text));
    }
    members& add(std::string_view key, std::uint64_t number)
    {
        return put(key, std::to_string(number));
    }
    std::string object() const { return std::string("{").append(text_).append("}"); }
    bool empty() const { return text_.empty(); }

private:
    members& put(std::string_view key, std::string_view value)
    {
        if (!text_.empty())
            text_ += ',';
        text_ += quoted(key);
        text_ += ':';
        text_ += value;
        return *this;
    }

    std::string text_;
};

struct line {
    unsigned group = 0;
    std::uint64_t number = 0;
};

// Writes one event after another.
class event_writer {
public:
    event_writer(std::ostream& os, std::uint64_t zero) : os_(os), zero_(zero) {}

    void span(
        line at, std::uint64_t from, std::uint64_t to, std::string_view name,
        std::string_view category, members const& args = {})
    {
        begin("X", name, category, at, from);
        os_ << ",\"dur\":" << microseconds(to - std::min(from, to));
        end(args);
    }

    void instant(
        line at, std::uint64_t when, std::string_view name, std::string_view category,
        members const& args = {})
    {
        begin("i", name, category, at, when);
        os_ << ",\"s\":\"t\"";
        end(args);
    }

    // From the span that is there to the span that begins there.
    void flow(line from, std::uint64_t start, line to, std::uint64_t stop)
    {
        auto const id = ++flows_;
        begin("s", "ready", "wake", from, start);
        os_ << ",\"id\":" << id;
        end({});
        begin("f", "ready", "wake", to, stop);
        os_ << ",\"id\":" << id << ",\"bp\":\"e\"";
        end({});
    }

    void describe(line at, std::string_view what, members const& args)
    {
        separate();
        os_ << "{\"ph\":\"M\",\"name\":" << quoted(what) << ",\"pid\":" << at.group
            << ",\"tid\":" << at.number << ",\"args\":" << args.object() << '}';
    }

private:
    // Nanoseconds are their decimals.
    static std::string microseconds(std::uint64_t ns)
    {
        char text[40];
        std::snprintf(
            text, sizeof text, "%llu.%03u", static_cast<unsigned long long>(ns / 1000),
            static_cast<unsigned>(ns % 1000));
        return text;
    }

    void separate()
    {
        os_ << (first_ ? "\n" : ",\n");
        first_ = false;
    }

    void begin(
        std::string_view phase, std::string_view name, std::string_view category, line at,
        std::uint64_t when)
    {
        separate();
        os_ << "{\"ph\":\"" << phase << "\",\"name\":" << quoted(name) << ",\"cat\":\""
            << category << "\",\"pid\":" << at.group << ",\"tid\":" << at.number
            << ",\"ts\":" << microseconds(when - std::min(zero_, when));
    }

    void end(members const& args)
    {
        if (!args.empty())
            os_ << ",\"args\":" << args.object();
        os_ << '}';
    }

    std::ostream& os_;
    std::uint64_t const zero_;
    std::uint64_t flows_ = 0;
    bool first_ = true;
};

// One event after another, in the order of their times. A span is written when it ends.
// Ends may be missing, and beginnings: whatever begins on a line ends what is there.
class timeline {
public:
    timeline(event_writer& out, std::size_t fiber_lines) : out_(out), fiber_lines_(fiber_lines)
    {
    }

    // First of all events.
    void note_name(trace_event const& e)
    {
        auto& f = fibers_[e.fiber];
        switch (e.kind) {
        case trace_kind::created:
            f.site = e.value;
            break;
        case trace_kind::name:
            f.letters[e.detail % f.letters.size()] = e.value;
            break;
        case trace_kind::begin:
            f.letters[0] = e.value;
            break;
        default:
            break;
        }
    }

    void take(trace_event const& e);
    void finish(trace_log::contents const& log, std::uint64_t end);

    std::size_t fibers() const { return fibers_.size(); }

private:
    struct open_span {
        std::string name;
        char const* category;
        std::uint64_t since;
        std::uint64_t fiber; // 0: Asio's turn, or sleep
        std::uint32_t processor;
        unsigned thread;
    };

    struct fiber {
        std::array<std::uint64_t, 4> letters{}; // of its name
        std::uint64_t site = 0;
        std::size_t line = 0; // 0: none yet
        std::string now; // what it does; empty: nothing that is known
        std::uint64_t since = 0;
        std::optional<std::pair<std::uint64_t, unsigned>> woken; // when, on which thread
    };

    static line on_thread(unsigned t) { return {threads_group, t + 1}; }
    static line on_processor(std::uint32_t p)
    {
        return {(p >> 11) + 1, std::uint64_t{p & 0x7ff} + 1};
    }

    // What happened to a processor, which need not have run anything since the trace began.
    void note_on_processor(
        trace_event const& e, std::string_view what, std::string_view category,
        members const& args = {})
    {
        processors_.try_emplace(e.processor);
        out_.instant(on_processor(e.processor), e.time, what, category, args);
    }

    std::string name_of(std::uint64_t id, fiber const& f) const
    {
        std::string name(sizeof f.letters, '\0');
        std::memcpy(name.data(), f.letters.data(), sizeof f.letters);
        name.resize(std::strlen(name.c_str()));
        if (name.empty())
            name = numbered("fiber ", id >> 32).append(numbered(".", id & 0xffff'ffff));
        return name;
    }

    std::string const& describe(std::uint64_t site)
    {
        auto& text = sites_[site];
        if (text.empty())
            text = describe_site(reinterpret_cast<void const*>(site));
        return text;
    }

    void close(std::optional<open_span>& span, line at, std::uint64_t when, members args = {})
    {
        if (!span)
            return;
        if (span->fiber != 0)
            args.add("fiber", name_of(span->fiber, fibers_[span->fiber]));
        out_.span(at, span->since, when, span->name, span->category, args);
        span.reset();
    }

    void close_processor(std::uint32_t p, std::uint64_t when, members args = {})
    {
        if (auto const s = processors_.find(p); s != processors_.end())
            close(s->second, on_processor(p), when, std::move(args));
    }

    void open_on_processor(open_span span)
    {
        if (span.processor == no_processor)
            return;
        close_processor(span.processor, span.since);
        processors_[span.processor] = std::move(span);
    }

    void open(open_span span)
    {
        auto& here = threads_[span.thread];
        close(here, on_thread(span.thread), span.since);
        here = span;
        open_on_processor(std::move(span));
    }

    // What `e` ends, if it is still there.
    void close_of(trace_event const& e, members const& args = {})
    {
        if (auto& here = threads_[e.thread]; here && here->fiber == e.fiber) {
            if (auto const p = processors_.find(here->processor); p != processors_.end()
                && p->second && p->second->thread == e.thread)
                close(p->second, on_processor(p->first), e.time, args);
            close(here, on_thread(e.thread), e.time, args);
        }
    }

    // The fiber does something else from now on.
    void turn(fiber& f, std::uint64_t when, std::string what)
    {
        if (f.line == 0 && lines_ < fiber_lines_)
            f.line = ++lines_;
        if (f.line != 0 && !f.now.empty())
            out_.span({fibers_group, f.line}, f.since, when, f.now, "fiber");
        f.now = std::move(what);
        f.since = when;
    }

    void take_ready(trace_event const& e);
    void take_begin(trace_event const& e);
    void take_end(trace_event const& e);

    event_writer& out_;
    std::size_t const fiber_lines_;
    std::size_t lines_ = 0;
    std::unordered_map<std::uint64_t, fiber> fibers_;
    std::map<unsigned, std::optional<open_span>> threads_;
    std::map<unsigned, std::pair<std::uint64_t, std::uint64_t>> blocking_; // since, fiber
    std::map<std::uint32_t, std::optional<open_span>> processors_;
    std::map<std::uint64_t, std::string> sites_;
};

void timeline::take_ready(trace_event const& e)
{
    auto& f = fibers_[e.fiber];
    if (static_cast<trace_waker>(e.detail) == trace_waker::itself)
        close_of(e);
    turn(f, e.time, "runnable");
    f.woken.reset();
    if (auto const by = static_cast<trace_waker>(e.detail);
        (by == trace_waker::fiber || by == trace_waker::handler) && threads_[e.thread])
        f.woken.emplace(e.time, e.thread);
}

void timeline::take_begin(trace_event const& e)
{
    auto& f = fibers_[e.fiber];
    open({name_of(e.fiber, f), "run", e.time, e.fiber, e.processor, e.thread});
    if (auto const w = std::exchange(f.woken, std::nullopt))
        out_.flow(on_thread(w->second), w->first, on_thread(e.thread), e.time);
    turn(f, e.time, "running");
}

void timeline::take_end(trace_event const& e)
{
    std::string why, then;
    if (e.detail == trace_end_yielded) {
        why = "yields";
        then = "runnable";
    } else if (e.detail == trace_end_over) {
        why = "is over";
    } else {
        auto const* const what = to_string(static_cast<wait_reason>(e.detail));
        why = std::string("waits: ") + what;
        then = std::string("waiting: ") + what;
    }
    close_of(e, members().add("then", why));
    turn(fibers_[e.fiber], e.time, then);
}

void timeline::take(trace_event const& e)
{
    switch (e.kind) {
    case trace_kind::created:
    case trace_kind::name:
        break;
    case trace_kind::ready:
        take_ready(e);
        break;
    case trace_kind::begin:
        take_begin(e);
        break;
    case trace_kind::end:
        take_end(e);
        break;
    case trace_kind::block:
        blocking_[e.thread] = {e.time, e.fiber};
        turn(fibers_[e.fiber], e.time, "in a blocking call");
        break;
    case trace_kind::unblock:
        if (auto const b = blocking_.find(e.thread); b != blocking_.end()) {
            out_.span(
                on_thread(e.thread), b->second.first, e.time, "blocking call", "blocking");
            blocking_.erase(b);
        }
        turn(fibers_[e.fiber], e.time, "running");
        break;
    case trace_kind::steal:
        note_on_processor(
            e, "steals", "steal",
            members()
                .add("from processor", e.value >> 32)
                .add("fibers", e.value & 0xffff'ffff));
        break;
    case trace_kind::handoff:
    case trace_kind::preempt: {
        auto const* const what
            = e.kind == trace_kind::handoff ? "handed off" : "taken from a hog";
        close_processor(e.processor, e.time, members().add("then", what));
        note_on_processor(e, what, "retake");
        break;
    }
    case trace_kind::take:
        close(threads_[e.thread], on_thread(e.thread), e.time);
        out_.instant(
            on_thread(e.thread), e.time, "takes a processor", "retake",
            members().add("processor", e.processor & 0x7ff));
        break;
    case trace_kind::poll:
        open({"Asio", "poll", e.time, 0, e.processor, e.thread});
        break;
    case trace_kind::sleep:
        open({"sleep", "sleep", e.time, 0, e.processor, e.thread});
        break;
    case trace_kind::polled:
    case trace_kind::woke:
        close_of(e);
        break;
    }
}

void timeline::finish(trace_log::contents const& log, std::uint64_t end)
{
    for (auto& [p, span] : processors_)
        close(span, on_processor(p), end);
    for (auto& [t, span] : threads_)
        close(span, on_thread(t), end);
    for (auto const& [t, b] : blocking_)
        out_.span(on_thread(t), b.first, end, "blocking call", "blocking");

    for (auto& [id, f] : fibers_) {
        if (!f.now.empty())
            turn(f, end, {});
        if (f.line == 0)
            continue;
        auto const at = line{fibers_group, f.line};
        auto name = name_of(id, f);
        if (f.site != 0)
            name += ", " + describe(f.site);
        out_.describe(at, "thread_name", members().add("name", name));
        out_.describe(at, "thread_sort_index", members().add("sort_index", f.line));
    }
    unsigned named = 0;
    for (auto const& [p, span] : processors_) {
        auto const at = on_processor(p);
        if (std::exchange(named, at.group) != at.group) {
            auto const text = numbered("scheduler ", p >> 11).append(": processors");
            out_.describe({at.group, 0}, "process_name", members().add("name", text));
            out_.describe(
                {at.group, 0}, "process_sort_index", members().add("sort_index", at.group));
        }
        out_.describe(
            at, "thread_name", members().add("name", numbered("P", p & 0x7ff)));
        out_.describe(at, "thread_sort_index", members().add("sort_index", at.number));
    }
    auto const groups = {std::pair{threads_group, "threads"}, std::pair{fibers_group, "fibers"}};
    for (auto const& [group, text] : groups) {
        out_.describe({group, 0}, "process_name", members().add("name", text));
        out_.describe({group, 0}, "process_sort_index", members().add("sort_index", group));
    }
    for (std::size_t i = 0; i != log.threads.size(); ++i) {
        auto const at = on_thread(static_cast<unsigned>(i));
        auto const& t = log.threads[i];
        auto const text = numbered("M", i)
                              .append(" (")
                              .append(t.name)
                              .append(numbered(" ", t.system_id))
                              .append(")");
        out_.describe(at, "thread_name", members().add("name", text));
        out_.describe(at, "thread_sort_index", members().add("sort_index", at.number));
    }
}

} // namespace

trace::summary write_timeline(
    std::ostream& os, trace_log::contents const& log, std::size_t fiber_lines)
{
    auto const zero = log.events.empty() ? 0 : log.events.front().time;
    auto const end = log.events.empty() ? 0 : log.events.back().time;
    event_writer out(os, zero);
    timeline lines(out, fiber_lines);
    os << "{\"displayTimeUnit\":\"ns\",\"otherData\":"
       << members()
              .add("recorded by", "spindle")
              .add("events", log.events.size())
              .add("dropped events", log.lost)
              .object()
       << ",\"traceEvents\":[";
    for (auto const& e : log.events)
        if (e.fiber != 0)
            lines.note_name(e);
    for (auto const& e : log.events)
        lines.take(e);
    if (log.lost != 0)
        out.instant(
            {threads_group, 1}, zero, std::to_string(log.lost) + " older events were dropped",
            "trace");
    lines.finish(log, end);
    os << "\n]}\n";
    return {log.events.size(), log.lost, log.threads.size(), lines.fibers()};
}

} // namespace spindle::detail
