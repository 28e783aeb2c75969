//
// spindle/detail/sync/wait_queue.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// Who waits, in order, below a lock: the base of all that fibers, threads and
// asynchronous operations wait for.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_SYNC_WAIT_QUEUE_HPP
#define SPINDLE_DETAIL_SYNC_WAIT_QUEUE_HPP

#include <spindle/config.hpp>
#include <spindle/detail/base/atomic.hpp>
#include <spindle/detail/base/clock.hpp>
#include <spindle/detail/base/spin_lock.hpp>
#include <spindle/detail/base/biased_lock.hpp>
#include <spindle/detail/fiber/park.hpp>
#include <spindle/detail/fiber/record.hpp>
#include <spindle/detail/time/timer_queue.hpp>

#include <boost/assert.hpp>
#include <boost/intrusive/list.hpp>

#include <cstdint>
#include <utility>

namespace spindle::detail {

// Shape
//
//   A queue of waiters and a lock, which lie in what is waited for. What that is,
//   and when somebody may go on, is its owner's business.
//
//     the waiter                              the waker
//     lock.lock()                             lock.lock()
//     must it wait? then queue.push_back(w)   take a waiter out, set its result
//     w.wait(why): parks, unlocks             lock.unlock()
//     w.result                                wake()
//
// Who may touch what
//
//   a queue                      whoever holds its lock
//   a waiter                     its owner until it is queued, then whoever holds
//                                the lock, until it is out of the queue; then
//                                whoever took it out, until it has woken the owner
//
// Invariants
//
//   I1  Whoever takes a waiter out of the queue, under the lock, is the one who
//       wakes it, after the lock, once.
//   I2  A waiter is in the queue of the lock that it was made with, or in none.
//
// Why it is correct
//
//   P  A fiber that must wait queues itself and parks with the lock held; the
//      commit, on the next stack, releases it (Go's gopark with unlockf). So
//      whoever finds the fiber in a queue finds it parked, its registers saved,
//      and readies it with no word to agree on. The lock is held over one switch,
//      in which nothing is run that could want it: picking takes the locks of the
//      run queues, and those are leaves.
//   S  A stop, and a deadline, take the lock and look whether the waiter is still
//      queued: they are two more of those that I1 is about, so that exactly one
//      ends the wait. The frame outlives them: unhook_wait() waits for a stopper
//      that is inside, and a deadline that could not be taken back is waited for.
//      abort() is a third; that its caller is gone before the frame is the
//      business of whoever gives it to others.
//   E  A waiter may also be queued before it calls wait(), to let go of something
//      else with the lock released: until it is `parked` whoever takes it out must
//      not wake it. It looks at its result under the lock before it calls wait().
//   G  What was waited for may go as soon as the waiter has been woken: a waker
//      touches neither lock nor queue after that.
//
// Not done, and why
//
//   A word in each waiter (fiber/waiter.hpp), so that the lock is released before
//   the switch: two read-modify-writes more for each wait.
//
// Evidence: test/sync/wait_queue.cpp, test/chan/channel.cpp

enum class wait_result : std::uint8_t {
    waiting,   // not yet
    done,      // it has what it waited for
    aborted,   // the fiber was asked to stop, the operation was cancelled
    timed_out,
    closed,    // a channel: it was closed; to a receiver: and is empty
    again,     // a select: moving the value threw, in the other's hands
};

using wait_hook = boost::intrusive::list_base_hook<
    boost::intrusive::link_mode<boost::intrusive::auto_unlink>>;

// Somebody in a queue: a fiber that has parked, a thread that blocks, or an
// asynchronous operation.
struct queued_waiter : wait_hook {
    using lock_type = spin_lock; // of the queue; a waiter of another kind may say otherwise

    queued_waiter() = default;
    queued_waiter(queued_waiter const&) = delete;
    queued_waiter& operator=(queued_waiter const&) = delete;
    ~queued_waiter() { BOOST_ASSERT(!queued()); }

    // The holder of the lock. Whether it may still be taken out: what was taken
    // out may be in another list, of those to be woken, whose links are not ours to
    // look at. So the result goes first.
    bool may_leave() const noexcept { return result == wait_result::waiting && queued(); }
    bool queued() const noexcept { return wait_hook::is_linked(); } // or in such a list
    void leave_queue() noexcept { wait_hook::unlink(); }

    // Who took it out, with nothing held. Its owner goes on.
    void wake() noexcept
    {
        if (fiber) [[likely]]
            ready(*fiber);
        else
            resume(*this);
    }

    fiber_record* fiber = nullptr;                     // who to ready; null: resume() is called
    void (*resume)(queued_waiter&) noexcept = nullptr; // with nothing held
    void* context = nullptr;                           // for resume()
    wait_result result = wait_result::waiting;
    bool parked = false;                               // it has called wait(), or calls none
};

template <class Waiter>
using wait_queue_of = boost::intrusive::list<Waiter, boost::intrusive::constant_time_size<false>>;

using wait_queue = wait_queue_of<queued_waiter>;

// Those that were taken out of a queue together, their results set, to be woken once
// the lock is released. An element is gone as soon as it is woken.
template <class Waiter>
void wake_all(wait_queue_of<Waiter>& taken) noexcept
{
    while (!taken.empty()) {
        auto& w = taken.front();
        taken.pop_front();
        w.wake();
    }
}

enum class cancellable : bool { no, yes };

// How a fiber or a thread waits in a queue: until it is taken out, until a
// deadline, until the fiber is asked to stop. Where there is a deadline, it is
// made with nothing held, before the attempt after which it would wait.
template <class Lock>
class SPINDLE_DECL blocked_wait : stop_hook, timer_entry {
public:
    // `self` null: a thread. Throws if there is a deadline and no timer for it
    // (timers_for()); max() is none.
    blocked_wait(Lock& lock, queued_waiter& w, fiber_record* self, time_point deadline)
        : stop_hook{&stop_now}, lock_(lock), waiter_(w), deadline_(deadline)
    {
        w.fiber = self;
        if (self && deadline != time_point::max())
            arm();
    }

    ~blocked_wait()
    {
        if (timers_)
            disarm();
    }

    blocked_wait(blocked_wait const&) = delete;
    blocked_wait& operator=(blocked_wait const&) = delete;

    // With the lock held, which it releases, and the waiter queued. May be called
    // again.
    wait_result wait(wait_reason why, cancellable c = cancellable::yes) noexcept;

    // Any thread, as long as it lives, with nothing held. Ends a cancellable wait,
    // the one that goes on or the next.
    void abort() noexcept;

private:
    static void stop_now(stop_hook& h) noexcept;
    void arm();
    void disarm() noexcept;
    void wait_in_fiber(wait_reason why, cancellable c) noexcept;
    void wait_in_thread(wait_reason why) noexcept;
    bool end_wait(wait_result why) noexcept;

    Lock& lock_;
    queued_waiter& waiter_;
    timer_queue* timers_ = nullptr; // null: a thread waits, or the deadline is never
    time_point const deadline_;
    bool passed_ = false;           // under the lock
    bool aborted_ = false;          // under the lock
    atomic<bool> left_{false};      // the timer has; set last
};

extern template class blocked_wait<spin_lock>;
extern template class blocked_wait<biased_lock>;

// A waiter, of whatever kind the queue has, that waits so.
template <class Waiter = queued_waiter>
class blocked_waiter final : public Waiter, blocked_wait<typename Waiter::lock_type> {
    using lock_type = typename Waiter::lock_type;
    using waiting = blocked_wait<lock_type>;

public:
    template <class... Args>
    explicit blocked_waiter(
        lock_type& lock, fiber_record* self, time_point deadline = time_point::max(),
        Args&&... args)
        : Waiter(std::forward<Args>(args)...), waiting(lock, *this, self, deadline)
    {
    }

    using Waiter::queued; // timer_entry has one too
    using waiting::abort;
    using waiting::wait;
};

// The end of a cancelled wait: throws operation_aborted. `self` null: a thread.
[[noreturn]] SPINDLE_DECL void throw_aborted(fiber_record* self);

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_SYNC_WAIT_QUEUE_HPP
