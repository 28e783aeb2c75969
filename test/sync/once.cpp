//
// sync/once.cpp
// ~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE sync.once
#include <spindle/go.hpp>
#include <spindle/sync/once.hpp>
#include <spindle/sync/wait_group.hpp>
#include <spindle/this_fiber.hpp>

#include <support/child.hpp>
#include <support/fixture.hpp>

#include <boost/asio/post.hpp>
#include <boost/test/unit_test.hpp>

#include <array>
#include <atomic>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

using spindle::call_once;
using spindle::once_flag;
using spindle::wait_group;
using spindle::this_fiber::yield;
using spindle_test::over_processors;

namespace {

constinit once_flag before_main; // constant initialisation, as std's

struct refusal {};

} // namespace

BOOST_AUTO_TEST_CASE(calls_once)
{
    int calls = 0;
    call_once(before_main, [&] { ++calls; });
    call_once(before_main, [&] { ++calls; });
    BOOST_TEST(calls == 1);
}

BOOST_AUTO_TEST_CASE(forwards_function_and_arguments)
{
    struct move_only_function {
        std::unique_ptr<int> held = std::make_unique<int>(1);
        int operator()(std::unique_ptr<int> a, int& b) && { return b = *held + *a; }
    };
    int result = 0;
    once_flag first;
    call_once(first, move_only_function(), std::make_unique<int>(2), result);
    BOOST_TEST(result == 3);

    struct counter {
        int n = 0;
        void add(int k) { n += k; }
    } c;
    once_flag second;
    call_once(second, &counter::add, &c, 5); // as std::invoke does
    BOOST_TEST(c.n == 5);
    auto const lambda = [&] { ++c.n; };
    once_flag third;
    call_once(third, lambda); // not moved from, not copied
    BOOST_TEST(c.n == 6);
}

BOOST_AUTO_TEST_CASE(a_call_that_throws_lets_the_next_one_call)
{
    once_flag flag;
    int calls = 0;
    for (int i = 0; i != 3; ++i)
        BOOST_CHECK_THROW(
            call_once(
                flag,
                [&] {
                    ++calls;
                    throw refusal();
                }),
            refusal);
    call_once(flag, [&] { ++calls; });
    call_once(flag, [&] { ++calls; });
    BOOST_TEST(calls == 4);
}

BOOST_AUTO_TEST_CASE(those_who_wait_see_what_the_call_did)
{
    over_processors([] {
        for (int round = 0; round != 100; ++round) {
            once_flag flag;
            std::array<int, 8> made{}; // plain: a lost release would be seen
            std::atomic<int> calls{0}, wrong{0};
            wait_group group;
            for (int i = 0; i != 20; ++i)
                group.go([&, i] {
                    call_once(flag, [&] {
                        ++calls;
                        for (auto& m : made) {
                            m = 1 + i;
                            yield(); // parks the others
                        }
                    });
                    for (auto const m : made)
                        wrong += m == 0;
                });
            group.wait();
            BOOST_REQUIRE(calls == 1);
            BOOST_REQUIRE(wrong == 0);
        }
    });
}

BOOST_AUTO_TEST_CASE(of_those_who_wait_for_a_call_that_throws_one_calls)
{
    over_processors([] {
        for (int round = 0; round != 50; ++round) {
            once_flag flag;
            std::atomic<int> calls{0}, thrown{0}, passed{0};
            wait_group group;
            for (int i = 0; i != 20; ++i)
                group.go([&] {
                    try {
                        call_once(flag, [&] {
                            auto const n = ++calls;
                            yield();
                            if (n < 10)
                                throw refusal();
                        });
                        ++passed;
                    } catch (refusal const&) {
                        ++thrown;
                    }
                });
            group.wait();
            BOOST_REQUIRE(calls == 10);
            BOOST_REQUIRE(thrown == 9);
            BOOST_REQUIRE(passed == 11);
        }
    });
}

BOOST_AUTO_TEST_CASE(threads_and_fibers_mix)
{
    for (auto const processors : {1u, 4u}) {
        spindle_test::on_scheduler s(processors);
        for (int round = 0; round != 50; ++round) {
            once_flag flag;
            std::atomic<int> calls{0};
            int made = 0;
            std::atomic<int> wrong{0};
            wait_group group(8);
            auto const body = [&] {
                call_once(flag, [&] {
                    ++calls;
                    if (spindle::this_fiber::is_fiber())
                        yield();
                    made = 1;
                });
                wrong += made != 1;
                group.done();
            };
            std::vector<std::thread> threads;
            for (int i = 0; i != 4; ++i)
                threads.emplace_back(body);
            for (int i = 0; i != 4; ++i)
                s.run([&] { spindle::go(body); });
            group.wait();
            for (auto& t : threads)
                t.join();
            BOOST_REQUIRE(calls == 1);
            BOOST_REQUIRE(wrong == 0);
        }
    }
}

// The word goes back to `fresh`, and who called before is not taken for who calls.
BOOST_AUTO_TEST_CASE(who_has_failed_may_wait_for_the_next_one)
{
    over_processors([] {
        for (int round = 0; round != 100; ++round) {
            once_flag flag;
            std::atomic<int> calls{0};
            wait_group group;
            for (int i = 0; i != 8; ++i)
                group.go([&] {
                    for (;;)
                        try {
                            call_once(flag, [&] {
                                yield();
                                if (++calls < 6)
                                    throw refusal();
                            });
                            return;
                        } catch (refusal const&) {
                        }
                });
            group.wait();
            BOOST_REQUIRE(calls == 6);
        }
    });
}

BOOST_AUTO_TEST_CASE(is_not_a_cancellation_point)
{
    over_processors([] {
        once_flag flag;
        wait_group gate(1), entered(1);
        auto caller = spindle::spawn([&] {
            call_once(flag, [&] {
                entered.done();
                gate.wait();
            });
        });
        entered.wait();
        auto waiter = spindle::spawn([&] {
            call_once(flag, [] { BOOST_ERROR("called twice"); });
            return spindle::this_fiber::stop_requested();
        });
        for (int i = 0; i != 10; ++i)
            yield();
        waiter.request_stop();
        for (int i = 0; i != 10; ++i)
            yield();
        gate.done();
        caller.join();
        BOOST_TEST(waiter.join());
    });
}

BOOST_AUTO_TEST_CASE(a_stop_inside_the_function_is_a_call_that_threw)
{
    over_processors([] {
        once_flag flag;
        auto caller = spindle::spawn([&] {
            call_once(flag, [] { spindle::this_fiber::sleep_for(std::chrono::hours(1)); });
        });
        for (int i = 0; i != 10; ++i)
            yield();
        caller.request_stop();
        BOOST_CHECK_THROW(caller.join(), spindle::system_error);
        int calls = 0;
        call_once(flag, [&] { ++calls; });
        BOOST_TEST(calls == 1);
    });
}

BOOST_AUTO_TEST_CASE(is_refused_in_a_handler_until_it_was_called)
{
    spindle_test::on_scheduler s(2);
    once_flag flag;
    std::atomic<int> refused{0}, ran{0};
    auto const in_handler = [&] {
        auto const before = ran.load();
        boost::asio::post(s->get_executor(), [&] {
            try {
                call_once(flag, [] {});
            } catch (spindle::system_error const& e) {
                refused += e.code() == spindle::errc::not_in_fiber;
            }
            ++ran;
        });
        BOOST_TEST(spindle_test::eventually([&] { return ran.load() != before; }));
    };
    in_handler();
    BOOST_TEST(refused == 1);
    call_once(flag, [] {});
    in_handler();
    BOOST_TEST(refused == 1);
}

BOOST_AUTO_TEST_CASE(recursion_ends_the_process_with_a_message)
{
    auto const in_thread = spindle_test::in_child([] {
        once_flag flag;
        call_once(flag, [&] { call_once(flag, [] {}); });
    });
    BOOST_TEST(in_thread.by_signal(SIGABRT));
    BOOST_TEST(in_thread.says("call_once"), in_thread.text);

#if !defined(SPINDLE_TEST_SANITIZED) // the child starts threads
    auto const in_fiber = spindle_test::in_child([] {
        spindle::run([] {
            once_flag flag;
            call_once(flag, [&] {
                yield();
                call_once(flag, [] {});
            });
        });
    });
    BOOST_TEST(in_fiber.by_signal(SIGABRT));
    BOOST_TEST(in_fiber.says("call_once"), in_fiber.text);
#endif
}
