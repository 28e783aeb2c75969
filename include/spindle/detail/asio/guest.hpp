//
// spindle/detail/asio/guest.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// Guest mode: fibers on an execution context of the user's, run by the user's
// threads.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_ASIO_GUEST_HPP
#define SPINDLE_DETAIL_ASIO_GUEST_HPP

#include <spindle/config.hpp>
#include <spindle/detail/asio/asio_core.hpp>
#include <spindle/detail/asio/slot_memory.hpp>
#include <spindle/detail/base/mutex.hpp>
#include <spindle/detail/fiber/machine.hpp>
#include <spindle/detail/sched/processor.hpp>
#include <spindle/detail/time/timer_queue.hpp>

#include <boost/asio/execution_context.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <memory>
#include <vector>

namespace spindle::detail {

class guest;

// Sleepers, below one Asio timer. All of the timer happens under the queue's
// lock, since Asio's are not synchronised.
class guest_timers final : public timer_queue {
public:
    guest_timers(guest& g, boost::asio::io_context& io) : guest_(g), timer_(io)
    {
        alarm_.expired = [](timer_entry&) noexcept {};
    }
    ~guest_timers() override { (void)erase(alarm_); }

    // The thread that see_to_stock_fibers() speaks of. A drain at that time.
    void wake_at(time_point when) noexcept;

private:
    void on_earliest(time_point when) noexcept override;
    void on_empty() noexcept override;

    guest& guest_;
    boost::asio::steady_timer timer_;
    slot_memory<256> memory_;
    timer_entry alarm_;
};

// Shape
//
//   A thread of the user's that runs a completion handler of ours, or a drain
//   that was posted, takes a processor, runs fibers until there are none, or 61
//   slices, or 1 ms, and gives the processor back before the handler returns.
//   What is left goes to the global queue, and one more drain is posted.
//
// Who may touch what
//
//   posted_       any thread
//   processors_   under lock_
//   a processor   the thread that took it
//
// Invariants
//
//   I1  While something is runnable, a drain is posted or running.
//   I2  At most one drain is posted and unanswered.
//   I3  There are as many processors as drains were ever seen at once.
//
// Why it is correct
//
//   I1: whoever makes a fiber ready publishes it, then looks at posted_
//   (seq_cst); a drain that begins takes posted_ down (seq_cst), then looks at
//   the queues. Either the drain sees the fiber, or the other sees that it must
//   post. A drain that ends looks at the queues once more.
//   A drain that finds more than it takes posts the next one before it starts:
//   so as many threads come as there is work for, one after another.
//
// Not done, and why
//
//   A processor for each thread, kept: the thread may not come back for hours,
//   or never, and what it holds would lie there.
//   defer() instead of post(): what is deferred is private to the thread until
//   its handler returns.
//
// Evidence: test/asio/guest.cpp
class guest final : public asio_core {
public:
    guest(boost::asio::execution_context& context, scheduler_options options);
    ~guest() override;

    // The context is being destroyed: what waits is told so, and runs to its end
    // on this thread.
    void shutdown() noexcept;

    // Before a free fiber is spawned: the context is this io_context. Throws
    // invalid_argument if that was made without locking.
    void serve(boost::asio::io_context& io);

    // True on a thread that runs this io_context now.
    bool runs_here() const noexcept;

    // A processor for a thread, until it leaves it.
    processor& acquire();
    void leave(processor& p) noexcept;

    boost::asio::any_io_executor executor_at(processor* p) override;
    timer_queue* timers() noexcept override { return io() ? timers_.get() : nullptr; }
    boost::asio::execution_context& context() noexcept override { return context_; }
    void resume(fiber_record& g) noexcept override;
    void run_abandoned(fiber_record& g) noexcept override;
    bool closing() const noexcept override { return closing_.load(std::memory_order_seq_cst); }
    void wake_one() noexcept override;

private:
    friend class guest_timers;
    class stock_waker;

    void drain(fiber_record* first) noexcept;
    void run_all_here() noexcept;
    void see_to_stock_fibers(machine& m) noexcept;
    void begin_work() noexcept override;
    void end_work() noexcept override;
    boost::asio::io_context* io() const noexcept { return io_.load(std::memory_order_acquire); }

    boost::asio::execution_context& context_;
    atomic<boost::asio::io_context*> io_{nullptr}; // nullptr: bound fibers only, so far
    atomic<std::size_t> working_{0};               // free fibers alive
    std::unique_ptr<guest_timers> timers_; // set before io_
    slot_memory<256> drain_memory_;
    alignas(cache_line_size) atomic<bool> posted_{false};
    atomic<bool> closing_{false};
    mutex lock_;
    std::vector<std::unique_ptr<processor>> processors_; // under lock_
    std::vector<processor*> free_;                        // under lock_
    atomic<machine*> only_machine_{nullptr}; // the one thread that was seen
    atomic<bool> several_machines_{false};
    std::unique_ptr<stock_waker> waker_;
};

// The scheduler whose io_context this thread is running handlers of, innermost
// first; nullptr if none is known.
[[nodiscard]] SPINDLE_DECL asio_core* core_running_here() noexcept;

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_ASIO_GUEST_HPP
