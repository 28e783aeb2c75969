//
// fiber/waiter.cpp
// ~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE fiber.waiter
#include <spindle/detail/fiber/waiter.hpp>

#include <support/fixture.hpp>

#include <spindle/sync/wait_group.hpp>
#include <spindle/this_fiber.hpp>

#include <boost/asio/post.hpp>
#include <boost/test/unit_test.hpp>

#include <atomic>
#include <chrono>
#include <thread>

using namespace spindle::detail;
using namespace spindle_test;
using namespace std::chrono_literals;

BOOST_AUTO_TEST_CASE(knows_whether_a_fiber_or_a_thread_waits)
{
    waiter const on_thread;
    BOOST_TEST(!on_thread.fiber());
    over_processors([] {
        waiter const in_fiber;
        BOOST_TEST(in_fiber.fiber() == current_fiber());
    });
}

BOOST_AUTO_TEST_CASE(that_was_woken_before_does_not_wait)
{
    for (int i = 0; i != 10; ++i) {
        waiter w;
        w.wake();
        w.wait(wait_reason::none);
    }
    over_processors([] {
        auto const before = spindle::this_fiber::get_scheduler().stats().parks;
        for (int i = 0; i != 10; ++i) {
            waiter w;
            w.wake();
            w.wait(wait_reason::none);
        }
        BOOST_TEST(spindle::this_fiber::get_scheduler().stats().parks == before);
    });
}

BOOST_AUTO_TEST_CASE(of_a_thread_is_not_woken_by_an_earlier_ones_token)
{
    // The first wake-up leaves a token when the event was seen without sleeping.
    waiter first;
    first.wake();
    first.wait(wait_reason::none);
    waiter second;
    std::atomic<bool> woken{false};
    std::thread waker([&] {
        std::this_thread::sleep_for(5ms);
        woken = true;
        second.wake();
    });
    second.wait(wait_reason::none);
    BOOST_TEST(woken.load());
    waker.join();
}

BOOST_AUTO_TEST_CASE(hands_the_event_from_thread_to_thread)
{
    constexpr int rounds = static_cast<int>(scaled(5000));
    std::atomic<waiter*> there{nullptr};
    int payload = -1, wrong = 0;
    std::thread waker([&] {
        for (int i = 0; i != rounds; ++i) {
            waiter* w;
            while (!(w = there.exchange(nullptr, std::memory_order_acquire)))
                std::this_thread::yield();
            payload = i;
            w->wake();
        }
    });
    for (int i = 0; i != rounds; ++i) {
        waiter w;
        there.store(&w, std::memory_order_release);
        w.wait(wait_reason::none);
        wrong += payload != i;
    }
    waker.join();
    BOOST_TEST(wrong == 0);
}

// The waiter is gone as soon as wait() returns: the memory is written over.
BOOST_AUTO_TEST_CASE(may_be_gone_while_its_waker_is_still_in_wake)
{
    over_processors([] {
        constexpr int rounds = static_cast<int>(scaled(2000));
        std::atomic<waiter*> there{nullptr};
        std::atomic<int> wrong{0};
        int payload = -1;
        spindle::wait_group group;
        group.go([&] {
            for (int i = 0; i != rounds; ++i) {
                alignas(waiter) unsigned char memory[sizeof(waiter)];
                auto* const w = ::new (static_cast<void*>(memory)) waiter;
                there.store(w, std::memory_order_release);
                w->wait(wait_reason::none);
                wrong += payload != i;
                w->~waiter();
                for (auto& byte : memory)
                    const_cast<unsigned char volatile&>(byte) = 0xee;
            }
        });
        std::thread waker([&] {
            for (int i = 0; i != rounds; ++i) {
                waiter* w;
                while (!(w = there.exchange(nullptr, std::memory_order_acquire)))
                    std::this_thread::yield();
                payload = i;
                w->wake();
            }
        });
        group.wait();
        waker.join();
        BOOST_TEST(wrong == 0);
    });
}

BOOST_AUTO_TEST_CASE(is_woken_by_handlers_and_by_fibers)
{
    over_processors([](spindle::scheduler& s) {
        for (int i = 0; i != 500; ++i) {
            waiter w;
            if (i % 2)
                boost::asio::post(s.next_executor(), [&w] { w.wake(); });
            else
                spindle::go([&w] { w.wake(); });
            w.wait(wait_reason::none);
        }
        BOOST_TEST(true);
    });
}
