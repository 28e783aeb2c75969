//
// observe/deadlock.cpp
// ~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE observe.deadlock
#include <spindle.hpp>
#include <spindle/observe/dump.hpp>
#include <support/asio_fixture.hpp>
#include <support/child.hpp>
#include <support/waiting.hpp>

#include <spindle/detail/fiber/machine_list.hpp>
#include <spindle/detail/fiber/saved_registers.hpp>

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/fiber/all.hpp>
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <exception>
#include <mutex>
#include <netdb.h>
#include <string>
#include <string_view>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>
#include <vector>

using namespace spindle_test;
using namespace std::chrono_literals;
using spindle::use_fiber;
using spindle::detail::wait_reason;
namespace this_fiber = spindle::this_fiber;

// A sanitizer's own thread is a thread that is not ours: then there are no deadlocks.
#if defined(SPINDLE_TSAN)
constexpr bool can_be_found = false;
#else
constexpr bool can_be_found = true;
#endif

namespace {

// What the thread that waits for the monitor's looks is to them.
enum class as { stranger, bystander };

// On a plain thread. Returns when the monitor has looked so often.
void await_looks(int n, as what)
{
    struct looks {
        as what;
        std::atomic<int> left;
    } all{what, n};
    spindle::detail::bystander const here(
        [](void const* argument) noexcept {
            auto& l = *static_cast<looks*>(const_cast<void*>(argument));
            --l.left;
            l.left.notify_all();
            return l.what == as::stranger;
        },
        &all);
    for (int left; (left = all.left.load()) > 0;)
        all.left.wait(left);
}

std::atomic<long> last_asked{0}; // the thread that has looked for a name

} // namespace

// The name server. "slow" lets the monitor look first.
extern "C" int getaddrinfo(char const* host, char const*, ::addrinfo const*, ::addrinfo** found)
{
    last_asked = ::syscall(SYS_gettid);
    if (std::string_view(host) == "slow")
        await_looks(2, as::stranger);
    *found = nullptr;
    return EAI_NONAME;
}

extern "C" void freeaddrinfo(::addrinfo*) {}

namespace {

error_code resolve(char const* name)
{
    error_code ec;
    (void)spindle::resolve(name, "1", ec);
    return ec;
}

bool is_bystander(long thread)
{
    std::vector<long> all;
    spindle::detail::bystander::list(all);
    return std::find(all.begin(), all.end(), thread) != all.end();
}

// Runs body(ch) in the main fiber, while another fiber waits for ch; for each number of
// processors. The deadlock's reaction closes ch.
template <class Body>
int alarms_of(unsigned processors, Body body)
{
    std::atomic<int> alarms{0};
    spindle::channel<void> ch;
    spindle::run(
        [&] {
            auto waiting = spindle::spawn([&] { (void)ch.receive(); });
            body(ch);
            if (!ch.is_closed())
                ch.close();
            waiting.join();
        },
        {.processors = processors, .deadlock = [&] {
             alarms.fetch_add(1);
             ch.close();
         }});
    return alarms.load();
}

template <class Body>
void expect_alarms(int expected, Body body)
{
    for (auto const n : processor_counts)
        BOOST_TEST_CONTEXT(n << " processors")
        {
            BOOST_TEST(alarms_of(n, body) == expected);
            check_nothing_left();
        }
}

} // namespace

BOOST_AUTO_TEST_SUITE(deadlock)

BOOST_AUTO_TEST_CASE(it_is_called_when_all_fibers_wait_for_each_other)
{
    if (!can_be_found)
        return;
    expect_alarms(1, [](spindle::channel<void>& ch) { (void)ch.receive(); });
    expect_alarms(
        1, [](spindle::channel<void>& ch) { (void)spindle::select(spindle::on_receive(ch)); });
    expect_alarms(1, [](spindle::channel<void>& ch) {
        spindle::mutex m;
        std::unique_lock mine(m);
        auto other = spindle::spawn([&] { std::lock_guard guard(m); });
        (void)ch.receive();
        mine.unlock();
        other.join();
    });
}

BOOST_AUTO_TEST_CASE(it_is_called_after_much_has_happened)
{
    if (!can_be_found)
        return;
    expect_alarms(1, [](spindle::channel<void>& ch) {
        spindle::channel<int> numbers(4);
        spindle::task_group group;
        group.spawn([&] {
            for (int i = 0; i != 1000; ++i)
                numbers.send(i);
            numbers.close();
        });
        for (int n = 0; n != 4; ++n)
            group.spawn([&] {
                while (numbers.receive())
                    this_fiber::yield();
            });
        group.wait();
        this_fiber::sleep_for(1ms);
        spindle::blocking([] { std::this_thread::sleep_for(30ms); });
        (void)ch.receive();
    });
}

BOOST_AUTO_TEST_CASE(a_deadline_that_was_not_needed_does_not_hide_it)
{
    if (!can_be_found)
        return;
    expect_alarms(1, [](spindle::channel<void>& ch) {
        spindle::within(1h, [] { this_fiber::sleep_for(1us); });
        (void)ch.receive();
    });
}

BOOST_AUTO_TEST_CASE(a_pinned_fiber_may_be_part_of_it)
{
    if (!can_be_found)
        return;
    expect_alarms(1, [](spindle::channel<void>& ch) {
        spindle::pin const here;
        (void)ch.receive();
    });
}

BOOST_AUTO_TEST_CASE(it_is_called_again_when_it_happens_again)
{
    if (!can_be_found)
        return;
    for (auto const n : processor_counts)
        BOOST_TEST_CONTEXT(n << " processors")
        {
            std::atomic<int> alarms{0};
            spindle::channel<int> ch;
            spindle::run(
                [&] {
                    for (int i = 0; i != 3; ++i)
                        BOOST_TEST(ch.receive().value() == i);
                },
                {.processors = n, .deadlock = [&] {
                     error_code ec;
                     BOOST_TEST(ch.try_send(alarms.fetch_add(1), ec));
                 }});
            BOOST_TEST(alarms.load() == 3);
        }
}

BOOST_AUTO_TEST_CASE(a_thread_that_ends_later_and_wakes_nobody_does_not_hide_it)
{
    if (!can_be_found)
        return;
    std::thread other;
    expect_alarms(1, [&](spindle::channel<void>& ch) {
        if (other.joinable())
            other.join();
        other = std::thread([] { await_looks(2, as::stranger); });
        (void)ch.receive();
    });
    other.join();
}

// --- no alarm -------------------------------------------------------------------------
//
// In each of these something can still wake the fiber, and does. Before it does, the
// scheduler is asleep: which takes the monitor up to some ticks of 10 ms.

BOOST_AUTO_TEST_CASE(not_while_a_fiber_sleeps)
{
    expect_alarms(0, [](spindle::channel<void>&) { this_fiber::sleep_for(60ms); });
}

BOOST_AUTO_TEST_CASE(not_while_a_deadline_is_to_come)
{
    expect_alarms(0, [](spindle::channel<void>& ch) {
        error_code ec;
        BOOST_TEST(!ch.receive_for(60ms, ec));
    });
    expect_alarms(0, [](spindle::channel<void>& ch) {
        (void)spindle::select(spindle::on_receive(ch), spindle::on_timeout(60ms));
    });
    expect_alarms(0, [](spindle::channel<void>&) { (void)spindle::after(60ms).receive(); });
}

BOOST_AUTO_TEST_CASE(not_while_a_timer_of_asio_is_pending)
{
    expect_alarms(0, [](spindle::channel<void>& ch) {
        asio::steady_timer timer(this_fiber::get_executor(), 60ms);
        timer.async_wait([ch](error_code) { ch.close(); });
        (void)ch.receive();
    });
}

BOOST_AUTO_TEST_CASE(not_while_an_operation_is_pending)
{
    expect_alarms(0, [](spindle::channel<void>&) {
        auto [a, b] = connected_locally(this_fiber::get_executor());
        char byte;
        auto other = spindle::spawn([&b = b] {
            this_fiber::sleep_for(1ms);
            spindle::blocking([&] {
                std::this_thread::sleep_for(60ms);
                (void)!::write(b.native_handle(), "x", 1);
            });
        });
        BOOST_TEST(a.async_read_some(asio::buffer(&byte, 1), use_fiber) == 1u);
        other.join();
    });
}

BOOST_AUTO_TEST_CASE(not_while_a_signal_may_come)
{
    expect_alarms(0, [](spindle::channel<void>&) {
        asio::signal_set signals(this_fiber::get_executor(), SIGALRM);
        struct itimerval in = {{0, 0}, {0, 60'000}};
        ::setitimer(ITIMER_REAL, &in, nullptr);
        BOOST_TEST(signals.async_wait(use_fiber) == SIGALRM);
    });
}

BOOST_AUTO_TEST_CASE(not_while_another_thread_could_wake_somebody)
{
    expect_alarms(0, [](spindle::channel<void>& ch) {
        std::thread other([ch] {
            std::this_thread::sleep_for(60ms);
            ch.close();
        });
        (void)ch.receive();
        other.join();
    });
}

// In this one, and one of those with names, a thread waits for looks as a bystander, which
// it is not quite: so that what is looked for is not this thread.
BOOST_AUTO_TEST_CASE(not_while_pinned_fibers_wake_each_other)
{
    expect_alarms(0, [](spindle::channel<void>&) {
        std::atomic<bool> over{false};
        std::thread watch([&] {
            await_looks(5, as::bystander);
            over = true;
        });
        spindle::channel<void> there, back;
        auto other = spindle::spawn([there, back] {
            spindle::pin const here;
            while (there.receive())
                back.send();
        });
        {
            spindle::pin const here;
            while (!over) {
                there.send();
                (void)back.receive();
            }
            there.close();
        }
        other.join();
        watch.join();
    });
}

BOOST_AUTO_TEST_CASE(not_while_a_fiber_is_in_a_blocking_call)
{
    expect_alarms(0, [](spindle::channel<void>& ch) {
        auto other = spindle::spawn([ch] {
            spindle::blocking([] { std::this_thread::sleep_for(60ms); });
            ch.close();
        });
        (void)ch.receive();
        other.join();
    });
}

BOOST_AUTO_TEST_CASE(not_while_a_fiber_blocks_its_thread_unasked)
{
    expect_alarms(0, [](spindle::channel<void>& ch) {
        auto other = spindle::spawn([ch] {
            std::this_thread::sleep_for(60ms);
            ch.close();
        });
        (void)ch.receive();
        other.join();
    });
}

BOOST_AUTO_TEST_CASE(not_while_a_handler_runs)
{
    expect_alarms(0, [](spindle::channel<void>& ch) {
        asio::post(this_fiber::get_executor(), [ch] {
            std::this_thread::sleep_for(60ms);
            ch.close();
        });
        (void)ch.receive();
    });
}

BOOST_AUTO_TEST_CASE(not_while_there_is_a_work_guard)
{
    expect_alarms(0, [](spindle::channel<void>& ch) {
        auto guard = asio::make_work_guard(this_fiber::get_executor());
        std::thread([ch] {
            std::this_thread::sleep_for(60ms);
            ch.close();
        }).join(); // a fiber that blocks
        (void)ch.receive();
    });
}

BOOST_AUTO_TEST_CASE(not_while_boost_fiber_lets_one_sleep)
{
    expect_alarms(0, [](spindle::channel<void>&) {
        boost::fibers::fiber sleeper([] { boost::this_fiber::sleep_for(60ms); });
        sleeper.join();
    });
}

BOOST_AUTO_TEST_CASE(not_while_a_coroutine_or_callback_waits_in_a_channel)
{
    // Its handler counts as work. There could be nobody to send; then it hangs.
    expect_alarms(0, [](spindle::channel<void>& ch) {
        asio::steady_timer timer(this_fiber::get_executor(), 60ms);
        ch.async_receive(asio::bind_executor(this_fiber::get_executor(), [](auto&&...) {}));
        timer.async_wait([ch](error_code) { ch.close(); });
        (void)ch.receive();
    });
}

BOOST_AUTO_TEST_CASE(not_with_a_second_scheduler_that_is_busy)
{
    for (auto const n : processor_counts) {
        spindle::scheduler other({.processors = 1});
        auto const alarms = alarms_of(n, [&](spindle::channel<void>& ch) {
            spindle::spawn(
                other,
                [ch] {
                    this_fiber::sleep_for(60ms);
                    ch.close();
                },
                asio::detached);
            (void)ch.receive();
        });
        BOOST_TEST(alarms == 0, n << " processors");
    }
}

// --- how it ends ----------------------------------------------------------------------

[[gnu::noinline]] void wait_here(spindle::channel<int> const& ch)
{
    (void)ch.receive();
    asm volatile("");
}

BOOST_AUTO_TEST_CASE(inside_run_it_ends_the_process_with_a_dump)
{
    if (!can_be_found)
        return;
    auto const end = in_child([] {
        spindle::run(
            [] {
                spindle::channel<int> ch;
                spindle::go({.name = "stuck"}, [ch] { wait_here(ch); });
                wait_here(ch);
            },
            {.processors = 2});
    });
    BOOST_TEST_CONTEXT(end.text)
    {
        BOOST_TEST(end.by_signal(SIGABRT));
        BOOST_TEST(end.says(
            "spindle: fatal: all fibers are asleep, and nothing is left that could wake one\n"));
        BOOST_TEST(end.says("spindle: 2 fibers: 0 running, 0 runnable, 2 waiting\n"));
        BOOST_TEST(end.says("\"stuck\", waiting: channel receive, channel 0x"));
        if (!spindle::detail::why_no_stacks())
            BOOST_TEST(end.says("wait_here(spindle::channel<int> const&) + 0x"));
    }
}

BOOST_AUTO_TEST_CASE(a_thread_in_join_is_not_one_that_could_wake_somebody)
{
    if (!can_be_found)
        return;
    for (auto const n : processor_counts)
        BOOST_TEST_CONTEXT(n << " processors")
        {
            std::atomic<int> alarms{0};
            spindle::channel<int> ch;
            {
                spindle::scheduler s({.processors = n, .deadlock = [&] {
                                          alarms.fetch_add(1);
                                          ch.close();
                                      }});
                spindle::spawn(
                    s, [&] { (void)ch.receive(); }, asio::detached);
                s.join();
            }
            BOOST_TEST(alarms.load() == 1);
        }
}

// Its thread may be slow to leave it.
BOOST_AUTO_TEST_CASE(a_fiber_that_was_joined_is_not_alive_at_the_end)
{
    for (auto const n : processor_counts)
        BOOST_TEST_CONTEXT(n << " processors")
        {
            int calls = 0;
            using record = spindle::detail::fiber_record;
            boost::fibers::fiber_specific_ptr<record> until_it_is_stopped([](record* g) {
                while (g && !spindle::detail::stop_requested(*g))
                    std::this_thread::yield();
            });
            auto const linger = [&] {
                until_it_is_stopped.reset(spindle::detail::current_fiber());
            };
            spindle::scheduler_options const options{
                .processors = n, .on_left = [&](auto const&) { ++calls; }};
            spindle::run([&] { spindle::spawn(linger).join(); }, options);
            spindle::run(
                [&] {
                    spindle::task_group group;
                    group.spawn(linger);
                    group.wait();
                },
                options);
            BOOST_TEST(calls == 0);
        }
}

BOOST_AUTO_TEST_CASE(fibers_that_are_alive_at_the_end_are_reported)
{
    for (auto const n : processor_counts)
        BOOST_TEST_CONTEXT(n << " processors")
        {
            std::vector<spindle::fiber_info> left;
            int calls = 0;
            auto const take = [&](std::vector<spindle::fiber_info> const& l) {
                left = l;
                ++calls;
            };
            spindle::run(
                [] {
                    spindle::go({.name = "left"}, [] { this_fiber::sleep_for(1h); });
                    spindle::spawn([] {}).join();
                },
                {.processors = n, .on_left = take});
            BOOST_TEST(calls == 1);
            BOOST_TEST_REQUIRE(left.size() == 1u);
            BOOST_TEST(left[0].name == "\"left\"");
            BOOST_TEST(left[0].spawned_from.find("an unknown place") == std::string::npos);

            spindle::run([] { spindle::spawn([] {}).join(); }, {.processors = n, .on_left = take});
            BOOST_TEST(calls == 1);
            {
                spindle::scheduler s({.processors = n, .on_left = take});
                spindle::spawn(
                    s, [] { this_fiber::sleep_for(1h); }, asio::detached);
            }
            BOOST_TEST(calls == 2);
        }
}

// --- names ----------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_thread_that_still_asks_for_somebody_who_has_left_does_not_hide_it)
{
    if (!can_be_found)
        return;
    expect_alarms(1, [&](spindle::channel<void>& ch) {
        last_asked = 0;
        auto asks =
            spindle::spawn([] { BOOST_TEST((resolve("slow") == asio::error::operation_aborted)); });
        BOOST_TEST(until([] { return last_asked != 0; }));
        asks.request_stop();
        asks.join();
        (void)ch.receive();
    });
}

BOOST_AUTO_TEST_CASE(a_thread_that_has_resolved_a_name_does_not_hide_it)
{
    if (!can_be_found)
        return;
    expect_alarms(1, [&](spindle::channel<void>& ch) {
        BOOST_TEST((resolve("nowhere") == asio::error::host_not_found));
        BOOST_TEST(until([] { return is_bystander(last_asked); }));
        (void)ch.receive();
    });
}

BOOST_AUTO_TEST_CASE(not_while_a_name_is_asked_for)
{
    expect_alarms(0, [](spindle::channel<void>&) {
        BOOST_TEST((resolve("slow") == asio::error::host_not_found));
    });
}

BOOST_AUTO_TEST_CASE(not_once_asio_has_resolved_a_name)
{
    expect_alarms(0, [](spindle::channel<void>& ch) {
        asio::ip::tcp::resolver resolver(this_fiber::get_executor());
        error_code ec;
        (void)resolver.async_resolve("nowhere", "1", use_fiber[ec]);
        BOOST_TEST((ec == asio::error::host_not_found));
        std::thread watch([ch] {
            await_looks(3, as::bystander);
            ch.close();
        });
        (void)ch.receive();
        watch.join();
    });
}

BOOST_AUTO_TEST_SUITE_END()
