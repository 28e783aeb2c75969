//
// observe/prometheus.cpp
// ~~~~~~~~~~~~~~~~~~~~~~
// What is written is taken apart again by the rules of the text format.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE observe.prometheus
#include <spindle/observe/prometheus.hpp>

#include <support/fixture.hpp>

#include <array>
#include <cmath>
#include <cstdlib>
#include <locale>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using spindle::named_stats;
using spindle::scheduler_stats;

// --- a reader that forgives nothing ------------------------------------------------------

struct sample {
    std::string name;
    std::map<std::string, std::string> labels;
    double value = 0;
};

struct family {
    std::string type;
    std::vector<sample> samples;
};

[[noreturn]] void wrong(std::string const& line, std::string const& what)
{
    throw std::runtime_error(what + ": " + line);
}

std::string family_of(std::string const& name, std::map<std::string, family> const& known)
{
    if (known.count(name))
        return name;
    for (std::string const suffix : {"_bucket", "_sum", "_count"})
        if (name.ends_with(suffix)) {
            auto const base = name.substr(0, name.size() - suffix.size());
            if (auto const f = known.find(base);
                f != known.end() && f->second.type == "histogram")
                return base;
        }
    return {};
}

void check_histogram(std::string const& name, family const& f)
{
    struct series {
        double last_bound = -1, last_value = -1, infinite = -1, count = -1, sum = -1;
    };
    std::map<std::string, series> all;
    for (auto const& s : f.samples) {
        auto others = s.labels;
        others.erase("le");
        std::string key;
        for (auto const& [k, v] : others)
            key += k + '=' + v + ';';
        auto& one = all[key];
        if (s.name == name + "_bucket") {
            auto const le = s.labels.at("le");
            auto const bound = le == "+Inf" ? INFINITY : std::stod(le);
            if (bound <= one.last_bound || s.value < one.last_value)
                wrong(name, "buckets do not grow");
            one.last_bound = bound;
            one.last_value = s.value;
            if (le == "+Inf")
                one.infinite = s.value;
        } else if (s.name == name + "_sum") {
            one.sum = s.value;
        } else if (s.name == name + "_count") {
            one.count = s.value;
        } else {
            wrong(name, "a plain sample in a histogram");
        }
    }
    for (auto const& [key, one] : all)
        if (one.infinite < 0 || one.infinite != one.count || one.sum < 0)
            wrong(name, "+Inf, _count and _sum do not agree");
}

std::map<std::string, family> parse(std::string const& text)
{
    static std::regex const help(R"(# HELP ([a-z_:][a-z0-9_:]*) (\S.*\S))");
    static std::regex const type(R"(# TYPE ([a-z_:][a-z0-9_:]*) (counter|gauge|histogram))");
    static std::regex const line_form(
        R"re(([a-z_:][a-z0-9_:]*)(?:\{(.*)\})? ([0-9.eE+-]+|\+Inf))re");
    static std::regex const label(R"re(([a-z_][a-z0-9_]*)="((?:[^"\\]|\\["\\n])*)"(,|$))re");

    std::map<std::string, family> families;
    std::set<std::string> seen;
    std::string current, helped;
    if (text.empty() || text.back() != '\n')
        wrong(text, "does not end in a newline");
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) {
        std::smatch m;
        if (std::regex_match(line, m, help)) {
            if (families.count(m[1]))
                wrong(line, "described twice");
            helped = m[1];
        } else if (std::regex_match(line, m, type)) {
            if (m[1] != helped)
                wrong(line, "TYPE without its HELP");
            current = m[1];
            families[current].type = m[2];
            if ((m[2] == "counter") != current.ends_with("_total"))
                wrong(line, "counters, and they alone, end in _total");
        } else if (std::regex_match(line, m, line_form)) {
            if (family_of(m[1], families) != current)
                wrong(line, "not below its own TYPE");
            sample s{m[1], {}, std::stod(m[3])};
            std::string const labels = m[2];
            auto at = labels.cbegin();
            for (std::smatch l; at != labels.cend(); at = l[0].second) {
                if (!std::regex_search(
                        at, labels.cend(), l, label, std::regex_constants::match_continuous))
                    wrong(line, "bad labels");
                if (!s.labels.emplace(l[1], l[2]).second)
                    wrong(line, "the same label twice");
            }
            if (!seen.insert(std::string(m[1]) + '{' + labels + '}').second)
                wrong(line, "the same sample twice");
            families[current].samples.push_back(s);
        } else {
            wrong(line, "not a line of the format");
        }
    }
    for (auto const& [name, f] : families) {
        if (f.samples.empty())
            wrong(name, "described, and without a sample");
        if (f.type == "histogram")
            check_histogram(name, f);
    }
    return families;
}

std::string text_of(scheduler_stats const& s)
{
    std::ostringstream os;
    spindle::write_prometheus(os, s);
    return os.str();
}

double value(
    std::map<std::string, family> const& all, std::string const& of, std::string const& name,
    std::map<std::string, std::string> const& labels)
{
    for (auto const& s : all.at(of).samples)
        if (s.name == name && s.labels == labels)
            return s.value;
    throw std::runtime_error("no such sample of " + name);
}

scheduler_stats some_stats()
{
    scheduler_stats s;
    s.states = {1, 2, 3, 4, 5, 6};
    s.processors = 2;
    s.threads = 7;
    s.handoffs = 8;
    s.by_processor.resize(2);
    s.by_processor[1].id = 1;
    s.by_processor[1].steals = 9;
    s.measures_latency = true;
    s.latency.counts[3] = 10;  // less than 8 ns
    s.latency.counts[7] = 20;  // less than 128 ns
    s.latency.counts[20] = 30; // about a millisecond
    s.latency.counts[35] = 40; // beyond the last bound
    s.latency.total = std::chrono::milliseconds(1500);
    return s;
}

} // namespace

BOOST_AUTO_TEST_SUITE(prometheus)

BOOST_AUTO_TEST_CASE(reads_what_is_written)
{
    auto const all = parse(text_of(some_stats()));
    BOOST_TEST(value(all, "spindle_fibers", "spindle_fibers", {{"state", "created"}}) == 1);
    BOOST_TEST(value(all, "spindle_fibers", "spindle_fibers", {{"state", "waiting"}}) == 5);
    BOOST_TEST(value(all, "spindle_fibers_kept", "spindle_fibers_kept", {}) == 6);
    BOOST_TEST(value(all, "spindle_threads", "spindle_threads", {}) == 7);
    BOOST_TEST(value(all, "spindle_handoffs_total", "spindle_handoffs_total", {}) == 8);
    BOOST_TEST(
        value(all, "spindle_steals_total", "spindle_steals_total", {{"processor", "1"}}) == 9);
}

BOOST_AUTO_TEST_CASE(gets_a_cumulative_histogram_in_seconds)
{
    auto const all = parse(text_of(some_stats()));
    std::string const name = "spindle_scheduling_latency_seconds";
    BOOST_TEST(value(all, name, name + "_bucket", {{"le", "1.28e-07"}}) == 30);
    BOOST_TEST(value(all, name, name + "_bucket", {{"le", "0.001048576"}}) == 60);
    BOOST_TEST(value(all, name, name + "_bucket", {{"le", "8.589934592"}}) == 60);
    BOOST_TEST(value(all, name, name + "_bucket", {{"le", "+Inf"}}) == 100);
    BOOST_TEST(value(all, name, name + "_count", {}) == 100);
    BOOST_TEST(value(all, name, name + "_sum", {}) == 1.5);
}

BOOST_AUTO_TEST_CASE(gets_no_histogram_where_nothing_was_measured)
{
    scheduler_stats s;
    s.by_processor.resize(1);
    BOOST_TEST(parse(text_of(s)).count("spindle_scheduling_latency_seconds") == 0u);
    s.measures_latency = true;
    BOOST_TEST(parse(text_of(s)).count("spindle_scheduling_latency_seconds") == 1u);
}

BOOST_AUTO_TEST_CASE(gets_several_schedulers_in_one_text)
{
    std::array<named_stats, 2> const two{
        {{"main", some_stats()}, {"a \"guest\"\\\n", some_stats()}}};
    std::ostringstream os;
    spindle::write_prometheus(os, two);
    auto const all = parse(os.str());
    BOOST_TEST(
        value(all, "spindle_threads", "spindle_threads", {{"scheduler", "main"}}) == 7);
    BOOST_TEST(
        value(
            all, "spindle_steals_total", "spindle_steals_total",
            {{"scheduler", R"(a \"guest\"\\\n)"}, {"processor", "1"}}) == 9);
}

// A locale with thousands separators must not put them in here.
BOOST_AUTO_TEST_CASE(gets_plain_digits_in_every_locale)
{
    struct grouping : std::numpunct<char> {
        char do_thousands_sep() const override { return '.'; }
        std::string do_grouping() const override { return "\3"; }
    };
    std::ostringstream os;
    os.imbue(std::locale(std::locale::classic(), new grouping));
    auto s = some_stats();
    s.handoffs = 1'234'567;
    spindle::write_prometheus(os, s);
    BOOST_TEST(
        value(parse(os.str()), "spindle_handoffs_total", "spindle_handoffs_total", {})
        == 1'234'567);
}

BOOST_AUTO_TEST_CASE(reads_a_scheduler_at_work)
{
    for (auto const n : spindle_test::processor_counts) {
        spindle_test::on_scheduler s(
            spindle::scheduler_options{.processors = n, .measure_latency = true});
        s.run([&] {
            for (int i = 0; i != 100; ++i)
                spindle::spawn([] {}).join();
            auto const all = parse(text_of(s->stats()));
            BOOST_TEST(all.at("spindle_switches_total").samples.size() == n);
            BOOST_TEST(value(all, "spindle_fibers", "spindle_fibers", {{"state", "running"}}) >= 1);
            BOOST_TEST(
                value(
                    all, "spindle_scheduling_latency_seconds",
                    "spindle_scheduling_latency_seconds_count", {})
                >= 100);
        });
    }
}

BOOST_AUTO_TEST_SUITE_END()
