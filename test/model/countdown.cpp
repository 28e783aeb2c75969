//
// model/countdown.cpp
// ~~~~~~~~~~~~~~~~~~~
// Pieces that end, and those who wait for them, under Relacy. What the pieces wrote
// and a waiter reads is a plain variable; a waiter that is forgotten is a thread that
// waits for ever. The last waiter frees the counter, while a piece may still be on its
// way out of it.
//
// Mutants (the text of each is in mutants.txt; each must fail here):
//   Z   the counter is touched once it is zero; nobody is woken
//   I2  pieces are added while the last one is under way; it is seen as over
//   W   a waiter does not mark the word, or does not look at the lock
//   R   weaker orders
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define SPINDLE_TEST_ATOMIC <model/relacy_atomic.hpp>
#include <model/waiting.hpp>
#include <spindle/detail/sync/countdown.hpp>

#include <optional>

// The compiled half, so that it goes through the door as well.
#include "../../src/sync/countdown.cpp"

namespace {

using namespace spindle::detail;

// An asynchronous wait that is cancelled at once.
void wait_or_withdraw(countdown& c)
{
    queued_waiter w;
    {
        std::lock_guard guard(c.lock);
        if (!c.must_wait())
            return;
        c.waiters.push_back(w);
    }
    {
        std::lock_guard guard(c.lock);
        if (w.may_leave()) {
            w.leave_queue();
            return;
        }
    }
    w.sleep();
}

// What a thread does, in order: d ends a piece, w waits for all, x is withdrawn from
// that, a adds a piece and ends it, i asks whether all have ended. The last that has
// waited frees the counter.
template <class Plan>
struct users : rl::test_suite<users<Plan>, Plan::threads> {
    std::optional<countdown> c;
    rl::var<int> written[Plan::threads];
    rl::atomic<int> waited;

    void before()
    {
        c.emplace(Plan::pieces);
        for (auto& w : written)
            w($) = 0;
        waited($) = 0;
    }

    void check()
    {
        for (unsigned i = 0; i != Plan::threads; ++i)
            RL_ASSERT(written[i]($) == (Plan::of[i][0] == 'd'));
    }

    void thread(unsigned index)
    {
        for (auto const* p = Plan::of[index]; *p != 0; ++p)
            switch (*p) {
            case 'd':
                written[index]($) = 1;
                RL_ASSERT(c->count_down(1));
                break;
            case 'a':
                c->add(1);
                RL_ASSERT(c->count_down(1));
                break;
            case 'i':
                if (c->is_zero())
                    check();
                break;
            case 'x':
                wait_or_withdraw(*c);
                break;
            case 'w':
                c->wait(wait_reason::wait_group);
                check();
                if (waited.fetch_add(1, rl::mo_acq_rel, $) + 1 == Plan::waiters)
                    c.reset();
                break;
            }
    }

    void after() {}
};

struct one_waits {
    static constexpr std::size_t threads = 3, pieces = 2;
    static constexpr int waiters = 1;
    static constexpr char const* of[] = {"d", "d", "w"};
};

struct two_wait {
    static constexpr std::size_t threads = 4, pieces = 2;
    static constexpr int waiters = 2;
    static constexpr char const* of[] = {"d", "d", "w", "w"};
};

// The one who waits adds more, in between.
struct more_rounds {
    static constexpr std::size_t threads = 3, pieces = 1;
    static constexpr int waiters = 2;
    static constexpr char const* of[] = {"d", "iaw", "w"};
};

struct withdrawn {
    static constexpr std::size_t threads = 3, pieces = 2;
    static constexpr int waiters = 1;
    static constexpr char const* of[] = {"d", "d", "xw"};
};

} // namespace

int main(int argc, char** argv)
{
    using spindle::model::passes;
    auto const ok = passes<users<one_waits>>("countdown", argc, argv, 60000)
        && passes<users<two_wait>>("countdown, two wait", argc, argv, 60000)
        && passes<users<more_rounds>>("countdown, more rounds", argc, argv, 60000)
        && passes<users<withdrawn>>("countdown, withdrawn", argc, argv, 60000);
    return ok ? 0 : 1;
}
