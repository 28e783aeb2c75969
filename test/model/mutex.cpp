//
// model/mutex.cpp
// ~~~~~~~~~~~~~~~
// Threads that lock one mutex, some with a deadline that may pass at any moment, some
// as operations that are withdrawn, under Relacy. What the mutex does not hand over is
// a race on a plain variable; a wake-up that is lost is a thread that waits for ever.
// The last one frees the mutex, while others may still be on their way out of it.
//
// Mutants (the text of each is in mutants.txt; each must fail here):
//   taking it, handing it over, letting it go: relaxed
//   Q   a waiter does not announce itself, or does where the mutex is free
//   W   a woken waiter keeps its flag; it gives up, and nobody else is woken
//   L   `waiting` stays behind where nobody waits
//   D   the lock is released after the mutex
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define SPINDLE_TEST_ATOMIC <model/relacy_atomic.hpp>
#include <model/waiting.hpp>
#include <spindle/detail/sync/mutex_core.hpp>

#include <optional>

// The compiled halves, so that they go through the door as well.
#include "../../src/base/fatal.cpp"
#include "../../src/sync/mutex.cpp"

namespace {

using namespace spindle::detail;

// An asynchronous operation that is cancelled at once: did it get the mutex?
bool lock_or_withdraw(mutex_core& m)
{
    mutex_waiter w;
    if (m.lock_or_queue(w))
        return true;
    {
        std::lock_guard guard(m.queue_lock());
        if (w.may_leave()) {
            w.leave_queue();
            return false;
        }
    }
    w.sleep();
    return true;
}

// What a thread does, in order: l locks, t with a deadline, T tries, a as an operation
// that may be withdrawn. Each ends with l; the one that comes last to it frees the
// mutex, once it has unlocked it.
template <class Plan>
struct users : rl::test_suite<users<Plan>, Plan::threads> {
    std::optional<mutex_core> m;
    rl::var<int> inside, ended;

    void before()
    {
        m.emplace();
        inside($) = 0;
        ended($) = 0;
    }

    void section()
    {
        inside($) += 1;
        RL_ASSERT(inside($) == 1);
        inside($) -= 1;
    }

    void thread(unsigned index)
    {
        for (auto const* p = Plan::of[index]; p[1] != 0; ++p) {
            auto owns = true;
            switch (*p) {
            case 'l':
                m->lock();
                break;
            case 't':
                owns = m->lock_until(time_point());
                break;
            case 'T':
                owns = m->try_lock();
                break;
            case 'a':
                owns = lock_or_withdraw(*m);
                break;
            }
            if (owns) {
                section();
                m->unlock();
            }
        }
        m->lock();
        section();
        ended($) += 1;
        auto const last = ended($) == static_cast<int>(Plan::threads);
        m->unlock();
        if (last)
            m.reset();
    }

    void after() { RL_ASSERT(!m); }
};

struct three {
    static constexpr std::size_t threads = 3;
    static constexpr char const* of[] = {"ll", "lTl", "ll"};
};

struct with_deadlines {
    static constexpr std::size_t threads = 3;
    static constexpr char const* of[] = {"ll", "ttl", "ltl"};
};

struct with_operations {
    static constexpr std::size_t threads = 4;
    static constexpr char const* of[] = {"l", "al", "tl", "al"};
};

} // namespace

int main(int argc, char** argv)
{
    using spindle::model::passes;
    auto const ok
        = passes<users<three>>("mutex", argc, argv, 60000)
        && passes<users<with_deadlines>>("mutex, with deadlines", argc, argv, 60000)
        && passes<users<with_operations>>("mutex, with operations", argc, argv, 60000);
    return ok ? 0 : 1;
}
