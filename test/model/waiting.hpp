//
// model/waiting.hpp
// ~~~~~~~~~~~~~~~~~
// Relacy's threads in the place of fibers: what the rooms above base give to those
// who wait below a lock. A model includes it before the header that it looks at.
//
// A wait with a deadline ends at any moment, as long as the waiter is in its queue.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_TEST_MODEL_WAITING_HPP
#define SPINDLE_TEST_MODEL_WAITING_HPP

// These are not to be included: they know fibers and Asio.
#define SPINDLE_DETAIL_FIBER_HOOKS_HPP
#define SPINDLE_DETAIL_FIBER_PARK_HPP
#define SPINDLE_DETAIL_FIBER_STOP_HPP
#define SPINDLE_DETAIL_SYNC_WAIT_QUEUE_HPP

#include <spindle/detail/base/atomic.hpp>
#include <spindle/detail/base/clock.hpp>
#include <spindle/detail/base/spin_lock.hpp>
#include <spindle/detail/fiber/wait_reason.hpp>

#include <boost/intrusive/list.hpp>

#include <cstdint>
#include <mutex>

namespace spindle::detail {

struct fiber_record {};

inline fiber_record* waiting_fiber() { return nullptr; }
inline fiber_record* waiting_fiber_unless_stopped() { return nullptr; }
[[noreturn]] inline void throw_stopped(fiber_record&) { std::abort(); }
inline void explored_point() {}

// To spin is to try once more.
template <class Try>
bool spin_for(Try attempt)
{
    return attempt();
}

enum class wait_result : std::uint8_t { waiting, done, aborted, timed_out };
enum class cancellable : bool { no, yes };

using wait_hook = boost::intrusive::list_base_hook<
    boost::intrusive::link_mode<boost::intrusive::auto_unlink>>;

struct queued_waiter : wait_hook {
    bool may_leave() const { return result == wait_result::waiting && is_linked(); }
    void leave_queue() { unlink(); }

    void wake()
    {
        std::lock_guard guard(mutex_);
        woken_ = true;
        wake_.notify_one();
    }

    void sleep()
    {
        std::unique_lock guard(mutex_);
        while (!woken_)
            wake_.wait(guard);
        woken_ = false;
    }

    wait_result result = wait_result::waiting;

private:
    mutex mutex_;
    condition_variable wake_;
    bool woken_ = false;
};

[[noreturn]] inline void throw_aborted(fiber_record*) { std::abort(); }

template <class Waiter>
using wait_queue_of = boost::intrusive::list<Waiter, boost::intrusive::constant_time_size<false>>;
using wait_queue = wait_queue_of<queued_waiter>;

template <class Waiter>
void wake_all(wait_queue_of<Waiter>& taken)
{
    while (!taken.empty()) {
        auto& w = taken.front();
        taken.pop_front();
        w.wake();
    }
}

template <class Waiter = queued_waiter>
class blocked_waiter : public Waiter {
public:
    blocked_waiter(spin_lock& lock, fiber_record*, time_point deadline = time_point::max())
        : lock_(lock), timed_(deadline != time_point::max())
    {
    }

    wait_result wait(wait_reason, cancellable = cancellable::yes)
    {
        this->result = wait_result::waiting;
        lock_.unlock();
        if (timed_ && rl::rand(2) == 0 && gives_up())
            return wait_result::timed_out;
        this->sleep();
        return this->result;
    }

    void abort() {}

private:
    bool gives_up()
    {
        lock_.lock();
        auto const queued = this->may_leave();
        if (queued)
            this->leave_queue();
        lock_.unlock();
        return queued;
    }

    spin_lock& lock_;
    bool const timed_;
};

} // namespace spindle::detail

#endif // SPINDLE_TEST_MODEL_WAITING_HPP
