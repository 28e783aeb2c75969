//
// sync/semaphore.cpp
// ~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE sync.semaphore
#include <spindle/go.hpp>
#include <spindle/sync/semaphore.hpp>
#include <spindle/sync/wait_group.hpp>
#include <spindle/this_fiber.hpp>

#include <support/async_wait.hpp>
#include <support/child.hpp>
#include <support/crew.hpp>
#include <support/fixture.hpp>

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/post.hpp>
#include <boost/test/unit_test.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <stop_token>
#include <thread>
#include <type_traits>
#include <vector>

using namespace std::chrono_literals;
using spindle::binary_semaphore;
using spindle::counting_semaphore;
using spindle::wait_group;
using spindle::this_fiber::yield;
using spindle_test::aborted;
using spindle_test::error_of;
using spindle_test::over_processors;
using spindle_test::scaled;

namespace {

using semaphore = counting_semaphore<>;

void yield_some()
{
    for (int i = 0; i != 10; ++i)
        yield();
}

// As many as can be taken.
int drain(semaphore& s)
{
    int n = 0;
    while (s.try_acquire())
        ++n;
    return n;
}

} // namespace

static_assert(std::is_same_v<binary_semaphore, counting_semaphore<1>>);
static_assert(binary_semaphore::max() == 1 && counting_semaphore<7>::max() == 7);
static_assert(semaphore::max() > 1'000'000);
static_assert(!std::is_convertible_v<std::ptrdiff_t, semaphore>);
static_assert(!std::is_copy_constructible_v<semaphore> && !std::is_copy_assignable_v<semaphore>);

// --- as std's -------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(counts_permits)
{
    semaphore s(3);
    s.acquire();
    BOOST_TEST(s.try_acquire());
    BOOST_TEST(s.try_acquire());
    BOOST_TEST(!s.try_acquire());
    s.release();
    BOOST_TEST(s.try_acquire());
    s.release(2);
    s.release(0);
    BOOST_TEST(drain(s) == 2);
    semaphore most(semaphore::max());
    most.acquire();
    most.release();
    BOOST_TEST(most.try_acquire());
}

BOOST_AUTO_TEST_CASE(a_deadline_ends_the_wait)
{
    auto const body = [] {
        semaphore s(1);
        BOOST_TEST(s.try_acquire_for(1ms));
        auto const start = spindle::testing::clock::now();
        BOOST_TEST(!s.try_acquire_for(5ms));
        BOOST_TEST((spindle::testing::clock::now() - start >= 5ms));
        BOOST_TEST(!s.try_acquire_for(-1ms));
        BOOST_TEST(!s.try_acquire_until(start)); // in the past
        BOOST_TEST(!s.try_acquire_until(std::chrono::system_clock::now() + 5ms));
        BOOST_TEST(!s.try_acquire()); // those who have left have changed nothing
        s.release();
        BOOST_TEST(s.try_acquire_until(start));
        s.release();
        BOOST_TEST(s.try_acquire_for(std::chrono::hours::max()));
        s.release();
        BOOST_TEST(drain(s) == 1);
    };
    body();
    over_processors(body);
}

BOOST_AUTO_TEST_CASE(a_release_ends_a_wait_with_a_deadline)
{
    over_processors([] {
        semaphore s(0);
        auto f = spindle::spawn([&] { return s.try_acquire_for(1h); });
        yield_some();
        s.release();
        BOOST_TEST(f.join());
    });
    binary_semaphore s(0);
    std::thread t([&] { BOOST_TEST(s.try_acquire_for(1h)); });
    s.release();
    t.join();
}

BOOST_AUTO_TEST_CASE(never_more_at_a_time_than_there_are_permits)
{
    over_processors([] {
        semaphore s(3);
        std::atomic<int> inside{0}, most{0};
        wait_group group;
        for (int i = 0; i != 20; ++i)
            group.go([&] {
                for (std::size_t k = 0; k != scaled(200); ++k) {
                    s.acquire();
                    auto const n = ++inside;
                    for (auto m = most.load(); m < n && !most.compare_exchange_weak(m, n);)
                        ;
                    yield();
                    --inside;
                    s.release();
                }
            });
        group.wait();
        BOOST_TEST(most <= 3);
        BOOST_TEST(most > 1);
        BOOST_TEST(drain(s) == 3);
    });
}

BOOST_AUTO_TEST_CASE(who_acquires_sees_what_was_done_before_the_release)
{
    over_processors([] {
        binary_semaphore ping(0), pong(0);
        int value = 0; // plain
        wait_group group;
        group.go([&] {
            for (int i = 0; i != 1000; ++i) {
                ping.acquire();
                ++value;
                pong.release();
            }
        });
        for (int i = 0; i != 1000; ++i) {
            ping.release();
            pong.acquire();
            BOOST_REQUIRE(value == i + 1);
        }
        group.wait();
    });
}

BOOST_AUTO_TEST_CASE(threads_and_fibers_mix)
{
    spindle_test::on_scheduler s(2);
    semaphore permits(2);
    std::atomic<int> inside{0}, wrong{0};
    wait_group group(6);
    auto const body = [&] {
        for (std::size_t k = 0; k != scaled(1000); ++k) {
            permits.acquire();
            wrong += ++inside > 2;
            if (k % 16 == 0 && spindle::this_fiber::is_fiber())
                yield();
            --inside;
            permits.release();
        }
        group.done();
    };
    {
        spindle_test::crew const all_of_them(s, 3, body);
        group.wait();
    }
    BOOST_TEST(wrong == 0);
    BOOST_TEST(drain(permits) == 2);
}

// --- order ----------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(first_come_first_served)
{
    spindle_test::on_scheduler s(spindle_test::without_rescue(1));
    s.run([] {
        semaphore permits(0);
        std::vector<int> came, order;
        wait_group group;
        for (int i = 0; i != 10; ++i)
            group.go([&, i] {
                came.push_back(i);
                permits.acquire();
                order.push_back(i);
            });
        yield_some();
        BOOST_REQUIRE(came.size() == 10u);
        for (int i = 0; i != 10; ++i) {
            permits.release();
            BOOST_TEST(!permits.try_acquire()); // it is somebody's
            yield_some();
            BOOST_REQUIRE(order.size() == static_cast<std::size_t>(i) + 1);
        }
        BOOST_TEST(order == came, boost::test_tools::per_element());
        group.wait();
    });
}

BOOST_AUTO_TEST_CASE(one_release_serves_many)
{
    over_processors([] {
        semaphore permits(0);
        std::atomic<int> served{0};
        wait_group group;
        for (int i = 0; i != 10; ++i)
            group.go([&] {
                permits.acquire();
                ++served;
            });
        yield_some();
        permits.release(12);
        group.wait();
        BOOST_TEST(served == 10);
        BOOST_TEST(drain(permits) == 2);
    });
}

// --- stop -----------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_stop_ends_the_wait_and_takes_no_permit)
{
    over_processors([] {
        semaphore permits(0);
        for (auto const timed : {false, true}) {
            auto f = spindle::spawn([&] {
                if (timed)
                    (void)permits.try_acquire_for(1h);
                else
                    permits.acquire();
            });
            yield_some();
            f.request_stop();
            BOOST_TEST(error_of([&] { f.join(); }) == aborted);
        }
        BOOST_TEST(!permits.try_acquire());
        permits.release();
        BOOST_TEST(drain(permits) == 1);
    });
}

BOOST_AUTO_TEST_CASE(a_fiber_that_was_stopped_takes_no_permit_that_is_there)
{
    over_processors([] {
        semaphore permits(1);
        auto f = spindle::spawn([&](std::stop_token stop) {
            while (!stop.stop_requested())
                yield();
            return std::array{
                error_of([&] { permits.acquire(); }),
                error_of([&] { (void)permits.try_acquire_for(1h); })};
        });
        f.request_stop();
        for (auto const& ec : f.join())
            BOOST_TEST(ec == aborted);
        BOOST_TEST(permits.try_acquire());
    });
}

// A stop at every moment of a wait, against a release: one of them has it, and the
// permit is with the fiber or still there.
BOOST_AUTO_TEST_CASE(of_a_stop_and_a_release_one_wins)
{
    over_processors([] {
        std::size_t stopped = 0, got = 0;
        for (std::size_t round = 0; round != scaled(3000); ++round) {
            semaphore permits(0);
            std::atomic<bool> has{false};
            auto f = spindle::spawn([&] {
                if (round % 2 == 0)
                    permits.acquire();
                else
                    BOOST_REQUIRE(permits.try_acquire_for(1h));
                has = true;
            });
            for (std::size_t i = 0; i != round % 4; ++i)
                yield();
            auto g = spindle::spawn([&] { permits.release(); });
            if (round % 8 < 4)
                yield();
            f.request_stop();
            g.join();
            auto const ec = error_of([&] { f.join(); });
            BOOST_REQUIRE((has ? !ec : ec == aborted));
            BOOST_REQUIRE(drain(permits) == !has);
            ++(has ? got : stopped);
        }
        BOOST_TEST(got > 0u);
        BOOST_TEST_MESSAGE(got << " got it, " << stopped << " were stopped");
    });
}

// Many of each, and the books balance.
BOOST_AUTO_TEST_CASE(no_permit_is_lost_among_stops_and_deadlines)
{
    over_processors([] {
        semaphore permits(3);
        std::atomic<int> wrong{0}, inside{0};
        wait_group group;
        std::vector<spindle::fiber<void>> fibers;
        for (std::size_t i = 0; i != scaled(400); ++i)
            fibers.push_back(spindle::spawn([&, i] {
                if (i % 3 == 0) {
                    if (!permits.try_acquire_for(std::chrono::microseconds(i)))
                        return;
                } else {
                    permits.acquire();
                }
                wrong += ++inside > 3;
                yield();
                --inside;
                permits.release();
            }));
        for (std::size_t i = 0; i != fibers.size(); i += 2) {
            fibers[i].request_stop();
            if (i % 5 == 0)
                yield();
        }
        for (auto& f : fibers)
            (void)error_of([&] { f.join(); });
        BOOST_TEST(wrong == 0);
        BOOST_TEST(drain(permits) == 3);
    });
}

// Who leaves the middle of the queue lets the others have their turn.
BOOST_AUTO_TEST_CASE(the_others_wait_on_when_one_is_stopped)
{
    over_processors([] {
        semaphore permits(0);
        std::vector<spindle::fiber<void>> fibers;
        for (int i = 0; i != 5; ++i)
            fibers.push_back(spindle::spawn([&] { permits.acquire(); }));
        yield_some();
        fibers[0].request_stop();
        fibers[2].request_stop();
        for (auto const i : {0, 2})
            (void)error_of([&] { fibers[static_cast<std::size_t>(i)].join(); });
        permits.release(3);
        for (auto const i : {1, 3, 4})
            fibers[static_cast<std::size_t>(i)].join();
        BOOST_TEST(drain(permits) == 0);
    });
}

// --- async_acquire --------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(async_acquire_is_an_asynchronous_wait)
{
    spindle_test::check_async_wait([] {
        auto const s = std::make_shared<semaphore>(0);
        return spindle_test::waited{
            [s](spindle_test::probe p) { s->async_acquire(std::move(p)); },
            [s] { s->release(); }};
    });
}

BOOST_AUTO_TEST_CASE(of_a_cancellation_and_a_release_one_wins)
{
    spindle_test::asio::io_context ioc;
    semaphore permits(0);
    for (std::size_t round = 0; round != scaled(2000); ++round) {
        spindle_test::observation seen;
        spindle_test::asio::cancellation_signal signal;
        permits.async_acquire(spindle_test::probe(seen, ioc, signal.slot()));
        std::thread other;
        std::atomic<bool> go{false};
        if (round % 100 == 0)
            other = std::thread([&] {
                go = true;
                permits.release();
            });
        else
            boost::asio::post(ioc, [&] { permits.release(); });
        while (other.joinable() && !go)
            std::this_thread::yield();
        boost::asio::post(
            ioc, [&] { signal.emit(spindle_test::asio::cancellation_type::total); });
        ioc.run();
        ioc.restart();
        if (other.joinable())
            other.join();
        BOOST_REQUIRE(seen.calls == 1);
        BOOST_REQUIRE(drain(permits) == seen.aborted);
    }
}

BOOST_AUTO_TEST_CASE(a_handler_that_is_never_called_gives_its_permit_back)
{
    semaphore permits(1);
    {
        spindle_test::observation seen;
        {
            spindle_test::asio::io_context ioc;
            permits.async_acquire(spindle_test::probe(seen, ioc)); // at once
            permits.async_acquire(spindle_test::probe(seen, ioc)); // served below
            permits.async_acquire(spindle_test::probe(seen, ioc)); // still waits
            permits.release();
            BOOST_TEST(!permits.try_acquire());
        }
        BOOST_TEST(seen.calls == 0);
        BOOST_TEST(seen.alive == 0);
    }
    BOOST_TEST(drain(permits) == 2);
}

BOOST_AUTO_TEST_CASE(handlers_wait_in_the_same_queue)
{
    spindle_test::on_scheduler s(spindle_test::without_rescue(1));
    s.run([] {
        semaphore permits(0);
        std::vector<int> order;
        wait_group group(1);
        group.go([&] {
            permits.acquire();
            order.push_back(1);
            permits.release();
        });
        yield_some();
        permits.async_acquire(boost::asio::bind_executor(
            spindle::this_fiber::get_executor(), [&](spindle::error_code ec) {
                order.push_back(ec ? -1 : 2);
                permits.release();
                group.done();
            }));
        group.go([&] {
            permits.acquire();
            order.push_back(3);
        });
        yield_some();
        BOOST_TEST(order.empty());
        permits.release();
        group.wait();
        BOOST_TEST(order == (std::vector{1, 2, 3}), boost::test_tools::per_element());
    });
}

// --- misuse ---------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(acquire_is_refused_in_a_handler)
{
    spindle_test::on_scheduler s(2);
    semaphore permits(1);
    binary_semaphore over(0);
    std::atomic<int> refused{0};
    boost::asio::post(s->get_executor(), [&] {
        for (int i = 0; i != 2; ++i) { // whether there is a permit or not
            auto const ec = error_of([&] { permits.acquire(); });
            refused += ec == spindle::errc::not_in_fiber;
            (void)permits.try_acquire();
        }
        auto const timed = error_of([&] { (void)permits.try_acquire_for(1ms); });
        refused += timed == spindle::errc::not_in_fiber;
        over.release();
    });
    over.acquire();
    BOOST_TEST(refused == 3);
}

BOOST_AUTO_TEST_CASE(too_many_permits_end_the_process_with_a_message)
{
    auto const released = spindle_test::in_child([] { binary_semaphore(1).release(); });
    BOOST_TEST(released.by_signal(SIGABRT));
    BOOST_TEST(released.says("release(1)"), released.text);
    auto const negative = spindle_test::in_child([] { semaphore(1).release(-1); });
    BOOST_TEST(negative.by_signal(SIGABRT));
    auto const made = spindle_test::in_child([] { counting_semaphore<3> s(4); });
    BOOST_TEST(made.by_signal(SIGABRT));
    BOOST_TEST(made.says("max() = 3"), made.text);
}
