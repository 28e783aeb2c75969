//
// chan/channel_callers.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~~
// A channel between any two of: fibers of any scheduler, bound ones, plain threads,
// handlers.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE chan.channel_callers
#include <spindle/chan/channel.hpp>
#include <spindle/scheduler.hpp>
#include <spindle/spawn.hpp>
#include <spindle/this_fiber.hpp>

#include <support/asio_fixture.hpp>
#include <support/channel_fixture.hpp>

#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/test/unit_test.hpp>

#include <atomic>
#include <chrono>
#include <future>
#include <thread>
#include <utility>
#include <vector>

using namespace spindle_test;
using namespace spindle_test::outcomes;
using namespace std::chrono_literals;
namespace this_fiber = spindle::this_fiber;
using spindle::channel;
using spindle::errc;

BOOST_AUTO_TEST_SUITE(channel_callers)

BOOST_AUTO_TEST_CASE(plain_threads_send_and_receive)
{
    constexpr int each = static_cast<int>(scaled(2'000));
    for (auto const n : {0u, 3u, 128u}) {
        channel<boxed> ch(n);
        std::atomic<long> sum{0};
        std::vector<std::thread> sending, receiving;
        for (int i = 0; i != 3; ++i) {
            receiving.emplace_back([&] {
                for (auto& v : ch)
                    sum += *v;
            });
            sending.emplace_back([&] {
                for (int k = 1; k <= each; ++k)
                    ch.send(box(k));
            });
        }
        for (auto& t : sending)
            t.join();
        ch.close();
        for (auto& t : receiving)
            t.join();
        BOOST_TEST(sum == 3L * each * (each + 1) / 2);
    }
}

BOOST_AUTO_TEST_CASE(plain_threads_wait_and_are_closed)
{
    channel<boxed> in, out;
    tally t;
    std::vector<std::thread> threads;
    for (int i = 0; i != 2; ++i) {
        threads.emplace_back([&] { t.check(!in.receive()); });
        threads.emplace_back([&] {
            error_code ec;
            t.check(!in.receive_for(1h, ec) && ec == closed);
        });
        threads.emplace_back([&] {
            auto v = box(1);
            t.check(error_of([&] { out.send(std::move(v)); }) == closed && v);
        });
        threads.emplace_back([&] {
            error_code ec;
            auto v = box(1);
            t.check(!out.send_until(std::move(v), never, ec) && ec == closed && v);
        });
    }
    BOOST_TEST(until([&] { return receivers_of(in) == 4 && senders_of(out) == 4; }));
    in.close();
    out.close();
    for (auto& thread : threads)
        thread.join();
    BOOST_TEST(t.good() == 8u);
}

BOOST_AUTO_TEST_CASE(plain_threads_whose_limits_race_lose_nothing)
{
    constexpr int each = static_cast<int>(scaled(2'000));
    for (auto const n : {0u, 2u}) {
        channel<boxed> ch(n);
        tally sent, received, wrong;
        std::vector<std::thread> sending, receiving;
        for (int i = 0; i != 2; ++i) {
            sending.emplace_back([&] {
                for (int k = 0; k != each; ++k) {
                    auto v = box(k);
                    error_code ec;
                    auto const ok
                        = ch.send_for(std::move(v), std::chrono::microseconds(k % 100), ec);
                    sent.check(ok);
                    wrong.check(ok == !v && ok == !ec);
                }
            });
            receiving.emplace_back([&] {
                for (int k = 0;; ++k) {
                    error_code ec;
                    received.check(
                        ch.receive_for(std::chrono::microseconds(k % 100), ec).has_value());
                    if (ec == closed)
                        break;
                }
            });
        }
        for (auto& t : sending)
            t.join();
        ch.close();
        for (auto& t : receiving)
            t.join();
        BOOST_TEST(wrong.bad() == 0u);
        BOOST_TEST(sent.good() == received.good());
    }
}

BOOST_AUTO_TEST_CASE(fibers_of_two_schedulers_and_plain_threads_share_a_channel)
{
    constexpr int each = static_cast<int>(scaled(2'000));
    auto const with = [](unsigned processors) {
        return spindle::scheduler_options{.processors = processors, .shutdown_grace = 30s};
    };
    for (auto const processors : {1u, 4u}) {
        for (auto const n : {0u, 3u}) {
            spindle::scheduler a(with(processors)), b(with(2));
            channel<boxed> ch(n);
            std::atomic<long> sum{0};
            auto const send = [&] {
                for (int k = 1; k <= each; ++k)
                    ch.send(box(k));
            };
            auto const receive = [&] {
                for (auto& v : ch)
                    sum += *v;
            };
            std::vector<std::future<void>> sending, receiving;
            for (auto* s : {&a, &b}) {
                sending.push_back(spindle::spawn(*s, send, asio::use_future));
                receiving.push_back(spindle::spawn(*s, receive, asio::use_future));
            }
            std::thread sender(send), receiver(receive);
            for (auto& f : sending)
                f.get();
            sender.join();
            ch.close();
            for (auto& f : receiving)
                f.get();
            receiver.join();
            BOOST_TEST(sum == 3L * each * (each + 1) / 2);
        }
        check_nothing_left();
    }
}

BOOST_AUTO_TEST_CASE(fibers_of_a_users_io_context_a_strand_and_a_thread_pool_share_a_channel)
{
    constexpr int each = static_cast<int>(scaled(1'000));
    over_threads([](asio::io_context& ioc, unsigned threads) {
        asio::thread_pool pool(2);
        auto const strand = asio::make_strand(ioc);
        channel<boxed> ch(3);
        tally t;
        std::atomic<long> sum{0};
        std::atomic<int> senders{3};
        auto const send = [&] {
            for (int k = 1; k <= each; ++k)
                ch.send(box(k));
            if (--senders == 0)
                ch.close();
        };
        spindle::spawn(ioc, send, asio::detached);
        spindle::spawn(
            strand,
            [&] {
                send();
                t.check(strand.running_in_this_thread());
            },
            asio::detached);
        spindle::spawn(
            pool,
            [&] {
                send();
                t.check(pool.get_executor().running_in_this_thread());
            },
            asio::detached);
        spindle::spawn(
            ioc,
            [&] {
                for (auto& v : ch)
                    sum += *v;
            },
            asio::detached);
        spindle::spawn(
            strand,
            [&] {
                for (auto& v : ch) {
                    t.check(strand.running_in_this_thread());
                    sum += *v;
                }
            },
            asio::detached);
        spindle::spawn(
            pool,
            [&] {
                for (auto& v : ch) {
                    t.check(pool.get_executor().running_in_this_thread());
                    sum += *v;
                }
            },
            asio::detached);
        run_on(ioc, threads);
        pool.join();
        BOOST_TEST(t.bad() == 0u);
        BOOST_TEST(sum == 3L * each * (each + 1) / 2);
    });
}

BOOST_AUTO_TEST_CASE(bound_fibers_time_out_and_are_stopped)
{
    asio::thread_pool pool(2);
    auto const strand = asio::make_strand(pool);
    channel<boxed> ch;
    tally t;
    auto done = spindle::spawn(
        strand,
        [&] {
            error_code ec;
            t.check(!ch.receive_for(1ms, ec) && ec == timed_out);
            t.check(strand.running_in_this_thread());
            auto v = box(1);
            t.check(!ch.send_for(std::move(v), 1ms, ec) && ec == timed_out && v);
            auto child = spindle::spawn([&] {
                t.check(error_of([&] { (void)ch.receive(); }) == aborted);
                t.check(strand.running_in_this_thread());
            });
            while (receivers_of(ch) != 1)
                this_fiber::yield();
            child.request_stop();
            child.join();
            t.check(receivers_of(ch) == 0);
        },
        asio::use_future);
    done.get();
    pool.join();
    BOOST_TEST(t.bad() == 0u);
    BOOST_TEST(t.good() == 6u);
}

namespace {

// What each blocking call says to somebody who may not wait.
void check_refused(tally& t, channel<int> const& ch)
{
    auto const refused = [](auto f) {
        return error_of([&] {
            error_code ec;
            f(ec);
            if (ec)
                throw system_error(ec);
        }) == error_code(errc::not_in_fiber);
    };
    t.check(refused([&](auto&) { ch.send(1); }));
    t.check(refused([&](auto& ec) { ch.send(1, ec); }));
    t.check(refused([&](auto& ec) { (void)ch.send_for(1, 0s, ec); }));
    t.check(refused([&](auto& ec) { (void)ch.send_until(1, never, ec); }));
    t.check(refused([&](auto&) { (void)ch.receive(); }));
    t.check(refused([&](auto& ec) { (void)ch.receive(ec); }));
    t.check(refused([&](auto& ec) { (void)ch.receive_for(0s, ec); }));
    t.check(refused([&](auto& ec) { (void)ch.receive_until(never, ec); }));
    t.check(refused([&](auto&) { (void)ch.begin(); }));
}

// Not contended, contended, closed, nil; then what may be done.
void in_a_handler(tally& t)
{
    channel<int> half(2);
    error_code ec;
    t.check(half.try_send(1, ec) && !ec);
    check_refused(t, half);
    t.check(half.size() == 1);
    channel<int> const empty;
    check_refused(t, empty);
    t.check(receivers_of(empty) == 0 && senders_of(empty) == 0);
    auto nil = empty;
    auto const there = std::move(nil);
    check_refused(t, nil);
    t.check(half.try_receive(ec) == 1 && !ec);
    t.check(!half.try_receive(ec) && ec == would_block);
    half.close();
    check_refused(t, half);
    t.check(!half.try_receive(ec) && ec == closed);
    t.check(error_of([&] { half.close(); }) == closed);
}

} // namespace

BOOST_AUTO_TEST_CASE(a_completion_handler_must_not_wait_and_may_try)
{
    tally t;
    {
        asio::io_context ioc; // not one of ours
        asio::post(ioc, [&] { in_a_handler(t); });
        ioc.run();
        BOOST_TEST(t.good() == 4u * 9 + 7);
        spindle::spawn(ioc, [] {}, asio::detached); // now it is
        asio::post(ioc, [&] { in_a_handler(t); });
        ioc.restart();
        ioc.run();
    }
    BOOST_TEST(t.good() == 2u * (4 * 9 + 7));
    {
        on_scheduler s(2);
        std::promise<void> ran;
        asio::post(s->get_executor(), [&] {
            in_a_handler(t);
            ran.set_value();
        });
        ran.get_future().wait();
    }
    BOOST_TEST(t.good() == 3u * (4 * 9 + 7));
    BOOST_TEST(t.bad() == 0u);
}

BOOST_AUTO_TEST_CASE(a_handler_serves_fibers_that_wait)
{
    over_processors([] {
        channel<int> in, out, done;
        auto receiver = spindle::spawn([&] { return in.receive().value(); });
        auto sender = spindle::spawn([&] { out.send(8); });
        auto last = spindle::spawn([&] { return !done.receive(); });
        BOOST_REQUIRE(until([&] {
            return receivers_of(in) == 1 && senders_of(out) == 1 && receivers_of(done) == 1;
        }));
        std::atomic<bool> sent{false}, received{false};
        asio::post(this_fiber::get_executor(), [&] {
            error_code ec;
            sent = in.try_send(7, ec);
            received = out.try_receive(ec) == 8;
            done.close();
        });
        BOOST_TEST(receiver.join() == 7);
        sender.join();
        BOOST_TEST(last.join());
        BOOST_TEST(sent);
        BOOST_TEST(received);
    });
}

BOOST_AUTO_TEST_CASE(works_without_any_scheduler_on_one_thread)
{
    channel<int> ch(3);
    ch.send(1);
    ch.send(2);
    ch.close();
    int sum = 0;
    for (int const v : ch)
        sum += v;
    BOOST_TEST(sum == 3);
}

BOOST_AUTO_TEST_SUITE_END()
