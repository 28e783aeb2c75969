//
// sync/every_step.cpp
// ~~~~~~~~~~~~~~~~~~~
// Whatever waits is cancelled at each of its steps, as in cancel/every_step.cpp. What is
// no cancellation point waits to its end, and then the next wait is cancelled.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE sync.every_step
#include <spindle/sync/barrier.hpp>
#include <spindle/sync/condition_variable.hpp>
#include <spindle/sync/latch.hpp>
#include <spindle/sync/mutex.hpp>
#include <spindle/sync/once.hpp>
#include <spindle/sync/semaphore.hpp>
#include <spindle/sync/shared_mutex.hpp>
#include <spindle/sync/singleflight.hpp>
#include <spindle/sync/wait_group.hpp>

#include <support/every_step.hpp>

#include <boost/test/unit_test.hpp>

#include <chrono>
#include <functional>
#include <mutex>
#include <shared_mutex>
#include <string>

using namespace spindle_test;
using namespace std::chrono_literals;
namespace this_fiber = spindle::this_fiber;

namespace {

// With a fiber beside it.
void beside(std::function<void()> const& other, std::function<void()> const& fn)
{
    auto peer = spindle::spawn(other);
    fn();
    peer.join();
}

} // namespace

BOOST_AUTO_TEST_CASE(a_semaphore)
{
    over_every_step([] {
        spindle::counting_semaphore<> permits(0);
        beside(
            [&] {
                for (int i = 0; i != 3; ++i) {
                    this_fiber::sleep_for(20us);
                    permits.release();
                }
            },
            [&] {
                permits.acquire();
                (void)permits.try_acquire_for(1h);
                (void)permits.try_acquire_for(10us);
            });
    });
}

BOOST_AUTO_TEST_CASE(a_condition_variable)
{
    over_every_step([] {
        spindle::mutex m;
        spindle::condition_variable changed;
        int n = 0;
        beside(
            [&] {
                for (int i = 0; i != 3; ++i) {
                    this_fiber::sleep_for(20us);
                    std::lock_guard const guard(m);
                    ++n;
                    changed.notify_one();
                }
            },
            [&] {
                std::unique_lock lock(m);
                changed.wait(lock, [&] { return n >= 1; });
                (void)changed.wait_for(lock, 1h, [&] { return n >= 2; });
                (void)changed.wait_for(lock, 10us, [&] { return n >= 3; });
                if (!lock.owns_lock())
                    throw "it is not locked";
            });
    });
}

BOOST_AUTO_TEST_CASE(a_timed_mutex)
{
    over_every_step([] {
        spindle::timed_mutex m;
        beside(
            [&] {
                for (int i = 0; i != 3; ++i) {
                    std::unique_lock const lock(m, 1h);
                    this_fiber::sleep_for(20us);
                }
            },
            [&] {
                for (auto const limit : {std::chrono::microseconds(1h), 5us, 100us}) {
                    std::unique_lock const lock(m, limit);
                    this_fiber::sleep_for(5us);
                }
            });
    });
}

BOOST_AUTO_TEST_CASE(a_wait_group_with_a_token)
{
    over_every_step([] {
        spindle::wait_group pieces;
        for (int i = 0; i != 3; ++i)
            pieces.go([] { this_fiber::sleep_for(20us); });
        spindle::detail::scope_exit const all([&] { pieces.wait(); });
        pieces.wait(this_fiber::get_stop_token());
    });
}

BOOST_AUTO_TEST_CASE(a_singleflight)
{
    over_every_step([] {
        spindle::singleflight<std::string, int> calls;
        auto const call = [&] {
            return calls.call("one", [] {
                this_fiber::sleep_for(20us);
                return 1;
            });
        };
        beside([&] { (void)call(); }, [&] {
            for (int i = 0; i != 2; ++i)
                if (call().value != 1)
                    throw "another value";
        });
    });
}

BOOST_AUTO_TEST_CASE(what_is_no_cancellation_point)
{
    over_every_step([] {
        spindle::mutex m;
        spindle::shared_mutex sm;
        spindle::latch opened(1);
        spindle::barrier<> both(2);
        spindle::once_flag once;
        spindle::wait_group pieces(1);
        int done = 0;
        auto const first = [&] { this_fiber::yield(); };
        beside(
            [&] {
                spindle::shielded([&] {
                    std::unique_lock lock(m);
                    std::unique_lock writing(sm);
                    this_fiber::sleep_for(20us);
                    lock.unlock();
                    writing.unlock();
                    spindle::call_once(once, first);
                    opened.count_down();
                    both.arrive_and_wait();
                    this_fiber::sleep_for(20us);
                    pieces.done();
                });
            },
            [&] {
                spindle::detail::scope_exit const ended([&] {
                    if (done == 0) // it waits for us
                        both.arrive_and_drop();
                });
                this_fiber::sleep_for(5us);
                {
                    std::lock_guard const guard(m);
                }
                {
                    std::shared_lock const reading(sm);
                }
                {
                    std::lock_guard const writing(sm);
                }
                spindle::call_once(once, first);
                opened.wait();
                both.arrive_and_wait();
                done = 1;
                pieces.wait();
                this_fiber::sleep_for(5us);
            });
    });
}
