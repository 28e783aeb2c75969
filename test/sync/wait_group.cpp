//
// sync/wait_group.cpp
// ~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE sync.wait_group
#include <spindle/sync/wait_group.hpp>
#include <spindle/this_fiber.hpp>

#include <support/async_wait.hpp>
#include <support/child.hpp>
#include <support/fixture.hpp>

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/post.hpp>
#include <boost/test/unit_test.hpp>

#include <atomic>
#include <memory>
#include <stop_token>
#include <thread>
#include <vector>

using spindle::wait_group;
using spindle_test::over_processors;

BOOST_AUTO_TEST_CASE(wait_on_zero_returns_at_once)
{
    wait_group group;
    group.wait();
    over_processors([] { wait_group().wait(); });
}

BOOST_AUTO_TEST_CASE(wait_sees_what_the_pieces_did)
{
    over_processors([] {
        for (int round = 0; round != 50; ++round) {
            std::vector<int> results(100); // plain: a lost release would be seen
            wait_group group;
            for (std::size_t i = 0; i != results.size(); ++i)
                group.go([&results, i] { results[i] = static_cast<int>(i); });
            group.wait();
            for (std::size_t i = 0; i != results.size(); ++i)
                BOOST_REQUIRE(results[i] == static_cast<int>(i));
        }
    });
}

BOOST_AUTO_TEST_CASE(may_be_destroyed_as_soon_as_wait_returns)
{
    over_processors([] {
        for (int round = 0; round != 500; ++round) {
            auto group = std::make_unique<wait_group>();
            group->go([] {});
            group->go([] { spindle::this_fiber::yield(); });
            group->wait();
            group.reset();
        }
    });
}

BOOST_AUTO_TEST_CASE(wakes_all_who_wait)
{
    over_processors([] {
        wait_group gate(1), through;
        std::atomic<int> passed{0};
        for (int i = 0; i != 50; ++i)
            through.go([&] {
                gate.wait();
                ++passed;
            });
        for (int i = 0; i != 100; ++i)
            spindle::this_fiber::yield();
        BOOST_TEST(passed == 0);
        gate.done();
        through.wait();
        BOOST_TEST(passed == 50);
    });
}

BOOST_AUTO_TEST_CASE(counts_down_where_the_piece_throws)
{
    spindle_test::on_scheduler s(spindle::scheduler_options{
        .processors = 2,
        .unhandled_exception = [](std::exception_ptr, spindle::fiber_info const&) {}});
    s.run([] {
        wait_group group;
        group.go([] { throw 1; });
        group.wait();
    });
}

BOOST_AUTO_TEST_CASE(a_plain_thread_waits_for_fibers_and_fibers_for_a_thread)
{
    spindle_test::on_scheduler s(2);
    wait_group from_fibers(100), from_thread(1);
    s.run([&] {
        for (int i = 0; i != 100; ++i)
            spindle::go([&] {
                from_thread.wait();
                from_fibers.done();
            });
    });
    std::thread([&] { from_thread.done(); }).join();
    from_fibers.wait();
}

BOOST_AUTO_TEST_CASE(is_not_a_cancellation_point)
{
    over_processors([] {
        wait_group gate(1);
        auto f = spindle::spawn([&] {
            gate.wait();
            return spindle::this_fiber::stop_requested();
        });
        for (int i = 0; i != 10; ++i)
            spindle::this_fiber::yield();
        f.request_stop();
        for (int i = 0; i != 10; ++i)
            spindle::this_fiber::yield();
        gate.done();
        BOOST_TEST(f.join());
    });
}

// --- wait(stop_token) -----------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_token_ends_a_wait)
{
    auto const body = [] {
        wait_group group(1);
        std::stop_source source;
        std::thread other([&] { source.request_stop(); });
        BOOST_TEST(
            spindle_test::error_of([&] { group.wait(source.get_token()); })
            == spindle_test::aborted);
        other.join();
        // Asked before.
        BOOST_TEST(
            spindle_test::error_of([&] { group.wait(source.get_token()); })
            == spindle_test::aborted);
        group.done();
        group.wait(source.get_token()); // zero wins
        group.wait();
    };
    body();
    over_processors(body);
}

BOOST_AUTO_TEST_CASE(a_stop_of_the_fiber_ends_a_wait_with_any_token)
{
    over_processors([] {
        wait_group group(1);
        for (auto const with_own : {false, true}) {
            auto f = spindle::spawn([&](std::stop_token own) {
                group.wait(with_own ? own : std::stop_token());
            });
            spindle::this_fiber::yield();
            f.request_stop();
            BOOST_TEST(spindle_test::error_of([&] { f.join(); }) == spindle_test::aborted);
        }
        group.done();
    });
}

// The mark of a waiter that has left neither wakes the next too early, nor is the
// group touched when that has returned.
BOOST_AUTO_TEST_CASE(a_stop_races_with_the_last_piece)
{
    over_processors([] {
        for (std::size_t round = 0; round != spindle_test::scaled(2000); ++round) {
            auto group = std::make_unique<wait_group>();
            std::stop_source source;
            std::atomic<int> pieces{0};
            for (int i = 0; i != 2; ++i)
                group->go([&] {
                    if (++pieces == 1)
                        source.request_stop();
                });
            try {
                group->wait(source.get_token());
                BOOST_REQUIRE(pieces == 2);
            } catch (spindle::system_error const&) {
                group->go([&] {
                    spindle::this_fiber::yield();
                    ++pieces;
                });
                group->wait();
                BOOST_REQUIRE(pieces == 3);
            }
            group.reset();
        }
    });
}

BOOST_AUTO_TEST_CASE(one_of_many_is_stopped_and_the_others_wait_on)
{
    over_processors([] {
        wait_group gate(1), through;
        std::atomic<int> passed{0}, stopped{0};
        std::vector<std::stop_source> sources(10);
        for (auto& source : sources)
            through.go([&] {
                try {
                    gate.wait(source.get_token());
                    ++passed;
                } catch (spindle::system_error const&) {
                    ++stopped;
                }
            });
        for (int i = 0; i != 20; ++i)
            spindle::this_fiber::yield();
        for (std::size_t i = 0; i != sources.size(); i += 2)
            sources[i].request_stop();
        gate.done();
        through.wait();
        BOOST_TEST(passed + stopped == 10);
        BOOST_TEST(stopped <= 5);
    });
}

// --- async_wait -----------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(async_wait_is_an_asynchronous_wait)
{
    spindle_test::check_async_wait([] {
        auto const group = std::make_shared<wait_group>(1);
        return spindle_test::waited{
            [group](spindle_test::probe p) { group->async_wait(std::move(p)); },
            [group] { group->done(); }};
    });
}

BOOST_AUTO_TEST_CASE(fibers_threads_and_handlers_wait_for_the_same_pieces)
{
    spindle_test::on_scheduler s(2);
    wait_group gate(1), through(3);
    spindle_test::asio::io_context ioc;
    gate.async_wait(boost::asio::bind_executor(ioc, [&](spindle::error_code ec) {
        BOOST_TEST(!ec);
        through.done();
    }));
    std::thread thread([&] {
        gate.wait();
        through.done();
    });
    s.run([&] {
        spindle::go([&] {
            gate.wait();
            through.done();
        });
        gate.done();
    });
    ioc.run();
    through.wait();
    thread.join();
}

// --- misuse ---------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(wait_is_refused_in_a_handler)
{
    spindle_test::on_scheduler s(2);
    wait_group group(1);
    std::atomic<bool> refused{false};
    std::atomic<bool> ran{false};
    boost::asio::post(s->get_executor(), [&] {
        try {
            group.wait();
        } catch (spindle::system_error const& e) {
            refused = e.code() == spindle::errc::not_in_fiber;
        }
        ran = true;
    });
    BOOST_TEST(spindle_test::eventually([&] { return ran.load(); }));
    BOOST_TEST(refused);
}

BOOST_AUTO_TEST_CASE(one_done_too_many_ends_the_process_with_a_message)
{
    auto const end = spindle_test::in_child([] {
        wait_group group;
        group.done();
    });
    BOOST_TEST(end.by_signal(SIGABRT));
    BOOST_TEST(end.says("done()"), end.text);
}
