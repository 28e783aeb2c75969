//
// model/parker.cpp
// ~~~~~~~~~~~~~~~~
// One sleeper and its wakers, under Relacy. A lost wake-up is a deadlock, which
// Relacy reports; a lost release is a race on a plain variable.
//
// Mutants (the text of each is in mutants.txt; each must fail here):
//   N  unpark, the sleeper's taking of the token (three places): relaxed
//   L  unpark does not pass through the mutex; it notifies nobody; parked is
//      not told from empty
//   I2 park does not wait again when it was woken without the token; a token
//      that comes with the timeout is dropped
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define SPINDLE_TEST_ATOMIC <model/relacy_atomic.hpp>
#include <spindle/detail/sched/parker.hpp>

#include <memory>

// The compiled half, so that it goes through the door as well.
#include "../../src/sched/parker.cpp"

namespace {

using spindle::detail::parker;
using spindle::detail::time_point;

// Two threads hand a plain variable to and fro. Timed: with deadlines that
// pass at any moment.
template <bool Timed>
struct ping_pong : rl::test_suite<ping_pong<Timed>, 2> {
    static constexpr int rounds = 3;
    std::unique_ptr<parker[]> parkers;
    rl::var<int> payload;

    void before()
    {
        parkers = std::make_unique<parker[]>(2);
        payload($) = 0;
    }

    void sleep(parker& p)
    {
        if (Timed)
            while (!p.park_until(time_point{}))
                rl::yield(1, $);
        else
            p.park();
    }

    void thread(unsigned index)
    {
        for (int i = 0; i != rounds; ++i) {
            if (index == 1)
                sleep(parkers[1]);
            RL_ASSERT(payload($) == 2 * i + static_cast<int>(index));
            payload($) += 1;
            parkers[1 - index].unpark();
            if (index == 0)
                sleep(parkers[0]);
        }
    }

    void after() { parkers.reset(); }
};

// Two wakers: the token is one, and the last one counts.
struct two_wakers : rl::test_suite<two_wakers, 3> {
    std::unique_ptr<parker> p;
    std::unique_ptr<spindle::detail::atomic<int>[]> flags;

    void before()
    {
        p = std::make_unique<parker>();
        flags = std::make_unique<spindle::detail::atomic<int>[]>(2);
    }

    void thread(unsigned index)
    {
        if (index != 0) {
            flags[index - 1].store(1, std::memory_order_relaxed);
            p->unpark();
            return;
        }
        while (flags[0].load(std::memory_order_relaxed) == 0
            || flags[1].load(std::memory_order_relaxed) == 0)
            p->park();
    }

    void after()
    {
        p.reset();
        flags.reset();
    }
};

} // namespace

int main(int argc, char** argv)
{
    using spindle::model::passes;
    auto const ok = passes<ping_pong<false>>("parker", argc, argv, 50000)
        && passes<ping_pong<true>>("parker, timed", argc, argv, 50000)
        && passes<two_wakers>("parker, two wakers", argc, argv, 50000);
    return ok ? 0 : 1;
}
