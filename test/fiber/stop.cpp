//
// fiber/stop.cpp
// ~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE fiber.stop
#include <spindle/detail/fiber/stop.hpp>

#include <support/fixture.hpp>
#include <support/hop.hpp>
#include <support/waiting.hpp>

#include <spindle/asio/use_fiber.hpp>
#include <spindle/cancel/cancel_scope.hpp>
#include <spindle/detail/base/scope_exit.hpp>
#include <spindle/detail/fiber/waiter.hpp>
#include <spindle/error.hpp>
#include <spindle/go.hpp>
#include <spindle/spawn.hpp>
#include <spindle/sync/wait_group.hpp>
#include <spindle/this_fiber.hpp>

#include <boost/fiber/context.hpp>
#include <boost/fiber/fiber.hpp>
#include <boost/fiber/operations.hpp>
#include <boost/test/unit_test.hpp>

#include <atomic>
#include <chrono>
#include <optional>
#include <random>
#include <stop_token>
#include <thread>

using namespace spindle::detail;
using namespace spindle_test;
using namespace std::chrono_literals;

namespace {

template <class Function>
bool stopped(Function f)
{
    try {
        f();
        return false;
    } catch (spindle::system_error const& e) {
        return e.code() == operation_aborted();
    }
}

// A wait that only its stop ends.
class endless final : stop_hook {
public:
    endless()
        : stop_hook{[](stop_hook& h) noexcept { static_cast<endless&>(h).waiter_.wake(); }}
    {
    }

    // False: it was stopped before it began.
    bool wait()
    {
        auto& self = *current_fiber();
        if (!hook_wait(self, *this))
            return false;
        waiter_.wait(wait_reason::none);
        unhook_wait(self, *this);
        return true;
    }

private:
    waiter waiter_;
};

// Something to do for a time that differs from call to call.
template <class Random>
void linger_on(Random& random, unsigned most)
{
    for (auto n = random() % most; n != 0; --n)
        relax_cpu();
}

} // namespace

BOOST_AUTO_TEST_CASE(a_stop_before_a_wait_keeps_it_from_beginning)
{
    over_processors([] {
        auto& self = *current_fiber();
        BOOST_TEST(!stop_seen(self));
        request_stop(self, life_of(self));
        BOOST_TEST(stop_seen(self));
        BOOST_TEST(spindle::this_fiber::stop_requested());
        endless e;
        BOOST_TEST(!e.wait());
        BOOST_TEST(stopped([] { spindle::this_fiber::sleep_for(1h); }));
        BOOST_TEST(stopped([] { spindle::this_fiber::sleep_for(1h); })); // it is sticky
    });
}

BOOST_AUTO_TEST_CASE(a_stop_ends_a_wait)
{
    over_processors([] {
        auto sleeper = spindle::spawn([] { spindle::this_fiber::sleep_for(1h); });
        auto waiting = spindle::spawn([] {
            endless e;
            return e.wait();
        });
        spindle::this_fiber::yield();
        sleeper.request_stop();
        waiting.request_stop();
        BOOST_TEST(stopped([&] { sleeper.join(); }));
        (void)waiting.join();
    });
}

BOOST_AUTO_TEST_CASE(a_shielded_fiber_sees_its_stop_afterwards)
{
    over_processors([] {
        auto& self = *current_fiber();
        request_stop(self, life_of(self));
        ++self.shielded;
        BOOST_TEST(!stop_seen(self));
        BOOST_CHECK_NO_THROW(spindle::this_fiber::sleep_for(100us));
        --self.shielded;
        BOOST_TEST(stop_seen(self));
        BOOST_TEST(stopped([] { spindle::this_fiber::sleep_for(1h); }));
    });
}

BOOST_AUTO_TEST_CASE(a_stop_of_a_life_that_is_over_does_nothing)
{
    on_scheduler s(without_rescue(1));
    s.run([] {
        fiber_record* record = nullptr;
        std::uint64_t life = 0;
        spindle::spawn([&] {
            record = current_fiber();
            life = life_of(*record);
        }).join();
        spindle::this_fiber::yield();
        request_stop(*record, life);
        fiber_record* again = nullptr;
        auto const was_stopped = spindle::spawn([&] {
            again = current_fiber();
            request_stop(*record, life);
            return spindle::this_fiber::stop_requested();
        }).join();
        BOOST_TEST(again == record); // the newest rests on top
        BOOST_TEST(!was_stopped);
        BOOST_TEST(life_of(*record) == 0u);
        request_stop(*record, 0);
    });
}

BOOST_AUTO_TEST_CASE(callbacks_of_the_token_run_once)
{
    over_processors([] {
        std::atomic<int> called{0};
        auto child = spindle::spawn([&](std::stop_token token) {
            BOOST_TEST((token == spindle::this_fiber::get_stop_token()));
            std::stop_callback const callback(token, [&] { ++called; });
            BOOST_TEST(stopped([] { spindle::this_fiber::sleep_for(1h); }));
            BOOST_TEST(until([&] { return called == 1; })); // they come after the wake-up
            BOOST_TEST(token.stop_requested());
        });
        spindle::this_fiber::yield();
        child.request_stop();
        child.request_stop();
        child.join();
        BOOST_TEST(called == 1);
    });
}

BOOST_AUTO_TEST_CASE(a_callback_may_stop_and_wake_others)
{
    over_processors([] {
        auto second = spindle::spawn([] { spindle::this_fiber::sleep_for(1h); });
        auto first = spindle::spawn([&](std::stop_token token) {
            std::atomic<bool> called{false};
            std::stop_callback const callback(token, [&] {
                second.request_stop();
                called = true;
            });
            scope_exit const told([&] { (void)until([&] { return called.load(); }); });
            spindle::this_fiber::sleep_for(1h);
        });
        spindle::this_fiber::sleep_for(100us);
        first.request_stop();
        BOOST_TEST(stopped([&] { first.join(); }));
        BOOST_TEST(stopped([&] { second.join(); }));
    });
}

// A stop that meets another fiber on its way: a hook of Asio's stops the child that
// the fiber waits for.
BOOST_AUTO_TEST_CASE(callbacks_of_a_child_run_with_nothing_held)
{
    enum class way { request, scope, scheduler };
    for (auto const how : {way::request, way::scope, way::scheduler}) {
        std::atomic<int> called{0};
        over_processors([&] {
            called = 0;
            std::atomic<bool> waits{false};
            fiber_record* parent = nullptr;
            std::optional<spindle::cancel_handle> handle;
            // Not checked there: Boost.Test is for one thread at a time.
            std::atomic<bool> child_was_stopped{false};
            auto const look = [&] {
                for_each_record([](fiber_record&, void*) {}, nullptr);
                stopper_lock const can(*parent);
                ++called;
            };
            auto waiting = spindle::spawn([&] {
                parent = current_fiber();
                spindle::cancel_scope scope;
                handle = scope.handle();
                auto const child = [&](std::stop_token token) {
                    std::stop_callback const callback(token, look);
                    scope_exit const told([&] { (void)until([&] { return called == 1; }); });
                    waits = true;
                    spindle::this_fiber::sleep_for(1h);
                };
                child_was_stopped = stopped([&] {
                    spindle::spawn(
                        spindle::this_fiber::get_executor(), child, spindle::use_fiber);
                });
            });
            BOOST_TEST(until([&] { return waits.load(); }));
            if (how == way::request)
                waiting.request_stop();
            else if (how == way::scope)
                handle->cancel();
            else
                request_stop_all(*current_fiber()->scheduler());
            (void)stopped([&] { waiting.join(); });
            // That may have been cut short, by a stop of all.
            BOOST_TEST(until([&] { return child_was_stopped.load(); }));
            BOOST_TEST(called == 1);
        });
    }
}

BOOST_AUTO_TEST_CASE(a_token_that_is_made_after_the_stop_is_stopped)
{
    over_processors([] {
        auto& self = *current_fiber();
        request_stop(self, life_of(self));
        auto const token = spindle::this_fiber::get_stop_token();
        BOOST_TEST(token.stop_requested());
    });
}

BOOST_AUTO_TEST_CASE(a_token_outlives_its_fiber)
{
    over_processors([] {
        std::stop_token token;
        spindle::spawn([&] { token = spindle::this_fiber::get_stop_token(); }).join();
        BOOST_TEST(!token.stop_requested());
    });
}

// What such a fiber has of ours goes with it, and with nobody inside.
BOOST_AUTO_TEST_CASE(a_fiber_of_boost_fibers_own_stays_while_a_stopper_is_in_it)
{
    for (auto const n : processor_counts) {
        std::atomic<fiber_record*> record{nullptr};
        std::atomic<bool> may_end{false};
        on_scheduler s(n);
        s.run([&] {
            boost::fibers::fiber([&] {
                record = record_of(*boost::fibers::context::active());
                while (!may_end.load())
                    boost::this_fiber::yield();
            }).detach();
        });
        BOOST_REQUIRE(eventually([&] { return record.load() != nullptr; }));
        auto& g = *record.load();
        {
            stopper_lock const inside(g);
            BOOST_TEST((g.life.fetch_or(1) & 3) == 0u); // as request_stop_all() does
            may_end = true;
            auto const end = std::chrono::steady_clock::now() + 5ms;
            while (std::chrono::steady_clock::now() < end)
                BOOST_REQUIRE(core_of(*s).live() == 1u);
        }
        BOOST_TEST(eventually([&] { return core_of(*s).live() == 0; }));
    }
}

BOOST_AUTO_TEST_CASE(of_a_scheduler_reaches_every_fiber_and_those_that_begin_later)
{
    for (auto const n : processor_counts) {
        std::atomic<int> ended{0};
        on_scheduler s(n);
        s.run([&] {
            for (int i = 0; i != 50; ++i)
                spindle::go([&] {
                    ended += stopped([] { spindle::this_fiber::sleep_for(1h); });
                });
            spindle::this_fiber::yield();
            spindle::this_fiber::get_scheduler().stop();
            for (int i = 0; i != 50; ++i)
                spindle::go([&] {
                    ended += stopped([] { spindle::this_fiber::sleep_for(1h); });
                });
        });
        s->join();
        BOOST_TEST(ended == 100);
    }
}

BOOST_AUTO_TEST_CASE(a_loop_that_ignores_its_stop_lets_others_run)
{
    on_scheduler s(without_rescue(1));
    s.run([] {
        bool ran = false;
        auto deaf = spindle::spawn([&] {
            while (!ran)
                (void)stopped([] { spindle::this_fiber::sleep_for(1h); });
        });
        deaf.request_stop();
        spindle::this_fiber::yield();
        spindle::go([&] { ran = true; });
        deaf.join();
        BOOST_TEST(ran);
    });
}

// Another thread stops every second life of one record, each at a random moment,
// also late. The lives in between find no trace of it; those that wait for their
// stop get it.
BOOST_AUTO_TEST_CASE(at_every_moment_of_many_lives_hits_that_life_and_no_other)
{
    auto const start = seed();
    BOOST_TEST_CONTEXT("seed " << start)
    {
        constexpr auto lives = scaled(40'000);
        // A fiber that ends without its processor leaves its record to others.
        on_scheduler s({.processors = 1, .preempt_after = 1h, .shutdown_grace = 30s});
        std::atomic<fiber_record*> record{nullptr};
        std::atomic<bool> over{false};
        std::atomic<int> other_record{0}, not_stopped{0}, hit{0};
        std::size_t stops = 0;
        std::thread stopper([&] {
            std::minstd_rand random(static_cast<unsigned>(start));
            fiber_record* g;
            while (!(g = record.load()) && !over)
                std::this_thread::yield();
            std::uint64_t last = 0;
            while (!over) {
                auto const life = g->life.load() & ~std::uint64_t{3};
                if (life == last || (life >> 2) % 2 != 0) {
                    relax_cpu();
                    continue;
                }
                last = life;
                linger_on(random, 60);
                request_stop(*g, life);
                ++stops;
            }
        });
        s.run([&] {
            std::minstd_rand random(static_cast<unsigned>(start) + 1);
            auto const end = now() + 20s;
            for (std::size_t n = 0; n != lives && now() < end; ++n) {
                auto const what = random();
                spindle::spawn([&, what] {
                    auto& self = *current_fiber();
                    auto* const before = record.exchange(&self);
                    other_record += before && before != &self;
                    if ((life_of(self) >> 2) % 2 != 0) {
                        // Nobody's to stop.
                        auto const token = stop_token_of(self);
                        for (int i = 0; i != 3; ++i) {
                            hit += stop_seen(self) || token.stop_requested();
                            if (what % 3 == 0)
                                spindle::this_fiber::yield();
                        }
                        if (what % 64 == 0)
                            hit += stopped([] { spindle::this_fiber::sleep_for(5us); });
                        hit += stop_seen(self) || token.stop_requested();
                        return;
                    }
                    std::stop_token token;
                    if (what % 2 == 0)
                        token = stop_token_of(self);
                    if (what % 5 == 0)
                        return; // the stop comes late
                    if (what % 5 == 1) {
                        not_stopped += !stopped([] { spindle::this_fiber::sleep_for(1h); });
                    } else {
                        endless e;
                        (void)e.wait();
                        not_stopped += !stop_seen(self);
                    }
                    // The waiting ends before the callbacks run.
                    while (token.stop_possible() && !token.stop_requested())
                        spindle::this_fiber::yield();
                }).join();
            }
        });
        over = true;
        stopper.join();
        BOOST_TEST(other_record == 0);
        BOOST_TEST(hit == 0);
        BOOST_TEST(not_stopped == 0);
        BOOST_TEST(stops > 0u);
    }
}

BOOST_AUTO_TEST_CASE(races_with_the_end_of_a_sleep)
{
    over_processors([] {
        std::minstd_rand random;
        for (int i = 0; i != 300; ++i) {
            auto child = spindle::spawn([] { spindle::this_fiber::sleep_for(20us); });
            spindle::this_fiber::yield();
            linger_on(random, 2000);
            child.request_stop();
            try {
                child.join();
            } catch (spindle::system_error const& e) {
                BOOST_TEST(e.code() == operation_aborted());
            }
        }
    });
}
