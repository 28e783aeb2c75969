//
// sync/barrier.cpp
// ~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE sync.barrier
#include <spindle/go.hpp>
#include <spindle/sync/barrier.hpp>
#include <spindle/sync/wait_group.hpp>
#include <spindle/this_fiber.hpp>

#include <support/async_wait.hpp>
#include <support/child.hpp>
#include <support/crew.hpp>
#include <support/fixture.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/test/unit_test.hpp>

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

using spindle::barrier;
using spindle::wait_group;
using spindle::this_fiber::yield;
using spindle_test::over_processors;

namespace {

struct callback {
    std::function<void()> f;
    void operator()() noexcept { f(); }
};

using noisy = barrier<callback>;

} // namespace

static_assert(std::is_constructible_v<barrier<>, std::ptrdiff_t>);
static_assert(!std::is_convertible_v<std::ptrdiff_t, barrier<>>);
static_assert(!std::is_copy_constructible_v<barrier<>> && !std::is_copy_assignable_v<barrier<>>);
static_assert(!std::is_copy_constructible_v<barrier<>::arrival_token>);
static_assert(std::is_nothrow_move_constructible_v<barrier<>::arrival_token>);
static_assert(barrier<>::max() > 0);

BOOST_AUTO_TEST_CASE(a_phase_ends_with_the_last_arrival)
{
    int ended = 0;
    noisy b(3, {[&] { ++ended; }});
    auto first = b.arrive();
    BOOST_TEST(ended == 0);
    auto second = b.arrive(2);
    BOOST_TEST(ended == 1);
    b.wait(std::move(first));
    b.wait(std::move(second));
    (void)b.arrive(3);
    BOOST_TEST(ended == 2);
    barrier one(1);
    one.arrive_and_wait();
    one.arrive_and_wait();
    barrier const none(0);
}

BOOST_AUTO_TEST_CASE(nobody_goes_on_before_all_have_come_and_the_function_has_run)
{
    over_processors([] {
        constexpr int n = 8, phases = 100;
        std::vector<int> at(n); // plain: a lost release would be seen
        int completed = 0;
        std::atomic<int> wrong{0};
        noisy b(n, {[&] {
                    for (auto const phase : at)
                        wrong += phase != completed + 1;
                    ++completed;
                }});
        wait_group group;
        for (std::size_t i = 0; i != n; ++i)
            group.go([&, i] {
                for (int phase = 1; phase <= phases; ++phase) {
                    at[i] = phase;
                    if (i % 2 == 0)
                        yield();
                    if (i % 3 == 0)
                        b.wait(b.arrive());
                    else
                        b.arrive_and_wait();
                    wrong += completed < phase;
                }
            });
        group.wait();
        BOOST_TEST(wrong == 0);
        BOOST_TEST(completed == phases);
    });
}

BOOST_AUTO_TEST_CASE(the_function_may_park_and_keeps_the_others)
{
    over_processors([] {
        int made = 0;
        noisy b(4, {[&] {
                    for (int i = 0; i != 5; ++i)
                        yield();
                    ++made;
                }});
        std::atomic<int> wrong{0};
        wait_group group;
        for (int i = 0; i != 4; ++i)
            group.go([&] {
                for (int phase = 1; phase != 10; ++phase) {
                    b.arrive_and_wait();
                    wrong += made < phase;
                }
            });
        group.wait();
        BOOST_TEST(wrong == 0);
        BOOST_TEST(made == 9);
    });
}

BOOST_AUTO_TEST_CASE(who_drops_out_is_missed_no_more)
{
    over_processors([] {
        constexpr int n = 6;
        int phases = 0;
        noisy b(n, {[&] { ++phases; }});
        wait_group group;
        for (int i = 0; i != n; ++i)
            group.go([&, i] {
                for (int phase = 0; phase != i; ++phase)
                    b.arrive_and_wait();
                b.arrive_and_drop();
            });
        group.wait();
        BOOST_TEST(phases == n);
    });
}

BOOST_AUTO_TEST_CASE(a_token_of_the_phase_before_does_not_wait)
{
    barrier b(1);
    std::optional<barrier<>::arrival_token> token(b.arrive());
    b.wait(std::move(*token));
    token.emplace(b.arrive());
    b.wait(std::move(*token));
}

BOOST_AUTO_TEST_CASE(threads_and_fibers_mix)
{
    spindle_test::on_scheduler s(2);
    constexpr int n = 6, phases = 50;
    int completed = 0;
    noisy b(n, {[&] { ++completed; }});
    wait_group group(n);
    std::atomic<int> wrong{0};
    auto const body = [&] {
        for (int phase = 1; phase <= phases; ++phase) {
            b.arrive_and_wait();
            wrong += completed < phase;
        }
        group.done();
    };
    {
        spindle_test::crew const all_of_them(s, n / 2, body);
        group.wait();
    }
    BOOST_TEST(wrong == 0);
    BOOST_TEST(completed == phases);
}

BOOST_AUTO_TEST_CASE(may_be_destroyed_when_all_have_come_back)
{
    over_processors([] {
        for (int round = 0; round != 300; ++round) {
            auto b = std::make_unique<barrier<>>(2);
            wait_group group;
            group.go([&] { b->arrive_and_wait(); });
            b->arrive_and_wait();
            group.wait();
            b.reset();
        }
    });
}

BOOST_AUTO_TEST_CASE(is_not_a_cancellation_point)
{
    over_processors([] {
        barrier gate(2);
        auto f = spindle::spawn([&] {
            gate.arrive_and_wait();
            return spindle::this_fiber::stop_requested();
        });
        for (int i = 0; i != 10; ++i)
            yield();
        f.request_stop();
        for (int i = 0; i != 10; ++i)
            yield();
        gate.arrive_and_wait();
        BOOST_TEST(f.join());
    });
}

BOOST_AUTO_TEST_CASE(a_handler_may_arrive_and_must_not_wait)
{
    spindle_test::on_scheduler s(2);
    barrier b(2);
    std::atomic<int> refused{0};
    boost::asio::post(s->get_executor(), [&] {
        try {
            b.arrive_and_wait();
        } catch (spindle::system_error const& e) {
            refused += e.code() == spindle::errc::not_in_fiber;
        }
        (void)b.arrive();
    });
    b.arrive_and_wait();
    BOOST_TEST(refused == 1);
}

BOOST_AUTO_TEST_CASE(misuse_ends_the_process_with_a_message)
{
    auto const too_many = spindle_test::in_child([] { (void)barrier(2).arrive(3); });
    BOOST_TEST(too_many.by_signal(SIGABRT));
    BOOST_TEST(too_many.says("barrier: 3 arrived where 2"), too_many.text);
    auto const negative = spindle_test::in_child([] { (void)barrier(2).arrive(-1); });
    BOOST_TEST(negative.by_signal(SIGABRT));
    auto const below_zero = spindle_test::in_child([] { barrier b(-1); });
    BOOST_TEST(below_zero.by_signal(SIGABRT));
    auto const dropped = spindle_test::in_child([] {
        barrier b(1);
        b.arrive_and_drop();
        b.arrive_and_drop();
    });
    BOOST_TEST(dropped.by_signal(SIGABRT));
    BOOST_TEST(dropped.says("arrive_and_drop"), dropped.text);
}

// --- from handlers -----------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(asynchronous_waits_behave)
{
    struct three {
        barrier<> gate{3};
        std::vector<barrier<>::arrival_token> arrived;
    };
    spindle_test::check_async_wait([] {
        auto const b = std::make_shared<three>();
        b->arrived.push_back(b->gate.arrive());
        b->arrived.push_back(b->gate.arrive());
        return spindle_test::waited{
            [b](spindle_test::probe p) {
                auto arrival = std::move(b->arrived.back());
                b->arrived.pop_back();
                b->gate.async_wait(std::move(arrival), std::move(p));
            },
            [b] { (void)b->gate.arrive(); }};
    });
}

BOOST_AUTO_TEST_CASE(handlers_arrive_and_wait_with_fibers)
{
    for (auto const n : spindle_test::processor_counts) {
        spindle_test::on_scheduler s(n);
        constexpr std::size_t phases = 100;
        std::atomic<std::size_t> ended{0}, calls{0}, early{0};
        noisy gate(3, {[&] { ++ended; }});
        boost::asio::io_context ioc;
        std::function<void()> const again = [&] {
            gate.async_arrive_and_wait(
                boost::asio::bind_executor(ioc, [&](spindle::error_code ec) {
                    early += ec || ended == calls; // its phase was over before
                    if (++calls != phases)
                        again();
                }));
        };
        s.run([&] {
            wait_group fibers;
            for (int i = 0; i != 2; ++i)
                fibers.go([&] {
                    for (std::size_t k = 0; k != phases; ++k)
                        gate.arrive_and_wait();
                });
            again();
            auto const work = boost::asio::make_work_guard(ioc);
            while (calls != phases) {
                ioc.poll();
                yield();
            }
            fibers.wait();
        });
        BOOST_TEST(ended == phases);
        BOOST_TEST(early == 0u);
    }
}

// Whoever leaves has arrived.
BOOST_AUTO_TEST_CASE(a_cancelled_wait_leaves_its_arrival)
{
    boost::asio::io_context ioc;
    boost::asio::cancellation_signal signal;
    int ended = 0;
    noisy gate(2, {[&] { ++ended; }});
    spindle::error_code seen;
    gate.async_arrive_and_wait(boost::asio::bind_cancellation_slot(
        signal.slot(),
        boost::asio::bind_executor(ioc, [&](spindle::error_code ec) { seen = ec; })));
    signal.emit(boost::asio::cancellation_type::total);
    ioc.run();
    BOOST_TEST((seen == spindle_test::aborted));
    (void)gate.arrive();
    BOOST_TEST(ended == 1);
}
