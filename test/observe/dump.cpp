//
// observe/dump.cpp
// ~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE observe.dump
#include <spindle.hpp>
#include <spindle/observe/dump.hpp>
#include <support/asio_fixture.hpp>
#include <support/waiting.hpp>

#include <spindle/detail/fiber/saved_registers.hpp>

#include <boost/asio/detached.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/fiber/all.hpp>
#include <boost/test/unit_test.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <mutex>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

using namespace spindle_test;
using namespace std::chrono_literals;
using spindle::detail::wait_reason;
namespace this_fiber = spindle::this_fiber;

namespace {

bool has_stacks() { return spindle::detail::why_no_stacks() == nullptr; }

// The paragraph of the dump that has that text; empty: none.
std::string paragraph(std::string const& dump, std::string_view text)
{
    auto const at = dump.find(text);
    if (at == std::string::npos)
        return {};
    auto const before = dump.rfind("\n\n", at);
    auto const begin = before == std::string::npos ? 0 : before + 2;
    auto const after = dump.find("\n\n", at);
    return dump.substr(begin, after == std::string::npos ? after : after - begin);
}

bool says(std::string const& text, std::string_view what)
{
    return text.find(what) != std::string::npos;
}

// Up to a comma or the end of the line.
std::string word_after(std::string const& text, std::string_view what)
{
    auto const at = text.find(what);
    if (at == std::string::npos)
        return {};
    auto const begin = at + what.size();
    return text.substr(begin, text.find_first_of(",\n", begin) - begin);
}

std::size_t count(std::string_view text, std::string_view what)
{
    std::size_t n = 0;
    for (auto at = text.find(what); at != text.npos; at = text.find(what, at + 1))
        ++n;
    return n;
}

} // namespace

// Functions with names to look for; each waits in a way of its own.
namespace wait_by {

[[gnu::noinline]] bool receiving(spindle::channel<int>& ch)
{
    auto const has = ch.receive().has_value();
    asm volatile("");
    return has;
}

[[gnu::noinline]] void sending(spindle::channel<int>& ch)
{
    ch.send(1);
    asm volatile("");
}

[[gnu::noinline]] void locking(spindle::mutex& m)
{
    std::lock_guard guard(m);
    asm volatile("");
}

[[gnu::noinline]] void sleeping(std::chrono::steady_clock::duration d)
{
    this_fiber::sleep_for(d);
    asm volatile("");
}

[[gnu::noinline]] void selecting(spindle::channel<int>& in, spindle::channel<int>& out)
{
    spindle::select(
        spindle::on_timeout(1h),
        spindle::on_receive(in),
        spindle::on_send(out, 1),
        spindle::on_receive(spindle::receive_channel<int>()));
    asm volatile("");
}

[[gnu::noinline]] void selecting_at_run_time(spindle::channel<int>& in, std::size_t times)
{
    std::vector<spindle::select_case> cases;
    for (std::size_t i = 0; i != times; ++i)
        cases.emplace_back(spindle::on_receive(in));
    spindle::select(cases);
    asm volatile("");
}

[[gnu::noinline]] std::string looking()
{
    auto text = spindle::dump_string();
    asm volatile("");
    return text;
}

[[gnu::noinline]] void recursing(int depth, spindle::channel<int>& ch)
{
    if (depth == 0)
        receiving(ch);
    else
        recursing(depth - 1, ch);
    asm volatile("");
}

} // namespace wait_by

BOOST_AUTO_TEST_SUITE(dump)

BOOST_AUTO_TEST_CASE(what_each_fiber_waits_for_is_said_with_the_object_and_the_spawn_site)
{
    over_processors([] {
        spindle::channel<int> in, out;
        spindle::mutex m;
        std::unique_lock mine(m);
        spindle::task_group group;
        group.spawn([&] { wait_by::receiving(in); });
        group.spawn([&] { wait_by::sending(out); });
        group.spawn([&] { wait_by::locking(m); });
        auto sleeper = spindle::spawn({.name = "sleeper"}, [] { wait_by::sleeping(1h); });
        BOOST_TEST(until([] {
            return fibers_in(wait_reason::receive) == 1 && fibers_in(wait_reason::send) == 1 &&
                   fibers_in(wait_reason::mutex) == 1 && fibers_in(wait_reason::sleep) == 1;
        }));

        auto const text = spindle::dump_string();
        BOOST_TEST_CONTEXT(text)
        {
            BOOST_TEST(says(text, "spindle: 5 fibers: 1 running, 0 runnable, 4 waiting"));
            BOOST_TEST(says(text, "waiting: channel receive, channel 0x"));
            BOOST_TEST(says(text, "waiting: channel send, channel 0x"));
            BOOST_TEST(says(text, "waiting: mutex lock, mutex 0x"));
            auto const slept = paragraph(text, "\"sleeper\"");
            BOOST_TEST(says(slept, "waiting: sleep, for "));
            BOOST_TEST(says(slept, "spawned from "));
            auto const mine_says = paragraph(text, "\"test\", running");
            BOOST_TEST(says(mine_says, "on thread "));
            if (has_stacks()) {
                BOOST_TEST(says(paragraph(text, "receive"), "wait_by::receiving"));
                BOOST_TEST(says(paragraph(text, "send,"), "wait_by::sending"));
                BOOST_TEST(says(paragraph(text, "mutex lock"), "wait_by::locking"));
                BOOST_TEST(says(slept, "wait_by::sleeping"));
                BOOST_TEST(!says(text, "boost::context::"));
            } else {
                BOOST_TEST(says(text, "(no call stacks: "));
            }
        }
        mine.unlock();
        in.close();
        BOOST_TEST(out.receive().has_value());
        sleeper.request_stop();
        group.wait();
    });
}

BOOST_AUTO_TEST_CASE(fibers_in_the_same_place_are_counted_together)
{
    over_processors([] {
        spindle::channel<int> ch;
        spindle::task_group group;
        constexpr std::size_t crowd = 30;
        for (std::size_t i = 0; i != crowd; ++i)
            group.spawn([&] { wait_by::recursing(3, ch); });
        group.spawn([&] { wait_by::recursing(5, ch); });
        BOOST_TEST(until([] { return fibers_in(wait_reason::receive) == crowd + 1; }));

        auto const text = spindle::dump_string({.listed = 4});
        BOOST_TEST_CONTEXT(text)
        {
            if (has_stacks()) {
                auto const together = paragraph(text, "30 fibers, waiting: channel receive");
                BOOST_TEST(count(together, "\n  fiber ") == 4u);
                BOOST_TEST(says(together, "  and 26 more\n"));
                BOOST_TEST(count(together, "wait_by::recursing") == 4u);
                BOOST_TEST(count(text, "wait_by::recursing") == 4u + 6u);
            }
            auto const bare = spindle::dump_string({.stacks = false});
            BOOST_TEST(!says(bare, "wait_by::recursing"));
            auto const all = spindle::dump_string({.all_frames = true});
            if (has_stacks())
                BOOST_TEST(says(all, "boost::context::"));
        }
        ch.close();
        group.wait();
    });
}

BOOST_AUTO_TEST_CASE(who_spawned_a_fiber_is_said_once_that_is_asked_for)
{
    over_processors([] {
        spindle::remember_spawners();
        spindle::channel<int> ch;
        auto parent = spindle::spawn({.name = "parent"}, [&] {
            auto child = spindle::spawn({.name = "child"}, [&] { wait_by::receiving(ch); });
            child.join();
        });
        auto of_nobody_now = spindle::spawn(
            [&] { spindle::go({.name = "orphan"}, [&] { wait_by::receiving(ch); }); });
        of_nobody_now.join();
        BOOST_TEST(until([] { return fibers_in(wait_reason::receive) == 2; }));
        std::string text;
        // A fiber that has been joined is at its end, and not past it.
        BOOST_TEST(until([&] {
            text = spindle::dump_string();
            return says(paragraph(text, "\"orphan\", "), ", which has ended\n");
        }));
        BOOST_TEST_CONTEXT(text)
        BOOST_TEST(says(paragraph(text, "\"child\", "), "\"parent\""));
        ch.close();
        parent.join();
        BOOST_TEST(until([] { return fibers_in(wait_reason::receive) == 0; }));
    });
}

BOOST_AUTO_TEST_CASE(the_channels_that_a_select_waits_in_are_said)
{
    over_processors([] {
        spindle::channel<int> in, out;
        spindle::task_group group;
        group.spawn([&] { wait_by::selecting(in, out); });
        group.spawn([&] { wait_by::selecting_at_run_time(in, 2); });
        group.spawn([&] { wait_by::receiving(in); });
        BOOST_TEST(until([] {
            return fibers_in(wait_reason::select) == 2 && fibers_in(wait_reason::receive) == 1;
        }));
        auto const text = spindle::dump_string({.stacks = false});
        BOOST_TEST_CONTEXT(text)
        {
            auto const received = word_after(text, "channel receive, channel ");
            BOOST_TEST(received.starts_with("0x"));
            auto const sent = word_after(text, "send to channel ");
            BOOST_TEST(sent.starts_with("0x"));
            BOOST_TEST(sent != received);
            auto const from_in = ", receive from channel " + received;
            BOOST_TEST(
                says(text, "waiting: select" + from_in + ", send to channel " + sent + ", for "));
            BOOST_TEST(says(text, "waiting: select" + from_in + from_in + ", for "));
        }
        in.close();
        group.wait();
    });
}

BOOST_AUTO_TEST_CASE(a_fiber_that_runs_sees_its_own_stack_and_no_other_one)
{
    on_scheduler s(2);
    s.run([] {
        std::atomic<bool> runs{false}, over{false};
        auto other = spindle::spawn({.name = "other"}, [&] {
            runs = true;
            while (!over)
                ;
        });
        BOOST_TEST(until([&] { return runs.load(); }));
        auto const text = wait_by::looking();
        over = true;
        BOOST_TEST_CONTEXT(text)
        if (has_stacks()) {
            BOOST_TEST(says(paragraph(text, "\"test\", running"), "wait_by::looking"));
            BOOST_TEST(says(paragraph(text, "\"other\", running"), "(another thread runs it: "));
        }
        other.join();
    });
}

// What is not a fiber that parks by Spindle's own means.
BOOST_AUTO_TEST_CASE(bound_and_pinned_fibers_and_those_of_boost_fiber_are_said_to_be_that)
{
    over_processors([] {
        auto const strand = asio::make_strand(this_fiber::get_executor());
        spindle::channel<int> ch;
        spindle::spawn(
            strand, [&] { wait_by::receiving(ch); }, asio::detached);
        auto pinned = spindle::spawn([&] {
            spindle::pin const here;
            wait_by::receiving(ch);
        });
        boost::fibers::promise<void> p;
        boost::fibers::fiber stock([f = p.get_future()]() mutable { f.wait(); });
        BOOST_TEST(until([] { return fibers_in(wait_reason::receive) == 2; }));
        BOOST_TEST(
            until([] { return says(spindle::dump_string(), "waiting: boost.fiber primitive"); }));
        auto const text = spindle::dump_string();
        BOOST_TEST_CONTEXT(text)
        {
            BOOST_TEST(count(text, ", bound to an executor") == 1u);
            BOOST_TEST(count(text, ", pinned") == 1u);
            BOOST_TEST(says(
                paragraph(text, "waiting: boost.fiber primitive"), ", made by Boost.Fiber's API"));
            // It has no processor to tell the time by.
            BOOST_TEST(!says(paragraph(text, ", pinned"), ", for "));
        }
        ch.close();
        pinned.join();
        p.set_value();
        stock.join();
        BOOST_TEST(until([] { return fibers_in(wait_reason::receive) == 0; }));
    });
}

// The fibers run as fast as they can while they are looked at; what is said of them is
// one of the things that can be.
BOOST_AUTO_TEST_CASE(fibers_may_go_on_while_they_are_looked_at)
{
    for (auto const n : processor_counts)
        BOOST_TEST_CONTEXT(n << " processors")
        {
            on_scheduler s(n);
            std::atomic<bool> over{false};
            std::size_t dumps = 0, whole = 0, looked_at = 0;
            std::thread looker([&] {
                while (!over.load() || dumps < 20) {
                    auto const text = spindle::dump_string({.all_frames = true});
                    ++dumps;
                    for (auto at = text.find("waiting: channel"); at != text.npos;
                         at = text.find("waiting: channel", at + 1)) {
                        ++looked_at;
                        auto const p = paragraph(text.substr(at), "waiting");
                        whole += says(p, "wait_by::") && says(p, "spindle::detail::park");
                    }
                }
            });
            s.run([&] {
                spindle::task_group group;
                std::vector<spindle::channel<int>> pairs(8);
                for (auto& ch : pairs) {
                    group.spawn([&] {
                        for (std::size_t i = 0; i != scaled(20'000); ++i)
                            wait_by::sending(ch);
                        ch.close();
                    });
                    group.spawn([&] {
                        while (wait_by::receiving(ch))
                            ;
                    });
                }
                group.wait();
            });
            over = true;
            looker.join();
            BOOST_TEST(dumps >= 20u);
            if (has_stacks())
                BOOST_TEST(whole == looked_at);
        }
}

BOOST_AUTO_TEST_SUITE_END()
