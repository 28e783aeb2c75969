//
// sync/wait_queue.cpp
// ~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE sync.wait_queue
#include <spindle/detail/sync/wait_queue.hpp>

#include <spindle/fiber.hpp>
#include <spindle/sync/wait_group.hpp>
#include <spindle/this_fiber.hpp>

#include <support/fixture.hpp>

#include <boost/test/unit_test.hpp>

#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>
#include <vector>

namespace {

using namespace spindle::detail;
using namespace std::chrono_literals;
using spindle_test::over_processors;

constexpr auto why = wait_reason::wait_group;

// The simplest thing to wait for: whoever comes waits until it is let go.
struct gate {
    spin_lock lock;
    wait_queue queue;

    wait_result wait(
        cancellable c = cancellable::yes, time_point deadline = time_point::max())
    {
        blocked_waiter<> w(lock, current_fiber(), deadline);
        lock.lock();
        queue.push_back(w);
        return w.wait(why, c);
    }

    // False: nobody waits.
    bool release_one()
    {
        queued_waiter* w;
        {
            std::lock_guard guard(lock);
            if (queue.empty())
                return false;
            w = &queue.front();
            queue.pop_front();
            w->result = wait_result::done;
        }
        w->wake();
        return true;
    }

    void release_all()
    {
        wait_queue taken;
        {
            std::lock_guard guard(lock);
            taken.swap(queue);
            for (auto& w : taken)
                w.result = wait_result::done;
        }
        wake_all(taken);
    }

    std::size_t waiting()
    {
        std::lock_guard guard(lock);
        return queue.size();
    }

    void await(std::size_t n)
    {
        while (waiting() != n)
            spindle::this_fiber::yield();
    }
};

} // namespace

BOOST_AUTO_TEST_CASE(lets_go_in_the_order_of_arrival)
{
    over_processors([] {
        gate g;
        std::vector<int> order; // by one at a time
        std::atomic<std::size_t> through{0};
        spindle::wait_group all;
        for (int i = 0; i != 10; ++i) {
            all.go([&, i] {
                order.push_back(g.wait() == wait_result::done ? i : -1);
                ++through;
            });
            g.await(static_cast<std::size_t>(i) + 1);
        }
        for (std::size_t i = 0; i != 10; ++i) {
            g.release_one();
            while (through != i + 1)
                spindle::this_fiber::yield();
        }
        all.wait();
        for (int i = 0; i != 10; ++i)
            BOOST_TEST(order[static_cast<std::size_t>(i)] == i);
    });
}

BOOST_AUTO_TEST_CASE(lets_all_go_fibers_and_threads)
{
    over_processors([] {
        gate g;
        std::atomic<int> through{0};
        spindle::wait_group all;
        for (int i = 0; i != 20; ++i)
            all.go([&] { through += g.wait() == wait_result::done; });
        std::vector<std::thread> threads;
        for (int i = 0; i != 3; ++i)
            threads.emplace_back([&] { through += g.wait() == wait_result::done; });
        g.await(23);
        g.release_all();
        all.wait();
        for (auto& t : threads)
            t.join();
        BOOST_TEST(through == 23);
    });
}

BOOST_AUTO_TEST_CASE(a_stop_ends_a_cancellable_wait_and_no_other)
{
    over_processors([] {
        gate g;
        auto yes = spindle::spawn([&] { return g.wait(); });
        auto no = spindle::spawn([&] { return g.wait(cancellable::no); });
        g.await(2);
        yes.request_stop();
        no.request_stop();
        BOOST_TEST((yes.join() == wait_result::aborted));
        BOOST_TEST(g.waiting() == 1u);
        g.release_one();
        BOOST_TEST((no.join() == wait_result::done));
    });
}

BOOST_AUTO_TEST_CASE(a_fiber_that_was_stopped_before_does_not_wait)
{
    over_processors([] {
        gate g, start;
        auto f = spindle::spawn([&] {
            start.wait(cancellable::no);
            return g.wait();
        });
        start.await(1);
        f.request_stop();
        start.release_one();
        BOOST_TEST((f.join() == wait_result::aborted));
        BOOST_TEST(g.waiting() == 0u);
    });
}

BOOST_AUTO_TEST_CASE(a_deadline_ends_the_wait_of_fibers_and_threads)
{
    over_processors([] {
        gate g;
        auto const wait = [&] {
            auto const end = now() + 2ms;
            auto const result = g.wait(cancellable::no, end);
            return result == wait_result::timed_out && now() >= end;
        };
        BOOST_TEST(wait());
        bool thread = false;
        std::thread([&] { thread = wait(); }).join();
        BOOST_TEST(thread);
        BOOST_TEST(g.waiting() == 0u);
    });
}

BOOST_AUTO_TEST_CASE(a_deadline_in_the_past_ends_it_too)
{
    over_processors([] {
        gate g;
        BOOST_TEST((g.wait(cancellable::yes, now() - 1s) == wait_result::timed_out));
        bool thread = false;
        std::thread([&] {
            thread = g.wait(cancellable::yes, now() - 1s) == wait_result::timed_out;
        }).join();
        BOOST_TEST(thread);
    });
}

// Each wait is ended by a release, a stop, or a deadline, as they come. Every
// release that took a waiter out was one waiter's, and nobody was woken twice.
BOOST_AUTO_TEST_CASE(exactly_one_of_release_stop_and_deadline_ends_a_wait)
{
    over_processors([] {
        gate g;
        std::atomic<int> done{0}, over{0};
        std::atomic<bool> finished{false};
        int released = 0;
        auto releaser = spindle::spawn([&] {
            int n = 0;
            while (!finished) {
                n += g.release_one();
                spindle::this_fiber::yield();
            }
            return n;
        });
        auto const rounds = static_cast<int>(spindle_test::scaled(1000));
        for (int i = 0; i != rounds; ++i) {
            auto f = spindle::spawn([&, i] {
                auto const deadline
                    = i % 3 == 0 ? now() + std::chrono::microseconds(i % 50) : time_point::max();
                done += g.wait(cancellable::yes, deadline) == wait_result::done;
                ++over;
            });
            for (int k = 0; k != i % 4; ++k)
                spindle::this_fiber::yield();
            f.request_stop();
            f.join();
        }
        finished = true;
        released = releaser.join();
        BOOST_TEST(over == rounds);
        BOOST_TEST(done == released);
        BOOST_TEST(g.waiting() == 0u);
    });
}

// Taken out, and in a list with the others until it is woken: the stop comes late.
BOOST_AUTO_TEST_CASE(a_stop_leaves_alone_who_was_taken_out_and_is_not_woken_yet)
{
    over_processors([] {
        gate g;
        auto first = spindle::spawn([&] { return g.wait(); });
        auto second = spindle::spawn([&] { return g.wait(); });
        g.await(2);
        wait_queue taken;
        {
            std::lock_guard guard(g.lock);
            taken.swap(g.queue);
            for (auto& w : taken)
                w.result = wait_result::done;
        }
        first.request_stop();
        second.request_stop();
        wake_all(taken);
        BOOST_TEST((first.join() == wait_result::done));
        BOOST_TEST((second.join() == wait_result::done));
    });
}

BOOST_AUTO_TEST_CASE(abort_ends_a_cancellable_wait_this_one_or_the_next)
{
    auto const body = [] {
        gate g;
        std::atomic<blocked_waiter<>*> waiting{nullptr};
        std::thread other([&] {
            while (!waiting)
                std::this_thread::yield();
            waiting.load()->abort();
            waiting = nullptr;
        });
        blocked_waiter<> w(g.lock, current_fiber());
        for (int i = 0; i != 2; ++i) {
            g.lock.lock();
            g.queue.push_back(w);
            waiting = i == 0 ? &w : nullptr;
            BOOST_TEST((w.wait(why) == wait_result::aborted));
            if (i == 0)
                other.join();
        }
        BOOST_TEST(g.waiting() == 0u);
    };
    body();
    over_processors(body);
}
