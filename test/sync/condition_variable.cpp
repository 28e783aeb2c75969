//
// sync/condition_variable.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE sync.condition_variable
#include <spindle/sync/condition_variable.hpp>

#include <spindle/cancel/cancel_scope.hpp>
#include <spindle/cancel/within.hpp>
#include <spindle/fiber.hpp>
#include <spindle/spawn.hpp>
#include <spindle/sync/mutex.hpp>
#include <spindle/sync/shared_mutex.hpp>
#include <spindle/sync/wait_group.hpp>
#include <spindle/this_fiber.hpp>

#include <support/asio_fixture.hpp>
#include <support/async_wait.hpp>
#include <support/child.hpp>
#include <support/handlers.hpp>
#include <support/waiting.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/errc.hpp>
#include <boost/test/unit_test.hpp>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <stop_token>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using spindle::condition_variable;
using spindle::mutex;
using spindle_test::aborted;
using spindle_test::error_of;
using spindle_test::over_processors;
using spindle_test::until;
using lock_type = std::unique_lock<mutex>;

constexpr auto noticing = spindle::detail::wait_reason::condition_variable;

static_assert(!std::is_copy_constructible_v<condition_variable>);

bool waiting(std::size_t n)
{
    return until([n] { return spindle_test::fibers_in(noticing) == n; });
}

} // namespace

// --- what std and Go say ---------------------------------------------------------------------

// The first: TSan takes a child's use of fibers that rest since before the fork for
// a race.
BOOST_AUTO_TEST_CASE(destroying_what_is_waited_for_ends_the_process_with_a_message)
{
    auto const end = spindle_test::in_child([] {
        spindle_test::asio::io_context ioc; // without a thread of its own
        mutex m;
        auto c = std::make_unique<condition_variable>();
        auto const wait = [&] {
            lock_type lock(m);
            c->wait(lock);
        };
        spindle::spawn(ioc, wait, [](std::exception_ptr) {});
        ioc.poll();
        c.reset();
    });
    BOOST_TEST(end.by_signal(SIGABRT));
    BOOST_TEST(end.says("condition_variable was destroyed"), end.text);
}

// Go's TestCondSignalGenerations: first come, first served.
BOOST_AUTO_TEST_CASE(notify_one_wakes_the_one_that_waits_longest)
{
    over_processors([] {
        mutex m;
        condition_variable c;
        std::vector<int> order; // under m
        spindle::wait_group all;
        for (int i = 0; i != 10; ++i) {
            all.go([&, i] {
                lock_type lock(m);
                c.wait(lock);
                order.push_back(lock.owns_lock() ? i : -1);
            });
            BOOST_REQUIRE(waiting(static_cast<std::size_t>(i) + 1));
        }
        for (std::size_t i = 0; i != 10; ++i) {
            c.notify_one();
            BOOST_REQUIRE(until([&] {
                lock_type const lock(m);
                return order.size() == i + 1;
            }));
            BOOST_TEST(order.back() == static_cast<int>(i));
        }
        all.wait();
    });
}

BOOST_AUTO_TEST_CASE(notify_all_wakes_fibers_and_threads)
{
    over_processors([] {
        mutex m;
        condition_variable c;
        int ready = 0, through = 0; // under m
        bool go = false;
        std::function<void()> const body = [&] {
            lock_type lock(m);
            ++ready;
            c.wait(lock, [&] { return go; });
            ++through;
        };
        spindle::wait_group all;
        for (int i = 0; i != 20; ++i)
            all.go(body);
        std::vector<std::thread> threads;
        for (int i = 0; i != 3; ++i)
            threads.emplace_back(body);
        BOOST_REQUIRE(until([&] {
            lock_type const lock(m);
            return ready == 23;
        }));
        {
            lock_type const lock(m);
            go = true;
        }
        c.notify_all();
        all.wait();
        for (auto& t : threads)
            t.join();
        BOOST_TEST(through == 23);
    });
}

BOOST_AUTO_TEST_CASE(a_notice_that_nobody_waits_for_is_lost)
{
    over_processors([] {
        mutex m;
        condition_variable c;
        c.notify_one();
        c.notify_all();
        lock_type lock(m);
        BOOST_TEST((c.wait_for(lock, 1ms) == std::cv_status::timeout));
        BOOST_TEST(lock.owns_lock());
    });
}

// A bounded queue: plain data, and no notice lost between unlocking and parking.
BOOST_AUTO_TEST_CASE(a_queue_of_producers_and_consumers_loses_nothing)
{
    over_processors([] {
        mutex m;
        condition_variable not_empty, not_full;
        std::deque<int> queue; // under m
        auto const each = static_cast<int>(spindle_test::scaled(5000));
        long sum = 0; // under m
        std::function<void()> const produce = [&] {
            for (int i = 1; i <= each; ++i) {
                lock_type lock(m);
                not_full.wait(lock, [&] { return queue.size() < 4; });
                queue.push_back(i);
                not_empty.notify_one();
            }
        };
        std::function<void()> const consume = [&] {
            for (int i = 1; i <= each; ++i) {
                lock_type lock(m);
                not_empty.wait(lock, [&] { return !queue.empty(); });
                sum += queue.front();
                queue.pop_front();
                lock.unlock();
                not_full.notify_one();
            }
        };
        spindle::wait_group all;
        for (int i = 0; i != 3; ++i) {
            all.go(produce);
            all.go(consume);
        }
        std::thread p(produce), c(consume);
        all.wait();
        p.join();
        c.join();
        BOOST_TEST(sum == 4L * each * (each + 1) / 2);
    });
}

BOOST_AUTO_TEST_CASE(works_with_any_lock)
{
    over_processors([] {
        condition_variable c;
        spindle::recursive_mutex recursive;
        spindle::timed_mutex timed;
        spindle::shared_mutex shared;
        std::unique_lock a(recursive);
        std::unique_lock b(timed);
        std::unique_lock w(shared);
        auto const free = [&](auto& m) { // while the other one waits
            return spindle::spawn([&] {
                auto const got = waiting(1) && m.try_lock();
                if (got)
                    m.unlock();
                c.notify_one();
                return got;
            });
        };
        {
            auto f = free(recursive);
            (void)c.wait_for(a, 1h);
            BOOST_TEST(f.join());
        }
        {
            auto f = free(timed);
            (void)c.wait_for(b, 1h);
            BOOST_TEST(f.join());
        }
        {
            auto f = free(shared);
            (void)c.wait_for(w, 1h);
            BOOST_TEST(f.join());
        }
        w.unlock();
        std::shared_lock r(shared);
        (void)c.wait_for(r, 1ms);
        BOOST_TEST(a.owns_lock());
        BOOST_TEST(b.owns_lock());
        BOOST_TEST(r.owns_lock());
    });
}

BOOST_AUTO_TEST_CASE(an_exception_of_the_predicate_leaves_the_mutex_locked)
{
    over_processors([] {
        mutex m;
        condition_variable c;
        lock_type lock(m);
        BOOST_CHECK_THROW(c.wait(lock, []() -> bool { throw 1; }), int);
        BOOST_TEST(lock.owns_lock());
    });
}

BOOST_AUTO_TEST_CASE(an_exception_of_unlock_leaves_nobody_in_the_queue)
{
    over_processors([] {
        struct refuses {
            void lock() {}
            void unlock() { throw 1; }
        } lock;
        condition_variable c;
        BOOST_CHECK_THROW(c.wait(lock), int);
        c.notify_all();
    });
}

// --- deadlines -------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(deadlines_are_kept_by_fibers_and_threads_and_for_every_clock)
{
    over_processors([] {
        mutex m;
        condition_variable c;
        auto const keeps = [&] {
            lock_type lock(m);
            auto const start = spindle::testing::clock::now();
            auto const wall = std::chrono::system_clock::now() + 2ms;
            auto ok = c.wait_until(lock, start + 2ms) == std::cv_status::timeout
                && spindle::testing::clock::now() >= start + 2ms;
            ok &= c.wait_until(lock, wall) == std::cv_status::timeout
                && std::chrono::system_clock::now() >= wall;
            ok &= c.wait_for(lock, -1s) == std::cv_status::timeout;
            ok &= !c.wait_for(lock, 1ms, [] { return false; });
            ok &= c.wait_for(lock, 100s, [] { return true; });
            int asked = 0;
            ok &= c.wait_for(lock, 1ms, [&] { return ++asked == 2; }); // asked once more at the end
            return ok && lock.owns_lock();
        };
        BOOST_TEST(keeps());
        bool thread = false;
        std::thread([&] { thread = keeps(); }).join();
        BOOST_TEST(thread);
    });
}

BOOST_AUTO_TEST_CASE(a_notice_in_time_is_no_timeout)
{
    over_processors([] {
        mutex m;
        condition_variable c;
        auto f = spindle::spawn([&] {
            lock_type lock(m);
            return c.wait_for(lock, 100s) == std::cv_status::no_timeout;
        });
        BOOST_REQUIRE(waiting(1));
        c.notify_one();
        BOOST_TEST(f.join());
    });
}

// --- stops -----------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_stop_ends_the_wait_with_the_mutex_locked)
{
    over_processors([] {
        mutex m;
        condition_variable c;
        auto f = spindle::spawn([&] {
            lock_type lock(m);
            auto const ec = error_of([&] { c.wait(lock); });
            return ec == aborted && lock.owns_lock() && !m.try_lock();
        });
        BOOST_REQUIRE(waiting(1));
        f.request_stop();
        BOOST_TEST(f.join());
        BOOST_TEST(m.try_lock());
        m.unlock();
    });
}

BOOST_AUTO_TEST_CASE(a_stop_is_sticky_and_lets_others_run)
{
    over_processors([] {
        mutex m;
        condition_variable c;
        std::atomic<bool> finished{false};
        auto stubborn = spindle::spawn([&] {
            int failed = 0;
            while (!finished) {
                lock_type lock(m);
                failed += error_of([&] { c.wait(lock); }) == aborted;
            }
            return failed;
        });
        BOOST_REQUIRE(waiting(1));
        stubborn.request_stop();
        for (int i = 0; i != 20; ++i) {
            lock_type const lock(m);
            spindle::this_fiber::yield();
        }
        finished = true;
        BOOST_TEST(stubborn.join() >= 1);
    });
}

// Stopped after 0, 1, 2, ... turns of the others: at every park that there is.
BOOST_AUTO_TEST_CASE(a_stop_at_every_moment_loses_no_notice)
{
    over_processors([] {
        mutex m;
        condition_variable c;
        for (int turns = 0; turns != 60; ++turns) {
            int tokens = 0, taken = 0; // under m
            std::function<void()> const take = [&] {
                lock_type lock(m);
                c.wait(lock, [&] { return tokens != 0; });
                --tokens;
                ++taken;
            };
            auto stopped = spindle::spawn([&] { return error_of(take); });
            auto other = spindle::spawn([&] { return error_of(take); });
            for (int i = 0; i != turns % 12; ++i)
                spindle::this_fiber::yield();
            if (turns % 2 != 0)
                stopped.request_stop();
            {
                lock_type const lock(m);
                tokens = 2;
            }
            c.notify_all();
            if (turns % 2 == 0)
                stopped.request_stop();
            auto const ec = stopped.join();
            BOOST_TEST((!ec || ec == aborted));
            BOOST_TEST(!other.join());
            BOOST_TEST(taken + tokens == 2);
        }
    });
}

BOOST_AUTO_TEST_CASE(a_stop_token_ends_the_wait_without_an_exception)
{
    over_processors([] {
        mutex m;
        condition_variable c;
        for (int how = 0; how != 3; ++how) {
            std::stop_source source;
            auto f = spindle::spawn([&] {
                lock_type lock(m);
                auto const never = [] { return false; };
                auto const result = how == 0 ? c.wait(lock, source.get_token(), never)
                    : how == 1 ? c.wait_for(lock, source.get_token(), 100s, never)
                               : c.wait_until(
                                   lock, source.get_token(),
                                   std::chrono::system_clock::now() + 100s, never);
                return !result && lock.owns_lock();
            });
            BOOST_REQUIRE(waiting(1));
            source.request_stop();
            BOOST_TEST(f.join());
            lock_type lock(m);
            BOOST_TEST(!c.wait(lock, source.get_token(), [] { return false; }));
            BOOST_TEST(c.wait(lock, source.get_token(), [] { return true; }));
        }
    });
}

BOOST_AUTO_TEST_CASE(the_fibers_own_stop_token_ends_it_without_an_exception_too)
{
    over_processors([] {
        mutex m;
        condition_variable c;
        auto f = spindle::spawn([&] {
            lock_type lock(m);
            return c.wait(
                lock, spindle::this_fiber::get_stop_token(), [] { return false; });
        });
        BOOST_REQUIRE(waiting(1));
        f.request_stop();
        BOOST_TEST(!f.join());
    });
}

BOOST_AUTO_TEST_CASE(a_stop_token_races_with_the_way_into_the_wait)
{
    over_processors([] {
        mutex m;
        condition_variable c;
        auto const rounds = static_cast<int>(spindle_test::scaled(500));
        for (int i = 0; i != rounds; ++i) {
            std::stop_source source;
            auto f = spindle::spawn([&] {
                lock_type lock(m);
                return c.wait(lock, source.get_token(), [] { return false; });
            });
            for (int k = 0; k != i % 4; ++k)
                spindle::this_fiber::yield();
            source.request_stop();
            BOOST_REQUIRE(!f.join());
        }
    });
}

BOOST_AUTO_TEST_CASE(a_stop_token_wakes_the_one_whose_it_is_and_nobody_else)
{
    over_processors([] {
        mutex m;
        condition_variable c;
        std::stop_source source;
        std::atomic<int> woken{0};
        bool go = false; // under m
        auto other = spindle::spawn([&] {
            lock_type lock(m);
            c.wait(lock);
            ++woken;
            return go;
        });
        BOOST_REQUIRE(waiting(1));
        auto stopped = spindle::spawn([&] {
            lock_type lock(m);
            return c.wait(lock, source.get_token(), [] { return false; });
        });
        BOOST_REQUIRE(waiting(2));
        source.request_stop();
        BOOST_TEST(!stopped.join());
        for (int i = 0; i != 10; ++i)
            spindle::this_fiber::yield();
        BOOST_TEST(woken == 0);
        {
            lock_type const lock(m);
            go = true;
        }
        c.notify_all();
        BOOST_TEST(other.join());
    });
}

BOOST_AUTO_TEST_CASE(a_stop_token_of_an_enclosing_scope_ends_it_without_an_exception)
{
    over_processors([] {
        mutex m;
        condition_variable c;
        auto const never = [] { return false; };
        for (int by = 0; by != 2; ++by) {
            std::optional<spindle::cancel_handle> outer;
            auto f = spindle::spawn([&](std::stop_token own) {
                spindle::cancel_scope const scope;
                outer = scope.handle();
                auto const token = by == 0 ? own : scope.stop_token();
                return spindle::within(1h, [&] {
                    lock_type lock(m);
                    return c.wait(lock, token, never) || c.wait(lock, token, never);
                });
            });
            BOOST_REQUIRE(waiting(1));
            if (by == 0)
                f.request_stop();
            else
                outer->cancel();
            BOOST_TEST(!f.join());
        }
        // A deadline inside is none of its business.
        auto f = spindle::spawn([&](std::stop_token own) {
            return error_of([&] {
                spindle::within(2ms, [&] {
                    lock_type lock(m);
                    c.wait(lock, own, never);
                });
            });
        });
        BOOST_TEST((f.join() == spindle::error_code(boost::asio::error::timed_out)));
    });
}

// Go's TestCondSignalStealing: the one that was signalled goes on, though others come and
// wait again in between.
BOOST_AUTO_TEST_CASE(a_notice_is_not_stolen_by_those_who_come_later)
{
    over_processors([] {
        auto const rounds = static_cast<int>(spindle_test::scaled(1'000));
        for (int i = 0; i != rounds; ++i) {
            mutex m;
            condition_variable c;
            bool first_waits = false, done = false; // under m
            auto first = spindle::spawn([&] {
                lock_type lock(m);
                first_waits = true;
                c.wait(lock);
                done = true;
                lock.unlock();
                c.notify_one(); // the one that came later
            });
            BOOST_REQUIRE(until([&] {
                lock_type const lock(m);
                return first_waits;
            }));
            auto later = spindle::spawn([&] {
                lock_type lock(m);
                while (!done)
                    c.wait(lock);
            });
            {
                lock_type const lock(m);
            }
            c.notify_one();
            first.join();
            later.join();
        }
    });
}

// --- its end, handlers, misuse -----------------------------------------------------------------

BOOST_AUTO_TEST_CASE(may_be_destroyed_as_soon_as_all_were_notified)
{
    over_processors([] {
        auto const rounds = static_cast<int>(spindle_test::scaled(300));
        for (int i = 0; i != rounds; ++i) {
            mutex m;
            auto c = std::make_unique<condition_variable>();
            int ready = 0; // under m
            bool go = false;
            std::vector<spindle::fiber<void>> fibers;
            for (int f = 0; f != 3; ++f)
                fibers.push_back(spindle::spawn([&, f] {
                    lock_type lock(m);
                    ++ready;
                    auto& mine = *c;
                    while (!go)
                        (void)mine.wait_for(lock, f == 0 ? std::chrono::seconds(100) : 100000s);
                }));
            BOOST_REQUIRE(until([&] {
                lock_type const lock(m);
                return ready == 3;
            }));
            {
                lock_type const lock(m);
                go = true;
                c->notify_all();
                c.reset(); // below the mutex, too
            }
            for (auto& f : fibers)
                f.join();
        }
    });
}

// Those who wait for the mutex again are done with the variable: a stop of theirs, too.
BOOST_AUTO_TEST_CASE(a_stop_token_may_be_requested_once_it_is_gone)
{
    over_processors([] {
        mutex m;
        auto c = std::make_unique<condition_variable>();
        std::stop_source source;
        bool go = false; // under m
        auto f = spindle::spawn([&] {
            lock_type lock(m);
            return c->wait(lock, source.get_token(), [&] { return go; });
        });
        BOOST_REQUIRE(waiting(1));
        {
            lock_type const lock(m);
            go = true;
            c->notify_all();
            c.reset();
            BOOST_REQUIRE(until(
                [] { return spindle_test::fibers_in(spindle::detail::wait_reason::mutex) == 1; }));
            source.request_stop();
        }
        BOOST_TEST(f.join());
    });
}

BOOST_AUTO_TEST_CASE(a_handler_is_refused_and_keeps_its_lock)
{
    spindle_test::on_scheduler s(2);
    mutex m;
    condition_variable c;
    std::atomic<bool> refused{false}, ran{false};
    boost::asio::post(s->get_executor(), [&] {
        lock_type lock(m, std::try_to_lock);
        refused = error_of([&] { c.wait(lock); }) == spindle::errc::not_in_fiber
            && lock.owns_lock();
        ran = true;
    });
    BOOST_TEST(spindle_test::eventually([&] { return ran.load(); }));
    BOOST_TEST(refused);
}

// --- from handlers and coroutines --------------------------------------------------------------

namespace {

// A probe that gets a lock, too.
struct locked_probe : spindle_test::probe {
    using spindle_test::probe::probe;

    void operator()(spindle::error_code ec, lock_type lock)
    {
        BOOST_TEST(lock.owns_lock());
        lock.unlock();
        spindle_test::probe::operator()(ec);
    }
};

struct guarded {
    mutex m;
    condition_variable changed;
    int value = 0; // under m

    template <class Token>
    void wait(Token&& token)
    {
        changed.async_wait(lock_type(m), std::forward<Token>(token));
    }
};

} // namespace

BOOST_AUTO_TEST_CASE(an_asynchronous_wait_unlocks_at_once_and_completes_with_the_lock)
{
    guarded g;
    spindle_test::observation seen, crowd;
    {
        asio::io_context ioc;
        g.wait(locked_probe(seen, ioc));
        BOOST_TEST(g.m.try_lock());
        BOOST_TEST(ioc.poll() == 0u);
        BOOST_TEST(!ioc.stopped()); // it counts as work
        g.changed.notify_one();
        BOOST_TEST(ioc.poll() == 1u); // notified, and waits for the mutex
        BOOST_TEST(!ioc.stopped());
        BOOST_TEST(seen.calls == 0);
        g.m.unlock();
        BOOST_TEST(seen.calls == 0);
        ioc.run();
        BOOST_TEST(seen.calls == 1);
        BOOST_TEST(seen.aborted == 0);

        ioc.restart();
        for (int i = 0; i != 3; ++i)
            g.wait(locked_probe(crowd, ioc));
        g.changed.notify_all();
        ioc.run();
        BOOST_TEST(crowd.calls == 3);
        BOOST_TEST(crowd.in_use == 0u);
        g.wait(locked_probe(seen, ioc)); // goes with its context
    }
    BOOST_TEST(seen.calls == 1);
    BOOST_TEST(seen.in_place);
    BOOST_TEST(seen.alive == 0);
    BOOST_TEST(seen.in_use == 0u);
    g.changed.notify_all();
    BOOST_TEST(g.m.try_lock());
    g.m.unlock();
    BOOST_TEST(
        error_of([&] { g.changed.async_wait(lock_type(), asio::detached); })
        == make_error_code(boost::system::errc::operation_not_permitted));
}

BOOST_AUTO_TEST_CASE(a_cancelled_asynchronous_wait_has_the_lock_too)
{
    for (auto const type : spindle_test::types) {
        guarded g;
        spindle_test::observation seen;
        asio::io_context ioc;
        asio::cancellation_signal signal;
        g.wait(locked_probe(seen, ioc, signal.slot()));
        g.m.lock();
        signal.emit(type);
        ioc.poll();
        BOOST_TEST(seen.calls == 0);
        signal.emit(type); // nobody hears it: the lock is to come
        g.m.unlock();
        ioc.run();
        BOOST_TEST(seen.calls == 1);
        BOOST_TEST(seen.aborted == 1);
        BOOST_TEST(seen.in_place);
    }
}

BOOST_AUTO_TEST_CASE(a_coroutine_waits_for_fibers_and_they_for_it)
{
    for (auto const n : spindle_test::processor_counts) {
        spindle_test::on_scheduler s(n);
        guarded g;
        asio::io_context ioc;
        constexpr int rounds = 200;
        auto const coroutine = [&]() -> asio::awaitable<void> {
            for (int i = 0; i != rounds; ++i) {
                auto lock = co_await g.m.async_lock(asio::use_awaitable);
                while (g.value % 2 == 0)
                    lock = co_await g.changed.async_wait(std::move(lock), asio::use_awaitable);
                ++g.value;
                lock.unlock();
                g.changed.notify_all();
            }
        };
        asio::co_spawn(ioc, coroutine, asio::detached);
        std::thread runner([&] { ioc.run(); });
        s.run([&] {
            for (int i = 0; i != rounds; ++i) {
                lock_type lock(g.m);
                g.changed.wait(lock, [&] { return g.value % 2 == 0; });
                ++g.value;
                g.changed.notify_one();
            }
        });
        runner.join();
        BOOST_TEST(g.value == 2 * rounds);
    }
}

BOOST_AUTO_TEST_CASE(asynchronous_waits_with_other_locks)
{
    asio::io_context ioc;
    condition_variable changed;
    spindle::timed_mutex timed;
    spindle::shared_mutex shared;
    int calls = 0;
    using unique = std::unique_lock<spindle::timed_mutex>;
    using reading = std::shared_lock<spindle::shared_mutex>;
    changed.async_wait(
        unique(timed), asio::bind_executor(ioc, [&](spindle::error_code ec, unique l) {
            calls += !ec && l.owns_lock();
        }));
    for (int i = 0; i != 2; ++i)
        changed.async_wait(
            reading(shared), asio::bind_executor(ioc, [&](spindle::error_code ec, reading l) {
                calls += !ec && l.owns_lock() && shared.try_lock_shared(); // as a reader
                shared.unlock_shared();
            }));
    changed.notify_all();
    ioc.run();
    BOOST_TEST(calls == 3);
}

// One of them has it: a cancellation, a notice.
BOOST_AUTO_TEST_CASE(a_cancellation_meets_a_notice)
{
    for (std::size_t round = 0; round != spindle_test::scaled(2000); ++round) {
        guarded g;
        spindle_test::observation first, second;
        asio::io_context ioc;
        asio::cancellation_signal signal;
        g.wait(locked_probe(first, ioc, signal.slot()));
        g.wait(locked_probe(second, ioc));
        std::thread notifier([&] { g.changed.notify_one(); });
        asio::post(ioc, [&] { signal.emit(asio::cancellation_type::total); });
        ioc.poll();
        notifier.join();
        ioc.restart();
        ioc.poll();
        BOOST_REQUIRE(first.calls == 1);
        BOOST_REQUIRE(second.calls == first.aborted); // who was cancelled took no notice
        g.changed.notify_all();
        ioc.restart();
        ioc.poll();
        BOOST_REQUIRE(second.calls == 1);
    }
}
