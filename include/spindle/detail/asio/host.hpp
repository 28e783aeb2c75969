//
// spindle/detail/asio/host.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// Host mode: one processor, one io_context and one thread of ours, N times.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_ASIO_HOST_HPP
#define SPINDLE_DETAIL_ASIO_HOST_HPP

#include <spindle/config.hpp>
#include <spindle/detail/asio/asio_core.hpp>
#include <spindle/detail/asio/slot_memory.hpp>
#include <spindle/detail/fiber/machine.hpp>
#include <spindle/detail/fiber/park.hpp>
#include <spindle/detail/sched/idle_state.hpp>
#include <spindle/detail/sched/poller.hpp>
#include <spindle/detail/sched/processor.hpp>
#include <spindle/detail/time/timer_queue.hpp>
#include <spindle/scheduler.hpp>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <memory>
#include <thread>
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

// Who may touch what
//
//   interrupt(), timers   any thread
//   the rest              the thread
class host_processor final : public processor, public poller {
public:
    host_processor(host& h, unsigned index);

    // The thread's whole life.
    void run() noexcept;

    // poller: where main waits for Boost.Fiber's own primitives.
    void wait_until(time_point deadline) noexcept override;
    void interrupt() noexcept override;
    void main_goes_on() noexcept override;

    boost::asio::io_context io;

private:
    friend class host;

    void loop(machine& m);
    runnable* find() noexcept;
    runnable* search(machine& m);
    void sleep(machine& m);
    void poll();
    void block(time_point deadline);

    host& host_;
    boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
    boost::asio::steady_timer alarm_;
    time_point alarm_at_ = time_point::max(); // what alarm_ is set to
    slot_memory<256> alarm_memory_;
    turn_of_asio turn_;
    time_point polled_at_{};
    bool searching_ = false;
    unsigned stock_turn_ = 0;
    host_timers sleepers_;
    slot_memory<128> interrupt_memory_;
    alignas(cache_line_size) atomic<bool> interrupted_{false};
    std::thread thread_;
};

// Shape
//
//   Each thread goes round: due sleepers, Asio if it is time, Boost.Fiber's
//   dispatcher if it was woken, then up to 61 fibers straight after each other;
//   the global queue is looked at first in each round, which is each 61st pick.
//   With nothing to run: Asio, the global queue, the others' queues while it may
//   search, and at last it blocks inside its io_context, with one timer armed
//   for the earliest sleeper. Whoever has work for it posts an empty handler.
//
// Why no wake-up is lost: idle_state.hpp has the protocol. This loop looks at
// all queues once more after it has announced itself idle, and a wake-up stays
// in its io_context until it is taken.
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

    unsigned processors() const noexcept { return static_cast<unsigned>(all_.size()); }
    host_processor& processor_at(unsigned i) noexcept { return *all_[i]; }
    boost::asio::io_context& next_io() noexcept;
    scheduler_stats stats() const;

    scheduler* public_scheduler() noexcept override { return &facade_; }
    boost::asio::any_io_executor executor_at(processor* p) override;
    timer_queue* timers() noexcept override { return &all_.front()->sleepers_; }
    boost::asio::execution_context& context() noexcept override { return all_.front()->io; }
    void resume(fiber_record& g) noexcept override;
    void wake_one() noexcept override;

private:
    friend class host_processor;

    void on_last() noexcept override;
    time_point overdue_at() const noexcept
    {
        return overdue_at_.load(std::memory_order_relaxed);
    }
    bool leaving() const noexcept { return leaving_.load(std::memory_order_seq_cst); }
    void leave() noexcept;
    void end_threads() noexcept;
    void meet_before_exit() noexcept;

    scheduler& facade_;
    idle_state idle_;
    std::vector<std::unique_ptr<host_processor>> all_;
    atomic<unsigned> turn_{0};
    atomic<bool> leaving_{false};
    atomic<bool> finishing_{false};
    atomic<time_point> overdue_at_{time_point::max()};
    std::mutex exit_mutex_;
    std::condition_variable exit_;
    unsigned still_inside_ = 0; // guarded by exit_mutex_
    machine* callers_machine_ = nullptr; // that it had before, for run_first()
    bool first_is_missing_ = false; // first::on_caller, and run_first() was not called yet
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_ASIO_HOST_HPP
