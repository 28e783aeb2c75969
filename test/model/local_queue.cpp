//
// model/local_queue.cpp
// ~~~~~~~~~~~~~~~~~~~~~
// Three processors in a row, under Relacy: 0 produces and overflows, 1 steals
// from 0, 2 steals from both, so that what was stolen is stolen again.
//
// Mutants (the text of each is in mutants.txt; each must fail here):
//   T  push, the thief's load of tail_, the thief's store of mine.tail_: relaxed
//   I1 full check off by one
//   I3 pop, overflow: CAS becomes a store; steal advances one less; an overflow
//      that lost its CAS goes on
// Argued, not run: H relaxed (no load is overtaken by a later store here); the
// retry on a stale head_ (equivalent: the CAS fails anyway).
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define SPINDLE_TEST_ATOMIC <model/relacy_atomic.hpp>
#include <spindle/detail/sched/local_queue.hpp>

#include <memory>

namespace {

using queue = spindle::detail::basic_local_queue<4>;
using spindle::detail::runnable;

struct item : runnable {
    rl::var<int> payload; // a plain variable that Relacy watches
    int taken = 0;        // counted outside the model
};

// Overflow: whether thread 0 overflows, or pops one when it is full.
template <bool Overflow>
struct three_in_a_row : rl::test_suite<three_in_a_row<Overflow>, 3> {
    static constexpr int n = 6;
    std::unique_ptr<queue[]> q;
    std::unique_ptr<item[]> items;

    void before()
    {
        q = std::make_unique<queue[]>(3);
        items = std::make_unique<item[]>(n);
    }

    void take(runnable* r)
    {
        auto* const i = static_cast<item*>(r);
        RL_ASSERT(i->payload($) == 1);
        ++i->taken;
    }

    void produce(queue& mine)
    {
        for (int i = 0; i != n; ++i) {
            items[i].payload($) = 1;
            if constexpr (Overflow) {
                mine.push(items[i], [&](std::span<runnable* const> half) {
                    RL_ASSERT(half.size() == queue::capacity / 2 + 1);
                    for (auto* r : half)
                        take(r);
                });
            } else {
                while (!mine.try_push(items[i]))
                    if (auto* r = mine.try_pop())
                        take(r);
            }
        }
    }

    void thread(unsigned index)
    {
        queue& mine = q[index];
        if (index == 0) {
            produce(mine);
        } else {
            for (unsigned victim = index; victim-- != 0;) {
                if (auto* r = q[victim].steal_half(mine))
                    take(r);
                if (index == 2)
                    while (auto* r = mine.try_pop())
                        take(r);
            }
        }
        while (auto* r = mine.try_pop())
            take(r);
    }

    void after()
    {
        for (int i = 0; i != n; ++i)
            RL_ASSERT(items[i].taken == 1);
        q.reset();
        items.reset();
    }
};

} // namespace

int main(int argc, char** argv)
{
    using spindle::model::passes;
    auto const ok = passes<three_in_a_row<false>>("local_queue", argc, argv, 200000)
        && passes<three_in_a_row<true>>("local_queue, overflow", argc, argv, 100000);
    return ok ? 0 : 1;
}
