//
// stress/moving.cpp
// ~~~~~~~~~~~~~~~~~
// Processors that move under everything at once: blocking calls, hogs, parks, timers,
// I/O, handlers that hog, pinned fibers, and set_processors all the time. Every fiber
// is accounted for.
//
// SPINDLE_TEST_SECONDS: for how long; SPINDLE_TEST_SEED: again with that seed.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE stress.moving
#include <spindle/asio/use_fiber.hpp>
#include <spindle/blocking.hpp>
#include <spindle/chan/channel.hpp>
#include <spindle/go.hpp>
#include <spindle/pin.hpp>
#include <spindle/scheduler.hpp>
#include <spindle/spawn.hpp>
#include <spindle/sync/mutex.hpp>
#include <spindle/sync/wait_group.hpp>
#include <spindle/this_fiber.hpp>

#include <support/asio_fixture.hpp>

#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <boost/fiber/future.hpp>
#include <boost/fiber/operations.hpp>
#include <boost/test/unit_test.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

using namespace spindle_test;
using namespace std::chrono_literals;
namespace this_fiber = spindle::this_fiber;
using spindle::use_fiber;
using clock_type = std::chrono::steady_clock;

BOOST_AUTO_TEST_SUITE(moving)

namespace {

using random_engine = std::mt19937_64;

struct account {
    std::atomic<std::uint64_t> begun{0}, ended{0}, handlers_begun{0}, handlers_ended{0}, wrong{0};
    spindle::mutex mutex;
    std::uint64_t guarded = 0, guarded_rounds = 0; // by mutex

    void check(bool ok) { wrong += !ok; }
};

void compute(std::chrono::microseconds d)
{
    for (auto const end = clock_type::now() + d; clock_type::now() < end;)
        ;
}

void one_thing(account& a, random_engine& random, int depth);

void some_things(account& a, std::uint64_t s, int depth)
{
    random_engine random(s);
    for (auto n = random() % 6; n-- > 0;)
        one_thing(a, random, depth);
    ++a.ended;
}

void echo_once(account& a, bool blocks)
{
    auto [x, y] = connected_locally(this_fiber::get_executor());
    std::array<char, 100> text{}, back{};
    text[7] = 'a';
    auto child = spindle::spawn([&, &x = x] { asio::async_write(x, asio::buffer(text), use_fiber); });
    if (blocks)
        spindle::blocking([] { std::this_thread::sleep_for(300us); });
    a.check(asio::async_read(y, asio::buffer(back), use_fiber) == back.size() && back[7] == 'a');
    child.join();
}

void one_thing(account& a, random_engine& random, int depth)
{
    auto const s = random();
    auto const us = std::chrono::microseconds(random() % 300);
    switch (random() % 14) {
    case 0:
        this_fiber::yield();
        break;
    case 1:
        this_fiber::sleep_for(us);
        break;
    case 2: {
        asio::steady_timer timer(this_fiber::get_executor(), us);
        timer.async_wait(use_fiber);
        break;
    }
    case 3:
        echo_once(a, s % 2);
        break;
    case 4:
    case 5:
        if (depth < 3) {
            ++a.begun;
            spindle::go([&a, s, depth] { some_things(a, s, depth + 1); });
        }
        break;
    case 6: {
        auto const token = s;
        a.check(
            spindle::blocking([&] {
                std::this_thread::sleep_for(us);
                return token;
            })
            == s);
        break;
    }
    case 7: // a hog: longer than preempt_after, at times
        compute(us * 5);
        break;
    case 8: {
        std::lock_guard guard(a.mutex);
        ++a.guarded;
        if (s % 4 == 0)
            this_fiber::yield();
        if (s % 8 == 1)
            spindle::blocking([&] { std::this_thread::sleep_for(us / 4); });
        ++a.guarded_rounds;
        a.check(a.guarded == a.guarded_rounds);
        break;
    }
    case 9: // a handler that hogs, with a fiber behind it
        ++a.handlers_begun;
        asio::post(this_fiber::get_executor(), [&a, us] {
            compute(us * 5);
            ++a.begun;
            spindle::go([&a] { ++a.ended; });
            ++a.handlers_ended;
        });
        break;
    case 10: {
        spindle::channel<std::uint64_t> ch;
        ++a.begun;
        spindle::go([&a, ch, s, us] {
            compute(us);
            ch.send(s);
            ++a.ended;
        });
        a.check(ch.receive() == s);
        break;
    }
    case 11:
        if (s % 8 == 0) {
            spindle::pin const here;
            this_fiber::sleep_for(us);
            this_fiber::yield();
        }
        break;
    case 12: {
        boost::fibers::promise<std::uint64_t> promise;
        auto future = promise.get_future();
        ++a.begun;
        spindle::go([&a, us, s, p = std::move(promise)]() mutable {
            compute(us);
            p.set_value(s);
            ++a.ended;
        });
        a.check(future.get() == s);
        break;
    }
    case 13: {
        auto child = spindle::spawn([us] {
            spindle::blocking([us] { std::this_thread::sleep_for(us); });
            this_fiber::sleep_for(1h);
        });
        this_fiber::yield();
        child.request_stop();
        a.check(error_of([&] { child.join(); }) == aborted);
        break;
    }
    }
}

clock_type::duration length()
{
    if (auto const* const given = std::getenv("SPINDLE_TEST_SECONDS"))
        return std::chrono::seconds(std::strtoul(given, nullptr, 0));
    return 3s;
}

} // namespace

BOOST_AUTO_TEST_CASE(every_fiber_is_accounted_for)
{
    auto const s = seed();
    BOOST_TEST_MESSAGE("SPINDLE_TEST_SEED=" << s);
    for (unsigned const n : {1u, 2u, 6u})
        BOOST_TEST_CONTEXT("seed " << s << ", " << n << " processors at first")
        {
            account a;
            {
                on_scheduler sched(
                    {.processors = n,
                     .max_threads = 40,
                     .preempt_after = 500us,
                     .shutdown_grace = 60s});
                random_engine random(s + n);
                auto const end = clock_type::now() + length() / 3;
                while (clock_type::now() < end) {
                    if (random() % 16 == 0)
                        try {
                            sched->set_processors(static_cast<unsigned>(random() % 6) + 1);
                        } catch (system_error const& e) {
                            a.check(e.code() == spindle::errc::thread_limit);
                        }
                    if (a.begun - a.ended > 100) {
                        std::this_thread::sleep_for(200us);
                        continue;
                    }
                    ++a.begun;
                    spindle::spawn(
                        *sched, [&a, what = random()] { some_things(a, what, 0); },
                        asio::detached);
                }
                sched->join();
                auto const stats = sched->stats();
                BOOST_TEST_MESSAGE(
                    a.begun << " fibers, " << stats.handoffs << " handoffs, " << stats.preemptions
                            << " preemptions, " << stats.threads << " threads");
                BOOST_TEST(stats.handoffs > 0u);
                BOOST_TEST(stats.preemptions > 0u);
                BOOST_TEST(stats.threads <= 40u);
            }
            BOOST_TEST(a.begun > 0u);
            BOOST_TEST(a.begun == a.ended);
            BOOST_TEST(a.handlers_begun == a.handlers_ended);
            BOOST_TEST(a.wrong == 0u);
        }
}

BOOST_AUTO_TEST_SUITE_END()
