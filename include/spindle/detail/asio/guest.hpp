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
#include <spindle/detail/asio/guest_threads.hpp>
#include <spindle/detail/asio/guest_waiter.hpp>
#include <spindle/detail/asio/schedtrace.hpp>
#include <spindle/detail/asio/slot_memory.hpp>
#include <spindle/detail/base/mutex.hpp>
#include <spindle/detail/fiber/machine.hpp>
#include <spindle/detail/sched/processor.hpp>
#include <spindle/detail/time/timer_queue.hpp>

#include <boost/asio/execution_context.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <memory>
#include <optional>
#include <vector>

namespace spindle::detail {

class guest;

// Sleepers, below one Asio timer. All of the timer happens under the queue's
// lock, since Asio's are not synchronised.
class guest_timers final : public timer_queue {
public:
    guest_timers(guest& g, boost::asio::io_context& io) : guest_(g)
    {
        timer_.emplace(io);
        alarm_.expired = [](timer_entry&) noexcept {};
        retry_.expired = [](timer_entry& e) noexcept {
            static_cast<retry_entry&>(e).set.store(false, std::memory_order_release);
        };
    }

    // The io_context is being destroyed: its service of timers may go before us.
    // The memory of an operation stays.
    void close() noexcept
    {
        (void)erase(alarm_);
        (void)erase(retry_);
        timer_.reset();
    }

    // The thread that see_to_stock_fibers() speaks of. A drain at that time.
    void wake_at(time_point when) noexcept;

    // Any thread. A drain, a little later.
    void retry() noexcept;

private:
    void on_earliest(time_point when) noexcept override;
    void on_empty() noexcept override;

    guest& guest_;
    std::optional<boost::asio::steady_timer> timer_; // empty: closed
    slot_memory<256> memory_;
    timer_entry alarm_;
    struct retry_entry : timer_entry {
        atomic<bool> set{false}; // whoever sets it pushes the entry
    } retry_;
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
//   I4  Once the context is being destroyed nothing is posted to it.
//
// Why it is correct
//
//   I1: whoever makes a fiber ready publishes it, then looks at posted_
//   (seq_cst); a drain that begins takes posted_ down (seq_cst), then looks at
//   the queues. Either the drain sees the fiber, or the other sees that it must
//   post. A drain that ends looks at the queues once more.
//   A drain that finds more than a fiber posts the next one before it runs that: so as
//   many threads come as there is work for, one after another, even if no fiber ends.
//   A drain whose io_context is being run on a fiber's stack can do nothing there.
//   It comes again by a timer, to whichever thread then runs the io_context: if
//   it posted itself, poll() would never return.
//
//   I4: a caller counts itself (sched/core.hpp), then looks at closing_; shutdown()
//   sets that, then waits until nobody is counted (seq_cst, all four).
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

    // Where on the stack this thread runs this io_context now, or nullptr.
    void const* frame_here() const noexcept;
    bool runs_here() const noexcept { return frame_here() != nullptr; }

    boost::asio::io_context* io() const noexcept { return io_.load(std::memory_order_acquire); }

    // For the machine of a thread that runs this io_context (guest_waiter.hpp).
    std::shared_ptr<guest_waiter> make_waiter();

    // A processor for a thread, until it leaves it.
    processor& acquire();
    void leave(processor& p) noexcept;

    boost::asio::any_io_executor executor_at(processor* p) override;
    timer_queue* timers() noexcept override { return io() ? timers_.get() : nullptr; }
    boost::asio::execution_context& context() noexcept override { return context_; }
    void resume(fiber_record& g) noexcept override;
    void run_abandoned(fiber_record& g) noexcept override;
    void handler_has_readied() noexcept override;
    bool closing() const noexcept override { return closing_.load(std::memory_order_seq_cst); }
    void wake_one() noexcept override;
    void has_posted() noexcept override;
    bool runs_free_fibers() const noexcept override { return io() != nullptr; }
    void see_to_stock_fibers(machine& m) noexcept override;

private:
    friend class guest_timers;

    void add_stats(scheduler_stats& s) const override;

    // False: this is a fiber's stack, and nothing was done.
    bool drain(fiber_record* first) noexcept;
    bool may_drain_here() const noexcept;
    void run_all_here() noexcept;
    void meet(machine& m) noexcept;
    void refuse_stock_waits_of_several() const noexcept;
    void begin_work() noexcept override;
    void end_work() noexcept override;

    boost::asio::execution_context& context_;
    atomic<boost::asio::io_context*> io_{nullptr}; // nullptr: bound fibers only, so far
    atomic<std::size_t> working_{0};               // free fibers alive
    std::unique_ptr<guest_timers> timers_; // set before io_
    std::unique_ptr<guest_threads> threads_; // the same; nullptr: the user's do it all
    slot_memory<256> drain_memory_;
    alignas(cache_line_size) atomic<bool> posted_{false};
    atomic<bool> closing_{false};
    bool running_all_ = false; // once closing: somebody below on this stack takes what is ready
    mutable mutex lock_;
    std::vector<std::unique_ptr<processor>> processors_; // under lock_
    std::vector<processor*> free_;                        // under lock_
    atomic<machine*> only_machine_{nullptr}; // the one thread that was seen
    atomic<bool> several_machines_{false};
    atomic<bool> stock_waits_{false};
    std::vector<std::shared_ptr<guest_waiter>> waiters_; // under lock_
    schedtrace schedtrace_;
    listed listed_{*this};
};

// The scheduler whose io_context this thread is running handlers of, innermost
// first; nullptr if none is known.
[[nodiscard]] SPINDLE_DECL asio_core* core_running_here() noexcept;

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_ASIO_GUEST_HPP
