//
// model/biased_lock.cpp
// ~~~~~~~~~~~~~~~~~~~~~
// Three threads and one lock, under Relacy. The lock makes a friend of whoever
// takes it twice in a row, so that friends come and go all the time. What the
// lock does not hand over is a race on a plain variable.
//
// Mutants (the text of each is in mutants.txt; each must fail here):
//   B   the friend does not look again; its second look, the change of friend_:
//       relaxed; the other does not wait
//   R   the friend leaves, the other waits: relaxed
//   I1  the friend is not told that it is none
//   I2  unlock of lock_ by the friend
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define SPINDLE_TEST_ATOMIC <model/relacy_atomic.hpp>
#include <spindle/detail/base/biased_lock.hpp>

#include <memory>
#include <mutex>

// The compiled half, so that it goes through the door as well.
#include "../../src/base/biased_lock.cpp"

namespace {

struct three_threads : rl::test_suite<three_threads, 3> {
    std::unique_ptr<spindle::detail::biased_lock> lock;
    rl::var<int> counter;
    static constexpr int rounds[] = {5, 4, 1};

    void before()
    {
        lock = std::make_unique<spindle::detail::biased_lock>(std::uint8_t{1});
        counter($) = 0;
    }

    void thread(unsigned index)
    {
        for (int i = 0; i != rounds[index]; ++i) {
            std::lock_guard guard(*lock);
            counter($) = counter($) + 1;
        }
    }

    void after()
    {
        RL_ASSERT(counter($) == rounds[0] + rounds[1] + rounds[2]);
        lock.reset();
    }
};

} // namespace

int main(int argc, char** argv)
{
    return spindle::model::passes<three_threads>("biased_lock", argc, argv, 200000) ? 0 : 1;
}
