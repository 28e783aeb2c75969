//
// observe/trace.cpp
// ~~~~~~~~~~~~~~~~~
// Traces of what is known to have happened, read by python3's json and looked through.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE observe.trace
#include <spindle/observe/trace.hpp>

#include <spindle/blocking.hpp>
#include <spindle/chan/channel.hpp>
#include <spindle/detail/observe/timeline.hpp>
#include <spindle/detail/sched/trace_log.hpp>
#include <spindle/go.hpp>
#include <spindle/pin.hpp>
#include <spindle/sync/wait_group.hpp>
#include <spindle/this_fiber.hpp>

#include <support/fixture.hpp>
#include <support/waiting.hpp>

#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/strand.hpp>
#include <boost/system/errc.hpp>
#include <boost/system/system_error.hpp>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include <unistd.h>

namespace asio = boost::asio;
namespace trace = spindle::trace;
using namespace std::chrono_literals;
using boost::system::system_error;
using spindle::detail::wait_reason;
using spindle_test::eventually;
using spindle_test::fibers_in;
using spindle_test::on_scheduler;
using spindle_test::processor_counts;

namespace {

// --- the reader ------------------------------------------------------------------------

// Usage: FILE WHAT...; each WHAT is "category/name" and must be there, or must not if it
// begins with "!". Says what is wrong with the file.
constexpr char reader[] = R"py(
import collections, json, sys

with open(sys.argv[1], encoding="utf-8") as f:
    whole = json.load(f)
events = whole["traceEvents"]
bad = []
spans = collections.defaultdict(list)
lines, named, groups = set(), set(), set()
seen = collections.Counter()
flows = collections.defaultdict(dict)
for e in events:
    at = e["pid"], e["tid"]
    if not all(isinstance(n, int) for n in at):
        bad.append(f"line {at}")
    if e["ph"] == "M":
        if e["name"] == "thread_name":
            named.add(at)
        if e["name"] == "process_name":
            groups.add(e["pid"])
        continue
    seen[e["cat"] + "/" + e["name"]] += 1
    if e["ts"] < 0:
        bad.append(f"before the start: {e}")
    if e["ph"] == "X":
        lines.add(at)
        if e["dur"] < 0:
            bad.append(f"ends before it begins: {e}")
        # in nanoseconds: whole numbers
        start = round(e["ts"] * 1000)
        spans[at].append((start, start + round(e["dur"] * 1000), e["name"]))
    elif e["ph"] == "i":
        lines.add(at)
    elif e["ph"] in "sf":
        if flows[e["id"]].setdefault(e["ph"], e) is not e:
            bad.append(f"twice: {e}")
    else:
        bad.append(f"unknown: {e}")

for at in sorted(lines - named):
    bad.append(f"a line without a name: {at}")
for group in {pid for pid, _ in lines} - groups:
    bad.append(f"a group without a name: {group}")

# On one line spans lie beside each other, or one in the other.
for at, all_of in spans.items():
    all_of.sort(key=lambda s: (s[0], -s[1]))
    above = []
    for start, end, name in all_of:
        while above and above[-1][1] <= start:
            above.pop()
        if above and end > above[-1][1]:
            bad.append(f"{name} overlaps {above[-1][2]} on {at}: {start} {end} {above[-1]}")
        above.append((start, end, name))

for id, pair in flows.items():
    if set(pair) != {"s", "f"}:
        bad.append(f"half a flow: {pair}")
        continue
    if pair["s"]["ts"] > pair["f"]["ts"]:
        bad.append(f"back in time: {pair}")
    for e in pair.values():
        t = round(e["ts"] * 1000)
        if not any(s <= t <= end for s, end, _ in spans[e["pid"], e["tid"]]):
            bad.append(f"a flow's end in no span: {e}")

for want in sys.argv[2:]:
    if want.startswith("!"):
        if seen[want[1:]]:
            bad.append(f"{want[1:]} is there")
    elif not seen[want]:
        bad.append(f"{want} is not there")
for b in bad[:20]:
    print(b, file=sys.stderr)
sys.exit(1 if bad else 0)
)py";

class trace_file {
public:
    trace_file()
        : path_(
            std::filesystem::temp_directory_path()
            / ("spindle_trace_" + std::to_string(::getpid()) + '_' + std::to_string(++made_)
               + ".json"))
    {
    }
    trace_file(trace_file const&) = delete;
    trace_file& operator=(trace_file const&) = delete;
    ~trace_file() { std::filesystem::remove(path_); }

    std::filesystem::path const& path() const { return path_; }

    std::string text() const
    {
        std::ifstream in(path_);
        return {std::istreambuf_iterator<char>(in), {}};
    }

    // Whether the reader is content.
    bool has(std::vector<std::string> const& what) const
    {
        auto command = "python3 - '" + path_.string() + '\'';
        for (auto const& w : what)
            command += " '" + w + '\'';
        auto* const python = ::popen(command.c_str(), "w");
        if (!python)
            return false;
        auto const written = std::fwrite(reader, 1, sizeof reader - 1, python);
        return ::pclose(python) == 0 && written == sizeof reader - 1;
    }

private:
    static inline int made_ = 0;
    std::filesystem::path path_;
};

spindle::scheduler& here() { return spindle::this_fiber::get_scheduler(); }

} // namespace

BOOST_AUTO_TEST_SUITE(a_trace)

BOOST_AUTO_TEST_CASE(shows_what_fibers_do)
{
    for (auto const n : processor_counts)
        BOOST_TEST_CONTEXT(n << " processors")
        {
            trace_file file;
            on_scheduler s(n);
            trace::start(file.path());
            BOOST_TEST(trace::is_recording());
            s.run([] {
                spindle::channel<int> ch;
                spindle::wait_group all;
                all.add(2);
                spindle::go({.name = "receiver of numbers"}, [&] {
                    while (ch.receive())
                        ;
                    all.done();
                });
                spindle::go({.name = "sleeper"}, [&] {
                    do
                        spindle::this_fiber::sleep_for(1ms);
                    while (fibers_in(wait_reason::wait_group) == 0);
                    all.done();
                });
                for (int i = 0; i != 100; ++i)
                    ch.send(i);
                while (fibers_in(wait_reason::receive) == 0)
                    spindle::this_fiber::sleep_for(100us);
                ch.close();
                all.wait();
                spindle::this_fiber::yield();
            });
            auto const sum = trace::stop();
            BOOST_TEST(!trace::is_recording());
            BOOST_TEST(sum.dropped == 0u);
            BOOST_TEST(sum.events > 300u);
            BOOST_TEST(sum.fibers == 3u);
            BOOST_TEST(sum.threads >= 1u);
            BOOST_TEST(file.has(
                {"run/receiver of numbers", "run/sleeper", "run/test", "fiber/running",
                 "fiber/runnable", "fiber/waiting: channel receive", "fiber/waiting: sleep",
                 "fiber/waiting: wait_group", "wake/ready", "poll/Asio", "!run/fiber"}));
        }
}

BOOST_AUTO_TEST_CASE(shows_calls_that_block_and_processors_that_move)
{
    trace_file file;
    on_scheduler s(1u);
    trace::start(file.path());
    s.run([] {
        std::atomic<bool> over{false};
        auto caller = spindle::spawn({.name = "caller"}, [&] {
            spindle::blocking([&] {
                while (!over.load())
                    std::this_thread::sleep_for(50us);
            });
        });
        auto const before = here().stats().handoffs;
        while (here().stats().handoffs == before)
            spindle::this_fiber::yield();
        over.store(true);
        caller.join();

        over.store(false);
        auto hog = spindle::spawn({.name = "hog"}, [&] {
            while (!over.load())
                ;
        });
        auto const hogs = here().stats().preemptions;
        while (here().stats().preemptions == hogs)
            spindle::this_fiber::yield();
        over.store(true);
        hog.join();
    });
    (void)trace::stop();
    BOOST_TEST(file.has(
        {"run/caller", "blocking/blocking call", "retake/handed off", "run/hog",
         "retake/taken from a hog", "retake/takes a processor", "fiber/in a blocking call"}));
}

BOOST_AUTO_TEST_CASE(shows_who_steals)
{
    trace_file file;
    on_scheduler s(spindle_test::without_rescue(4));
    trace::start(file.path());
    s.run([] {
        std::atomic<bool> ran{false};
        auto child = spindle::spawn([&] { ran.store(true); });
        while (!ran.load()) // this processor is busy: another one must take it
            std::this_thread::yield();
        child.join();
        BOOST_TEST(here().stats().steals != 0u);
    });
    (void)trace::stop();
    BOOST_TEST(file.has({"steal/steals"}));
}

BOOST_AUTO_TEST_CASE(shows_fibers_on_a_users_io_context)
{
    trace_file file;
    trace::start(file.path());
    asio::io_context ioc;
    spindle::spawn(
        ioc, {.name = "free"}, [] { spindle::this_fiber::sleep_for(1ms); }, asio::detached);
    auto const strand = asio::make_strand(ioc);
    for (int i = 0; i != 2; ++i)
        spindle::spawn(
            strand, {.name = "bound"},
            [] {
                for (int k = 0; k != 10; ++k)
                    spindle::this_fiber::yield();
                spindle::this_fiber::sleep_for(1ms);
            },
            asio::detached);
    std::vector<std::thread> threads;
    for (int i = 0; i != 2; ++i)
        threads.emplace_back([&] { ioc.run(); });
    for (auto& t : threads)
        t.join();
    auto const sum = trace::stop();
    BOOST_TEST(sum.fibers == 3u);
    BOOST_TEST(file.has({"run/free", "run/bound", "fiber/waiting: sleep"}));
}

BOOST_AUTO_TEST_CASE(shows_pinned_fibers)
{
    trace_file file;
    on_scheduler s(2u);
    trace::start(file.path());
    s.run([] {
        auto pinned = spindle::spawn({.name = "pinned"}, [] {
            spindle::pin const here;
            for (int i = 0; i != 5; ++i)
                spindle::this_fiber::sleep_for(100us);
        });
        pinned.join();
    });
    (void)trace::stop();
    BOOST_TEST(file.has({"run/pinned", "fiber/waiting: sleep"}));
}

BOOST_AUTO_TEST_CASE(keeps_the_newest_and_says_how_many_it_has_dropped)
{
    trace_file file;
    on_scheduler s(spindle_test::without_rescue(1));
    trace::start(file.path(), {.events_per_thread = 100}); // 128
    s.run([] {
        auto other = spindle::spawn({.name = "early"}, [] { spindle::this_fiber::yield(); });
        other.join();
        for (int i = 0; i != 1000; ++i)
            spindle::spawn([] {}).join();
        spindle::spawn({.name = "late"}, [] {}).join();
    });
    auto const sum = trace::stop();
    BOOST_TEST(sum.dropped > 1000u);
    BOOST_TEST(sum.events <= 128u * sum.threads);
    BOOST_TEST(file.has(
        {"run/late", "!run/early",
         "trace/" + std::to_string(sum.dropped) + " older events were dropped"}));
    BOOST_TEST(
        file.text().find("\"dropped events\":" + std::to_string(sum.dropped)) != std::string::npos);
}

BOOST_AUTO_TEST_CASE(is_valid_whatever_fibers_are_called)
{
    trace_file file;
    on_scheduler s(1u);
    {
        trace::recording const on(file.path());
        s.run([] {
            for (auto const* const name :
                 {"\"quoted\" \\ and \n\t\x01", "\xff\xfe no text", "caf\xc3\xa9 \xf0\x9f\x8d\xb0",
                  "cut at the 32nd byte, in a lett\xc3\xa9r", "\xed\xa0\x80 a surrogate",
                  "\xc0\x80 overlong", "</script>"})
                spindle::spawn({.name = name}, [] {}).join();
        });
    }
    BOOST_TEST(file.has(
        {"run/caf\xc3\xa9 \xf0\x9f\x8d\xb0", "run/?? no text", "run/</script>",
         "run/??? a surrogate", "run/cut at the 32nd byte, in a lett?"}));
}

BOOST_AUTO_TEST_CASE(gives_lines_to_some_fibers_only_where_they_are_many)
{
    trace_file file;
    on_scheduler s(2u);
    trace::start(file.path(), {.fiber_lines = 2});
    s.run([] {
        spindle::wait_group group;
        for (int i = 0; i != 100; ++i)
            group.go([] {});
        group.wait();
    });
    auto const sum = trace::stop();
    BOOST_TEST(sum.fibers == 101u);
    BOOST_TEST(file.has({"run/test"}));
    auto const text = file.text();
    auto const line = [&](int n) {
        return text.find("\"pid\":3000001,\"tid\":" + std::to_string(n) + ',') != text.npos;
    };
    BOOST_TEST(line(2));
    BOOST_TEST(!line(3));
}

// Each may be the first that is left.
BOOST_AUTO_TEST_CASE(may_begin_with_any_event)
{
    using spindle::detail::trace_kind;
    for (int kind = 0; kind <= static_cast<int>(trace_kind::woke); ++kind)
        BOOST_TEST_CONTEXT("event " << kind)
        {
            trace_file file;
            spindle::detail::trace_log::contents log;
            log.threads.push_back({.system_id = 7, .name = "M"});
            log.events.push_back(
                {.kind = static_cast<trace_kind>(kind), .processor = 1, .fiber = 1, .time = 5});
            std::ofstream out(file.path());
            BOOST_TEST(spindle::detail::write_timeline(out, log, 100).events == 1u);
            out.close();
            BOOST_TEST(file.has({}));
        }
}

BOOST_AUTO_TEST_CASE(begins_and_ends_while_fibers_run)
{
    for (auto const n : processor_counts) {
        on_scheduler s(n);
        std::atomic<bool> over{false};
        std::thread other([&] { // readies fibers, too
            while (!over.load())
                s.run([] { spindle::this_fiber::yield(); });
        });
        std::thread load([&] {
            s.run([&] {
                while (!over.load()) {
                    spindle::wait_group group;
                    for (int i = 0; i != 20; ++i)
                        group.go([] { spindle::this_fiber::yield(); });
                    group.wait();
                }
            });
        });
        for (int i = 0; i != 20; ++i) {
            trace_file file;
            trace::start(file.path(), {.events_per_thread = 1024});
            std::size_t const want = i % 4 == 0 ? 0 : 200;
            auto const start = s->stats().switches;
            while (s->stats().switches - start < want)
                std::this_thread::yield();
            auto const sum = trace::stop();
            BOOST_TEST((want == 0 || sum.events != 0));
            if (i % 5 == 0)
                BOOST_TEST(file.has({}));
        }
        over.store(true);
        other.join();
        load.join();
    }
}

BOOST_AUTO_TEST_CASE(leaves_nothing_behind)
{
    on_scheduler s(2u);
    auto& core = spindle::detail::core_of(*s);
    {
        trace_file file;
        trace::start(file.path());
        BOOST_TEST(core.traced());
        for (unsigned i = 0; i != 2; ++i) {
            BOOST_TEST(!core.at(i).unwatched.load());
            BOOST_TEST(core.at(i).may_go_on.load());
        }
        s->set_processors(3);
        BOOST_TEST(!core.at(2).unwatched.load());
        on_scheduler later(1u);
        BOOST_TEST(spindle::detail::core_of(*later).traced());
        (void)trace::stop();
        BOOST_TEST(!spindle::detail::core_of(*later).traced());
    }
    BOOST_TEST(core.watched() == 0u);
    for (unsigned i = 0; i != 3; ++i) {
        BOOST_TEST((core.at(i).unwatched.load() == &core));
        BOOST_TEST(!core.at(i).may_go_on.load());
        BOOST_TEST(core.at(i).slices.load() == spindle::detail::slices_in_a_row);
    }
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(recording)

BOOST_AUTO_TEST_CASE(says_why_it_cannot_begin)
{
    BOOST_CHECK_EXCEPTION(
        trace::start("/no/such/folder/trace.json"), system_error, [](auto const& e) {
            return e.code() == boost::system::errc::no_such_file_or_directory
                && std::string(e.what()).find("/no/such/folder/trace.json") != std::string::npos;
        });
    BOOST_TEST(!trace::is_recording());

    trace_file file, other;
    trace::start(file.path());
    BOOST_CHECK_EXCEPTION(trace::start(other.path()), system_error, [](auto const& e) {
        return e.code() == boost::system::errc::device_or_resource_busy;
    });
    BOOST_TEST(!std::filesystem::exists(other.path()));
    BOOST_TEST(trace::is_recording());
    (void)trace::stop();
    BOOST_TEST(file.has({})); // of nothing
    BOOST_CHECK_EXCEPTION(trace::stop(), system_error, [](auto const& e) {
        return e.code() == boost::system::errc::operation_not_permitted;
    });
}

BOOST_AUTO_TEST_CASE(says_that_it_could_not_write)
{
    if (!std::filesystem::exists("/dev/full"))
        return;
    trace::start("/dev/full");
    BOOST_CHECK_EXCEPTION(trace::stop(), system_error, [](auto const& e) {
        return e.code() == boost::system::errc::io_error;
    });
    BOOST_TEST(!trace::is_recording());
    { trace::recording const on("/dev/full"); } // says so, and goes on
    BOOST_TEST(!trace::is_recording());
}

BOOST_AUTO_TEST_CASE(ends_with_its_guard_or_before)
{
    trace_file file;
    {
        trace::recording const on(file.path());
        BOOST_TEST(trace::is_recording());
    }
    BOOST_TEST(!trace::is_recording());
    BOOST_TEST(file.has({}));
    {
        trace::recording on(file.path());
        (void)on.stop();
        BOOST_TEST(!trace::is_recording());
    }
}

BOOST_AUTO_TEST_SUITE_END()
