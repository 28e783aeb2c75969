//
// testing/steady_timer.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE testing.steady_timer
#include <spindle/asio/use_fiber.hpp>
#include <spindle/fiber.hpp>
#include <spindle/go.hpp>
#include <spindle/spawn.hpp>
#include <spindle/sync/wait_group.hpp>
#include <spindle/testing.hpp>
#include <spindle/testing/boost_test.hpp>
#include <spindle/this_fiber.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/system_executor.hpp>
#include <boost/test/unit_test.hpp>
#include <boost/version.hpp>

#if BOOST_VERSION >= 108200
#include <boost/asio/bind_immediate_executor.hpp>
#endif

#include <chrono>
#include <optional>
#include <string>
#include <thread>

namespace asio = boost::asio;
using namespace std::chrono_literals;
using spindle::error_code;
using spindle::testing::clock;
using spindle::testing::explore_checked;
using spindle::testing::steady_timer;
namespace this_fiber = spindle::this_fiber;

namespace {

error_code const aborted = asio::error::operation_aborted;

// What a user's code would look like, that has the type of its timers as a parameter.
template <class Timer>
class watchdog {
public:
    watchdog(asio::any_io_executor ex, typename Timer::duration d) : timer_(ex, d)
    {
        timer_.async_wait([this](error_code ec) { barked_ = !ec; });
    }

    void pat(typename Timer::duration d)
    {
        timer_.expires_after(d);
        timer_.async_wait([this](error_code ec) { barked_ = !ec; });
    }

    bool barked() const { return barked_; }

private:
    Timer timer_;
    bool barked_ = false;
};

} // namespace

BOOST_AUTO_TEST_CASE(goes_by_the_time_of_the_run)
{
    explore_checked(
        [] {
            auto const start = clock::now();
            steady_timer timer(this_fiber::get_executor(), 1h);
            BOOST_TEST((timer.expiry() == start + 1h));
            timer.async_wait(spindle::use_fiber);
            BOOST_TEST((clock::now() == start + 1h));
            timer.async_wait(spindle::use_fiber); // has passed
            BOOST_TEST((clock::now() == start + 1h));
            timer.expires_at(start + 3h);
            timer.async_wait(spindle::use_fiber);
            BOOST_TEST((clock::now() == start + 3h));
        },
        {.seeds = 50});
}

BOOST_AUTO_TEST_CASE(is_what_code_with_a_parameter_needs)
{
    explore_checked(
        [] {
            watchdog<steady_timer> dog(this_fiber::get_executor(), 10s);
            for (int i = 0; i != 5; ++i) {
                this_fiber::sleep_for(9s);
                dog.pat(10s);
            }
            BOOST_TEST(!dog.barked());
            this_fiber::sleep_for(11s);
            BOOST_TEST(dog.barked());
        },
        {.seeds = 50});
    asio::io_context ioc;
    watchdog<asio::steady_timer> real(ioc.get_executor(), 1ms);
    watchdog<steady_timer> ours(ioc.get_executor(), 1ms);
    ioc.run();
    BOOST_TEST(real.barked());
    BOOST_TEST(ours.barked());
}

BOOST_AUTO_TEST_CASE(all_that_wait_are_told_in_turn)
{
    explore_checked(
        [] {
            auto const ex = this_fiber::get_executor();
            std::string order;
            spindle::wait_group done(5);
            steady_timer late(ex, 2s), soon(ex, 1s);
            auto const note = [&](char c) {
                return [&order, &done, c](error_code ec) {
                    BOOST_TEST(!ec);
                    order += c;
                    done.done();
                };
            };
            late.async_wait(note('c'));
            late.async_wait(note('d'));
            soon.async_wait(note('a'));
            soon.async_wait(note('b'));
            spindle::go([&] {
                this_fiber::sleep_for(1500ms);
                order += '-';
                done.done();
            });
            done.wait();
            BOOST_TEST(order == "ab-cd");
        },
        {.seeds = 50});
}

BOOST_AUTO_TEST_CASE(waits_are_cancelled_as_asios)
{
    explore_checked(
        [] {
            auto const start = clock::now();
            auto const ex = this_fiber::get_executor();
            std::string said;
            auto const note = [&](char c) {
                return [&said, c](error_code ec) { said += ec == aborted ? c : '!'; };
            };
            steady_timer timer(ex, 1h);
            BOOST_TEST(timer.cancel() == 0u);
            timer.async_wait(note('a'));
            timer.async_wait(note('b'));
            timer.async_wait(note('c'));
            BOOST_TEST(timer.cancel_one() == 1u);
            BOOST_TEST(timer.expires_after(2h) == 2u);
            timer.async_wait(note('d'));
            BOOST_TEST(timer.cancel() == 1u);
            asio::cancellation_signal signal;
            timer.async_wait(asio::bind_cancellation_slot(signal.slot(), note('e')));
            signal.emit(asio::cancellation_type::all);
            {
                steady_timer gone(ex, 1h);
                gone.async_wait(note('f'));
            }
            this_fiber::sleep_for(1s);
            BOOST_TEST(said == "abcdef");
            BOOST_TEST((clock::now() == start + 1s));
            // The fiber's own stop.
            auto waiter = spindle::spawn([&] {
                error_code ec;
                timer.async_wait(spindle::use_fiber[ec]);
                return ec;
            });
            waiter.request_stop();
            BOOST_TEST(waiter.join() == aborted);
        },
        {.seeds = 50});
}

BOOST_AUTO_TEST_CASE(handlers_run_where_they_belong)
{
    explore_checked(
        [] {
            auto const ex = this_fiber::get_executor();
            auto const strand = asio::make_strand(ex);
            spindle::wait_group done(2);
            steady_timer plain(strand, 1s), moved(ex, 1s);
            plain.async_wait([&](error_code) {
                BOOST_TEST(strand.running_in_this_thread());
                done.done();
            });
            moved.async_wait(asio::bind_executor(strand, [&](error_code) {
                BOOST_TEST(strand.running_in_this_thread());
                done.done();
            }));
            auto const there = std::move(moved); // its waits go along
            done.wait();
        },
        {.seeds = 20});
}

namespace {

template <class Timer>
void never_completes_inside_the_call()
{
    asio::io_context ioc;
    Timer timer(ioc, typename Timer::time_point());
    auto calls = 0;
    auto const handler = [&](error_code ec) {
        BOOST_TEST(!ec);
        ++calls;
    };
    timer.async_wait(handler);
#if BOOST_VERSION >= 108200
    timer.async_wait(asio::bind_immediate_executor(asio::system_executor(), handler));
#else
    timer.async_wait(handler);
#endif
    BOOST_TEST(calls == 0);
    ioc.run();
    BOOST_TEST(calls == 2);
}

} // namespace

BOOST_AUTO_TEST_CASE(a_time_that_has_passed_is_told_later_as_asios)
{
    never_completes_inside_the_call<asio::steady_timer>();
    never_completes_inside_the_call<steady_timer>();
}

BOOST_AUTO_TEST_CASE(outside_it_is_a_real_one)
{
    spindle::testing::on_each([] {
        for (int i = 0; i != 200; ++i) {
            auto const start = std::chrono::steady_clock::now();
            steady_timer timer(this_fiber::get_executor(), i % 7 * 100us);
            if (i % 3 != 0) {
                timer.async_wait(spindle::use_fiber);
                BOOST_TEST((std::chrono::steady_clock::now() - start >= i % 7 * 100us));
            } else {
                timer.async_wait([](error_code) {}); // dropped while it may be due
            }
        }
    });
}
