//
// model/run_next.cpp
// ~~~~~~~~~~~~~~~~~~
// The owner of a fast lane and two thieves, under Relacy. Time is the thief's
// own: each of its looks is `steal_after` later than the one before.
//
// Mutants (the text of each is in mutants.txt; each must fail here):
//   P   put, the thief's CAS, the thief's load: relaxed
//   B   the owner does not look for a thief; the thief does not look for the
//       owner, or does so relaxed
//   L   the thief leaves relaxed
//   I2  take: exchange becomes a store; steal: CAS becomes a store
//   I4  two thieves
//   Age put counts after the item; the thief does not compare the numbers or
//       reads them in the wrong order
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define SPINDLE_TEST_ATOMIC <model/relacy_atomic.hpp>
#include <spindle/detail/sched/run_next.hpp>

#include <memory>

namespace {

using spindle::detail::run_next;
using spindle::detail::runnable;
using spindle::detail::time_point;

struct item : runnable {
    rl::var<int> payload; // a plain variable that Relacy watches
    int puts = 0;         // counted outside the model, as is all below
    int taken = 0;
    int put_at = 0;
};

// Again: the same two items are put over and over (ABA is possible, Age is
// not asserted). Else each is put once.
template <bool Again>
struct owner_and_thieves : rl::test_suite<owner_and_thieves<Again>, 3> {
    static constexpr int puts = 5;
    static constexpr int n = Again ? 2 : puts;
    std::unique_ptr<run_next> lane;
    std::unique_ptr<item[]> items;
    bool free[n];
    int steps = 0; // grows in the order in which Relacy runs things

    void before()
    {
        lane = std::make_unique<run_next>();
        items = std::make_unique<item[]>(n);
        for (int i = 0; i != n; ++i) {
            items[i].payload($) = 0;
            free[i] = true;
        }
        steps = 0;
    }

    // By the owner, who may then put it again.
    void take(runnable* r)
    {
        auto* const i = static_cast<item*>(r);
        RL_ASSERT(i->payload($) == i->puts);
        ++i->taken;
        RL_ASSERT(i->taken == i->puts);
        free[i - items.get()] = true;
    }

    void owner()
    {
        for (int k = 0; k != puts; ++k) {
            auto const at = k % n;
            auto& i = items[at];
            if (!free[at]) // where a thief has it, for good
                continue;
            free[at] = false;
            i.payload($) = ++i.puts;
            i.put_at = ++steps;
            if (auto* r = lane->put(i))
                take(r);
            if (k % 2 == 1)
                if (auto* r = lane->take())
                    take(r);
        }
    }

    void thief()
    {
        run_next::observation seen;
        time_point at{};
        int first_look = 0;
        for (int k = 0; k != 4; ++k) {
            at += run_next::steal_after;
            auto* const r = lane->steal(seen, at);
            if (r) {
                auto* const i = static_cast<item*>(r);
                RL_ASSERT(i->payload($) == i->puts); // P
                ++i->taken;
                RL_ASSERT(i->taken == i->puts); // I2
                if (!Again)
                    RL_ASSERT(i->put_at <= first_look); // Age
            } else if (seen.valid && seen.since == at) {
                first_look = ++steps;
            }
        }
    }

    void thread(unsigned index) { index == 0 ? owner() : thief(); }

    void after()
    {
        if (auto* r = lane->take())
            take(r);
        for (int i = 0; i != n; ++i)
            RL_ASSERT(items[i].taken == items[i].puts);
        lane.reset();
        items.reset();
    }
};

} // namespace

int main(int argc, char** argv)
{
    using spindle::model::passes;
    auto const ok = passes<owner_and_thieves<false>>("run_next", argc, argv, 200000)
        && passes<owner_and_thieves<true>>("run_next, again", argc, argv, 200000);
    return ok ? 0 : 1;
}
