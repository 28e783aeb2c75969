//
// asio/faults.cpp
// ~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE asio.faults
#include <spindle/asio/use_fiber.hpp>
#include <spindle/attach.hpp>
#include <spindle/blocking.hpp>
#include <spindle/detail/base/scope_exit.hpp>
#include <spindle/detail/stack/pool.hpp>
#include <spindle/go.hpp>
#include <spindle/run.hpp>
#include <spindle/scheduler.hpp>
#include <spindle/spawn.hpp>
#include <spindle/sync/wait_group.hpp>
#include <spindle/this_fiber.hpp>

#include <support/allocations.hpp>
#include <support/asio_fixture.hpp>
#include <support/child.hpp>
#include <support/cpu_time.hpp>

#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <boost/test/unit_test.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <exception>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include <sys/resource.h>
#include <unistd.h>

using namespace spindle_test;
using namespace std::chrono_literals;
namespace this_fiber = spindle::this_fiber;
using spindle::use_fiber;

BOOST_AUTO_TEST_SUITE(faults)

#if !defined(SPINDLE_ASAN) // UBSan, beside it, opens pipes to look at memory
BOOST_AUTO_TEST_CASE(an_accept_without_a_free_descriptor_fails_and_the_next_one_works)
{
    {
        asio::io_context ioc;
        tcp::acceptor acceptor(ioc, {asio::ip::address_v4::loopback(), 0});
        asio::steady_timer timer(ioc, 1us); // what Asio opens lazily is open now
        timer.wait();
        tcp::socket client(ioc);
        error_code first, second;
        spindle::spawn(
            ioc,
            [&] {
                client.connect(acceptor.local_endpoint());
                auto const lowest = ::dup(0); // the lowest free one
                ::close(lowest);
                struct rlimit before;
                ::getrlimit(RLIMIT_NOFILE, &before);
                auto none = before;
                none.rlim_cur = static_cast<rlim_t>(lowest);
                ::setrlimit(RLIMIT_NOFILE, &none);
                first = error_of([&] { (void)acceptor.async_accept(use_fiber); });
                ::setrlimit(RLIMIT_NOFILE, &before);
                second = error_of([&] { (void)acceptor.async_accept(use_fiber); });
            },
            asio::detached);
        ioc.run();
        BOOST_TEST((first == asio::error::no_descriptors));
        BOOST_TEST(!second);
    }
    check_nothing_left();
}
#endif

BOOST_AUTO_TEST_CASE(a_peer_may_reset_at_any_byte)
{
    constexpr std::size_t length = 40;
    {
        asio::io_context ioc;
        int right = 0;
        for (std::size_t sent = 0; sent <= length; ++sent)
            for (bool const reset : {false, true})
                spindle::spawn(
                    ioc,
                    [&, sent, reset] {
                        auto [a, b] = connected(ioc.get_executor());
                        auto peer = spindle::spawn([&, &a = a] {
                            std::array<char, length> text{};
                            asio::async_write(a, asio::buffer(text.data(), sent), use_fiber);
                            if (reset)
                                a.set_option(asio::socket_base::linger(true, 0));
                            this_fiber::yield();
                            a.close();
                        });
                        std::array<char, length> text;
                        error_code ec;
                        auto const n
                            = asio::async_read(b, asio::buffer(text), use_fiber[ec]);
                        auto const expected = ec == asio::error::eof
                            || ec == asio::error::connection_reset;
                        right += ec ? expected && n <= sent : n == length;
                        peer.join();
                    },
                    asio::detached);
        ioc.run();
        BOOST_TEST(right == 2 * (static_cast<int>(length) + 1));
    }
    check_nothing_left();
}

BOOST_AUTO_TEST_CASE(memory_refused_for_a_stack_is_an_error_and_nothing_else)
{
    auto& pool = spindle::detail::stack_pool::instance();
    // A size that nobody has used, so that it must be mapped.
    std::size_t const size = std::size_t{512} << 20;
    {
        asio::io_context ioc;
        pool.fail_next_maps(1);
        bool completed = false;
        auto const refused = error_of([&] {
            spindle::spawn(
                ioc, {.stack_size = size}, [] {}, [&](std::exception_ptr) { completed = true; });
        });
        pool.fail_next_maps(0);
        BOOST_TEST((refused == spindle::errc::no_stack_memory));
        BOOST_TEST(ioc.run() == 0u);
        BOOST_TEST(!completed);
        ioc.restart();
        error_code in_go, in_spawn;
        spindle::spawn(
            ioc,
            [&] {
                pool.fail_next_maps(2);
                in_go = error_of([&] { spindle::go({.stack_size = size}, [] {}); });
                in_spawn = error_of([&] {
                    (void)spindle::spawn({.stack_size = size}, [] {});
                });
                pool.fail_next_maps(0);
                spindle::wait_group group;
                group.go([&] { completed = true; });
                group.wait();
            },
            asio::detached);
        ioc.run();
        BOOST_TEST((in_go == spindle::errc::no_stack_memory));
        BOOST_TEST((in_spawn == spindle::errc::no_stack_memory));
        BOOST_TEST(completed);
    }
    check_nothing_left();
}

#if !defined(SPINDLE_TEST_SANITIZED) // their runtimes need address space of their own
namespace {

// From now on the process gets so many bytes more. Returns the limit as it was set.
rlimit leave_address_space(std::size_t bytes)
{
    rlimit limit;
    ::getrlimit(RLIMIT_AS, &limit);
    std::size_t pages = 0;
    if (auto* const f = std::fopen("/proc/self/statm", "r")) {
        if (std::fscanf(f, "%zu", &pages) != 1)
            pages = 0;
        std::fclose(f);
    }
    limit.rlim_cur = pages * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)) + bytes;
    ::setrlimit(RLIMIT_AS, &limit);
    return limit;
}

} // namespace

BOOST_AUTO_TEST_CASE(a_refused_guest_thread_is_an_error_and_none_is_there)
{
    auto const e = in_child([] {
        auto limit = leave_address_space(std::size_t{200} << 20);
        asio::io_context ioc;
        auto const ec = error_of([&] { spindle::attach(ioc, {.guest_threads = 500}); });
        limit.rlim_cur = limit.rlim_max;
        ::setrlimit(RLIMIT_AS, &limit);
        int ran = 0;
        spindle::spawn(ioc, [&] { ++ran; }, asio::detached);
        ioc.run();
        ::_exit(ec == spindle::errc::thread_limit && ran == 1 ? 7 : 1);
    });
    BOOST_TEST(e.by_exit(7), e.text);
}

BOOST_AUTO_TEST_CASE(a_refused_thread_is_an_error_and_nothing_else)
{
    auto const e = in_child([] {
        auto limit = leave_address_space(std::size_t{200} << 20); // for some threads, not for 500
        auto const ec = error_of([] { spindle::scheduler const s({.processors = 500}); });
        limit.rlim_cur = limit.rlim_max;
        ::setrlimit(RLIMIT_AS, &limit);
        auto const after = spindle::run([] { return 42; }, {.processors = 2});
        ::_exit(ec == spindle::errc::thread_limit && after == 42 ? 7 : 1);
    });
    BOOST_TEST(e.by_exit(7), e.text);
}
#endif

#if !defined(SPINDLE_TEST_SANITIZED) // they allocate by themselves
BOOST_AUTO_TEST_CASE(memory_refused_while_a_scheduler_starts_leaves_nothing)
{
    auto const start = [](std::size_t allowed) {
        allocations_left = allowed;
        spindle::detail::scope_exit const back([] { allocations_left = unlimited; });
        try {
            spindle::scheduler const s({.processors = 3});
        } catch (std::bad_alloc const&) {
            return false;
        }
        return true;
    };
    std::size_t refused = 0;
    while (!start(refused))
        ++refused;
    BOOST_TEST(refused > 3u);
    check_nothing_left();
}

BOOST_AUTO_TEST_CASE(memory_refused_for_a_thread_that_blocks_is_an_error_and_nothing_else)
{
    auto const e = in_child([] {
        asio::io_context ioc;
        int refused = 0, called = 0;
        spindle::spawn(
            ioc,
            [&] {
                for (std::size_t const allowed : {0, 1}) {
                    allocations_left = allowed;
                    try {
                        spindle::blocking([&] { ++called; });
                    } catch (std::bad_alloc const&) {
                        ++refused;
                    }
                    allocations_left = unlimited;
                }
                spindle::blocking([&] { ++called; });
            },
            asio::detached);
        ioc.run();
        ::_exit(refused == 2 && called == 1 ? 7 : 1);
    });
    BOOST_TEST(e.by_exit(7), e.text);
}

BOOST_AUTO_TEST_CASE(a_monitor_without_memory_goes_on)
{
    std::atomic<int> reports{0};
    on_scheduler s(
        {.processors = 1,
         .preempt_after = 1ms,
         .shutdown_grace = 30s,
         .on_hog = [&](spindle::fiber_info const&, auto) {
             allocations_left = 0; // the monitor's, from now on
             ++reports;
         }});
    // A fiber that hogs until another one has run, which needs the processor.
    auto const hog = [](std::string name) {
        std::atomic<bool> hogging{false}, enough{false};
        auto child = spindle::spawn({.name = std::move(name)}, [&] {
            hogging = true;
            while (!enough)
                std::this_thread::yield();
        });
        while (!hogging)
            this_fiber::yield();
        enough = true;
        child.join();
    };
    s.run([&] { hog("the first"); });
    BOOST_TEST(eventually([&] { return reports == 1; }));
    s.run([&] { hog("the second, whose name does not fit into a small string"); });
    BOOST_TEST(s->stats().preemptions >= 2u);
    BOOST_TEST(reports == 1);
}
#endif

BOOST_AUTO_TEST_CASE(a_destructor_may_wait_while_its_fiber_unwinds)
{
    over_threads([](asio::io_context& ioc, unsigned threads) {
        tally t;
        for (int i = 0; i != 50; ++i)
            spindle::spawn(
                ioc,
                [&] {
                    struct waits {
                        tally& t;
                        ~waits()
                        {
                            auto const before = std::uncaught_exceptions();
                            this_fiber::sleep_for(100us);
                            asio::steady_timer timer(this_fiber::get_executor(), 10us);
                            timer.async_wait(use_fiber);
                            try {
                                throw std::logic_error("inner");
                            } catch (std::logic_error const&) {
                                this_fiber::yield();
                            }
                            t.check(std::uncaught_exceptions() == before && before == 1);
                        }
                    };
                    waits const w{t};
                    throw std::runtime_error("outer");
                },
                [&](std::exception_ptr e) {
                    try {
                        std::rethrow_exception(e);
                    } catch (std::runtime_error const&) {
                        t.count();
                    }
                });
        run_on(ioc, threads);
        BOOST_TEST(t.good() == 100u);
        BOOST_TEST(t.bad() == 0u);
    });
}

BOOST_AUTO_TEST_CASE(a_handler_that_throws_on_a_schedulers_thread_is_reported_and_the_thread_rests)
{
    for (auto const n : {1u, 2u}) {
        std::atomic<int> heard{0};
        {
            on_scheduler s(spindle::scheduler_options{
                .processors = n,
                .unhandled_exception = [&](std::exception_ptr e, spindle::fiber_info const&) {
                    try {
                        std::rethrow_exception(e);
                    } catch (std::runtime_error const&) {
                        ++heard;
                    }
                }});
            std::atomic<int> ran{0};
            for (int i = 0; i != 20; ++i)
                asio::post(s->next_executor(), [&] {
                    ++ran;
                    throw std::runtime_error("handler");
                });
            BOOST_TEST(eventually([&] { return heard == 20; }));
            BOOST_TEST(ran == 20);
            s.run([] { this_fiber::sleep_for(1ms); });
            // Nothing to do is nothing done: no thread spins over what it left.
            BOOST_TEST((cpu_time_during(200ms) < 50ms));
        }
    }
}

BOOST_AUTO_TEST_CASE(a_handler_that_throws_out_of_run_leaves_the_fibers_as_they_were)
{
    asio::io_context ioc;
    bool ended = false;
    spindle::spawn(
        ioc,
        [&] {
            this_fiber::sleep_for(2ms);
            ended = true;
        },
        [](std::exception_ptr) { throw std::runtime_error("completion"); });
    asio::post(ioc, [] { throw std::runtime_error("handler"); });
    BOOST_CHECK_THROW(ioc.run(), std::runtime_error);
    BOOST_TEST(!ended);
    BOOST_CHECK_THROW(ioc.run(), std::runtime_error);
    BOOST_TEST(ended);
    ioc.run();
}

BOOST_AUTO_TEST_CASE(an_intermediate_handler_that_throws_takes_only_its_operation_along)
{
    asio::io_context ioc;
    error_code ec;
    bool later = false;
    auto [a, b] = connected(ioc.get_executor());
    spindle::spawn(
        ioc,
        [&, &a = a, &b = b] {
            a.write_some(asio::buffer("abcdef", 6));
            char text[100];
            int calls = 0;
            ec = error_of([&] {
                asio::async_read(
                    b, asio::buffer(text),
                    [&](error_code const&, std::size_t) -> std::size_t {
                        if (++calls == 2)
                            throw std::runtime_error("condition");
                        return 100;
                    },
                    use_fiber);
            });
            this_fiber::sleep_for(1ms);
            later = true;
        },
        asio::detached);
    BOOST_CHECK_THROW(ioc.run(), std::runtime_error);
    ioc.run();
    BOOST_TEST((ec == aborted));
    BOOST_TEST(later);
}

// --- a scheduler's last handlers --------------------------------------------------

BOOST_AUTO_TEST_CASE(completions_are_delivered_before_a_scheduler_goes)
{
    for (auto const n : processor_counts)
        for (bool const join : {false, true})
            for (int i = 0; i != 20; ++i) {
                std::atomic<int> delivered{0};
                int by_join = 0;
                {
                    spindle::scheduler s({.processors = n});
                    for (int k = 0; k != 10; ++k)
                        spindle::spawn(s, [] {}, [&](std::exception_ptr) { ++delivered; });
                    if (join) {
                        s.join();
                        by_join = delivered;
                        BOOST_TEST(by_join == 10);
                    }
                }
                BOOST_TEST(delivered == 10);
            }
    check_nothing_left();
}

BOOST_AUTO_TEST_SUITE_END()
