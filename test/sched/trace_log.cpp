//
// sched/trace_log.cpp
// ~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE sched.trace_log
#include <spindle/detail/sched/trace_log.hpp>

#include <boost/test/unit_test.hpp>

#include <array>
#include <atomic>
#include <cstdint>
#include <set>
#include <thread>
#include <vector>

using namespace spindle::detail;

namespace {

// Each word says which event it is of: one that is torn is seen.
trace_event numbered(std::uint64_t n)
{
    trace_event e{.kind = trace_kind::ready, .fiber = n, .value = ~n};
    e.time = n + 1;
    e.processor = static_cast<std::uint32_t>(n * 3);
    e.thread = static_cast<std::uint16_t>(n * 5);
    e.detail = static_cast<std::uint8_t>(n * 7);
    return e;
}

bool is_whole(trace_event const& e)
{
    auto const n = e.fiber;
    auto const want = numbered(n);
    return e.kind == want.kind && e.value == want.value && e.time == want.time
        && e.processor == want.processor && e.thread == want.thread && e.detail == want.detail;
}

} // namespace

BOOST_AUTO_TEST_SUITE(a_ring)

BOOST_AUTO_TEST_CASE(gives_back_what_it_was_given)
{
    trace_ring ring(8);
    std::vector<trace_event> seen;
    BOOST_TEST(ring.collect(seen) == 0u);
    BOOST_TEST(seen.empty());
    for (std::uint64_t n = 0; n != 8; ++n)
        ring.push(numbered(n));
    BOOST_TEST(ring.collect(seen) == 0u);
    BOOST_TEST_REQUIRE(seen.size() == 8u);
    for (std::uint64_t n = 0; n != 8; ++n) {
        BOOST_TEST(seen[n].fiber == n);
        BOOST_TEST(is_whole(seen[n]));
    }
}

BOOST_AUTO_TEST_CASE(drops_the_oldest_and_says_how_many)
{
    trace_ring ring(8);
    for (std::uint64_t n = 0; n != 21; ++n)
        ring.push(numbered(n));
    std::vector<trace_event> seen(1); // what is there stays
    BOOST_TEST(ring.collect(seen) == 13u);
    BOOST_TEST_REQUIRE(seen.size() == 9u);
    for (std::uint64_t n = 0; n != 8; ++n)
        BOOST_TEST(seen[n + 1].fiber == n + 13);
}

// Its thread goes on writing: what is collected is whole all the same, and in order.
BOOST_AUTO_TEST_CASE(is_read_while_it_is_written)
{
    trace_ring ring(256);
    std::atomic<bool> over{false};
    std::thread writer([&] {
        for (std::uint64_t n = 0; !over.load(std::memory_order_relaxed); ++n) {
            ring.push(numbered(n));
            if (n % 1000 == 0) // or nothing would ever be left for a reader beside it
                std::this_thread::yield();
        }
    });
    std::uint64_t torn = 0, out_of_order = 0, read = 0;
    for (int i = 0; i < 20'000 || read < 1000; ++i) {
        std::vector<trace_event> seen;
        auto const lost = ring.collect(seen);
        for (std::size_t k = 0; k != seen.size(); ++k) {
            torn += !is_whole(seen[k]);
            out_of_order += seen[k].fiber != lost + k;
        }
        read += seen.size();
        if (i > 20'000)
            std::this_thread::yield();
    }
    over.store(true);
    writer.join();
    BOOST_TEST(torn == 0u);
    BOOST_TEST(out_of_order == 0u);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(the_log)

BOOST_AUTO_TEST_CASE(has_what_all_threads_have_added_in_order)
{
    trace_log::add(numbered(99)); // before it is open
    trace_log::open(1024);
    trace_log::add({.kind = trace_kind::poll, .fiber = 1});
    std::thread([] {
        trace_log::add({.kind = trace_kind::sleep, .fiber = 2});
    }).join(); // what it has left is kept
    trace_log::add({.kind = trace_kind::woke, .fiber = 3});
    auto const all = trace_log::close();
    trace_log::add(numbered(99)); // after it was closed
    BOOST_TEST_REQUIRE(all.events.size() == 3u);
    BOOST_TEST_REQUIRE(all.threads.size() == 2u);
    for (std::size_t i = 0; i != 3; ++i)
        BOOST_TEST(all.events[i].fiber == i + 1);
    BOOST_TEST(all.events[0].time <= all.events[1].time);
    BOOST_TEST(all.events[1].time <= all.events[2].time);
    BOOST_TEST(all.events[0].thread == all.events[2].thread);
    BOOST_TEST(all.events[0].thread != all.events[1].thread);
    BOOST_TEST(all.threads[0].system_id != all.threads[1].system_id);
    BOOST_TEST(all.lost == 0u);
}

BOOST_AUTO_TEST_CASE(begins_anew_each_time)
{
    for (std::size_t capacity : {2u, 1000u, 16u}) {
        trace_log::open(capacity);
        for (int i = 0; i != 100; ++i)
            trace_log::add({.kind = trace_kind::poll});
        auto const all = trace_log::close();
        auto const kept = capacity == 2 ? 2u : capacity == 16 ? 16u : 100u;
        BOOST_TEST(all.events.size() == kept);
        BOOST_TEST(all.lost == 100 - kept);
    }
}

// Threads add all the while, and number what they add; what was in one trace, or was
// added before it, is in no later one.
BOOST_AUTO_TEST_CASE(is_opened_and_closed_under_those_who_add)
{
    constexpr std::uint64_t thread_count = 3, one = thread_count;
    std::atomic<bool> over{false};
    std::vector<std::thread> threads;
    for (std::uint64_t t = 0; t != thread_count; ++t)
        threads.emplace_back([&, t] {
            for (auto number = t; !over.load(); number += one)
                trace_log::add({.kind = trace_kind::ready, .fiber = number + one});
        });
    std::array<std::uint64_t, thread_count> last{};
    std::uint64_t again = 0, seen = 0;
    for (int s = 0; s < 200 || seen == 0; ++s) {
        trace_log::open(64);
        std::this_thread::yield();
        auto const all = trace_log::close();
        for (auto const& e : all.events) {
            auto& before = last[e.fiber % thread_count];
            again += e.fiber <= before;
            before = e.fiber;
        }
        seen += all.events.size();
    }
    over.store(true);
    for (auto& t : threads)
        t.join();
    BOOST_TEST(again == 0u);
}

BOOST_AUTO_TEST_SUITE_END()
