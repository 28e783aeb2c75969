//
// algo/round_robin.cpp
// ~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE algo.round_robin
#include <spindle/algo/round_robin.hpp>

#include <support/fixture.hpp>
#include <support/stock_api.hpp>

#include <spindle/asio/use_fiber.hpp>
#include <spindle/error.hpp>
#include <spindle/go.hpp>
#include <spindle/spawn.hpp>
#include <spindle/this_fiber.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/fiber/all.hpp>
#include <boost/system/errc.hpp>
#include <boost/test/unit_test.hpp>

#include <atomic>
#include <chrono>
#include <functional>
#include <optional>
#include <thread>
#include <vector>

namespace asio = boost::asio;
using namespace spindle_test;
using namespace std::chrono_literals;

namespace {

// On a new thread with the algorithm, and an io_context that outlives it.
template <class Function>
void on_thread(Function fn)
{
    asio::io_context ioc;
    std::thread([&] {
        boost::fibers::use_scheduling_algorithm<spindle::algo::round_robin>(ioc);
        fn(ioc);
    }).join();
}

} // namespace

BOOST_AUTO_TEST_CASE(runs_all_of_boost_fiber_while_main_waits)
{
    on_thread([](asio::io_context&) { all_of_boost_fiber(); });
}

BOOST_AUTO_TEST_CASE(runs_all_of_boost_fiber_while_main_runs_the_io_context)
{
    on_thread([](asio::io_context& ioc) {
        auto work = std::make_optional(asio::make_work_guard(ioc));
        boost::fibers::fiber f([&] {
            all_of_boost_fiber();
            work.reset();
        });
        ioc.run();
        f.join();
    });
}

BOOST_AUTO_TEST_CASE(keeps_the_order_in_which_fibers_became_ready)
{
    on_thread([](asio::io_context&) {
        std::vector<int> order;
        std::vector<boost::fibers::fiber> fibers;
        for (int i = 0; i != 5; ++i)
            fibers.emplace_back([&, i] {
                order.push_back(i);
                boost::this_fiber::yield();
                order.push_back(10 + i);
            });
        boost::this_fiber::yield();
        order.push_back(100); // main, behind those that were ready before it
        for (auto& f : fibers)
            f.join();
        BOOST_TEST(
            order == (std::vector<int>{0, 1, 2, 3, 4, 100, 10, 11, 12, 13, 14}),
            boost::test_tools::per_element());
    });
}

BOOST_AUTO_TEST_CASE(runs_handlers_and_fibers_by_turns)
{
    on_thread([](asio::io_context& ioc) {
        int handlers = 0;
        bool done = false;
        std::function<void()> next = [&] {
            ++handlers;
            if (!done)
                asio::post(ioc, next);
        };
        asio::post(ioc, next);
        boost::fibers::fiber f([&] {
            while (handlers < 100)
                boost::this_fiber::yield();
            done = true;
        });
        ioc.run();
        f.join();
        BOOST_TEST(handlers >= 100);
    });
}

BOOST_AUTO_TEST_CASE(serves_the_io_context_while_main_joins)
{
    on_thread([](asio::io_context& ioc) {
        bool fired = false;
        asio::steady_timer timer(ioc, 1ms);
        timer.async_wait([&](auto) { fired = true; });
        boost::fibers::fiber f([&] {
            while (!fired)
                boost::this_fiber::sleep_for(100us);
        });
        f.join();
        BOOST_TEST(fired);
        // The io_context can still be run.
        asio::post(ioc, [&] { fired = false; });
        ioc.run();
        BOOST_TEST(!fired);
    });
}

BOOST_AUTO_TEST_CASE(serves_fibers_while_main_waits_in_a_stopped_io_context)
{
    on_thread([](asio::io_context& ioc) {
        ioc.stop();
        boost::fibers::promise<int> p;
        std::thread t([&] { p.set_value(1); });
        BOOST_TEST(boost::fibers::async([&] { return p.get_future().get(); }).get() == 1);
        t.join();
        BOOST_TEST(ioc.stopped());
    });
}

BOOST_AUTO_TEST_CASE(wakes_for_a_plain_thread_while_main_runs_the_io_context)
{
    on_thread([](asio::io_context& ioc) {
        auto work = std::make_optional(asio::make_work_guard(ioc));
        boost::fibers::promise<int> p;
        std::atomic<int> got{0};
        boost::fibers::fiber f([&] {
            got = p.get_future().get();
            work.reset();
        });
        std::thread t([&] {
            std::this_thread::sleep_for(5ms);
            p.set_value(7);
        });
        ioc.run();
        BOOST_TEST(got == 7);
        f.join();
        t.join();
    });
}

BOOST_AUTO_TEST_CASE(runs_spindles_own_fibers_and_operations_beside)
{
    on_thread([](asio::io_context& ioc) {
        int done = 0;
        spindle::spawn(
            ioc,
            [&] {
                asio::steady_timer timer(ioc, 1ms);
                timer.async_wait(spindle::use_fiber);
                spindle::this_fiber::sleep_for(1ms);
                boost::this_fiber::sleep_for(1ms);
                ++done;
            },
            asio::detached);
        boost::fibers::fiber f([&] {
            asio::steady_timer timer(ioc, 1ms);
            timer.async_wait(spindle::use_fiber);
            ++done;
        });
        f.join();
        ioc.run();
        BOOST_TEST(done == 2);
    });
}

BOOST_AUTO_TEST_CASE(a_handler_may_launch_fibers)
{
    on_thread([](asio::io_context& ioc) {
        int ran = 0;
        asio::post(ioc, [&] {
            boost::fibers::fiber([&] { ++ran; }).detach();
            boost::fibers::fiber(boost::fibers::launch::dispatch, [&] { ++ran; }).detach();
        });
        ioc.run();
        BOOST_TEST(ran == 2);
    });
}

BOOST_AUTO_TEST_CASE(refuses_an_io_context_without_locking)
{
    std::thread([] {
        asio::io_context ioc(BOOST_ASIO_CONCURRENCY_HINT_UNSAFE);
        // By itself: use_scheduling_algorithm() is noexcept.
        BOOST_CHECK_EXCEPTION(
            spindle::algo::round_robin{ioc}, spindle::system_error,
            [](auto const& e) { return e.code() == boost::system::errc::invalid_argument; });
    }).join();
}

// As in a main() that has the io_context among its variables: the thread's fiber
// state, and the algorithm with it, goes later.
BOOST_AUTO_TEST_CASE(may_outlive_its_io_context)
{
    int ran = 0;
    std::thread([&] {
        asio::io_context ioc;
        boost::fibers::use_scheduling_algorithm<spindle::algo::round_robin>(ioc);
        boost::fibers::fiber([&] { ++ran; }).join();
    }).join();
    BOOST_TEST(ran == 1);
    check_nothing_left();
}

BOOST_AUTO_TEST_CASE(a_thread_makes_fibers_as_before_when_an_io_context_with_fibers_is_gone)
{
    int ran = 0;
    std::thread([&] {
        {
            asio::io_context ioc;
            spindle::spawn(
                ioc,
                [&] {
                    boost::this_fiber::sleep_for(1ms);
                    ++ran;
                },
                asio::detached);
            ioc.run();
        }
        boost::fibers::fiber([&] {
            boost::this_fiber::sleep_for(1ms);
            ++ran;
        }).join();
    }).join();
    BOOST_TEST(ran == 2);
    check_nothing_left();
}

BOOST_AUTO_TEST_CASE(two_threads_each_with_their_own_wake_each_other)
{
    boost::fibers::unbuffered_channel<int> there, back;
    std::atomic<int> wrong{0};
    std::thread other([&] {
        asio::io_context ioc;
        boost::fibers::use_scheduling_algorithm<spindle::algo::round_robin>(ioc);
        boost::fibers::fiber([&] {
            for (int v : there)
                back.push(v + 1);
        }).join();
    });
    on_thread([&](asio::io_context&) {
        boost::fibers::fiber([&] {
            for (int i = 0; i != 500; ++i) {
                there.push(i);
                wrong += back.value_pop() != i + 1;
            }
            there.close();
        }).join();
    });
    other.join();
    BOOST_TEST(wrong == 0);
}
