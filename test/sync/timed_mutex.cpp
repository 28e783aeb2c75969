//
// sync/timed_mutex.cpp
// ~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE sync.timed_mutex
#include <spindle/sync/mutex.hpp>

#include <spindle/fiber.hpp>
#include <spindle/sync/wait_group.hpp>
#include <spindle/this_fiber.hpp>

#include <support/asio_fixture.hpp>
#include <support/waiting.hpp>

#include <boost/asio/post.hpp>
#include <boost/test/unit_test.hpp>

#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>
#include <type_traits>

namespace {

using namespace std::chrono_literals;
using spindle::timed_mutex;
using spindle_test::aborted;
using spindle_test::error_of;
using spindle_test::over_processors;
using spindle_test::until;

constexpr auto locking = spindle::detail::wait_reason::mutex;

bool somebody_waits() { return spindle_test::fibers_in(locking) != 0; }

} // namespace

BOOST_AUTO_TEST_CASE(what_is_free_is_locked_whatever_the_deadline)
{
    over_processors([] {
        timed_mutex m;
        for (auto const d : {-1s, 0s, 100s}) {
            BOOST_REQUIRE(m.try_lock_for(d));
            m.unlock();
            BOOST_REQUIRE(m.try_lock_until(spindle::testing::clock::now() + d));
            m.unlock();
            BOOST_REQUIRE(m.try_lock_until(std::chrono::system_clock::now() + d));
            m.unlock();
        }
        BOOST_REQUIRE(m.try_lock_for(std::chrono::hours::max()));
        m.unlock();
    });
}

BOOST_AUTO_TEST_CASE(gives_up_at_the_deadline_and_not_before)
{
    over_processors([] {
        timed_mutex m;
        std::lock_guard const guard(m);
        auto const gives_up = [&] {
            auto start = spindle::testing::clock::now();
            auto ok = !m.try_lock_for(2ms) && spindle::testing::clock::now() >= start + 2ms;
            start = spindle::testing::clock::now();
            ok &= !m.try_lock_until(start + 2ms) && spindle::testing::clock::now() >= start + 2ms;
            auto const wall = std::chrono::system_clock::now() + 2ms;
            ok &= !m.try_lock_until(wall) && std::chrono::system_clock::now() >= wall;
            return ok && !m.try_lock_for(-1s);
        };
        BOOST_TEST(gives_up());
        bool thread = false;
        std::thread([&] { thread = gives_up(); }).join();
        BOOST_TEST(thread);
    });
}

BOOST_AUTO_TEST_CASE(works_with_unique_lock)
{
    over_processors([] {
        timed_mutex m;
        std::unique_lock const lock(m, 1ms);
        BOOST_TEST(lock.owns_lock());
        BOOST_TEST(!std::unique_lock(m, 1ms).owns_lock());
    });
}

BOOST_AUTO_TEST_CASE(gets_the_mutex_that_is_unlocked_in_time)
{
    over_processors([] {
        timed_mutex m;
        m.lock();
        auto f = spindle::spawn([&] {
            auto const got = m.try_lock_for(100s);
            if (got)
                m.unlock();
            return got;
        });
        BOOST_REQUIRE(until(somebody_waits));
        m.unlock();
        BOOST_TEST(f.join());
    });
}

BOOST_AUTO_TEST_CASE(a_stop_ends_the_wait)
{
    over_processors([] {
        timed_mutex m;
        std::lock_guard const guard(m);
        auto f = spindle::spawn([&] { return error_of([&] { (void)m.try_lock_for(100s); }); });
        BOOST_REQUIRE(until(somebody_waits));
        f.request_stop();
        BOOST_TEST(f.join() == aborted);
    });
}

BOOST_AUTO_TEST_CASE(a_fiber_that_was_stopped_takes_not_even_a_free_mutex)
{
    over_processors([] {
        timed_mutex m, busy;
        std::lock_guard const guard(busy);
        std::atomic<bool> go{false};
        auto f = spindle::spawn([&] {
            while (!go)
                spindle::this_fiber::yield();
            auto const free = error_of([&] { (void)m.try_lock_for(100s); });
            return free ? error_of([&] { (void)busy.try_lock_for(100s); }) : free;
        });
        f.request_stop();
        go = true;
        BOOST_TEST(f.join() == aborted);
        BOOST_TEST(m.try_lock());
        m.unlock();
    });
}

// Whoever leaves the queue, and however, takes nobody's place and nobody's wake-up
// with it.
BOOST_AUTO_TEST_CASE(cancelled_and_expired_waits_lose_nothing)
{
    over_processors([] {
        timed_mutex m;
        long counter = 0;
        std::atomic<long> got{0};
        auto const rounds = static_cast<int>(spindle_test::scaled(300));
        spindle::wait_group all;
        std::atomic<int> running{4};
        for (int i = 0; i != 4; ++i)
            all.go([&] {
                for (int k = 0; k != rounds * 4; ++k) {
                    std::lock_guard const guard(m);
                    ++counter;
                    ++got;
                    if (k % 4 == 0)
                        spindle::this_fiber::yield();
                }
                --running;
            });
        for (int k = 0; k != rounds; ++k) {
            auto stopped = spindle::spawn([&] {
                (void)error_of([&] {
                    if (m.try_lock_for(100s)) {
                        std::lock_guard const guard(m, std::adopt_lock);
                        ++counter;
                        ++got;
                    }
                });
            });
            auto expires = spindle::spawn([&, k] {
                if (m.try_lock_for(std::chrono::microseconds(k % 40))) {
                    std::lock_guard const guard(m, std::adopt_lock);
                    ++counter;
                    ++got;
                }
            });
            for (int j = 0; j != k % 5; ++j)
                spindle::this_fiber::yield();
            stopped.request_stop();
            stopped.join();
            expires.join();
        }
        all.wait();
        BOOST_TEST(counter == got);
        BOOST_TEST(m.try_lock());
        m.unlock();
    });
}

BOOST_AUTO_TEST_CASE(a_handler_is_refused_whether_it_is_free_or_not)
{
    spindle_test::on_scheduler s(2);
    timed_mutex m;
    std::atomic<bool> refused{false}, ran{false};
    boost::asio::post(s->get_executor(), [&] {
        refused = error_of([&] { (void)m.try_lock_for(1s); }) == spindle::errc::not_in_fiber;
        std::unique_lock const guard(m, std::try_to_lock);
        refused = refused
            && error_of([&] { (void)m.try_lock_for(1s); }) == spindle::errc::not_in_fiber;
        ran = true;
    });
    BOOST_TEST(spindle_test::eventually([&] { return ran.load(); }));
    BOOST_TEST(refused);
}
