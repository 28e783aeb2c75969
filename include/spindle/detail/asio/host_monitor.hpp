//
// spindle/detail/asio/host_monitor.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// The thread that looks after a host's processors, and runs none of them.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_ASIO_HOST_MONITOR_HPP
#define SPINDLE_DETAIL_ASIO_HOST_MONITOR_HPP

#include <spindle/detail/base/asymmetric_barrier.hpp>
#include <spindle/detail/base/atomic.hpp>
#include <spindle/detail/base/clock.hpp>
#include <spindle/detail/sched/parker.hpp>

#include <set>
#include <string>
#include <thread>
#include <vector>

namespace spindle::detail {

class host;
class host_machine;
class monitor_policy;

// A fiber that has lost its processor, as it was then: it may have ended meanwhile.
struct hog {
    std::string name;
    void const* spawn_site;
    duration ran;
};

using hog_list = std::vector<hog>;

// What it does is the host's look_round(), and when, monitor_policy's.
//
// Sleeping for ever: it says so, then looks whether all sleep; who wakes up says so,
// then looks whether the monitor sleeps. One of them sees the other. The one who
// wakes up pays a load for that. Where not all sleep it is one more pause: a machine
// may be in a handler for long, and nothing to be done about it.
//
// A long pause: it says so, then looks whether it is to look soon; the one who wants that
// stores it, then looks whether the monitor pauses. All seq_cst, so one sees the other.
class host_monitor {
public:
    explicit host_monitor(host& h) noexcept : host_(h) {}

    // Throws std::system_error.
    void start();

    // From another thread. Returns when the thread has ended.
    void end() noexcept;

    // The monitor's thread. Its short pauses need the kernel's attention; threads that
    // it starts inherit that, so not while it does.
    void hurry(bool on) noexcept;

    // Any thread, after it has stored that a processor is awake by
    // store_then_light_barrier(), or better.
    void stir() noexcept
    {
        if (asleep_.load(std::memory_order_seq_cst)) [[unlikely]]
            wake_.unpark();
    }

    // Any thread. One is back that had lost its processor.
    void look_soon() noexcept
    {
        soon_.store(true, std::memory_order_seq_cst);
        if (pauses_.load(std::memory_order_seq_cst))
            wake_.unpark();
    }

private:
    void run(monitor_policy& policy) noexcept;
    void report(hog_list const& hogs) noexcept;

    host& host_;
    atomic<bool> asleep_{false};
    atomic<bool> soon_{false};
    atomic<bool> pauses_{false}; // for longer than the shortest time
    atomic<bool> ending_{false};
    parker wake_;
    // The thread's:
    hog_list hogs_;
    std::vector<host_machine*> to_wake_;
    std::set<void const*> reported_; // spawn sites
    unsigned long usual_slack_ = 50'000;
    std::thread thread_;
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_ASIO_HOST_MONITOR_HPP
