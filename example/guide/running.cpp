//
// guide/running.cpp
// ~~~~~~~~~~~~~~~~~
// The code of the pages doc/guide/cancellation.adoc, blocking.adoc, statistics.adoc and
// stacks.adoc. Each piece says what it has come to.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle.hpp>
#include <spindle/observe.hpp>
#include <spindle/stack/pooled_mmap.hpp>
#include <spindle/stack/statistics.hpp>

#include <boost/asio.hpp>
#include <boost/fiber/fiber.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <iostream>
#include <memory>
#include <mutex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace asio = boost::asio;
using socket_type = asio::local::stream_protocol::socket;
using namespace std::chrono_literals;
using spindle::error_code;

namespace {

// The error that leaves it.
template <class Function>
error_code error_of(Function fn)
{
    try {
        fn();
        return {};
    } catch (boost::system::system_error const& e) {
        return e.code();
    }
}

// --- cancellation -----------------------------------------------------------------------------

void fetch(std::string const& from)
{
    if (from == "broken")
        throw std::runtime_error(from);
    spindle::this_fiber::sleep_for(from == "near" ? 1ms : 1h);
}

void scopes()
{
    error_code mirrored;
    auto const ec = error_of([&] {
        // tag::scope[]
        spindle::cancel_scope scope(200ms); // or without a deadline, or until a time_point
        auto other = spindle::spawn([] { fetch("far away"); }); // belongs to it
        fetch("near");                                          // so does this
        // end::scope[]
        mirrored = error_of([&] { other.join(); });
    });
    std::printf(
        "scope: %s\n",
        mirrored == asio::error::operation_aborted && !ec ? "its fiber was cancelled" : "?");
}

void limits()
{
    auto const ex = spindle::this_fiber::get_executor();
    socket_type socket(ex), peer(ex);
    asio::local::connect_pair(socket, peer);
    std::array<char, 64> data;
    auto const buffer = asio::buffer(data);
    auto const ec = error_of([&] {
        // tag::within[]
        auto const n = spindle::within(
            5ms, [&] { return socket.async_read_some(buffer, spindle::use_fiber); });
        // end::within[]
        std::printf("%zu bytes\n", n);
    });
    std::printf("within: %s\n", ec == asio::error::timed_out ? "timed out" : "?");
}

void what_must_be_done()
{
    bool said = false;
    auto const say_goodbye = [&] {
        spindle::this_fiber::sleep_for(1ms);
        said = true;
    };
    spindle::cancel_scope scope;
    scope.cancel();
    // tag::shielded[]
    spindle::shielded([&] { spindle::within(1s, say_goodbye); });
    // end::shielded[]
    std::printf("shielded: %s\n", said ? "goodbye" : "nothing said");
}

void groups()
{
    std::vector<std::string> const urls{"near", "near", "broken", "far away", "far away"};
    std::string failure;
    auto const all = [&] {
        // tag::group[]
        spindle::task_group group;
        group.set_limit(16);
        for (auto const& url : urls)
            group.spawn([&url] { fetch(url); }); // waits while 16 run
        group.wait(); // throws the first failure, which has stopped the others
        // end::group[]
    };
    try {
        all();
    } catch (std::runtime_error const& e) {
        failure = e.what();
    }
    std::printf("task_group: %s\n", failure.c_str());
}

// tag::key[]
inline constexpr spindle::key<std::string> request_id;

std::string log_line(std::string const& text) // anywhere below, in any fiber
{
    auto const* const id = spindle::this_fiber::value(request_id);
    return (id ? *id : "-") + ": " + text;
}
// end::key[]

void values()
{
    auto const serve = [] { return spindle::spawn([] { return log_line("served"); }).join(); };
    std::string line;
    {
        // tag::value[]
        spindle::cancel_scope scope;
        scope.set(request_id, "4711");
        line = serve(); // starts other fibers
        // end::value[]
    }
    std::printf("value: %s, then %s\n", line.c_str(), log_line("nothing").c_str());
}

// --- blocking ---------------------------------------------------------------------------------------

using row = int;
struct {
    std::atomic<int> inside = 0, most = 0;
    row find(int key)
    {
        most = std::max(most.load(), ++inside);
        std::this_thread::sleep_for(1ms);
        --inside;
        return 2 * key;
    }
} database;

// tag::locked[]
spindle::mutex mutex;

row find(int key)
{
    std::scoped_lock const lock(mutex); // others who come park
    return spindle::blocking([&] { return database.find(key); });
}
// end::locked[]

void locked_calls()
{
    std::atomic<int> sum = 0;
    spindle::task_group group;
    for (int i = 1; i <= 10; ++i)
        group.spawn([&, i] { sum += find(i); });
    group.wait();
    std::printf("blocking: sum %d, %d at a time\n", sum.load(), database.most.load());
}

void hogs()
{
    spindle::channel<std::string> reports(1);
    auto const serve = [] {
        auto other = spindle::spawn({.name = "thinker"}, [] {
            for (auto const end = std::chrono::steady_clock::now() + 300ms;
                 std::chrono::steady_clock::now() < end;)
                ;
        });
        spindle::this_fiber::yield();
        other.join();
    };
    std::ostringstream log;
    // tag::hog[]
    spindle::run(
        serve, {.processors = 1, .on_hog = [&](spindle::fiber_info const& who, auto how_long) {
                    log << who.name << " from " << who.spawned_from << " has run for "
                        << how_long / 1ms << " ms\n";
                }});
    // end::hog[]
    std::printf(
        "on_hog: %s\n", log.str().starts_with("\"thinker\" from ") ? "thinker" : log.str().c_str());
}

void pinned()
{
    std::vector<std::thread::id> threads;
    auto const draw = [&](int) { threads.push_back(std::this_thread::get_id()); };
    spindle::channel<int> frames;
    // tag::pin[]
    auto drawing = spindle::spawn([&] {
        spindle::pin const here;
        for (int frame : frames) // waits as every fiber does
            draw(frame);         // by the same thread each time
    });
    // end::pin[]
    for (int i = 0; i != 20; ++i) {
        frames.send(i);
        spindle::this_fiber::sleep_for(100us);
    }
    frames.close();
    drawing.join();
    auto const same = std::ranges::count(threads, threads.front());
    std::printf("pin: %td of %zu on one thread\n", same, threads.size());
}

using picture = std::string;
std::thread::id drawn_by;

picture gl_render(std::string const& scene)
{
    drawn_by = std::this_thread::get_id();
    return "a picture of " + scene;
}

// tag::pool[]
asio::thread_pool ui(1);

picture render(std::string const& scene)
{
    return spindle::spawn(
        ui, [&] { return gl_render(scene); }, spindle::use_fiber); // <1>
}
// end::pool[]

void one_thread()
{
    auto const tree = render("a tree");
    std::printf(
        "pool: %s, %s\n",
        tree.c_str(),
        drawn_by != std::this_thread::get_id() ? "by its thread" : "here");
}

// --- statistics -----------------------------------------------------------------------------------

void statistics()
{
    asio::io_context ioc;
    spindle::channel<void> end;
    spindle::spawn(
        ioc, [end] { end.receive(); }, asio::detached);
    ioc.poll();
    // tag::stats[]
    spindle::scheduler sched({.processors = 2});
    auto const s = sched.stats();           // or this_fiber::get_scheduler().stats()
    auto const g = spindle::get_stats(ioc); // fibers on an io_context of your own
    // end::stats[]
    std::printf("stats: %u processors, %zu waits\n", s.processors, g.states.waiting);

    // tag::prometheus[]
    std::ostringstream body;
    spindle::write_prometheus(body, sched.stats());
    // end::prometheus[]
    std::printf(
        "write_prometheus: %s\n",
        body.view().find("\nspindle_fibers{state=\"waiting\"} 0\n") != std::string_view::npos
            ? "fibers"
            : body.str().c_str());

    body.str("");
    // tag::named[]
    spindle::named_stats const all[] = {
        {"main", sched.stats()}, {"old code", spindle::get_stats(ioc)}};
    spindle::write_prometheus(body, all); // with a label scheduler="main"
    // end::named[]
    auto const names = body.view().find("scheduler=\"main\"") != std::string_view::npos &&
                       body.view().find("scheduler=\"old code\"") != std::string_view::npos;
    std::printf("named_stats: %s\n", names ? "both" : "?");
    end.close();
    ioc.run();
}

void latency()
{
    asio::io_context ioc;
    // tag::latency[]
    spindle::scheduler sched({.processors = 1, .measure_latency = true});
    spindle::attach(ioc, {.measure_latency = true});
    // ...
    sched.measure_latency(false); // at any time
    spindle::measure_latency(ioc, false);
    // end::latency[]
    sched.measure_latency(true);
    spindle::spawn(
        sched, [] { spindle::this_fiber::yield(); }, asio::use_future)
        .get();
    std::printf("latency: %s\n", sched.stats().latency.count() != 0 ? "measured" : "none");
}

// --- stacks -------------------------------------------------------------------------------------

void stacks()
{
    // tag::guards[]
    auto const s = spindle::stack::get_statistics();
    if (s.unguarded != 0)
        std::cerr << s.unguarded << " stacks have no guard\n";
    // end::guards[]
    bool ran = false;
    auto const work = [&] { ran = true; };
    std::thread([&] {
        // tag::pooled[]
        boost::fibers::fiber f(
            boost::fibers::launch::post,
            std::allocator_arg,
            spindle::stack::pooled_mmap(64 * 1024),
            work);
        f.join();
        // end::pooled[]
    }).join();
    std::printf("stacks: %s\n", s.in_use != 0 && ran ? "in use, and by others" : "?");
}

} // namespace

int main()
{
    spindle::run([] {
        scopes();
        limits();
        what_must_be_done();
        groups();
        values();
        locked_calls();
        pinned();
        one_thread();
    });
    hogs();
    statistics();
    latency();
    stacks();
}
