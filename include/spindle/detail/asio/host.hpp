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
#include <spindle/scheduler.hpp>

#include <spindle/detail/asio/asio_core.hpp>
#include <spindle/detail/asio/host_machine.hpp>
#include <spindle/detail/asio/host_monitor.hpp>
#include <spindle/detail/asio/host_processor.hpp>
#include <spindle/detail/asio/schedtrace.hpp>
#include <spindle/detail/sched/idle_state.hpp>
#include <spindle/detail/sched/monitor_policy.hpp>

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace spindle::detail {

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
//   the same time. Meanwhile the new machine runs fibers, and sleeps in a parker. The
//   same holds where a handler waits in a primitive of Boost.Fiber's, and Asio is
//   served below it. Other code of the user's runs on main as well, stop callbacks and
//   reports: where that waits, its machine has Asio for as long as it serves it.
//
//   A processor that is not wanted any more gives its fibers to the others. Its
//   sleepers and its io_context stay, and so does its machine, which sees to them
//   without holding it. Sleepers that it leaves waiting, since it is in a handler, are
//   seen by the monitor, and woken by the first processor.
//
//   A machine that a fiber is pinned to gives its processor away, and runs that fiber
//   alone, beside the others. Where a handler is below the fiber, which must end first,
//   the machine keeps all it has, and the fiber goes to a spare one.
//
//   At the end each loop ends once no fiber is alive, but for machines that are still in
//   the user's code: the monitor stays for those until all are out.
//
// Invariants
//
//   I1  A processor has a machine at all times, or is being given one.
//   I2  The machine that has a processor has its io_context as well, unless away_;
//       then another machine has that, and is inside of it. asio_is_at_ says which
//       one is.
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
    void add_stats(scheduler_stats& s) const override;
    // When the grace is over for those that are alive; max(): for nobody.
    time_point overdue_at() const noexcept
    {
        auto const at = overdue_at_.load(std::memory_order_relaxed);
        return at != time_point::max() && live() == 0 ? time_point::max() : at;
    }
    bool leaving() const noexcept { return leaving_.load(std::memory_order_seq_cst); }
    void leave() noexcept;
    void end_threads() noexcept;
    void one_less_inside() noexcept;
    void await_nobody_inside() noexcept;
    void meet_before_exit() noexcept;

    // A machine's, with nothing held.
    host_processor* next_for(host_machine& who) noexcept;
    void begin_tenure(host_processor& p, machine& m) noexcept;
    void end_tenure(host_processor& p) noexcept;
    void bring_back_asio(host_processor& p) noexcept;

    // A machine's, outside. What retired processors have due, if they do not come for it.
    bool orphans_due() const noexcept { return orphans_due_.load(std::memory_order_relaxed); }
    void expire_orphans(time_point at) noexcept;

    // The monitor's.
    duration look_round(
        monitor_policy& policy, hog_list& hogs, std::vector<host_machine*>& to_wake) noexcept;
    bool all_asleep() const noexcept;
    duration look_for_deadlock() noexcept;
    bool at_rest() const;
    duration pause_until_sure(std::uint64_t epoch) noexcept;
    void report_deadlock();
    bool asleep_for_good() const noexcept;
    bool machines_rest() const;
    bool fibers_wait() const;
    std::uint64_t epoch() const noexcept;
    std::uint64_t pinned_slices() const noexcept;
    time_point earliest_deadline() const noexcept;
    monitor_policy::look look_at(host_processor& p, time_point at) const noexcept;
    enum class outcome { nothing, done, missed };
    outcome retake(
        host_processor& p,
        monitor_policy::look const& seen,
        hog_list* hogs,
        std::vector<host_machine*>& to_wake,
        std::unique_lock<std::mutex>& moves) noexcept;
    host_machine* reserve(std::unique_lock<std::mutex>& moves, bool by_monitor = false) noexcept;
    void put_back(host_machine& spare) noexcept;
    static void give(host_processor& p, host_machine& spare) noexcept;

    host_processor& add_processor();
    void add_processor_with_machine();
    host_machine& add_machine();
    void start(host_machine& who);
    void start_threads();
    bool runs_here() const noexcept;
    void end_processor() noexcept;

    scheduler& facade_;
    idle_state idle_;
    atomic<unsigned> active_{0}; // the first so many processors; the others are retired
    atomic<unsigned> turn_{0};
    std::mutex resizing_; // outside moves_
    atomic<bool> leaving_{false};
    atomic<bool> finishing_{false};
    atomic<bool> orphans_due_{false}; // set by the monitor, for the first processor
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
    unsigned still_inside_ = 0;          // guarded by exit_mutex_
    machine* callers_machine_ = nullptr; // that it had before, for run_first()
    bool const inside_run_;
    // The monitor's:
    std::uint64_t deadlocked_at_ = 0; // the epoch that was reported
    std::uint64_t unsure_at_ = 0;     // the one that nothing could be said of
    duration unsure_pause_{};         // and for how long that is left alone
    bool first_is_missing_ = false;   // first::on_caller, and run_first() was not called yet
    atomic<std::uint64_t> wakes_{0};
    atomic<std::uint64_t> handoffs_{0};
    atomic<std::uint64_t> preemptions_{0};
    host_monitor monitor_;
    schedtrace schedtrace_;
    listed listed_{*this};
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_ASIO_HOST_HPP
