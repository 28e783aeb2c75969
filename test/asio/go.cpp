//
// asio/go.cpp
// ~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE asio.go
#include <spindle/go.hpp>
#include <spindle/sync/wait_group.hpp>
#include <spindle/this_fiber.hpp>

#include <support/child.hpp>
#include <support/fixture.hpp>

#include <boost/test/unit_test.hpp>

#include <array>
#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>

using spindle_test::over_processors;

BOOST_AUTO_TEST_CASE(never_runs_before_it_returns_on_one_processor)
{
    spindle_test::on_scheduler s(spindle_test::without_rescue(1));
    s.run([] {
        spindle::wait_group group(1);
        bool ran = false;
        spindle::go([&] {
            ran = true;
            group.done();
        });
        BOOST_TEST(!ran);
        group.wait();
        BOOST_TEST(ran);
    });
}

BOOST_AUTO_TEST_CASE(the_newest_runs_next_on_one_processor)
{
    spindle_test::on_scheduler s(spindle_test::without_rescue(1));
    s.run([] {
        std::string order;
        spindle::wait_group group;
        for (char const c : {'a', 'b', 'c'})
            group.go([&, c] { order += c; });
        group.wait();
        // The others too, newest first, unless the oldest just has its turn.
        BOOST_TEST((order == "cba" || order == "cab"), order);
    });
}

BOOST_AUTO_TEST_CASE(arguments_are_decayed_copies_and_may_be_move_only)
{
    over_processors([] {
        spindle::wait_group group(2);
        std::atomic<int> right{0};
        std::string text = "before";
        spindle::go(
            [&](std::string const& copy, int n) {
                right += copy == "before" && n == 7;
                group.done();
            },
            text, 7);
        text = "after";
        spindle::go(
            [&](std::unique_ptr<int> p) {
                right += *p == 8;
                group.done();
            },
            std::make_unique<int>(8));
        group.wait();
        BOOST_TEST(right == 2);
    });
}

BOOST_AUTO_TEST_CASE(a_large_function_goes_to_the_heap_and_comes_back)
{
    over_processors([] {
        spindle::wait_group group;
        std::array<char, 4096> big{};
        big.back() = 'x';
        auto const alive = std::make_shared<int>();
        std::atomic<int> right{0};
        for (int i = 0; i != 100; ++i)
            group.go([big, alive, &right] { right += big.back() == 'x'; });
        group.wait();
        BOOST_TEST(right == 100);
        BOOST_TEST(alive.use_count() == 1);
    });
}

BOOST_AUTO_TEST_CASE(a_function_may_take_its_stop_token)
{
    over_processors([](spindle::scheduler& sched) {
        spindle::wait_group group;
        std::atomic<bool> started{false};
        group.go([&](std::stop_token token) {
            BOOST_TEST(!token.stop_requested());
            started = true;
            while (!token.stop_requested())
                spindle::this_fiber::yield();
        });
        while (!started)
            spindle::this_fiber::yield();
        sched.stop();
        group.wait();
    });
}

BOOST_AUTO_TEST_CASE(throws_on_a_plain_thread)
{
    BOOST_CHECK_EXCEPTION(spindle::go([] {}), spindle::system_error, [](auto const& e) {
        return e.code() == spindle::errc::not_in_fiber;
    });
}

BOOST_AUTO_TEST_CASE(an_exception_reaches_unhandled_exception)
{
    std::atomic<int> seen{0};
    spindle_test::on_scheduler s(spindle::scheduler_options{
        .processors = 2,
        .unhandled_exception = [&](std::exception_ptr e, spindle::fiber_info const& info) {
            // Several at once: Boost.Test's checks are not made for that.
            try {
                std::rethrow_exception(e);
            } catch (std::runtime_error const&) {
                seen += info.name == "\"bad\"";
            }
        }});
    s.run([] {
        for (int i = 0; i != 10; ++i)
            spindle::go({.name = "bad"}, [] { throw std::runtime_error("no"); });
    });
    BOOST_TEST(spindle_test::eventually([&] { return seen == 10; }));
}

#if !defined(SPINDLE_TEST_SANITIZED) // the child starts threads
BOOST_AUTO_TEST_CASE(an_unhandled_exception_ends_the_process_and_says_what_and_where)
{
    auto const end = spindle_test::in_child([] {
        spindle::run([] {
            spindle::go({.name = "bad"}, [] { throw std::runtime_error("the reason"); });
            spindle::this_fiber::sleep_for(std::chrono::seconds(5));
        });
    });
    BOOST_TEST(end.by_signal(SIGABRT), end.text);
    BOOST_TEST(end.says("\"bad\""), end.text);
    BOOST_TEST(end.says("the reason"), end.text);
    BOOST_TEST(end.says("spawned from"), end.text);
}
#endif
