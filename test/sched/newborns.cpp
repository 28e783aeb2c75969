//
// sched/newborns.cpp
// ~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE sched.newborns
#include <spindle/detail/sched/newborns.hpp>

#include <spindle/detail/sched/core.hpp>
#include <spindle/detail/sched/processor.hpp>

#include <boost/test/unit_test.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <thread>
#include <vector>

using namespace spindle::detail;

namespace {

using small = basic_newborns<8>;

// Plain numbers beside the atomics: TSan sees whether they are handed over.
struct item : runnable {
    std::size_t number = 0;
    std::size_t runs = 0;
};

std::size_t number_of(runnable* r) { return static_cast<item*>(r)->number; }

struct no_overflow {
    void operator()(std::span<runnable* const>) const { BOOST_ERROR("it was not full"); }
};

struct filled {
    explicit filled(std::size_t n) : items(n)
    {
        for (std::size_t i = 0; i != n; ++i) {
            items[i].number = i;
            born.push(items[i], no_overflow{});
        }
    }

    std::vector<item> items;
    small born;
};

struct silent final : core {
    void wake_one() noexcept override {}
};

} // namespace

BOOST_AUTO_TEST_SUITE(newborn)

BOOST_AUTO_TEST_CASE(the_newest_comes_first_or_the_oldest)
{
    filled f(5);
    BOOST_TEST(f.born.size_hint() == 5u);
    BOOST_TEST(number_of(f.born.pop_newest()) == 4u);
    BOOST_TEST(number_of(f.born.pop_oldest()) == 0u);
    BOOST_TEST(number_of(f.born.pop_newest()) == 3u);
    BOOST_TEST(number_of(f.born.pop_oldest()) == 1u);
    BOOST_TEST(number_of(f.born.pop_oldest()) == 2u);
    BOOST_TEST(!f.born.pop_newest());
    BOOST_TEST(!f.born.pop_oldest());
    BOOST_TEST(f.born.empty_hint());
}

BOOST_AUTO_TEST_CASE(goes_round_its_ring)
{
    small born;
    std::array<item, 3> items;
    for (std::size_t i = 0; i != 100; ++i) {
        for (auto& x : items)
            born.push(x, no_overflow{});
        BOOST_TEST(born.pop_oldest() == &items[0]);
        BOOST_TEST(born.pop_newest() == &items[2]);
        BOOST_TEST(born.pop_newest() == &items[1]);
    }
}

BOOST_AUTO_TEST_CASE(gives_away_the_oldest_when_it_is_full)
{
    filled f(small::capacity);
    item last;
    last.number = small::capacity;
    std::vector<std::size_t> out;
    f.born.push(last, [&](std::span<runnable* const> half) {
        for (auto* r : half)
            out.push_back(number_of(r));
    });
    BOOST_TEST(out == (std::vector<std::size_t>{0, 1, 2, 3}), boost::test_tools::per_element());
    BOOST_TEST(f.born.size_hint() == small::capacity / 2 + 1);
    BOOST_TEST(f.born.pop_newest() == &last);
    BOOST_TEST(number_of(f.born.pop_oldest()) == 4u);
}

BOOST_AUTO_TEST_CASE(a_thief_takes_the_older_half_and_keeps_the_order)
{
    filled f(5);
    small mine;
    BOOST_TEST(number_of(f.born.steal_half(mine)) == 0u);
    BOOST_TEST(mine.size_hint() == 2u);
    BOOST_TEST(number_of(mine.pop_newest()) == 2u);
    BOOST_TEST(number_of(mine.pop_newest()) == 1u);
    BOOST_TEST(f.born.size_hint() == 2u);
    BOOST_TEST(number_of(f.born.pop_oldest()) == 3u);
    BOOST_TEST(number_of(f.born.steal_half(mine)) == 4u);
    BOOST_TEST(mine.empty_hint());
    BOOST_TEST(!f.born.steal_half(mine));
}

// One owner, two thieves: each item is run once, by whoever has got it.
BOOST_AUTO_TEST_CASE(are_run_once_each_whoever_takes_them)
{
    constexpr std::size_t count = 100'000;
    std::vector<item> items(count);
    small born;
    std::atomic<std::size_t> ran{0};
    auto const run = [&](runnable* r) {
        ++static_cast<item*>(r)->runs;
        ran.fetch_add(1, std::memory_order_relaxed);
    };
    auto const thief = [&] {
        small mine;
        while (ran.load(std::memory_order_relaxed) != count) {
            auto* r = born.steal_half(mine);
            for (; r; r = mine.pop_newest())
                run(r);
        }
    };
    std::thread first(thief), second(thief);
    for (std::size_t i = 0; i != count; ++i) {
        born.push(items[i], [&](std::span<runnable* const> half) {
            for (auto* r : half)
                run(r);
        });
        if (i % 3 == 0)
            if (auto* const r = i % 2 ? born.pop_newest() : born.pop_oldest())
                run(r);
    }
    while (auto* const r = born.pop_newest())
        run(r);
    first.join();
    second.join();
    std::size_t wrong = 0;
    for (auto const& x : items)
        wrong += x.runs != 1;
    BOOST_TEST(wrong == 0u);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(a_processor)

namespace {

struct on_processor {
    silent home;
    processor p{home, 0};
    std::array<item, 100> items;

    on_processor()
    {
        for (std::size_t i = 0; i != items.size(); ++i)
            items[i].number = i;
    }
};

} // namespace

BOOST_AUTO_TEST_CASE(runs_the_newest_first)
{
    on_processor o;
    for (std::size_t i = 0; i != 4; ++i)
        o.home.put_new(o.p, o.items[i]);
    BOOST_TEST(o.p.size_hint() == 4u);
    for (std::size_t i = 4; i-- != 0;)
        BOOST_TEST(number_of(o.p.pick()) == i);
    BOOST_TEST(!o.p.pick());
    BOOST_TEST(o.p.empty_hint());
}

BOOST_AUTO_TEST_CASE(lets_what_was_woken_wait_for_a_round_of_them)
{
    on_processor o;
    auto& woken = o.items[0];
    for (int i = 0; i != 3; ++i) {
        o.home.put_tail(o.p, woken);
        for (std::size_t k = 1; k != o.items.size(); ++k)
            o.home.put_new(o.p, o.items[k]);
        std::size_t before = 0;
        while (o.p.pick() != &woken)
            ++before;
        BOOST_TEST(before <= slices_in_a_row + 1); // and the one in the lane
        while (o.p.pick())
            ;
    }
}

// A yield is for what is queued, and that is for the most part what was just started.
BOOST_AUTO_TEST_CASE(runs_a_few_newborns_before_what_yielded)
{
    on_processor o;
    o.home.put_tail(o.p, o.items[0]);
    for (std::size_t i = 1; i != 30; ++i)
        o.home.put_new(o.p, o.items[i]);
    for (std::size_t i = 30; i-- != 1;)
        BOOST_TEST(number_of(o.p.pick()) == i);
    BOOST_TEST(o.p.pick() == &o.items[0]);
}

BOOST_AUTO_TEST_CASE(comes_to_the_oldest_below_a_stream_of_new_ones)
{
    on_processor o;
    auto& oldest = o.items[0];
    o.home.put_new(o.p, oldest);
    o.home.put_new(o.p, o.items[1]);
    bool found = false;
    for (std::size_t i = 0; i != 1000 && !found; ++i) {
        o.p.coarse_now += std::chrono::milliseconds(1);
        auto* const r = o.p.pick();
        BOOST_TEST_REQUIRE(r);
        found = r == &oldest;
        if (!found)
            o.home.put_new(o.p, *r); // it starts another one, on and on
    }
    BOOST_TEST(found);
}

BOOST_AUTO_TEST_CASE(gives_up_its_newborns_too)
{
    on_processor o;
    for (auto& x : o.items)
        o.home.put_new(o.p, x);
    o.home.give_up(o.p);
    BOOST_TEST(o.p.empty_hint());
    BOOST_TEST(o.home.global_size_hint() == o.items.size());
}

BOOST_AUTO_TEST_SUITE_END()
