//
// spindle/detail/asio/host_machine.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// A thread of host mode.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_ASIO_HOST_MACHINE_HPP
#define SPINDLE_DETAIL_ASIO_HOST_MACHINE_HPP

#include <spindle/config.hpp>

#include <spindle/detail/base/atomic.hpp>
#include <spindle/detail/base/clock.hpp>
#include <spindle/detail/fiber/machine.hpp>
#include <spindle/detail/fiber/park.hpp>
#include <spindle/detail/sched/counters.hpp>
#include <spindle/detail/sched/parker.hpp>
#include <spindle/detail/sched/poller.hpp>

#include <thread>

namespace spindle::detail {

class host;
class host_processor;

// One of the host's threads. It runs processors that it is given, one after another,
// and rests meanwhile. Others may call interrupt() for as long as the host lives, so
// this outlives its thread, and is used again with another one.
//
// Who may touch what
//
//   interrupt()        any thread
//   is, given          under host::moves_
//   pinned_            the thread; who has reserved this, under host::moves_
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
    bool on_own_thread_ = false;           // set before it starts
    bool pinned_ = false;                  // a fiber is pinned here
    counter pinned_slices_;                // that it has begun here; read by the monitor
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

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_ASIO_HOST_MACHINE_HPP
