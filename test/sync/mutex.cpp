//
// sync/mutex.cpp
// ~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE sync.mutex
#include <spindle/sync/mutex.hpp>

#include <spindle/fiber.hpp>
#include <spindle/sync/wait_group.hpp>
#include <spindle/this_fiber.hpp>

#include <support/child.hpp>
#include <support/cpu_time.hpp>
#include <support/fixture.hpp>
#include <support/hop.hpp>
#include <support/waiting.hpp>

#include <boost/asio/post.hpp>
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <functional>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <thread>
#include <type_traits>
#include <vector>

namespace {

using namespace std::chrono_literals;
using spindle::mutex;
using spindle_test::over_processors;
using spindle_test::until;
using work = std::function<void()>;

constexpr auto locking = spindle::detail::wait_reason::mutex;

static_assert(!std::is_copy_constructible_v<mutex> && !std::is_copy_assignable_v<mutex>);
static_assert(sizeof(mutex) <= 24);

} // namespace

// --- what std says -------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(is_owned_by_one_at_a_time)
{
    over_processors([] {
        mutex m;
        m.lock();
        BOOST_TEST(!m.try_lock());
        m.unlock();
        BOOST_TEST(m.try_lock());
        m.unlock();
    });
}

BOOST_AUTO_TEST_CASE(works_with_the_locks_of_std)
{
    over_processors([] {
        mutex a, b;
        {
            std::lock_guard const guard(a);
            std::unique_lock lock(b, std::try_to_lock);
            BOOST_TEST(lock.owns_lock());
        }
        {
            std::scoped_lock const both(a, b);
            BOOST_TEST(!std::unique_lock(a, std::try_to_lock).owns_lock());
            BOOST_TEST(!std::unique_lock(b, std::try_to_lock).owns_lock());
        }
        std::unique_lock lock(a);
        BOOST_CHECK_THROW(lock.lock(), std::system_error); // owns it already
    });
}

BOOST_AUTO_TEST_CASE(is_unlocked_where_an_exception_leaves_the_section)
{
    over_processors([] {
        mutex m;
        try {
            std::lock_guard const guard(m);
            throw 1;
        } catch (int) {
        }
        BOOST_TEST(m.try_lock());
        m.unlock();
    });
}

// What it protects is plain data, so that a lost order shows up under TSan.
BOOST_AUTO_TEST_CASE(protects_plain_data_of_fibers_and_threads)
{
    over_processors([] {
        mutex m;
        long counter = 0;
        auto const rounds = static_cast<long>(spindle_test::scaled(20'000));
        work const body = [&] {
            for (long i = 0; i != rounds; ++i) {
                std::lock_guard const guard(m);
                ++counter;
            }
        };
        spindle::wait_group all;
        for (int i = 0; i != 6; ++i)
            all.go(body);
        std::vector<std::thread> threads;
        for (int i = 0; i != 2; ++i)
            threads.emplace_back(body);
        all.wait();
        for (auto& t : threads)
            t.join();
        BOOST_TEST(counter == 8 * rounds);
    });
}

// Go's HammerMutex: try_lock in between, and sections that yield and move.
BOOST_AUTO_TEST_CASE(survives_a_hammer)
{
    over_processors([] {
        mutex m;
        long counter = 0, expected = 0;
        std::atomic<long> got{0};
        auto const rounds = static_cast<int>(spindle_test::scaled(3000));
        spindle::wait_group all;
        for (int f = 0; f != 10; ++f)
            all.go([&, f] {
                for (int i = 0; i != rounds; ++i) {
                    if (i % 3 == 0) {
                        if (!m.try_lock())
                            continue;
                    } else {
                        m.lock();
                    }
                    ++got;
                    auto const before = counter;
                    if (i % 16 == f)
                        spindle::this_fiber::yield();
                    if (i % 64 == f)
                        spindle_test::hop();
                    counter = before + 1;
                    m.unlock();
                }
            });
        all.wait();
        expected = got;
        BOOST_TEST(counter == expected);
    });
}

BOOST_AUTO_TEST_CASE(is_unlocked_on_another_thread_than_it_was_locked_on)
{
    spindle_test::on_scheduler s(2);
    s.run([] {
        mutex m;
        std::atomic<bool> moved{false};
        spindle::wait_group all;
        for (int f = 0; f != 4; ++f)
            all.go([&] {
                while (!moved) {
                    std::lock_guard const guard(m);
                    auto const before = spindle_test::thread_number();
                    spindle_test::hop();
                    if (spindle_test::thread_number() != before)
                        moved = true;
                }
            });
        all.wait();
        BOOST_TEST(moved);
    });
}

BOOST_AUTO_TEST_CASE(fibers_of_two_schedulers_share_it)
{
    mutex m;
    long counter = 0;
    auto const rounds = static_cast<int>(spindle_test::scaled(10'000));
    work const body = [&] {
        for (int i = 0; i != rounds; ++i) {
            std::lock_guard const guard(m);
            ++counter;
            if (i % 10 == 0)
                spindle::this_fiber::yield();
        }
    };
    {
        spindle_test::on_scheduler a(2);
        std::thread other([&] { spindle::run(body, {.processors = 1}); });
        a.run(body);
        other.join();
    }
    BOOST_TEST(counter == 2 * rounds);
}

// The last to unlock may destroy it: Go and std both have it so.
BOOST_AUTO_TEST_CASE(may_be_destroyed_by_the_last_to_unlock_it)
{
    over_processors([] {
        auto const rounds = static_cast<int>(spindle_test::scaled(2000));
        for (int i = 0; i != rounds; ++i) {
            struct shared {
                mutex m;
                int users = 2;
            };
            auto* const s = new shared;
            auto const leave = [s] {
                s->m.lock();
                spindle::this_fiber::yield();
                auto const last = --s->users == 0;
                s->m.unlock();
                if (last)
                    delete s;
            };
            auto f = spindle::spawn(leave);
            leave();
            f.join();
        }
    });
}

// --- waiting -------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(those_who_wait_go_on_in_order)
{
    over_processors([] {
        mutex m;
        std::vector<int> order;
        spindle::wait_group all;
        m.lock();
        for (int i = 0; i != 10; ++i) {
            all.go([&, i] {
                std::lock_guard const guard(m);
                order.push_back(i);
            });
            BOOST_REQUIRE(until([&] {
                return spindle_test::fibers_in(locking) == static_cast<std::size_t>(i) + 1;
            }));
        }
        m.unlock();
        all.wait();
        BOOST_TEST((order == std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
    });
}

BOOST_AUTO_TEST_CASE(one_that_waits_parks_and_does_not_hold_its_thread)
{
    spindle_test::on_scheduler s(1);
    s.run([] {
        mutex m;
        m.lock();
        bool ran = false;
        auto waits = spindle::spawn([&] { std::lock_guard const guard(m); });
        auto other = spindle::spawn([&] { ran = true; });
        other.join();
        BOOST_TEST(ran);
        m.unlock();
        waits.join();
    });
}

// Go's TestMutexFairness: one holds it most of the time, the other needs it now and
// then for a moment.
BOOST_AUTO_TEST_CASE(one_that_holds_it_nearly_always_does_not_starve_another)
{
    over_processors([] {
        mutex m;
        std::atomic<bool> done{false};
        auto greedy = spindle::spawn([&] {
            while (!done) {
                std::lock_guard const guard(m);
                spindle::this_fiber::sleep_for(100us);
            }
        });
        for (int i = 0; i != 10; ++i) {
            spindle::this_fiber::sleep_for(100us);
            std::lock_guard const guard(m);
        }
        done = true;
        greedy.join();
    });
}

namespace {

// Of 8 fibers that call turn(mutex, count) as often as they can, none gets less than
// a third of the mean.
template <class Turn>
void check_fairness(Turn turn)
{
    for (unsigned const processors : {1u, 2u}) {
        spindle_test::on_scheduler s(processors);
        s.run([&] {
            mutex m;
            std::vector<long> counts(8);
            std::atomic<bool> done{false};
            spindle::wait_group all;
            for (auto& n : counts)
                all.go([&] {
                    while (!done)
                        turn(m, n);
                });
            spindle_test::sleep_while_others_compute(1s * processors);
            done = true;
            all.wait();
            auto const mean = std::accumulate(counts.begin(), counts.end(), 0L) / 8;
            BOOST_TEST(*std::min_element(counts.begin(), counts.end()) >= mean / 3);
        });
    }
}

} // namespace

// A fiber that was overtaken is handed the mutex.
BOOST_AUTO_TEST_CASE(is_fair_where_sections_yield)
{
    check_fairness([](mutex& m, long& n) {
        std::lock_guard const guard(m);
        ++n;
        spindle::this_fiber::yield();
    });
}

BOOST_AUTO_TEST_CASE(is_fair_where_fibers_yield_between_sections)
{
    check_fairness([](mutex& m, long& n) {
        {
            std::lock_guard const guard(m);
            ++n;
        }
        spindle::this_fiber::yield();
    });
}

// They never wait of themselves, so that the monitor has to take turns.
BOOST_AUTO_TEST_CASE(is_fair_where_nobody_yields)
{
    check_fairness([](mutex& m, long& n) {
        std::lock_guard const guard(m);
        ++n;
    });
}

BOOST_AUTO_TEST_CASE(a_plain_thread_is_not_starved_by_fibers)
{
    over_processors([] {
        mutex m;
        std::atomic<bool> done{false};
        spindle::wait_group all;
        for (int i = 0; i != 4; ++i)
            all.go([&] {
                while (!done) {
                    std::lock_guard const guard(m);
                    spindle::this_fiber::yield();
                }
            });
        std::thread([&] {
            for (int i = 0; i != 20; ++i)
                std::lock_guard const guard(m);
            done = true;
        }).join();
        all.wait();
    });
}

// --- stops, handlers, misuse ---------------------------------------------------------------

BOOST_AUTO_TEST_CASE(lock_is_not_a_cancellation_point)
{
    over_processors([] {
        mutex m;
        m.lock();
        auto f = spindle::spawn([&] {
            std::lock_guard const guard(m);
            return spindle::this_fiber::stop_requested();
        });
        BOOST_REQUIRE(until([] { return spindle_test::fibers_in(locking) == 1; }));
        f.request_stop();
        for (int i = 0; i != 10; ++i)
            spindle::this_fiber::yield();
        m.unlock();
        BOOST_TEST(f.join());
        BOOST_TEST(m.try_lock());
        m.unlock();
    });
}

BOOST_AUTO_TEST_CASE(a_handler_is_refused_whether_the_mutex_is_free_or_not)
{
    spindle_test::on_scheduler s(2);
    mutex m;
    std::atomic<int> refused{0};
    std::atomic<bool> tried{false}, ran{false};
    auto const lock = [&] {
        try {
            m.lock();
        } catch (spindle::system_error const& e) {
            refused += e.code() == spindle::errc::not_in_fiber;
        }
    };
    boost::asio::post(s->get_executor(), [&] {
        lock();
        tried = m.try_lock();
        lock();
        m.unlock();
        ran = true;
    });
    BOOST_TEST(spindle_test::eventually([&] { return ran.load(); }));
    BOOST_TEST(refused == 2);
    BOOST_TEST(tried);
}

BOOST_AUTO_TEST_CASE(unlocking_what_is_not_locked_ends_the_process_with_a_message)
{
    auto const end = spindle_test::in_child([] {
        mutex m;
        m.unlock();
    });
    BOOST_TEST(end.by_signal(SIGABRT));
    BOOST_TEST(end.says("nobody has locked"), end.text);
}

BOOST_AUTO_TEST_CASE(destroying_what_is_locked_ends_the_process_with_a_message)
{
    auto const end = spindle_test::in_child([] {
        mutex m;
        m.lock();
    });
    BOOST_TEST(end.by_signal(SIGABRT));
    BOOST_TEST(end.says("destroyed"), end.text);
}
