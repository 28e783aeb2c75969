//
// model/shared_mutex.cpp
// ~~~~~~~~~~~~~~~~~~~~~~
// Readers and writers of one mutex, and operations that are withdrawn, under Relacy.
// What the mutex does not hand over, or keep apart, is a race on a plain variable; a
// waiter that is forgotten is a thread that waits for ever. The last writer frees the
// mutex, while others may still be on their way out of it.
//
// Mutants (the text of each is in mutants.txt; each must fail here):
//   C   entering, leaving, counting those inside: weaker, or not at all
//   Q   `queued` is not set
//   P   no passes; a pass is not used up
//   L   nobody sees to those whom a writer that is gone kept waiting
//   D   the mutex is opened before the last access
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define SPINDLE_TEST_ATOMIC <model/relacy_atomic.hpp>
#include <model/waiting.hpp>
#include <spindle/detail/sync/shared_mutex_core.hpp>

#include <optional>

// The compiled halves, so that they go through the door as well.
#include "../../src/base/fatal.cpp"
#include "../../src/sync/shared_mutex.cpp"

namespace {

using namespace spindle::detail;

// An asynchronous operation that is cancelled at once: did it get the mutex?
template <class Waiter>
bool lock_or_withdraw(shared_mutex_core& m)
{
    Waiter w;
    if (m.lock_or_queue(w))
        return true;
    if (m.withdraw(w))
        return false;
    w.sleep();
    return true;
}

// What a thread does, in order: r and w lock as a reader or a writer, R and W may be
// withdrawn. The last of all, if it is a writer, frees the mutex once it has unlocked
// it.
template <class Plan>
struct users : rl::test_suite<users<Plan>, Plan::threads> {
    std::optional<shared_mutex_core> m;
    rl::var<int> written;
    rl::atomic<int> ended;

    void before()
    {
        m.emplace();
        written($) = 0;
        ended($) = 0;
    }

    void read(bool at_last)
    {
        RL_ASSERT(written($) % 2 == 0);
        if (at_last)
            (void)ends();
        m->unlock_shared();
    }

    void write(bool at_last)
    {
        written($) += 1;
        written($) += 1;
        auto const last = at_last && ends();
        m->unlock();
        if (last)
            m.reset();
    }

    // True: all others have ended before.
    bool ends() { return ended.fetch_add(1, rl::mo_relaxed, $) + 1 == Plan::threads; }

    void thread(unsigned index)
    {
        for (auto const* p = Plan::of[index]; *p != 0; ++p) {
            auto const at_last = p[1] == 0;
            switch (*p) {
            case 'r':
                m->lock_shared();
                read(at_last);
                break;
            case 'w':
                m->lock();
                write(at_last);
                break;
            case 'R':
                if (lock_or_withdraw<waiting_reader>(*m))
                    read(at_last);
                else if (at_last)
                    (void)ends();
                break;
            case 'W':
                if (lock_or_withdraw<waiting_writer>(*m))
                    write(at_last);
                else if (at_last)
                    (void)ends();
                break;
            }
        }
    }

    void after() { m.reset(); }
};

struct readers_and_writers {
    static constexpr std::size_t threads = 3;
    static constexpr char const* of[] = {"rw", "rrw", "rwr"};
};

struct readers_and_one_writer {
    static constexpr std::size_t threads = 4;
    static constexpr char const* of[] = {"w", "rr", "rr", "r"};
};

struct withdrawn {
    static constexpr std::size_t threads = 3;
    static constexpr char const* of[] = {"rWw", "rRr", "Wrw"};
};

struct withdrawn_at_last {
    static constexpr std::size_t threads = 3;
    static constexpr char const* of[] = {"w", "w", "RW"};
};

struct withdrawn_behind_readers {
    static constexpr std::size_t threads = 4;
    static constexpr char const* of[] = {"r", "Wr", "rw", "rRr"};
};

} // namespace

int main(int argc, char** argv)
{
    using spindle::model::passes;
    auto const ok
        = passes<users<readers_and_writers>>("shared_mutex", argc, argv, 60000)
        && passes<users<readers_and_one_writer>>("shared_mutex, one writer", argc, argv, 60000)
        && passes<users<withdrawn>>("shared_mutex, withdrawn", argc, argv, 60000)
        && passes<users<withdrawn_at_last>>("shared_mutex, withdrawn at last", argc, argv, 60000)
        && passes<users<withdrawn_behind_readers>>(
            "shared_mutex, withdrawn behind readers", argc, argv, 60000);
    return ok ? 0 : 1;
}
