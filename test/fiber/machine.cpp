//
// fiber/machine.cpp
// ~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE fiber.machine
#include <spindle/detail/fiber/machine.hpp>

#include <support/cpu_time.hpp>
#include <support/fixture.hpp>
#include <support/hop.hpp>

#include <spindle/go.hpp>
#include <spindle/sync/wait_group.hpp>
#include <spindle/this_fiber.hpp>

#include <boost/asio/post.hpp>
#include <boost/fiber/all.hpp>
#include <boost/test/unit_test.hpp>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <unistd.h>
#include <thread>
#include <vector>

using namespace spindle::detail;
using namespace spindle_test;
using namespace std::chrono_literals;

namespace {

struct value {
    int number;
};

SPINDLE_NOINLINE int read_errno()
{
    asm volatile("");
    return errno;
}

SPINDLE_NOINLINE void fail_a_system_call() { (void)::close(-1); }

// Gives way in the middle of an unwinding.
template <class Pause>
struct unwound {
    Pause& pause;
    int uncaught;
    std::atomic<int>& wrong;

    ~unwound()
    {
        pause();
        wrong += std::uncaught_exceptions() != uncaught;
        // Exceptions inside, caught inside, while another one is on its way.
        try {
            throw value{-1};
        } catch (value const& v) {
            pause();
            wrong += v.number != -1 || std::uncaught_exceptions() != uncaught;
        }
        pause();
        wrong += std::uncaught_exceptions() != uncaught;
    }
};

// One round of everything that the exception state is for. `pause` parks, or
// yields, or migrates.
template <class Pause>
void round_of_exceptions(int number, Pause& pause, std::atomic<int>& wrong)
{
    wrong += std::uncaught_exceptions() != 0 || std::current_exception() != nullptr;
    try {
        try {
            unwound<Pause> const u{pause, 1, wrong};
            throw value{number};
        } catch (value const& outer) {
            pause();
            wrong += outer.number != number || std::uncaught_exceptions() != 0;
            try {
                unwound<Pause> const u{pause, 1, wrong};
                throw value{number + 1};
            } catch (value const& inner) {
                pause();
                wrong += inner.number != number + 1 || outer.number != number;
                try {
                    pause();
                    throw;
                } catch (value const& again) {
                    wrong += &again != &inner;
                    pause();
                }
            }
            pause();
            try {
                std::rethrow_exception(std::current_exception());
            } catch (value const& again) {
                wrong += again.number != number;
            }
            pause();
            throw;
        }
    } catch (value const& last) {
        wrong += last.number != number;
        pause();
    }
    wrong += std::uncaught_exceptions() != 0 || std::current_exception() != nullptr;
}

template <class Pause>
void all_exceptions(int fibers, int rounds, Pause pause)
{
    std::atomic<int> wrong{0};
    spindle::wait_group group;
    for (int i = 0; i != fibers; ++i)
        group.go([&, i] {
            auto mine = pause;
            for (int r = 0; r != rounds; ++r)
                round_of_exceptions(i * 1000 + r, mine, wrong);
        });
    group.wait();
    BOOST_TEST(wrong == 0);
}

} // namespace

BOOST_AUTO_TEST_SUITE(exceptions)

BOOST_AUTO_TEST_CASE(stay_with_their_fiber_across_yields)
{
    over_processors([] { all_exceptions(20, 20, [] { spindle::this_fiber::yield(); }); });
}

BOOST_AUTO_TEST_CASE(stay_with_their_fiber_across_parks)
{
    over_processors([] { all_exceptions(20, 3, [] { spindle::this_fiber::sleep_for(20us); }); });
}

BOOST_AUTO_TEST_CASE(stay_with_their_fiber_across_yields_of_boost_fiber)
{
    over_processors([] { all_exceptions(20, 20, [] { boost::this_fiber::yield(); }); });
}

BOOST_AUTO_TEST_CASE(stay_with_fibers_of_boost_fiber)
{
    over_processors([] {
        std::atomic<int> wrong{0};
        std::vector<boost::fibers::fiber> fibers;
        for (int i = 0; i != 20; ++i)
            fibers.emplace_back(
                i % 2 ? boost::fibers::launch::post : boost::fibers::launch::dispatch, [&, i] {
                    auto pause = [n = 0]() mutable {
                        if (++n % 4 == 0)
                            boost::this_fiber::sleep_for(50us);
                        else
                            boost::this_fiber::yield();
                    };
                    for (int r = 0; r != 3; ++r)
                        round_of_exceptions(i * 1000 + r, pause, wrong);
                });
        for (auto& f : fibers)
            f.join();
        BOOST_TEST(wrong == 0);
    });
}

BOOST_AUTO_TEST_CASE(of_a_launcher_stay_when_the_new_fiber_runs_at_once)
{
    over_processors([] {
        std::atomic<int> wrong{0};
        try {
            throw value{1};
        } catch (value const& v) {
            boost::fibers::fiber f(boost::fibers::launch::dispatch, [&] {
                wrong += std::current_exception() != nullptr;
                try {
                    throw value{2};
                } catch (value const& inner) {
                    boost::this_fiber::yield();
                    wrong += inner.number != 2;
                }
            });
            wrong += v.number != 1 || std::current_exception() == nullptr;
            f.join();
            try {
                throw;
            } catch (value const& again) {
                wrong += &again != &v;
            }
        }
        BOOST_TEST(wrong == 0);
    });
}

// Every pause goes through the global queue, so that it is by chance which
// thread takes the fiber.
BOOST_AUTO_TEST_CASE(survive_a_hundred_thousand_migrations)
{
    constexpr std::size_t wanted = scaled(100'000);
    std::atomic<std::size_t> migrations{0};
    std::atomic<int> wrong{0};
    {
        on_scheduler s(4);
        s.run([&] {
            auto const end = now() + 60s;
            spindle::wait_group group;
            for (int i = 0; i != 16; ++i)
                group.go([&, i] {
                    auto* const self = current_fiber();
                    auto pause = [&] {
                        auto const before = thread_number();
                        hop();
                        wrong += current_fiber() != self;
                        if (thread_number() != before)
                            migrations.fetch_add(1, std::memory_order_relaxed);
                    };
                    for (int r = 0; migrations.load() < wanted && now() < end; ++r)
                        round_of_exceptions(i * 1000 + r, pause, wrong);
                });
            group.wait();
        });
    }
    BOOST_TEST(wrong == 0);
    BOOST_TEST(migrations >= wanted);
}

BOOST_AUTO_TEST_CASE(of_main_stay_while_another_algorithm_is_installed)
{
    std::thread([] {
        try {
            throw value{1};
        } catch (value const&) {
            boost::fibers::use_scheduling_algorithm<machine>();
            boost::fibers::fiber([] { boost::this_fiber::yield(); }).join();
            boost::fibers::use_scheduling_algorithm<machine>();
            boost::fibers::use_scheduling_algorithm<boost::fibers::algo::round_robin>();
            boost::fibers::use_scheduling_algorithm<machine>();
            boost::fibers::fiber([] { boost::this_fiber::yield(); }).join();
            try {
                throw;
            } catch (value const& again) {
                BOOST_TEST(again.number == 1);
            }
        }
        BOOST_TEST(!std::current_exception());
        BOOST_TEST(std::uncaught_exceptions() == 0);
    }).join();
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(threads)

BOOST_AUTO_TEST_CASE(errno_is_the_new_threads_after_a_migration)
{
    on_scheduler s(4);
    std::atomic<int> wrong{0};
    s.run([&] {
        spindle::wait_group group;
        for (int i = 0; i != 8; ++i)
            group.go([&] {
                for (int n = 0; n != 500; ++n) {
                    hop();
                    fail_a_system_call();
                    wrong += read_errno() != EBADF;
                }
            });
        group.wait();
    });
    BOOST_TEST(wrong == 0);
}

BOOST_AUTO_TEST_CASE(current_is_the_machine_of_the_thread_after_a_migration)
{
    on_scheduler s(4);
    std::atomic<int> wrong_machine{0}, wrong_fiber{0};
    s.run([&] {
        spindle::wait_group group;
        for (int i = 0; i != 8; ++i)
            group.go([&] {
                auto* const self = current_fiber();
                for (int n = 0; n != 500; ++n) {
                    auto const thread = thread_number();
                    auto* const m = machine::current();
                    hop();
                    auto const same = thread == thread_number();
                    wrong_machine += same != (m == machine::current());
                    wrong_fiber += machine::current()->running() != self;
                    // Not whether it holds a processor: the monitor may take that as soon
                    // as main has left for the fiber, and this thread may have found out.
                }
            });
        group.wait();
    });
    BOOST_TEST(wrong_machine == 0);
    BOOST_TEST(wrong_fiber == 0);
}

BOOST_AUTO_TEST_CASE(a_plain_thread_has_no_machine_until_it_needs_one)
{
    std::thread([] {
        BOOST_TEST(!machine::current());
        auto* const m = machine::ensure();
        BOOST_TEST(m);
        BOOST_TEST(machine::ensure() == m);
        BOOST_TEST(m->on_main());
        BOOST_TEST(!m->running());
        BOOST_TEST(!m->held());
    }).join();
}

BOOST_AUTO_TEST_CASE(a_fiber_of_another_algorithm_gets_no_machine)
{
    std::thread([] {
        boost::fibers::fiber([] { BOOST_TEST(!machine::ensure()); }).join();
    }).join();
}

BOOST_AUTO_TEST_CASE(fibers_run_on_a_thread_that_has_no_scheduler_of_ours)
{
    std::thread([] {
        auto* const m = machine::ensure();
        BOOST_TEST_REQUIRE(m);
        int ran = 0;
        {
            std::vector<boost::fibers::fiber> fibers;
            for (int i = 0; i != 200; ++i)
                fibers.emplace_back([&] {
                    boost::this_fiber::yield();
                    if (ran % 50 == 0)
                        boost::this_fiber::sleep_for(100us);
                    ++ran;
                });
            for (auto& f : fibers)
                f.join();
        }
        BOOST_TEST(ran == 200);
    }).join();
}

BOOST_AUTO_TEST_CASE(detached_fibers_of_a_thread_without_scheduler_end_before_it_does)
{
    std::atomic<int> ended{0};
    std::thread([&] {
        BOOST_TEST_REQUIRE(machine::ensure());
        for (int i = 0; i != 150; ++i)
            boost::fibers::fiber([&] {
                boost::this_fiber::yield();
                boost::this_fiber::sleep_for(10us);
                boost::this_fiber::yield();
                ++ended;
            }).detach();
    }).join();
    BOOST_TEST(ended == 150);
    check_nothing_left();
}

// Another scheduler's may come to lie where a host's was.
BOOST_AUTO_TEST_CASE(a_processor_that_was_taken_is_forgotten_with_its_host)
{
    struct silent final : core {
        void wake_one() noexcept override {}
    } home;
    processor p(home, 0);
    std::thread([&] {
        auto* const m = machine::ensure();
        BOOST_TEST_REQUIRE(m);
        m->move_in();
        m->hold(p);
        {
            machine::excursion const out(*m);
            BOOST_TEST_REQUIRE(m->right().try_examine());
            m->right().take();
        }
        BOOST_TEST(!m->held());
        m->take_back(p);
        BOOST_TEST(!m->held());
        m->move_out();
        m->take_back(p);
        BOOST_TEST(m->held() == &p);
        m->drop();
    }).join();
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(schedulers)

BOOST_AUTO_TEST_CASE(start_and_end_one_after_another)
{
    for (int i = 0; i != 30; ++i) {
        on_scheduler s(static_cast<unsigned>(1 + i % 4));
        BOOST_TEST(s.run([i] { return i; }) == i);
    }
}

BOOST_AUTO_TEST_CASE(start_and_end_without_a_fiber)
{
    for (int i = 0; i != 20; ++i)
        on_scheduler s(static_cast<unsigned>(1 + i % 8));
}

BOOST_AUTO_TEST_CASE(live_side_by_side_and_wake_each_others_fibers)
{
    {
        spindle::scheduler left({.processors = 2}), right({.processors = 2});
        auto const rounds = static_cast<int>(scaled(2000));
        boost::fibers::unbuffered_channel<int> there, back;
        std::atomic<int> wrong{0};
        spindle::wait_group done(2);
        spindle::spawn(
            left,
            [&] {
                for (int i = 0; i != rounds; ++i) {
                    there.push(i);
                    wrong += back.value_pop() != i + 1;
                    wrong += &spindle::this_fiber::get_scheduler() != &left;
                }
                there.close();
                done.done();
            },
            boost::asio::detached);
        spindle::spawn(
            right,
            [&] {
                for (int i = 0; there.pop(i) == boost::fibers::channel_op_status::success;) {
                    wrong += &spindle::this_fiber::get_scheduler() != &right;
                    back.push(i + 1);
                }
                done.done();
            },
            boost::asio::detached);
        done.wait();
        BOOST_TEST(wrong == 0);
    }
    check_nothing_left();
}

BOOST_AUTO_TEST_CASE(use_no_cpu_when_they_have_nothing_to_do)
{
    on_scheduler s(4);
    s.run([] {
        // Everything that could leave something going: sleeps, stock fibers, steals.
        spindle::wait_group group;
        for (int i = 0; i != 100; ++i)
            group.go([] { spindle::this_fiber::sleep_for(1ms); });
        boost::fibers::fiber([] { boost::this_fiber::sleep_for(1ms); }).join();
        group.wait();
    });
    BOOST_TEST(eventually([&] { return s->stats().idle_processors == 4; }));
    std::this_thread::sleep_for(50ms); // the last one is on its way into its io_context
    auto const before = s->stats();
    auto const used = cpu_time_during(1s);
    auto const after = s->stats();
    BOOST_TEST(after.switches == before.switches);
    BOOST_TEST(after.polls == before.polls);
    BOOST_TEST(after.wakes == before.wakes);
    BOOST_TEST((used < 10ms));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(handlers)

BOOST_AUTO_TEST_CASE(may_wait_in_primitives_of_boost_fiber)
{
    over_processors([](spindle::scheduler& s) {
        // Each is kept by who fulfils it, until that one has left it.
        auto const first = std::make_shared<boost::fibers::promise<int>>();
        auto const second = std::make_shared<boost::fibers::promise<int>>();
        auto second_future = second->get_future();
        // The handler waits for what another handler of its io_context brings.
        auto const ex = s.get_executor();
        boost::asio::post(ex, [ex, first, second] {
            boost::asio::post(ex, [first] { first->set_value(7); });
            second->set_value(first->get_future().get() + 1);
        });
        BOOST_TEST(second_future.get() == 8);
    });
}

BOOST_AUTO_TEST_CASE(that_wait_leave_the_io_context_served)
{
    on_scheduler s(1);
    auto const ex = s->get_executor();
    std::atomic<bool> done{false};
    boost::asio::post(ex, [&] {
        boost::fibers::promise<void> p;
        auto f = p.get_future();
        int rounds = 0;
        std::function<void()> next = [&] {
            if (++rounds == 100)
                p.set_value();
            else
                boost::asio::post(ex, next);
        };
        boost::asio::post(ex, next);
        f.get();
        done = true;
    });
    BOOST_TEST(eventually([&] { return done.load(); }));
}

BOOST_AUTO_TEST_CASE(that_wait_use_no_cpu_and_run_fibers_meanwhile)
{
    on_scheduler s(1);
    boost::fibers::promise<void> p;
    std::atomic<bool> waited{false};
    boost::asio::post(s->get_executor(), [&] {
        p.get_future().get();
        waited = true;
    });
    s.run([] { spindle::this_fiber::sleep_for(1ms); });
    BOOST_TEST((cpu_time_during(200ms) < 40ms * (sanitized ? 4 : 1)));
    p.set_value();
    BOOST_TEST(eventually([&] { return waited.load(); }));
}

BOOST_AUTO_TEST_SUITE_END()
