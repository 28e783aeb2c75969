//
// sync/latch.cpp
// ~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE sync.latch
#include <spindle/sync/latch.hpp>
#include <spindle/sync/wait_group.hpp>
#include <spindle/this_fiber.hpp>

#include <support/async_wait.hpp>
#include <support/child.hpp>
#include <support/crew.hpp>
#include <support/fixture.hpp>

#include <boost/asio/post.hpp>
#include <boost/test/unit_test.hpp>

#include <atomic>
#include <cstddef>
#include <memory>
#include <type_traits>
#include <vector>

using spindle::latch;
using spindle::wait_group;
using spindle::this_fiber::yield;
using spindle_test::over_processors;

static_assert(std::is_constructible_v<latch, std::ptrdiff_t>);
static_assert(!std::is_convertible_v<std::ptrdiff_t, latch>);
static_assert(!std::is_copy_constructible_v<latch> && !std::is_copy_assignable_v<latch>);
static_assert(latch::max() > 0);

BOOST_AUTO_TEST_CASE(opens_at_zero_and_stays_open)
{
    latch l(3);
    BOOST_TEST(!l.try_wait());
    l.count_down();
    BOOST_TEST(!l.try_wait());
    l.count_down(0);
    BOOST_TEST(!l.try_wait());
    l.count_down(2);
    BOOST_TEST(l.try_wait());
    latch const& seen = l;
    seen.wait();
    seen.wait();
    latch none(0);
    BOOST_TEST(none.try_wait());
    none.wait();
    latch most(latch::max());
    most.count_down(latch::max() - 1);
    BOOST_TEST(!most.try_wait());
    most.arrive_and_wait();
    BOOST_TEST(most.try_wait());
}

BOOST_AUTO_TEST_CASE(who_waits_sees_what_was_done_before_each_arrival)
{
    over_processors([] {
        for (int round = 0; round != 50; ++round) {
            std::vector<int> made(20); // plain: a lost release would be seen
            latch all(20);
            wait_group group;
            std::atomic<int> wrong{0};
            for (std::size_t i = 0; i != made.size(); ++i)
                group.go([&, i] {
                    made[i] = 1;
                    if (i % 3 == 0)
                        yield();
                    all.arrive_and_wait();
                    for (auto const m : made)
                        wrong += m != 1;
                });
            all.wait();
            group.wait();
            BOOST_REQUIRE(wrong == 0);
        }
    });
}

BOOST_AUTO_TEST_CASE(may_be_destroyed_as_soon_as_wait_returns)
{
    over_processors([] {
        for (int round = 0; round != 500; ++round) {
            auto l = std::make_unique<latch>(2);
            for (int i = 0; i != 2; ++i)
                spindle::go([&l = *l] { l.count_down(); });
            l->wait();
            l.reset();
        }
    });
}

BOOST_AUTO_TEST_CASE(threads_and_fibers_mix)
{
    spindle_test::on_scheduler s(2);
    for (int round = 0; round != 50; ++round) {
        latch all(6), through(6);
        auto const body = [&] {
            all.arrive_and_wait();
            through.count_down();
        };
        {
            spindle_test::crew const all_of_them(s, 3, body);
            through.wait();
        }
    }
}

BOOST_AUTO_TEST_CASE(is_not_a_cancellation_point)
{
    over_processors([] {
        latch gate(1);
        auto f = spindle::spawn([&] {
            gate.wait();
            return spindle::this_fiber::stop_requested();
        });
        for (int i = 0; i != 10; ++i)
            yield();
        f.request_stop();
        for (int i = 0; i != 10; ++i)
            yield();
        gate.count_down();
        BOOST_TEST(f.join());
    });
}

BOOST_AUTO_TEST_CASE(async_wait_is_an_asynchronous_wait)
{
    spindle_test::check_async_wait([] {
        auto const l = std::make_shared<latch>(1);
        return spindle_test::waited{
            [l](spindle_test::probe p) { l->async_wait(std::move(p)); },
            [l] { l->count_down(); }};
    });
}

BOOST_AUTO_TEST_CASE(a_handler_may_arrive_and_must_not_wait)
{
    spindle_test::on_scheduler s(2);
    latch l(2);
    std::atomic<int> refused{0};
    boost::asio::post(s->get_executor(), [&] {
        try {
            l.arrive_and_wait();
        } catch (spindle::system_error const& e) {
            refused += e.code() == spindle::errc::not_in_fiber;
        }
        try {
            l.wait();
        } catch (spindle::system_error const& e) {
            refused += e.code() == spindle::errc::not_in_fiber;
        }
        refused += !l.try_wait();
        l.count_down(2);
    });
    l.wait();
    BOOST_TEST(refused == 3);
}

BOOST_AUTO_TEST_CASE(misuse_ends_the_process_with_a_message)
{
    auto const too_many = spindle_test::in_child([] { latch(1).count_down(2); });
    BOOST_TEST(too_many.by_signal(SIGABRT));
    BOOST_TEST(too_many.says("count_down(2)"), too_many.text);
    auto const negative = spindle_test::in_child([] { latch(1).count_down(-1); });
    BOOST_TEST(negative.by_signal(SIGABRT));
    auto const below_zero = spindle_test::in_child([] { latch l(-1); });
    BOOST_TEST(below_zero.by_signal(SIGABRT));
    BOOST_TEST(below_zero.says("latch(-1)"), below_zero.text);
}
