//
// spindle/detail/asio/deterministic_core.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// A scheduler of one thread on which a seed decides who runs next, and whose time
// passes only when nobody can run.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_ASIO_DETERMINISTIC_CORE_HPP
#define SPINDLE_DETAIL_ASIO_DETERMINISTIC_CORE_HPP

#include <spindle/config.hpp>

#include <spindle/detail/asio/asio_core.hpp>
#include <spindle/detail/sched/chooser.hpp>
#include <spindle/detail/sched/processor.hpp>
#include <spindle/detail/time/timer_queue.hpp>

#include <boost/asio/io_context.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

namespace spindle::detail {

struct exploring {
    std::uint64_t seed = 1;
    chooser::strategy how = chooser::strategy::random;
    unsigned depth = 3;
    bool fine = false; // points in what never waits, too
    double cancel = 0; // of one that runs, at one of its points
    double delay = 0;  // that time passes though somebody can run, at a step
    std::size_t stack_size = 256 * 1024;
    std::size_t max_steps = 100'000;
    duration max_time = std::chrono::hours(24 * 365);
    duration io_patience{}; // how long to wait for Asio before time passes
};

// Shape
//
//   One processor, one io_context, one thread. What is ready lies in the processor's
//   queues only until the next choice: then all of it is here, and the chooser says
//   who runs. Asio's turn is one of the candidates while it has work.
//
//   A point is where a fiber may lose its turn: each operation that may wait comes by
//   the gate (fiber/hooks.hpp), which is ours as long as there is such a scheduler; and
//   to start a fiber. To park, to yield and to end are points anyway. Where `fine` is
//   said, what never waits has points, too: explored_point(), beside the gate.
//
//   drive() is main's loop: one slice at a time, so that each switch comes back to it.
//   Under algo::deterministic the loop is Boost.Fiber's, and arrange() puts the chosen
//   one in front.
//
//   Time is a number. It goes to the next deadline when nobody can run and Asio has
//   nothing ready.
//
// Invariants
//
//   I1  Nothing that decides depends on an address, the real time or a thread: the same
//       seed gives the same run, if the fibers depend on nothing of that kind either.
//   I2  No other thread readies its fibers, but for what Asio or blocking() does for
//       them: that is allowed, and not repeated by the seed.
//
// Evidence: test/algo/deterministic.cpp, test/testing/explore.cpp
class SPINDLE_DECL deterministic_core final : public asio_core {
public:
    enum class outcome { ended, deadlock, endless, failed };

    bool is_fine() const noexcept { return how_.fine; }

    explicit deterministic_core(exploring options);
    ~deterministic_core() override;

    // Main context only, of a thread without a processor. Runs fibers until none is
    // alive, or until it goes no further.
    outcome drive();

    // The same, after drive(): stops all that are left and lets them go. False: some
    // wait for what no stop ends.
    bool clear_away();

    // What left a fiber that nobody waits for, or a handler.
    void fail(std::exception_ptr e) noexcept;
    std::exception_ptr failure() const noexcept { return failure_; }

    // Who is alive, and what it does; a line each.
    std::string describe_fibers();
    // The last steps.
    std::string describe_steps() const;

    std::uint64_t steps() const noexcept { return steps_; }
    // Differs where the runs differ, most likely.
    std::uint64_t fingerprint() const noexcept { return fingerprint_; }
    time_point time() const noexcept { return time_; }
    boost::asio::io_context& io() noexcept { return io_; }
    processor& place() noexcept { return processor_; }

    // A fiber of ours, at a point: others may run before it goes on.
    void point(fiber_record& self) noexcept;
    // From now on there are no points, and no faults.
    void be_quiet() noexcept { quiet_ = true; }
    // That fiber is never cancelled as a fault.
    void spare(fiber_record& g) noexcept { spared_ = &g; }

    // For algo::deterministic: who is next comes first in the processor's queue.
    void arrange() noexcept;
    // Nobody can run: gives Asio its turn, or lets time pass. False: nothing comes of it.
    bool advance() noexcept;
    // Gives Asio its turn: one handler. False: there was none.
    bool poll() noexcept;
    // The same, and waits for it really.
    bool wait_for_asio(time_point deadline) noexcept;

    boost::asio::any_io_executor executor_at(processor*) override { return io_.get_executor(); }
    timer_queue* timers() noexcept override { return &timers_; }
    boost::asio::execution_context& context() noexcept override { return io_; }
    void resume(fiber_record& g) noexcept override;
    bool moves_processors() const noexcept override { return true; } // blocking() stays here
    bool keeps_time() const noexcept override { return true; }
    void wake_one() noexcept override;
    void begin_work() noexcept override { starting_ = true; }

private:
    // What a run knows of a fiber.
    struct known {
        unsigned number; // in the order of first appearance
        chooser::priority priority;
        bool queued;
    };
    struct step {
        std::uint64_t fiber; // 0: Asio's turn
        wait_reason before;  // what it had waited for
        bool kept;           // it might have lost its turn, and has not
    };

    struct choice {
        enum { nobody, running, a_fiber, asio } who = nobody;
        fiber_record* fiber = nullptr;
    };
    class tenancy;

    static constexpr std::uint64_t asio_id = 0;

    void add_stats(scheduler_stats& s) const override;

    void collect() noexcept;
    known& get_known(std::uint64_t id, fiber_record* g) noexcept;
    choice choose(fiber_record* running, bool asio) noexcept;
    fiber_record* take(std::size_t i) noexcept;
    void note(std::uint64_t id, wait_reason before, bool kept) noexcept;
    bool pass_time() noexcept;
    bool dispatch() noexcept;
    bool has_asio_work() noexcept;
    bool somebody_blocks() const noexcept;
    bool over() const noexcept;
    std::string name_of(std::uint64_t id) const;

    exploring const how_;
    chooser chooser_;
    boost::asio::io_context io_;
    boost::asio::detail::scheduler& asio_; // of io_
    timer_queue timers_;
    processor processor_;
    machine* const machine_; // the thread's
    time_point time_;

    std::vector<fiber_record*> ready_;
    std::vector<chooser::priority> priorities_; // scratch
    std::unordered_map<std::uint64_t, known> known_;
    std::unordered_map<std::uint64_t, std::string> names_;
    choice next_;                       // made already, at a point
    fiber_record* preempted_ = nullptr; // gives way at a point, and not of its own accord
    fiber_record* spared_ = nullptr;
    bool quiet_ = false;
    bool driven_ = false;   // by drive() or clear_away()
    bool starting_ = false; // a fiber of ours, just now
    std::uint64_t steps_ = 0;
    std::uint64_t fingerprint_ = 14695981039346656037u;
    std::vector<step> trace_; // a ring
    std::exception_ptr failure_;
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_ASIO_DETERMINISTIC_CORE_HPP
