//
// spindle/detail/asio/host.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// Host mode: processors with an io_context each, and threads of ours to run them.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_ASIO_HOST_HPP
#define SPINDLE_DETAIL_ASIO_HOST_HPP

#include <spindle/config.hpp>
#include <spindle/detail/asio/asio_core.hpp>
#include <spindle/detail/asio/host_monitor.hpp>
#include <spindle/detail/asio/slot_memory.hpp>
#include <spindle/detail/fiber/machine.hpp>
#include <spindle/detail/fiber/park.hpp>
#include <spindle/detail/sched/idle_state.hpp>
#include <spindle/detail/sched/monitor_policy.hpp>
#include <spindle/detail/sched/parker.hpp>
#include <spindle/detail/sched/poller.hpp>
#include <spindle/detail/sched/processor.hpp>
#include <spindle/detail/time/timer_queue.hpp>
#include <spindle/scheduler.hpp>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace spindle::detail {

class host;

// One turn of Asio, bounded: a handler that posts itself again and again must
// not keep the thread. A fence posted before poll() stops it: everything that
// was queued before the fence runs, then the reactor is asked once, and what
// that finds lies behind the fence and runs in the next turn. So a turn costs
// one system call, and none is made in vain after a turn that found something.
// A turn that a handler's exception cuts short leaves its fence to the next one.
class turn_of_asio {
public:
    explicit turn_of_asio(boost::asio::io_context& ioc) : ioc_(ioc) {}

    // The thread that runs the io_context. May throw what a handler throws.
    void run();

    // Main has waited inside a handler of this turn, and Asio was served there,
    // which may have taken the fence away: the rest of the turn needs one.
    void go_on();

private:
    void raise_fence();

    boost::asio::io_context& ioc_;
    bool inside_ = false;
    bool fenced_ = false;
    slot_memory<128> fence_memory_;
};

class host_processor;

// Sleepers of a processor. Its thread looks when it goes to block; one that
// another thread puts in must wake it.
class host_timers final : public timer_queue {
public:
    explicit host_timers(host_processor& p) noexcept : processor_(p) {}

private:
    void on_earliest(time_point when) noexcept override;

    host_processor& processor_;
};

// One of the host's threads. It runs processors that it is given, one after another,
// and rests meanwhile. Others may call interrupt() for as long as the host lives, so
// this outlives its thread, and is used again with another one.
//
// Who may touch what
//
//   interrupt()        any thread
//   is, given          under host::moves_
//   thread             who has reserved this, and starts it; at the end the host's owner
//   the rest           the thread
class host_machine final : public poller {
public:
    explicit host_machine(host& h) noexcept : host_(h) {}

    // The thread's whole life. False: it leaves before the others.
    bool run() noexcept;

    // poller: where main waits for Boost.Fiber's own primitives.
    void wait_until(time_point deadline) noexcept override;
    void interrupt() noexcept override;
    void main_goes_on() noexcept override;
    void comes_in() noexcept override;

private:
    friend class host;

    // Where a pinned fiber's slices go. Any thread.
    class pin_slices final : public slice_poster {
    public:
        explicit pin_slices(host_machine& m) noexcept : machine_(m) {}

        void post_slice(fiber_record& g) noexcept override;
        slice_poster* clone() const override { return nullptr; } // its children are free

    private:
        host_machine& machine_;
    };

    // False: for so long that the thread may leave.
    bool rest(time_point since) noexcept;
    void run_pinned() noexcept;
    time_point dispatch() noexcept;

    host& host_;
    machine* machine_ = nullptr;
    bool leaves_ = false;
    bool on_own_thread_ = false;      // set before it starts
    bool pinned_ = false;             // a fiber is pinned here
    atomic<fiber_record*> slice_{nullptr}; // it shall run
    pin_slices pin_{*this};
    atomic<host_processor*> serving_{nullptr}; // whose loop is on the stack
    parker parker_;
    enum state {
        working,  // has a processor, or had one and is still where it lost it
        resting,  // among the spare ones
        reserved, // taken out of there, to be given a processor or put back
        gone,     // its thread has left, or was never started
    } is = gone;
    host_processor* given = nullptr;
    std::thread thread;
};

// Who may touch what
//
//   interrupt(), timers     any thread
//   runs_here               under host::moves_
//   away_                   set by the monitor, cleared by the machine that has Asio
//   turn_, alarm_*          whoever has Asio: see host
//   the rest                the machine that holds the processor
class host_processor final : public processor {
public:
    host_processor(host& h, unsigned index);

    // The machine that was given this processor. Returns when it has lost it, or when
    // all is over.
    void serve(machine& m) noexcept;

    void interrupt() noexcept;

    boost::asio::io_context io;

private:
    friend class host;
    friend class host_machine;

    // The machine has Asio, and runs the user's code there.
    class turn_in_asio {
    public:
        turn_in_asio(host_processor& p, machine& m) noexcept : processor_(p), machine_(m)
        {
            p.in_asio_ = true;
            excursion_.emplace(m);
        }
        turn_in_asio(turn_in_asio const&) = delete;
        turn_in_asio& operator=(turn_in_asio const&) = delete;
        ~turn_in_asio();

    private:
        host_processor& processor_;
        machine& machine_;
        std::optional<machine::excursion> excursion_;
    };

    // These return with the processor lost, at any time.
    void loop(machine& m);
    void poll(machine& m);
    void sleep(machine& m);
    void block(machine& m, time_point deadline);
    void arm(time_point deadline);
    void retire(machine& m);

    runnable* find() noexcept;
    runnable* search(machine& m);
    void wake_up(machine& m) noexcept;
    void wait_in_handler(machine& m, time_point deadline) noexcept;
    bool holds(machine& m) const noexcept { return m.held() == this; }

    host& host_;
    boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
    boost::asio::detail::scheduler& asio_;
    boost::asio::steady_timer alarm_;
    time_point alarm_at_ = time_point::max(); // what alarm_ is set to
    slot_memory<256> alarm_memory_;
    turn_of_asio turn_;
    time_point polled_at_{};
    bool searching_ = false;
    bool in_asio_ = false;
    unsigned stock_turn_ = 0;
    host_timers sleepers_;
    slot_memory<128> interrupt_memory_;
    machine* runs_here = nullptr;
    parker parker_; // of its machine, while another one has Asio
    alignas(cache_line_size) atomic<bool> interrupted_{false};
    atomic<bool> away_{false};
    atomic<bool> dozing_{false}; // its machine has announced that it sleeps, and not come back
    atomic<bool> retired_{false}; // it shall run no fibers
    atomic<bool> runs_none_{false}; // and does not
};

// Shape
//
//   Each machine that has a processor goes round: due sleepers, Asio if it is time,
//   Boost.Fiber's dispatcher if it was woken, then up to 61 fibers straight after
//   each other; the global queue is looked at first in each round, which is each
//   61st pick. With nothing to run: Asio, the global queue, the others' queues
//   while it may search, and at last it blocks inside its io_context, with one timer
//   armed for the earliest sleeper. Whoever has work for it posts an empty handler.
//
//   The monitor looks at all processors. One whose machine has not come back from
//   the user's code for long goes to a spare machine. The old one runs on; when it
//   next comes to the scheduler it finds that it has no processor, puts its fiber
//   into the global queue, and rests.
//
//   Asio goes with the processor, but where the machine is inside a handler: then it
//   stays until that handler returns, since no two handlers of one io_context run at
//   the same time. Meanwhile the new machine runs fibers, and sleeps in a parker.
//
//   A processor that is not wanted any more gives its fibers to the others. Its
//   sleepers and its io_context stay, and so does its machine, which sees to them
//   without holding it.
//
//   A machine that a fiber is pinned to gives its processor away, and runs that fiber
//   alone, beside the others.
//
// Invariants
//
//   I1  A processor has a machine at all times, or is being given one.
//   I2  The machine that has a processor has its io_context as well, unless away_;
//       then another machine has that, and is inside of it.
//   I3  A machine without a processor touches none. What it makes ready goes to the
//       global queue.
//   I4  A thread does not exit before all have left their fibers, if fibers of
//       Boost.Fiber's own have run there.
//
// Why no wake-up is lost: idle_state.hpp has the protocol. The loop looks at
// all queues once more after it has announced itself idle, and a wake-up stays
// in its io_context until it is taken. A handler that runs there and touches the
// processor is watched (tenure.hpp): so the processor is taken off the list of idle
// ones before. While Asio is away a wake-up goes to the parker, too: away_ is set
// before the new machine starts, so whoever does not see it has published before
// that machine looks (seq_cst on both sides).
//
// Lock order: resizing_, moves_, then those of Asio, of parkers and of idle_state.
class host final : public asio_core {
public:
    // Who runs the first processor: a thread of ours, or the one that made the
    // host, by run_first(). A process whose only thread runs everything is a
    // tenth faster at system calls.
    enum class first { on_own_thread, on_caller };

    host(scheduler& facade, scheduler_options options, first where);
    ~host() override;

    // With first::on_caller. Runs the first processor until finish() was called
    // and no fiber is left.
    void run_first() noexcept;

    // Stops all fibers; once they have ended, or the grace is over, run_first()
    // returns, or the process ends.
    void finish() noexcept;

    void stop() noexcept;
    void join();

    unsigned processors() const noexcept { return active_.load(std::memory_order_relaxed); }
    void set_processors(unsigned n);

    // The running fiber only.
    void pin(fiber_record& g);
    void unpin(fiber_record& g) noexcept;

    host_processor& processor_at(unsigned i) const noexcept
    {
        return static_cast<host_processor&>(at(i));
    }
    boost::asio::io_context& next_io() noexcept;
    scheduler_stats stats() const;

    scheduler* public_scheduler() noexcept override { return &facade_; }
    boost::asio::any_io_executor executor_at(processor* p) override;
    timer_queue* timers() noexcept override { return &processor_at(0).sleepers_; }
    boost::asio::execution_context& context() noexcept override { return processor_at(0).io; }
    void resume(fiber_record& g) noexcept override;
    bool moves_processors() const noexcept override { return true; }
    void wake_one() noexcept override;

private:
    friend class host_processor;
    friend class host_machine;
    friend class host_monitor;

    void on_last() noexcept override;
    time_point overdue_at() const noexcept
    {
        return overdue_at_.load(std::memory_order_relaxed);
    }
    bool leaving() const noexcept { return leaving_.load(std::memory_order_seq_cst); }
    void leave() noexcept;
    void end_threads() noexcept;
    void meet_before_exit() noexcept;

    // A machine's, with nothing held.
    host_processor* next_for(host_machine& who) noexcept;
    void begin_tenure(host_processor& p, machine& m) noexcept;
    void end_tenure(host_processor& p) noexcept;
    void bring_back_asio(host_processor& p) noexcept;

    // The monitor's.
    duration look_round(
        monitor_policy& policy, hog_list& hogs, std::vector<host_machine*>& to_wake) noexcept;
    bool all_asleep() const noexcept;
    time_point earliest_deadline() const noexcept;
    monitor_policy::look look_at(host_processor& p, time_point at) const noexcept;
    bool retake(
        host_processor& p, monitor_policy::look const& seen, hog_list* hogs,
        std::vector<host_machine*>& to_wake, std::unique_lock<std::mutex>& moves) noexcept;
    host_machine* reserve(
        std::unique_lock<std::mutex>& moves, bool by_monitor = false) noexcept;
    void put_back(host_machine& spare) noexcept;
    static void give(host_processor& p, host_machine& spare) noexcept;

    host_processor& add_processor();
    void add_processor_with_machine();
    host_machine& add_machine();
    void start(host_machine& who);
    void end_processor() noexcept;

    scheduler& facade_;
    idle_state idle_;
    atomic<unsigned> active_{0}; // the first so many processors; the others are retired
    atomic<unsigned> turn_{0};
    std::mutex resizing_; // outside moves_
    atomic<bool> leaving_{false};
    atomic<bool> finishing_{false};
    atomic<time_point> overdue_at_{time_point::max()};

    mutable std::mutex moves_;
    // Under moves_:
    std::vector<std::unique_ptr<host_processor>> all_; // to own them: at() finds them
    std::vector<std::unique_ptr<host_machine>> machines_;
    std::vector<host_machine*> spares_; // the one that came last is the warmest
    unsigned threads_ = 0;
    unsigned working_processors_ = 0; // whose loops have not ended
    time_point refused_until_{};      // the system has refused a thread

    std::mutex exit_mutex_;
    std::condition_variable exit_;
    unsigned still_inside_ = 0; // guarded by exit_mutex_
    machine* callers_machine_ = nullptr; // that it had before, for run_first()
    bool first_is_missing_ = false; // first::on_caller, and run_first() was not called yet
    atomic<std::uint64_t> wakes_{0};
    atomic<std::uint64_t> handoffs_{0};
    atomic<std::uint64_t> preemptions_{0};
    host_monitor monitor_;
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_ASIO_HOST_HPP
