//
// spindle/detail/asio/asio_core.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// What every scheduler has that lives on Asio, whoever owns the threads.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_ASIO_ASIO_CORE_HPP
#define SPINDLE_DETAIL_ASIO_ASIO_CORE_HPP

#include <spindle/config.hpp>
#include <spindle/detail/asio/blocking_threads.hpp>
#include <spindle/detail/fiber/record.hpp>
#include <spindle/detail/sched/core.hpp>
#include <spindle/scheduler_options.hpp>
#include <spindle/scheduler_stats.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/execution_context.hpp>

#include <condition_variable>
#include <exception>
#include <mutex>
#include <string>
#include <utility>

namespace spindle {
class scheduler;
}

namespace spindle::detail {

class machine;
class timer_queue;

class SPINDLE_DECL asio_core : public core {
public:
    explicit asio_core(scheduler_options options) : options_(std::move(options))
    {
        if (options_.measure_latency)
            watch(watch_latency, true);
    }

    scheduler_options const& options() const noexcept { return options_; }

    // The scheduler that a user sees, or nullptr: a user's io_context has none.
    virtual scheduler* public_scheduler() noexcept { return nullptr; }

    // For a free fiber that runs on `p`: where sockets and timers that it makes
    // belong, and where what it posts runs. `p` may be nullptr.
    virtual boost::asio::any_io_executor executor_at(processor* p) = 0;

    // Where a fiber without a processor sleeps; nullptr: it needs a timer of its
    // own, on its own executor.
    virtual timer_queue* timers() noexcept = 0;

    // The context that fibers of this scheduler wait on, for those that ask.
    virtual boost::asio::execution_context& context() noexcept = 0;

    // In a completion handler. A free fiber goes on, here and now if that is
    // possible.
    virtual void resume(fiber_record& g) noexcept = 0;

    // The execution context is going away, and with it what would have run this
    // fiber. Runs it here and now, as far as it goes.
    virtual void run_abandoned(fiber_record& g) noexcept;

    // A handler has readied fibers of ours, and has nothing held: while the execution
    // context is being destroyed nobody else runs them.
    virtual void handler_has_readied() noexcept {}

    // Main context only, after a slice on a thread where fibers wait, or have
    // waited, in primitives of Boost.Fiber's. For threads that are not ours.
    virtual void see_to_stock_fibers(machine&) noexcept {}

    // True: the execution context is being destroyed. What waits now will not be
    // woken, and nothing can be posted.
    virtual bool closing() const noexcept { return false; }

    // Any thread. What a spawn asks first, all of them rare: whether a context of the
    // process is closing, or somebody wants to know who spawned whom.
    static unsigned unusual() noexcept { return unusual_.load(std::memory_order_seq_cst); }
    static constexpr unsigned spawners_wanted = 1; // for good
    static constexpr unsigned one_closing = 2;     // counted
    static void want_spawners() noexcept
    {
        unusual_.fetch_or(spawners_wanted, std::memory_order_seq_cst);
    }

    // Something was posted that makes one of its fibers run, to an executor that is
    // not the core's own.
    virtual void has_posted() noexcept {}

    // True: a thread that blocks loses its processor to another one.
    virtual bool moves_processors() const noexcept { return false; }

    // True: its timers() go by a clock of their own (deterministic_core.hpp).
    virtual bool keeps_time() const noexcept { return false; }

    // For those that do not move them.
    blocking_threads& threads_for_blocking() noexcept { return blocking_threads_; }

    // Any thread. `quick`: without the states of the fibers, which takes a look at each.
    [[nodiscard]] scheduler_stats stats(bool quick = false) const;

    // In a catch block of fiber `g`.
    void unhandled(fiber_record const& g) noexcept;

    // As unhandled(), of a fiber that has ended.
    void unhandled_elsewhere() noexcept;

    // As unhandled(), for a handler of Asio's that threw on a thread of ours.
    void unhandled_in_handler() noexcept;

    // Who is alive, and what for; a line each.
    std::string describe_live_fibers() const;

protected:
    // What they know of processors and threads. `s` has a processor_stats for each.
    virtual void add_stats(scheduler_stats& s) const = 0;

    // Waits until no fiber is alive, or until the grace is over: then it names
    // them and ends the process.
    void await_end(time_point deadline) noexcept;
    [[noreturn]] void give_up_waiting() noexcept;
    void on_last() noexcept override;
    void print_live_fibers() const noexcept;

    // For options_.on_left. `but`: one that does not count, or nullptr.
    void report_left(fiber_record const* but) noexcept;

    // Around the time in which closing() may be true; before that says so.
    static void begin_closing() noexcept
    {
        unusual_.fetch_add(one_closing, std::memory_order_seq_cst);
    }
    static void end_closing() noexcept
    {
        unusual_.fetch_sub(one_closing, std::memory_order_seq_cst);
    }

    scheduler_options options_;
    blocking_threads blocking_threads_{options_.max_threads};

private:
    static atomic<unsigned> unusual_;

    void report(std::exception_ptr e, fiber_info const& info) noexcept;

    std::mutex end_mutex_;
    std::condition_variable ended_;
    atomic<int> waiting_for_end_{0};
};

// Its type, and what() it says.
std::string describe_exception(std::exception_ptr e) noexcept;

// The scheduler of a fiber. Every fiber that the asio room starts has one; a
// fiber of Boost.Fiber's own may have none.
inline asio_core* asio_core_of(fiber_record const& g) noexcept
{
    return static_cast<asio_core*>(g.scheduler());
}

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_ASIO_ASIO_CORE_HPP
