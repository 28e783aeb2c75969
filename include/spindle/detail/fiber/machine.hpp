//
// spindle/detail/fiber/machine.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// Go's M: a thread, as a Boost.Fiber algorithm. It picks what runs next and
// carries out what a fiber asked for when it gave up its turn.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_FIBER_MACHINE_HPP
#define SPINDLE_DETAIL_FIBER_MACHINE_HPP

#include <spindle/config.hpp>
#include <spindle/detail/base/atomic.hpp>
#include <spindle/detail/base/clock.hpp>
#include <spindle/detail/fiber/hooks.hpp>
#include <spindle/detail/fiber/machine_list.hpp>
#include <spindle/detail/fiber/record.hpp>
#include <spindle/detail/sched/core.hpp>
#include <spindle/detail/sched/parker.hpp>
#include <spindle/detail/sched/poller.hpp>
#include <spindle/detail/sched/processor.hpp>
#include <spindle/detail/sched/tenure.hpp>
#include <spindle/detail/stack/overflow.hpp>

#include <boost/fiber/algo/algorithm.hpp>
#include <boost/fiber/context.hpp>

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace spindle::detail {

// Shape
//
//   Boost.Fiber gives each thread three kinds of contexts: main (the thread's
//   own stack), the dispatcher, and the workers. The main context is Go's g0:
//   it looks for work, runs Asio's handlers, sleeps; run(g) leaves it for the
//   fiber g, and from there each pick_next() goes straight to the next fiber
//   of the processor, until there is none, or the slices are used up: then it
//   goes back to main, and run() returns.
//
//   The dispatcher is Boost.Fiber's: it alone releases finished stacks, takes
//   in what other threads woke, and ends stock sleeps. dispatch() gives it one
//   turn and learns when it wants the next. Where main itself waits in a
//   primitive of Boost.Fiber's, the dispatcher is the context that is always
//   there, and suspend_until() does the thread's sleeping.
//
// Who may touch what
//
//   tenure_     the thread, and the monitor of its scheduler (sched/tenure.hpp)
//   blocking_   the thread writes, the monitor reads
//   notified_   any thread stores true, the thread takes it
//   waiter_     set by the thread; notify() reads it
//   record_     read by who lists the machines, to look at only (machine_list.hpp)
//   the rest    this thread only
//
// Invariants
//
//   I1  current_ is the context that runs, but for a fiber that was launched
//       with launch::dispatch, until something is awakened: that launch passes
//       by pick_next(). awakened(current_) tells it (settle()).
//   I2  owner_ is the slot whose exception state lies in the thread.
//   I3  A worker context in a run queue is detached from every thread; those in
//       kept_ are of this thread alone, and attached.
//   I4  pick_next() returns null only in the dispatcher.
//   I5  The thread touches its processor only inside: between come_in() and what
//       ends that, go_out() or a switch to the user's code. Main is outside where
//       it runs handlers, or calls what else is the user's (stop callbacks of a
//       deadline's), and on threads that are not ours; the dispatcher is inside always.
//
// Why it is correct
//
//   A fiber parks by give_way(), which is Boost.Fiber's yield with a short way
//   first: on the fiber's stack it chooses who is next and swaps exception
//   state; then, on the next stack and with the registers
//   saved, Boost.Fiber calls awakened(), which detaches the fiber and runs its
//   commit function. Nothing reads or writes the fiber after a commit that
//   returned true. That is Go's gopark(unlockf).
//
// Not done, and why
//
//   Parking through suspend(spinlock_lock&): it writes to the parked stack
//   after it has released the lock, so a fiber that is readied onto another
//   thread races with it.
//   Prefetching the fibers that are next in the queue: no difference beyond the
//   noise in a ring of 1000, and it would tie us to Boost.Fiber's layout.
//   context::active() on the way: half of a short operation is that one call
//   into a shared library. The machine knows what runs.
//
// Evidence
//
//   test/fiber/machine.cpp   exceptions across parks and migrations, stock API
//   test/fiber/park.cpp      commits that refuse, readies from every side
class SPINDLE_DECL machine : public boost::fibers::algo::algorithm {
public:
    using context = boost::fibers::context;

    // On the thread's main context.
    machine() noexcept;
    ~machine() override;

    // Boost.Fiber's side. This thread only, but for notify().
    void awakened(context* c) noexcept override;
    context* pick_next() noexcept override;
    bool has_ready_fibers() const noexcept override;
    void suspend_until(time_point const& deadline) noexcept override;
    void notify() noexcept override;

    // The machine of the calling thread, or nullptr. Never keep it across
    // anything that may park: the fiber may come back on another thread.
    static SPINDLE_NOINLINE machine* current() noexcept;

    // As current(), but installs one where the thread has none. nullptr if
    // that cannot be: the caller is on a fiber of somebody else's algorithm.
    static SPINDLE_NOINLINE machine* ensure();

    // Main context only: a processor for the time of its slices.
    void take(processor& p) noexcept { processor_ = &p; }
    void drop() noexcept { processor_ = nullptr; }

    // What was held before another one was taken, unless it is gone meanwhile.
    void take_back(processor& outer) noexcept;

    // Inside: the thread's. Outside it may be gone already: a hint.
    processor* held() const noexcept { return processor_; }

    // --- a processor that may be taken away; the threads of a host

    // Main context only. A processor, and main is inside from now on; until resign().
    void hold(processor& p) noexcept;
    void resign() noexcept;
    void move_in() noexcept;
    void move_out() noexcept;
    tenure& right() noexcept { return tenure_; }

    // Inside already? Then the processor is the thread's until go_out() with what
    // this has returned.
    bool come_in() noexcept
    {
        auto const was = tenure_.inside();
        stay_in();
        return was;
    }

    // The same, where what ends it is a switch.
    void stay_in() noexcept
    {
        if (!tenure_.enter()) [[unlikely]]
            settle_tenure();
    }

    void go_out(bool was) noexcept
    {
        if (!was)
            tenure_.leave();
    }

    // Main context only, for as long as this lives: what runs is the user's code,
    // and the processor may go.
    class excursion {
    public:
        explicit excursion(machine& m) noexcept
            : machine_(m), was_(std::exchange(m.main_is_outside_, true))
        {
            m.tenure_.leave();
        }
        excursion(excursion const&) = delete;
        excursion& operator=(excursion const&) = delete;

        ~excursion()
        {
            machine_.main_is_outside_ = was_;
            machine_.stay_in();
        }

    private:
        machine& machine_;
        bool const was_;
    };

    // Around a call that blocks the thread. Odd: it is inside one.
    void count_blocking() noexcept
    {
        blocking_.store(
            blocking_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    }
    std::uint32_t blocking() const noexcept
    {
        return blocking_.load(std::memory_order_relaxed);
    }

    bool is_blocking() const noexcept { return blocking() % 2 != 0; }

    // The monitor, while it examines: what runs here; nullptr: a handler.
    fiber_record* examined_fiber() const noexcept { return record_; }

    // A thread of a scheduler's, whether it holds a processor or not.
    bool is_hired() const noexcept { return hired_; }

    using permission = run_permission;

    // Main context only. Runs `g`, and up to `slices` - 1 more from the
    // processor. Returns with nothing left running; how many there were.
    unsigned run(
        fiber_record& g, unsigned slices, permission may_go_on = nullptr,
        void* argument = nullptr) noexcept;

    // Main context only. Gives Boost.Fiber's dispatcher one turn. Returns when
    // it wants the next one; fibers that it woke are in the queues.
    time_point dispatch() noexcept;

    // `self` runs here, inside. Switches to the next fiber; there `commit` is called,
    // or, if that is null, `self` put behind what is queued here. Returns when it runs
    // again, on whatever thread: this machine may be another one's then, or gone.
    void give_way(fiber_record& self, commit_function commit, void* argument) noexcept;

    // `self` runs here. Gives up its turn, unless it is the next again, with nothing
    // else queued: then it has used up a slice.
    void give_turn(fiber_record& self) noexcept;

    // Takes the flag that notify() sets.
    bool take_notified() noexcept
    {
        return notified_.load(std::memory_order_relaxed)
            && notified_.exchange(false, std::memory_order_acquire);
    }
    bool notified() const noexcept { return notified_.load(std::memory_order_seq_cst); }

    // Fibers of Boost.Fiber's own have run here, or one of ours waits here in its
    // primitives: its dispatcher has work.
    bool has_stock_fibers() const noexcept { return stock_ || has_attached_fibers(); }

    // Fibers wait here in primitives of Boost.Fiber's, which will wake them
    // through this thread.
    bool has_attached_fibers() const noexcept;

    // What runs here was picked by main's loop, which comes next; not by the dispatcher,
    // while main waits in the user's code.
    bool runs_from_loop() const noexcept { return driving_ && !main_is_outside_; }

    bool on_main() const noexcept { return current_ == main_; }
    // As on_main(), and not in the middle of a switch to it: run() may be called.
    bool may_run() const noexcept { return on_main() && !driving_; }

    // As running(), without making anything.
    fiber_record const* known_fiber() const noexcept { return record_; }

    // The fiber that runs here, or nullptr on main and in the dispatcher.
    // Makes a record for a fiber of Boost.Fiber's own.
    fiber_record* running() noexcept;

    // A slice that came up while a fiber was running here: Asio was run on that
    // fiber's stack, or its executor has dropped it. It is posted again when main
    // has its turn.
    void postpone(fiber_record& g) noexcept { postponed_.push_back(g); }

    // Where fibers of Boost.Fiber's own go that become ready without a
    // processor at hand; and what suspend_until() and notify() use.
    void set_home(core* c) noexcept { home_ = c; }
    core* home() const noexcept { return home_; }
    void set_waiter(poller* w) noexcept { waiter_.store(w, std::memory_order_release); }
    void set_waiter(std::shared_ptr<poller> w) noexcept
    {
        // What was there before stays with the thread: somebody may be inside its
        // interrupt().
        waiters_.push_back(std::move(w));
        set_waiter(waiters_.back().get());
    }

    poller* waiter() const noexcept { return waiter_.load(std::memory_order_relaxed); }

    // core::set_slice_watcher(): a permission that makes a note of the slice that ends.
    static SPINDLE_NOINLINE bool note_slice_end(void*, bool more) noexcept;

    // What Asio had on this thread when the slice began (hooks.hpp).
    void const* entry_mark[asio_heads] = {};

    // A fiber of ours is about to end for good: its stack is the dispatcher's
    // to release.
    void expect_release() noexcept { stock_ = true; }

private:
    friend class machine_entry;
    template <class Unchanged>
    friend fiber_record* pass_gate(Unchanged unchanged);

    // Where main sleeps that has nothing better.
    class parking final : public poller {
    public:
        void wait_until(time_point deadline) noexcept override { parker_.park_until(deadline); }
        void interrupt() noexcept override { parker_.unpark(); }

    private:
        parker parker_;
    };

    SPINDLE_NOINLINE void settle_tenure() noexcept;
    context* choose() noexcept;
    bool has_more() const noexcept;
    bool stays() noexcept;
    void awaken(context* c) noexcept;
    void awaken_from_outside(context* c) noexcept;
    void take_turn_again(fiber_record& g) noexcept;
    void after_switch() noexcept;
    context* leave_for(context* c) noexcept;
    context* next_fiber() noexcept;
    static void fetch_early(local_queue const& q) noexcept;
    void enter(context* next) noexcept;
    void enter_fiber(fiber_record& g) noexcept;
    SPINDLE_NOINLINE void enter_unusual(fiber_record& g) noexcept;
    void swap_exceptions(exception_state& slot) noexcept;
    void settle(context* launcher) noexcept;
    void requeue(fiber_record& g) noexcept;
    fiber_record& stock_record(context& c) noexcept;

    // Hot.
    context* current_;
    fiber_record* record_ = nullptr;   // of current_, if that is a worker
    fiber_record* leaving_ = nullptr;  // whom awakened() is about to see
    processor* processor_ = nullptr;
    tenure tenure_;
    bool main_is_outside_ = true;      // see I5
    unsigned slices_ = 0;              // left before main's turn; see awakened()
    bool reposting_ = false;
    bool main_ready_ = false;
    bool dispatcher_ready_ = false;
    bool stock_ = false;
    bool polled_ = false;              // the dispatcher has polled in this turn
    bool driving_ = false;             // main has left by run() or dispatch()
    enum class turn : unsigned char { none, asked, given, done } dispatcher_turn_ = turn::none;
    fiber_record* forced_ = nullptr;   // who is next, whatever is queued
    permission may_go_on_ = nullptr;
    void* permission_argument_ = nullptr;
    exception_state* thread_state_;    // the runtime's own
    exception_state* owner_;
    exception_state main_state_, dispatcher_state_;

    context* const main_;
    context* dispatcher_ = nullptr;
    boost::fibers::scheduler* const scheduler_;
    time_point wanted_ = time_point::max();
    core* home_ = nullptr;
    processor* tenured_ = nullptr;     // held, and may be taken away
    processor* retaken_ = nullptr;     // the last one that was
    bool hired_ = false;
    runnable_list kept_;               // fibers of a thread that has no scheduler of ours
    unsigned kept_turn_ = 0;
    std::vector<std::shared_ptr<poller>> waiters_;
    altstack_scope altstack_; // to report an overflow of a fiber's stack on
    runnable_list postponed_;
    parking parking_;
    atomic<std::uint32_t> blocking_{0};
    alignas(cache_line_size) atomic<bool> notified_{false};
    atomic<poller*> waiter_{nullptr};
    machine_entry entry_{*this}; // last: what it shows is there
};

// The calling thread inside the scheduler for as long as this lives: the processor
// that it holds stays. Nests. Nothing parks meanwhile.
class visit {
public:
    visit() noexcept : visit(machine::current()) {}
    explicit visit(machine* m) noexcept : machine_(m), was_(m && m->come_in()) {}
    visit(visit const&) = delete;
    visit& operator=(visit const&) = delete;

    ~visit()
    {
        if (machine_)
            machine_->go_out(was_);
    }

    machine* here() const noexcept { return machine_; }
    processor* held() const noexcept { return machine_ ? machine_->held() : nullptr; }

private:
    machine* const machine_;
    bool const was_;
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_FIBER_MACHINE_HPP
