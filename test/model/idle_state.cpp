//
// model/idle_state.cpp
// ~~~~~~~~~~~~~~~~~~~~
// The idle protocol from end to end, under Relacy: submitters publish items
// and ask whom to wake; processors search, go idle, look again, sleep.
//
// Running an item takes until all items are running: a fiber that hogs its
// processor. There are as many processors as items, so an item that lies
// while a processor sleeps is a deadlock, which Relacy reports.
//
// Mutants (the text of each is in mutants.txt; each must fail here):
//   F1, F2  no fence
//   S3, S4  one idle processor is overlooked; one is woken without being counted
//           as searching
//   G3      the second look owed by nobody, or by searchers only
//   debt    the last searcher that finds something owes no wake-up
//   I1, I3  begin_idle changes word_ before it takes the lock; end_idle says
//           that it was there when it was not, or stays in the list
// Argued, not run: the limit on searchers (more of them are only slower), and
// two more, with their reasons in mutants.txt.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define SPINDLE_TEST_ATOMIC <model/relacy_atomic.hpp>
#include <spindle/detail/sched/idle_state.hpp>

#include <memory>
#include <mutex>

// The compiled half, so that it goes through the door as well.
#include "../../src/sched/idle_state.cpp"

namespace {

using spindle::detail::atomic;
using spindle::detail::idle_state;

// A parker, simpler than ours.
class gate {
public:
    void open()
    {
        std::lock_guard<spindle::detail::mutex> lock(mutex_);
        open_ = true;
        wake_.notify_one();
    }

    void pass()
    {
        std::unique_lock<spindle::detail::mutex> lock(mutex_);
        while (!open_)
            wake_.wait(lock);
        open_ = false;
    }

private:
    spindle::detail::mutex mutex_;
    spindle::detail::condition_variable wake_;
    bool open_ = false;
};

// Submitters give away Items / Submitters items each.
template <unsigned Processors, unsigned Submitters>
struct no_work_lies
    : rl::test_suite<no_work_lies<Processors, Submitters>, Processors + Submitters> {
    static constexpr unsigned items = Processors;
    static constexpr unsigned each = items / Submitters;
    static_assert(items % Submitters == 0);

    struct shared {
        idle_state idle{Processors};
        gate gates[Processors];
        gate running[items];
        atomic<int> boxes[items];
    };
    std::unique_ptr<shared> s;
    unsigned ran; // outside the model, as is stop
    bool stop;

    void before()
    {
        s = std::make_unique<shared>();
        ran = 0;
        stop = false;
    }

    void notify()
    {
        auto const id = s->idle.processor_to_wake();
        if (id != idle_state::none)
            s->gates[id].open();
    }

    bool find()
    {
        for (auto& b : s->boxes)
            if (b.load(std::memory_order_relaxed) != 0)
                return true;
        return false;
    }

    unsigned take()
    {
        for (unsigned i = 0; i != items; ++i)
            if (s->boxes[i].load(std::memory_order_relaxed) != 0
                && s->boxes[i].exchange(0, std::memory_order_acquire) != 0)
                return i;
        return items;
    }

    void run(unsigned item)
    {
        if (++ran == items) {
            stop = true;
            for (auto& g : s->gates)
                g.open();
            for (auto& g : s->running)
                g.open();
        } else {
            s->running[item].pass();
        }
    }

    void submit(unsigned index)
    {
        for (unsigned i = 0; i != each; ++i) {
            s->boxes[index * each + i].store(1, std::memory_order_release);
            notify();
        }
    }

    void process(unsigned id)
    {
        bool searching = false;
        while (!stop) {
            if (!searching)
                searching = s->idle.try_begin_search();
            auto const item = searching ? take() : items;
            if (item != items) {
                searching = false;
                if (s->idle.end_search())
                    notify();
                run(item);
                continue;
            }
            auto const look_again = s->idle.begin_idle(id, searching);
            if (look_again && find() && s->idle.end_idle(id, true)) {
                searching = true;
                continue;
            }
            s->gates[id].pass();
            searching = true; // the waker counted it
        }
    }

    void thread(unsigned index)
    {
        if (index < Processors)
            process(index);
        else
            submit(index - Processors);
    }

    void after()
    {
        RL_ASSERT(ran == items);
        s.reset();
    }
};

} // namespace

int main(int argc, char** argv)
{
    using spindle::model::passes;
    auto const ok = passes<no_work_lies<2, 1>>("idle_state, 2 and 1", argc, argv, 300000)
        && passes<no_work_lies<2, 2>>("idle_state, 2 and 2", argc, argv, 50000)
        && passes<no_work_lies<3, 1>>("idle_state, 3 and 1", argc, argv, 50000);
    return ok ? 0 : 1;
}
