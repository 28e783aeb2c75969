//
// spindle/detail/asio/host_processor.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// A processor of host mode, with an io_context.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_ASIO_HOST_PROCESSOR_HPP
#define SPINDLE_DETAIL_ASIO_HOST_PROCESSOR_HPP

#include <spindle/detail/asio/slot_memory.hpp>
#include <spindle/detail/asio/turn_of_asio.hpp>
#include <spindle/detail/base/atomic.hpp>
#include <spindle/detail/base/clock.hpp>
#include <spindle/detail/fiber/machine.hpp>
#include <spindle/detail/sched/parker.hpp>
#include <spindle/detail/sched/processor.hpp>
#include <spindle/detail/time/timer_queue.hpp>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <optional>

namespace spindle::detail {

class host;
class host_machine;
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
//   interrupt(), timers     any thread
//   runs_here               under host::moves_
//   sleeps_until_           written by the machine, as it goes to sleep
//   away_                   set by the monitor, cleared by the machine that has Asio
//   asio_is_at_             written by that machine; others see whether it is their own
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

    // The machine has Asio, for as long as this lives, and runs the user's code there.
    class turn_in_asio {
    public:
        turn_in_asio(host_processor& p, machine& m) noexcept : processor_(p)
        {
            p.asio_is_at_.store(&m, std::memory_order_relaxed);
            excursion_.emplace(m);
        }
        turn_in_asio(turn_in_asio const&) = delete;
        turn_in_asio& operator=(turn_in_asio const&) = delete;
        ~turn_in_asio();

    private:
        host_processor& processor_;
        std::optional<machine::excursion> excursion_;
    };

    // These return with the processor lost, at any time.
    void loop(machine& m);
    void poll(machine& m);
    void sleep(machine& m);
    void block(machine& m, time_point deadline);
    void arm(time_point deadline);
    void retire(machine& m);
    void expire_sleepers(machine& m, time_point at) noexcept;

    runnable* find() noexcept;
    runnable* search(machine& m);
    bool goes_on_searching(machine& m) const noexcept;
    void wake_up(machine& m) noexcept;
    bool may_end() const noexcept;
    void wait_in_handler(machine& m, time_point deadline) noexcept;
    bool holds(machine& m) const noexcept { return m.held() == this; }

    // The machine's thread: it is inside a turn_in_asio.
    bool has_asio(machine& m) const noexcept
    {
        return asio_is_at_.load(std::memory_order_relaxed) == &m;
    }

    host& host_;
    boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
    boost::asio::detail::scheduler& asio_;
    boost::asio::steady_timer alarm_;
    time_point alarm_at_ = time_point::max(); // what alarm_ is set to
    atomic<time_point> sleeps_until_{time_point::max()}; // others may look
    slot_memory<256> alarm_memory_;
    turn_of_asio turn_;
    time_point polled_at_{};
    bool searching_ = false;
    unsigned looks_ = 0; // of this search
    unsigned stock_turn_ = 0;
    host_timers sleepers_;
    slot_memory<128> interrupt_memory_;
    machine* runs_here = nullptr;
    parker parker_; // of its machine, while another one has Asio
    alignas(cache_line_size) atomic<bool> interrupted_{false};
    atomic<bool> away_{false};
    atomic<machine*> asio_is_at_{nullptr}; // the machine that is in it
    atomic<bool> dozing_{false}; // its machine has announced that it sleeps, and not come back
    atomic<bool> retired_{false}; // it shall run no fibers
    atomic<bool> runs_none_{false}; // and does not
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_ASIO_HOST_PROCESSOR_HPP
