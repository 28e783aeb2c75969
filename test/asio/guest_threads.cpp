//
// asio/guest_threads.cpp
// ~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE asio.guest_threads
#include <spindle/asio/use_fiber.hpp>
#include <spindle/attach.hpp>
#include <spindle/chan/channel.hpp>
#include <spindle/go.hpp>
#include <spindle/observe/stats.hpp>
#include <spindle/spawn.hpp>
#include <spindle/sync/wait_group.hpp>
#include <spindle/this_fiber.hpp>

#include <support/asio_fixture.hpp>

#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/asio/write.hpp>
#include <boost/test/unit_test.hpp>

#include <atomic>
#include <chrono>
#include <future>
#include <latch>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>

using namespace spindle_test;
using namespace std::chrono_literals;
namespace this_fiber = spindle::this_fiber;

BOOST_AUTO_TEST_SUITE(guest_threads)

namespace {

// Calls fn(io_context, n) where n threads of Spindle's run it, and nobody else does.
template <class Function>
void over_guest_threads(Function fn)
{
    for (auto const n : thread_counts)
        BOOST_TEST_CONTEXT(n << " threads")
        {
            {
                asio::io_context ioc;
                spindle::attach(ioc, {.guest_threads = n});
                fn(ioc, n);
            }
            check_nothing_left();
        }
}

} // namespace

BOOST_AUTO_TEST_CASE(fibers_run_where_nobody_calls_run)
{
    over_guest_threads([](asio::io_context& ioc, unsigned n) {
        auto total = spindle::spawn(
            ioc,
            [] {
                spindle::channel<int> const numbers;
                spindle::wait_group group;
                for (int i = 1; i <= 100; ++i)
                    group.go([i, numbers] {
                        this_fiber::sleep_for(1us * i);
                        numbers.send(i);
                    });
                int sum = 0;
                for (int i = 0; i != 100; ++i)
                    sum += *numbers.receive();
                group.wait();
                return sum;
            },
            asio::use_future);
        BOOST_TEST(total.get() == 5050);
        BOOST_TEST(spindle::get_stats(ioc).threads == n);
    });
}

// Each holds its thread until all have one.
BOOST_AUTO_TEST_CASE(as_many_fibers_run_at_the_same_time)
{
    over_guest_threads([](asio::io_context& ioc, unsigned n) {
        std::latch all(n);
        std::mutex mutex;
        std::set<std::thread::id> threads;
        auto done = spindle::spawn(
            ioc,
            [&] {
                spindle::wait_group group;
                for (unsigned i = 0; i != n; ++i)
                    group.go([&] {
                        all.arrive_and_wait();
                        std::lock_guard const guard(mutex);
                        threads.insert(std::this_thread::get_id());
                    });
                group.wait();
            },
            asio::use_future);
        done.get();
        BOOST_TEST(threads.size() == n);
        BOOST_TEST(!threads.contains(std::this_thread::get_id()));
    });
}

BOOST_AUTO_TEST_CASE(the_users_threads_are_there_beside_them)
{
    asio::io_context ioc;
    spindle::attach(ioc, {.guest_threads = 2});
    auto const guard = asio::make_work_guard(ioc);
    std::latch all(3);
    std::set<std::thread::id> threads;
    std::mutex mutex;
    for (int i = 0; i != 3; ++i)
        spindle::spawn(
            ioc,
            [&] {
                all.arrive_and_wait();
                std::lock_guard const hold(mutex);
                threads.insert(std::this_thread::get_id());
                if (threads.size() == 3)
                    ioc.stop();
            },
            asio::detached);
    ioc.run();
    all.wait();
    std::lock_guard const hold(mutex);
    BOOST_TEST(threads.contains(std::this_thread::get_id()));
}

// Nothing would have started, and run() would have stopped it for good.
BOOST_AUTO_TEST_CASE(they_leave_an_io_context_without_work_alone)
{
    asio::io_context ioc;
    spindle::attach(ioc, {.guest_threads = 4});
    asio::post(ioc, [] {});
    BOOST_TEST(!ioc.stopped());
    BOOST_TEST(ioc.run() == 1u); // they come for fibers
}

BOOST_AUTO_TEST_CASE(they_leave_when_it_is_stopped_and_come_back_after_restart)
{
    over_guest_threads([](asio::io_context& ioc, unsigned) {
        spindle::channel<int> const to, from;
        auto over = spindle::spawn(
            ioc,
            [&] {
                for (int i : to)
                    from.send(i);
            },
            asio::use_future);
        for (int i = 0; i != 20; ++i) {
            // What stop() has left in the queues goes on with this one.
            spindle::spawn(ioc, [&, i] { to.send(i); }, asio::detached);
            BOOST_TEST(*from.receive() == i);
            ioc.stop();
            ioc.restart();
        }
        spindle::spawn(ioc, [] {}, asio::detached);
        to.close();
        over.get();
    });
}

BOOST_AUTO_TEST_CASE(they_run_fibers_in_strands_and_their_sockets)
{
    over_guest_threads([](asio::io_context& ioc, unsigned) {
        auto const strand = asio::make_strand(ioc);
        auto ends = connected(strand, ioc.get_executor());
        auto text = spindle::spawn(
            strand,
            [&] {
                std::string got(5, '\0');
                asio::async_read(ends.first, asio::buffer(got), spindle::use_fiber);
                return got;
            },
            asio::use_future);
        spindle::spawn(
            ioc,
            [&] { asio::async_write(ends.second, asio::buffer("hello", 5), spindle::use_fiber); },
            asio::detached);
        BOOST_TEST(text.get() == "hello");
    });
}

BOOST_AUTO_TEST_CASE(an_io_context_that_is_destroyed_stops_its_fibers)
{
    std::atomic<int> stopped{0};
    over_guest_threads([&](asio::io_context& ioc, unsigned) {
        std::latch parked(3);
        for (int i = 0; i != 3; ++i)
            spindle::spawn(
                ioc,
                [&] {
                    parked.count_down();
                    try {
                        this_fiber::sleep_for(1h);
                    } catch (system_error const&) {
                        ++stopped;
                        throw;
                    }
                },
                asio::detached);
        parked.wait();
    });
    BOOST_TEST(stopped == 9);
}

BOOST_AUTO_TEST_CASE(what_a_handler_throws_is_reported_and_the_thread_goes_on)
{
    std::promise<std::string> heard;
    asio::io_context ioc;
    spindle::attach(
        ioc, {.guest_threads = 1,
              .unhandled_exception = [&](std::exception_ptr e, spindle::fiber_info const&) {
                  try {
                      std::rethrow_exception(e);
                  } catch (std::exception const& x) {
                      heard.set_value(x.what());
                  }
              }});
    auto const guard = asio::make_work_guard(ioc);
    spindle::spawn(ioc, [] {}, asio::use_future).get();
    asio::post(ioc, [] { throw std::runtime_error("from a handler"); });
    BOOST_TEST(heard.get_future().get() == "from a handler");
    spindle::spawn(ioc, [] {}, asio::use_future).get();
}

BOOST_AUTO_TEST_CASE(too_many_are_an_error)
{
    asio::io_context ioc;
    BOOST_TEST(
        (error_of([&] { spindle::attach(ioc, {.guest_threads = 1025}); })
         == make_error_code(boost::system::errc::invalid_argument)));
}

BOOST_AUTO_TEST_SUITE_END()
