//
// model/tenure.cpp
// ~~~~~~~~~~~~~~~~
// A processor, a machine that has it, another that gets it, and a monitor that
// takes it from one and gives it to the other, under Relacy. The processor is a
// plain variable, and so is what the machine leaves for the monitor to read.
//
// Mutants (the text of each is in mutants.txt; each must fail here):
//   B   the machine does not look; the monitor does not look, or looks relaxed; the
//       monitor asks nobody; the machine takes back what is not its own
//   R   the machine leaves, the monitor looks: relaxed
//   X   take() relaxed; the machine does not wait for it
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define SPINDLE_TEST_ATOMIC <model/relacy_atomic.hpp>
#include <spindle/detail/sched/tenure.hpp>

#include <memory>

namespace {

using spindle::detail::atomic;
using spindle::detail::tenure;

template <bool Watched>
struct moving : rl::test_suite<moving<Watched>, 3> {
    struct machine {
        tenure right;
        rl::var<int> running; // written inside, read by the monitor that examines
        int entries = 0;
        bool lost = false;
    };

    std::unique_ptr<machine[]> machines;
    std::unique_ptr<atomic<int>> given; // to the second machine
    rl::var<int> processor;
    int touched = 0;

    void before()
    {
        machines = std::make_unique<machine[]>(2);
        given = std::make_unique<atomic<int>>(0);
        processor($) = 0;
        touched = 0;
        for (int i = 0; i != 2; ++i)
            machines[i].running($) = 0;
        if (Watched)
            machines[0].right.watch(true);
    }

    void touch()
    {
        processor($) += 1;
        ++touched;
    }

    // Goes in and out; false: it has lost its processor.
    bool visit(machine& m)
    {
        if (!m.right.enter() && m.right.settle() == tenure::finding::lost) {
            m.running($) = -1;
            m.right.leave();
            return false;
        }
        touch();
        m.running($) = ++m.entries;
        m.right.leave();
        return true;
    }

    void work(machine& m)
    {
        for (int i = 0; i != 3; ++i)
            if (!visit(m)) {
                m.lost = true;
                return;
            }
    }

    void monitor()
    {
        for (int i = 0; i != 3; ++i) {
            auto& m = machines[0];
            if (i == 1)
                m.right.call();
            if (!m.right.try_examine())
                continue;
            touch();
            RL_ASSERT(m.running($) == m.entries);
            m.right.take();
            touch();
            given->store(1, std::memory_order_release);
            return;
        }
        given->store(2, std::memory_order_release);
    }

    void thread(unsigned index)
    {
        if (index == 0) {
            work(machines[0]);
        } else if (index == 1) {
            monitor();
        } else {
            int w;
            while ((w = given->load(std::memory_order_acquire)) == 0)
                rl::yield(1, $);
            if (w == 1)
                work(machines[1]);
        }
    }

    void after()
    {
        RL_ASSERT(processor($) == touched);
        RL_ASSERT(!machines[1].lost);
        RL_ASSERT(!machines[0].lost || given->load(std::memory_order_relaxed) == 1);
        machines.reset();
        given.reset();
    }
};

} // namespace

int main(int argc, char** argv)
{
    using spindle::model::passes;
    auto const ok = passes<moving<false>>("tenure", argc, argv, 100000)
        && passes<moving<true>>("tenure, watched", argc, argv, 50000);
    return ok ? 0 : 1;
}
