//
// stress/soak.cpp
// ~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE stress.soak
#include <spindle/asio/use_fiber.hpp>
#include <spindle/go.hpp>
#include <spindle/scheduler.hpp>
#include <spindle/spawn.hpp>
#include <spindle/sync/wait_group.hpp>
#include <spindle/this_fiber.hpp>

#include <support/asio_fixture.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/write.hpp>
#include <boost/test/unit_test.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <random>
#include <thread>
#include <vector>

using namespace spindle_test;
using namespace std::chrono_literals;
namespace this_fiber = spindle::this_fiber;
using spindle::use_fiber;

BOOST_AUTO_TEST_SUITE(soak)

namespace {

using random_engine = std::mt19937_64;

// Everything that begins is counted, and must end.
struct account {
    std::atomic<std::uint64_t> begun{0}, ended{0}, wrong{0};

    void check(bool ok) { wrong += !ok; }
};

void one_thing(account& a, random_engine& random, int depth);

// A fiber's life: some things, one after another.
void some_things(account& a, std::uint64_t s, int depth)
{
    random_engine random(s);
    for (auto n = random() % 6; n-- > 0;)
        one_thing(a, random, depth);
    ++a.ended;
}

void echo_once(account& a)
{
    auto [x, y] = connected_locally(this_fiber::get_executor());
    std::array<char, 300> text{};
    text[7] = 'a';
    auto child = spindle::spawn([&, &x = x] {
        (void)asio::async_write(x, asio::buffer(text), asio::as_tuple(use_fiber));
    });
    std::array<char, 300> back{};
    error_code ec;
    auto const n = asio::async_read(y, asio::buffer(back), use_fiber[ec]);
    if (ec)
        child.request_stop();
    else
        a.check(n == back.size() && back[7] == 'a');
    a.check(!ec || ec == aborted || ec == asio::error::eof);
}

void one_thing(account& a, random_engine& random, int depth)
{
    auto const s = random();
    auto const us = std::chrono::microseconds(random() % 300);
    try {
        switch (random() % 10) {
        case 0:
        case 1:
            this_fiber::yield();
            break;
        case 2:
            this_fiber::sleep_for(us);
            break;
        case 3: {
            asio::steady_timer timer(this_fiber::get_executor(), us);
            timer.async_wait(use_fiber);
            break;
        }
        case 4:
            echo_once(a);
            break;
        case 5:
            if (depth < 3) {
                ++a.begun;
                spindle::go([&a, s, depth] { some_things(a, s, depth + 1); });
            }
            break;
        case 6:
            if (depth < 3) {
                ++a.begun;
                auto child = spindle::spawn([&a, s, depth] { some_things(a, s, depth + 1); });
                if (s % 2)
                    this_fiber::sleep_for(us);
                child.request_stop();
                child.join();
            }
            break;
        case 7: {
            spindle::wait_group group;
            for (int i = 0; i != 3; ++i)
                group.go([us, i] {
                    if (i == 1)
                        this_fiber::sleep_for(us);
                    else
                        this_fiber::yield();
                });
            group.wait();
            break;
        }
        case 8: {
            // Done by a handler, of this or of another thread.
            spindle::wait_group group(1);
            asio::post(this_fiber::get_executor(), [&] { group.done(); });
            group.wait();
            break;
        }
        case 9: {
            // A timer against whoever cancels it.
            asio::steady_timer timer(this_fiber::get_executor(), us);
            auto child = spindle::spawn([&] { timer.async_wait(use_fiber); });
            this_fiber::yield();
            child.request_stop();
            auto const ec = error_of([&] { child.join(); });
            a.check(!ec || ec == aborted);
            break;
        }
        }
    } catch (system_error const& e) {
        a.check(e.code() == aborted);
    }
}

// From a plain thread: starts fibers, waits for some.
void outsider(
    account& a, std::uint64_t s, std::chrono::steady_clock::time_point end,
    std::function<void(std::uint64_t, spindle::wait_group*)> const& start)
{
    random_engine random(s);
    while (std::chrono::steady_clock::now() < end) {
        if (a.begun - a.ended > 300) {
            std::this_thread::sleep_for(1ms);
        } else if (random() % 4 == 0) {
            spindle::wait_group group(1);
            ++a.begun;
            start(random(), &group);
            group.wait();
        } else {
            ++a.begun;
            start(random(), nullptr);
        }
    }
}

constexpr auto length = sanitized ? 2s : 3s;

} // namespace

BOOST_AUTO_TEST_CASE(a_scheduler_accounts_for_everything)
{
    auto const s = seed();
    BOOST_TEST_MESSAGE("SPINDLE_TEST_SEED=" << s);
    for (unsigned const n : {1u, 2u, 8u})
        BOOST_TEST_CONTEXT("seed " << s << ", " << n << " processors")
        {
            account a;
            {
                on_scheduler sched(n);
                auto const end = std::chrono::steady_clock::now() + length / 2;
                std::vector<std::thread> threads;
                for (unsigned i = 0; i != 2; ++i)
                    threads.emplace_back([&, i] {
                        outsider(a, s + i, end, [&](std::uint64_t what, spindle::wait_group* g) {
                            spindle::spawn(
                                *sched,
                                [&a, what, g] {
                                    some_things(a, what, 0);
                                    if (g)
                                        g->done();
                                },
                                asio::detached);
                        });
                    });
                for (auto& t : threads)
                    t.join();
                sched->join();
            }
            BOOST_TEST(a.begun > 0u);
            BOOST_TEST(a.begun == a.ended);
            BOOST_TEST(a.wrong == 0u);
        }
}

BOOST_AUTO_TEST_CASE(an_io_context_accounts_for_everything)
{
    auto const s = seed();
    BOOST_TEST_MESSAGE("SPINDLE_TEST_SEED=" << s);
    for (unsigned const n : {1u, 2u, 8u})
        BOOST_TEST_CONTEXT("seed " << s << ", " << n << " threads")
        {
            account a;
            {
                asio::io_context ioc;
                auto const strand = asio::make_strand(ioc);
                auto guard = asio::make_work_guard(ioc);
                std::vector<std::thread> runners;
                for (unsigned i = 0; i != n; ++i)
                    runners.emplace_back([&] { ioc.run(); });
                auto const end = std::chrono::steady_clock::now() + length / 2;
                outsider(a, s, end, [&](std::uint64_t what, spindle::wait_group* g) {
                    auto fn = [&a, what, g] {
                        some_things(a, what, 0);
                        if (g)
                            g->done();
                    };
                    if (what % 5 == 0)
                        spindle::spawn(strand, fn, asio::detached);
                    else if (what % 5 == 1)
                        asio::post(ioc, [&ioc, fn] { spindle::spawn(ioc, fn, asio::detached); });
                    else
                        spindle::spawn(ioc, fn, asio::detached);
                });
                guard.reset();
                for (auto& r : runners)
                    r.join();
            }
            BOOST_TEST(a.begun > 0u);
            BOOST_TEST(a.begun == a.ended);
            BOOST_TEST(a.wrong == 0u);
            check_nothing_left();
        }
}

BOOST_AUTO_TEST_SUITE_END()
