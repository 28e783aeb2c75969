//
// sched/simulation.cpp
// ~~~~~~~~~~~~~~~~~~~~
// Stealing and waking on more processors than there are cores to test on: what they cost
// for each piece of work must not grow with the processors.
//
// SPINDLE_SIMULATION=FILE has the numbers written there, for doc/simulation_picture.py.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE sched.simulation
#include <support/simulation.hpp>

#include <boost/test/unit_test.hpp>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <memory>

namespace {

using namespace spindle_test::simulated;
using spindle::detail::random_generator;

#if defined(SPINDLE_ASAN) || defined(SPINDLE_TSAN)
constexpr unsigned sizes[] = {2, 8, 16}; // they slow one thread down like many
#else
constexpr unsigned sizes[] = {2, 8, 16, 64, 256};
#endif

double part_of_work(duration d, result const& r)
{
    return static_cast<double>(d.count()) / static_cast<double>(r.work.count());
}

void note(char const* workload, unsigned n, result const& r)
{
    if (auto const* const file = std::getenv("SPINDLE_SIMULATION"))
        std::ofstream(file, std::ios::app)
            << workload << ',' << n << ',' << r.efficiency(n) << ',' << r.per_slice(r.steals) << ','
            << r.per_slice(r.wakes) << ',' << r.per_slice(r.looks) << ','
            << part_of_work(r.searching, r) << ',' << part_of_work(r.starving, r) << '\n';
}

// One fiber starts all others, 100 for each processor, of 50 us each.
result burst(unsigned n)
{
    std::deque<fiber> workers(100 * n);
    for (auto& w : workers)
        w.slice = 50us;
    std::size_t begun = 0;
    fiber root;
    root.slice = 100ns;
    root.after = [&](machine& m, unsigned p) {
        m.begin_fiber(p, workers[begun++]);
        return begun != workers.size();
    };
    return machine(n).run([&](machine& m) { m.submit(root); });
}

// As skynet: each fiber starts ten, down to the leaves.
class tree {
public:
    explicit tree(std::size_t leaves) { root_ = &plant(leaves); }

    fiber& root() { return *root_; }

private:
    fiber& plant(std::size_t leaves)
    {
        auto& f = fibers_.emplace_back();
        f.slice = 1us;
        if (leaves != 1)
            f.after = [this, leaves, left = 10](machine& m, unsigned p) mutable {
                m.begin_fiber(p, plant(leaves / 10));
                return --left != 0;
            };
        return f;
    }

    std::deque<fiber> fibers_;
    fiber* root_;
};

result skynet(unsigned n)
{
    tree t(n <= 16 ? 100'000 : 1'000'000);
    return machine(n).run([&](machine& m) { m.submit(t.root()); });
}

// From outside, half as much as all processors can do: fibers of 10 us, at random.
result arrivals(unsigned n)
{
    std::deque<fiber> workers(200 * n);
    for (auto& w : workers)
        w.slice = 10us;
    random_generator dice(1);
    return machine(n).run([&](machine& m) {
        duration at{};
        for (auto& w : workers) {
            at += std::chrono::nanoseconds(dice.below(40'000 / n));
            m.plan(at, [&m, &w] { m.submit(w); });
        }
    });
}

// A pair for each four processors: two fibers that make each other ready, by slices of
// 200 ns.
result pairs(unsigned n)
{
    struct pair {
        fiber a, b;
        unsigned turns = 4000;
    };
    std::deque<pair> all(n / 4 + 1);
    for (auto& p : all)
        for (auto* const f : {&p.a, &p.b}) {
            f->slice = 200ns;
            f->after = [&p, other = f == &p.a ? &p.b : &p.a](machine& m, unsigned at) {
                if (--p.turns != 0)
                    m.make_ready(at, *other);
                return false;
            };
        }
    return machine(n).run([&](machine& m) {
        for (auto& p : all)
            m.submit(p.a);
    });
}

template <class Workload>
void over_sizes(char const* name, Workload workload, void (*check)(unsigned, result const&))
{
    for (auto const n : sizes)
        BOOST_TEST_CONTEXT(name << ", " << n << " processors")
        {
            auto const r = workload(n);
            note(name, n, r);
            check(n, r);
        }
}

} // namespace

// The bounds are the same for all sizes: none of this grows with the processors.

BOOST_AUTO_TEST_CASE(one_fiber_starts_all_others)
{
    over_sizes("burst", burst, [](unsigned n, result const& r) {
        BOOST_TEST(r.slices == 200 * n);
        BOOST_TEST(r.efficiency(n) > 0.85);
        BOOST_TEST(r.per_slice(r.steals) < 0.1);
        BOOST_TEST(r.per_slice(r.looks) < 0.2);
        BOOST_TEST(r.per_slice(r.wakes) < 0.01);
    });
}

BOOST_AUTO_TEST_CASE(a_tree)
{
    over_sizes("tree", skynet, [](unsigned n, result const& r) {
        BOOST_TEST(r.efficiency(n) > 0.85);
        BOOST_TEST(r.per_slice(r.steals) < 0.02);
        BOOST_TEST(r.per_slice(r.looks) < 0.02);
        BOOST_TEST(r.per_slice(r.wakes) < 0.001);
    });
}

BOOST_AUTO_TEST_CASE(arrivals_from_outside)
{
    over_sizes("arrivals", arrivals, [](unsigned n, result const& r) {
        BOOST_TEST(r.slices == 200 * n);
        BOOST_TEST(part_of_work(r.starving, r) < 0.6);
        BOOST_TEST(r.per_slice(r.looks) < 2);
        BOOST_TEST(r.per_slice(r.wakes) < 0.5);
    });
}

// They are left together, whoever is idle.
BOOST_AUTO_TEST_CASE(pairs_that_talk)
{
    over_sizes("pairs", pairs, [](unsigned, result const& r) {
        BOOST_TEST(r.per_slice(r.steals) < 0.001);
        BOOST_TEST(r.per_slice(r.looks) < 0.1);
        BOOST_TEST(r.per_slice(r.wakes) < 0.01);
    });
}
