//
// fiber/park.cpp
// ~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE fiber.park
#include <spindle/detail/fiber/park.hpp>

#include <support/fixture.hpp>
#include <support/hop.hpp>
#include <support/straggler.hpp>

#include <spindle/detail/fiber/fiber_pool.hpp>
#include <spindle/detail/fiber/machine.hpp>
#include <spindle/detail/fiber/waiter.hpp>
#include <spindle/go.hpp>
#include <spindle/sync/wait_group.hpp>
#include <spindle/this_fiber.hpp>

#include <boost/asio/post.hpp>
#include <boost/test/unit_test.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <random>
#include <thread>
#include <utility>
#include <vector>

using namespace spindle::detail;
using namespace spindle_test;
using namespace std::chrono_literals;

namespace {

// Where one fiber parks, for somebody to take it out.
struct seat {
    fiber_record* who = nullptr;
    std::atomic<fiber_record*> taken{nullptr};
    int payload = 0;

    void wait()
    {
        who = current_fiber();
        park(
            *who,
            [](void* self) noexcept {
                auto& s = *static_cast<seat*>(self);
                s.taken.store(s.who, std::memory_order_release);
                return true;
            },
            this, wait_reason::none);
    }

    // The fiber that sits here, once it does.
    fiber_record& next() noexcept
    {
        for (;;)
            if (auto* const g = taken.exchange(nullptr, std::memory_order_acquire))
                return *g;
    }
};

// Asio's thread-locals, out of line: their addresses must not live across a park.
template <class Handler>
SPINDLE_NOINLINE void post_apart(spindle::scheduler& s, Handler handler)
{
    boost::asio::post(s.next_executor(), std::move(handler));
}

} // namespace

BOOST_AUTO_TEST_SUITE(a_commit)

BOOST_AUTO_TEST_CASE(that_refuses_lets_the_fiber_run_on)
{
    over_processors([] {
        int commits = 0;
        auto* const self = current_fiber();
        for (int i = 0; i != 100; ++i)
            park(
                *self,
                [](void* n) noexcept {
                    ++*static_cast<int*>(n);
                    return false;
                },
                &commits, wait_reason::none);
        BOOST_TEST(commits == 100);
        BOOST_TEST((self->state.load() == fiber_state::running));
        BOOST_TEST((self->reason.load() == wait_reason::none));
    });
}

BOOST_AUTO_TEST_CASE(that_refuses_lets_others_run_first)
{
    on_scheduler s(without_rescue(1));
    s.run([] {
        bool ran = false;
        spindle::go([&] { ran = true; });
        park(*current_fiber(), [](void*) noexcept { return false; }, nullptr, wait_reason::none);
        BOOST_TEST(ran);
    });
}

BOOST_AUTO_TEST_CASE(sees_the_fiber_waiting_for_its_reason)
{
    over_processors([] {
        struct seen {
            fiber_record* self;
            bool right = false;
        } s{current_fiber()};
        park(
            *s.self,
            [](void* argument) noexcept {
                auto& seen_here = *static_cast<seen*>(argument);
                seen_here.right = seen_here.self->state.load() == fiber_state::waiting
                    && seen_here.self->reason.load() == wait_reason::sleep;
                return false;
            },
            &s, wait_reason::sleep);
        BOOST_TEST(s.right);
    });
}

BOOST_AUTO_TEST_CASE(runs_when_the_fiber_can_be_resumed_at_once)
{
    over_processors([] {
        for (int i = 0; i != 1000; ++i)
            hop(); // its commit is its ready
    });
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(ready_from)

BOOST_AUTO_TEST_CASE(a_fiber_hands_over_what_was_written_before)
{
    over_processors([] {
        constexpr int rounds = static_cast<int>(scaled(2000));
        seat s;
        std::atomic<int> wrong{0};
        spindle::wait_group group;
        group.go([&] {
            for (int i = 0; i != rounds; ++i) {
                s.wait();
                wrong += s.payload != i;
            }
        });
        group.go([&] {
            for (int i = 0; i != rounds;) {
                if (auto* const g = s.taken.exchange(nullptr, std::memory_order_acquire)) {
                    s.payload = i++;
                    ready(*g);
                } else {
                    spindle::this_fiber::yield();
                }
            }
        });
        group.wait();
        BOOST_TEST(wrong == 0);
    });
}

BOOST_AUTO_TEST_CASE(a_plain_thread_hands_over_what_was_written_before)
{
    for (auto const n : processor_counts) {
        constexpr int rounds = static_cast<int>(scaled(2000));
        on_scheduler s(n);
        seat place;
        std::thread waker([&] {
            for (int i = 0; i != rounds; ++i) {
                auto& g = place.next();
                place.payload = i;
                ready(g);
            }
        });
        int wrong = 0;
        s.run([&] {
            for (int i = 0; i != rounds; ++i) {
                place.wait();
                wrong += place.payload != i;
            }
        });
        waker.join();
        BOOST_TEST(wrong == 0);
    }
}

BOOST_AUTO_TEST_CASE(a_handler_hands_over_what_was_written_before)
{
    over_processors([](spindle::scheduler& s) {
        constexpr int rounds = static_cast<int>(scaled(1000));
        seat place;
        int wrong = 0;
        for (int i = 0; i != rounds; ++i) {
            post_apart(s, [&, i] {
                auto& g = place.next();
                place.payload = i;
                ready(g, i % 2 ? lane::last : lane::next);
            });
            place.wait();
            wrong += place.payload != i;
        }
        BOOST_TEST(wrong == 0);
    });
}

BOOST_AUTO_TEST_CASE(a_fiber_of_another_scheduler_sends_it_home)
{
    constexpr int rounds = static_cast<int>(scaled(1000));
    on_scheduler left(2);
    {
        spindle::scheduler right({.processors = 2});
        seat place;
        std::atomic<int> wrong{0};
        spindle::spawn(
            right,
            [&] {
                for (int i = 0; i != rounds; ++i) {
                    ready(place.next());
                    spindle::this_fiber::yield();
                }
            },
            boost::asio::detached);
        left.run([&] {
            for (int i = 0; i != rounds; ++i) {
                place.wait();
                wrong += &spindle::this_fiber::get_scheduler() != &left.get();
                wrong += &machine::current()->held()->owner != &core_of(left.get());
            }
        });
        BOOST_TEST(wrong == 0);
        right.join();
    }
}

BOOST_AUTO_TEST_SUITE_END()

namespace {

// On the threads of a scheduler. The plain thread that has a slice posted is slow.
class slow_poster final : public slice_poster {
public:
    slow_poster(spindle::scheduler& s, straggler& waker) : scheduler_(s), waker_(waker) {}

    void post_slice(fiber_record& g) noexcept override
    {
        auto const slow = machine::current() ? nullptr : &waker_;
        boost::asio::post(scheduler_.get_executor(), [&g] { (void)machine::current()->run(g, 1); });
        if (slow) // and this is gone
            slow->linger();
    }
    slice_poster* clone() const override { return nullptr; }

private:
    spindle::scheduler& scheduler_;
    straggler& waker_;
};

} // namespace

// The fiber may end, and its scheduler with it, before who has woken it is out.
BOOST_AUTO_TEST_CASE(a_plain_thread_keeps_the_scheduler_until_it_is_out)
{
    straggler slow;
    seat place;
    std::thread waker;
    {
        spindle::scheduler s({.processors = 1});
        spindle::spawn(
            s,
            [&] {
                auto& g = acquire_fiber(64 * 1024);
                set_task(g, [&]() noexcept { place.wait(); });
                start_fiber(g, core_of(s), new slow_poster(s, slow));
            },
            boost::asio::detached);
        waker = std::thread([&] { ready(place.next()); });
        while (!slow.inside())
            std::this_thread::yield();
        s.join();
    }
    BOOST_TEST(!slow.overtaken_by(waker));
    check_nothing_left();
}

BOOST_AUTO_TEST_SUITE(turns)

BOOST_AUTO_TEST_CASE(yield_lets_what_is_queued_run_first)
{
    on_scheduler s(without_rescue(1));
    s.run([] {
        int ran = 0;
        for (int i = 0; i != 10; ++i)
            spindle::go([&] { ++ran; });
        spindle::this_fiber::yield();
        BOOST_TEST(ran == 10);
    });
}

BOOST_AUTO_TEST_CASE(what_is_readied_next_comes_before_what_is_readied_last)
{
    on_scheduler s(without_rescue(1));
    s.run([] {
        std::vector<int> order;
        seat a, b;
        spindle::wait_group group;
        group.go([&] {
            a.wait();
            order.push_back(1);
        });
        group.go([&] {
            b.wait();
            order.push_back(2);
        });
        spindle::this_fiber::yield();
        ready(a.next(), lane::last);
        ready(b.next(), lane::next);
        group.wait();
        BOOST_TEST(order == (std::vector<int>{2, 1}), boost::test_tools::per_element());
    });
}

BOOST_AUTO_TEST_CASE(a_pair_that_wakes_each_other_starves_nobody)
{
    on_scheduler s(without_rescue(1));
    s.run([] {
        std::atomic<bool> stop{false};
        seat a, b;
        spindle::wait_group group;
        auto const play = [&](seat& mine, seat& other) {
            while (!stop) {
                if (auto* const g = other.taken.exchange(nullptr))
                    ready(*g);
                mine.wait();
            }
            if (auto* const g = other.taken.exchange(nullptr))
                ready(*g);
        };
        group.go([&] { play(a, b); });
        group.go([&] { play(b, a); });
        int turns = 0;
        for (int i = 0; i != 100; ++i) {
            spindle::this_fiber::yield();
            ++turns;
        }
        stop = true;
        // Whoever sits is woken, and wakes the other.
        for (auto* const p : {&a, &b})
            if (auto* const g = p->taken.exchange(nullptr))
                ready(*g);
        group.wait();
        BOOST_TEST(turns == 100);
    });
}

BOOST_AUTO_TEST_SUITE_END()

// Fibers wait at random; other fibers, plain threads and handlers wake whom they
// find, at random. Every wake is counted on both sides.
BOOST_AUTO_TEST_CASE(no_wake_is_lost_or_doubled_in_a_soak)
{
    auto const start = seed();
    for (auto const n : processor_counts)
        BOOST_TEST_CONTEXT(n << " processors, seed " << start)
        {
            constexpr std::size_t places = 32;
            constexpr auto wanted = scaled(20'000);
            std::array<std::atomic<waiter*>, places> waiting{};
            std::atomic<std::size_t> woken{0}, came_back{0}, sitting{0};
            std::atomic<bool> enough{false};
            auto const wake_one = [&](auto& random) {
                if (auto* const w = waiting[random() % places].exchange(nullptr)) {
                    ++woken;
                    w->wake();
                    return true;
                }
                return false;
            };
            on_scheduler s(n);
            std::vector<std::thread> threads;
            for (unsigned t = 0; t != 2; ++t)
                threads.emplace_back([&, t] {
                    std::minstd_rand random(static_cast<unsigned>(start) + t);
                    while (sitting.load() != 0 || !enough)
                        if (!wake_one(random))
                            std::this_thread::yield();
                });
            sitting = places;
            s.run([&] {
                auto& sched = spindle::this_fiber::get_scheduler();
                auto const end = now() + 10s;
                spindle::wait_group group;
                for (std::size_t i = 0; i != places; ++i)
                    group.go([&, i] {
                        std::minstd_rand random(static_cast<unsigned>(start + 1000 * i));
                        while (woken.load() < wanted && now() < end) {
                            waiter w;
                            waiting[i].store(&w);
                            switch (random() % 8) {
                            case 0:
                                spindle::this_fiber::yield(); // woken before it waits, perhaps
                                break;
                            case 1:
                                hop();
                                break;
                            case 2:
                                post_apart(sched, [&wake_one, r = random()] {
                                    std::minstd_rand mine(r);
                                    (void)wake_one(mine);
                                });
                                break;
                            default:
                                (void)wake_one(random);
                            }
                            w.wait(wait_reason::none);
                            ++came_back;
                        }
                        --sitting;
                    });
                group.wait();
                enough = true;
            });
            for (auto& t : threads)
                t.join();
            BOOST_TEST(woken == came_back);
            BOOST_TEST(woken >= places);
        }
}
