//
// spindle/detail/chan/core.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// The part of a channel that does not depend on what it carries: who waits, who
// goes on, and in which order.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_CHAN_CORE_HPP
#define SPINDLE_DETAIL_CHAN_CORE_HPP

#include <spindle/config.hpp>
#include <spindle/detail/base/atomic.hpp>
#include <spindle/detail/base/clock.hpp>
#include <spindle/detail/base/biased_lock.hpp>
#include <spindle/detail/fiber/hooks.hpp>
#include <spindle/detail/fiber/park.hpp>
#include <spindle/detail/fiber/record.hpp>
#include <spindle/detail/fiber/stop.hpp>
#include <spindle/detail/time/timer_queue.hpp>

#include <boost/assert.hpp>
#include <boost/intrusive/list.hpp>

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <utility>

namespace spindle::detail {

enum class chan_result : std::uint8_t {
    waiting,   // not yet
    done,      // the value has changed hands
    closed,    // the channel was closed; to a receiver: and is empty
    aborted,   // the fiber was asked to stop, the operation was cancelled
    timed_out,
    again,     // in a select: moving the value threw, in the other's hands
};

// Who of several may end one wait: a wait that is in more than one queue, or
// that something else than a channel can end, is claimed once.
//
//   enrolling -> parked -> claimed by case i, or enrolling -> claimed
//
// A claim that finds `parked` owes the wake-up. One that finds `enrolling` owes
// nothing: the owner, who was about to park, finds the claim.
class claim_word {
public:
    static constexpr std::uint32_t aborted = 0xffff'fff0;

    enum class claim { lost, early, parked };

    // Any thread. Release: what the claimer did before is seen by the owner;
    // acquire: the owner had published what the claimer now writes to.
    claim try_claim(std::uint32_t by) noexcept
    {
        auto w = word_.load(std::memory_order_relaxed);
        while (w < first)
            if (word_.compare_exchange_weak(
                    w, first + by, std::memory_order_acq_rel, std::memory_order_relaxed))
                return w == parked ? claim::parked : claim::early;
        return claim::lost;
    }

    // The owner. False: claimed already.
    bool try_park() noexcept
    {
        auto w = enrolling;
        return word_.compare_exchange_strong(
            w, parked, std::memory_order_acq_rel, std::memory_order_acquire);
    }

    // The owner, while it is enrolling: over whatever was claimed early.
    void claim_first(std::uint32_t by) noexcept
    {
        word_.store(first + by, std::memory_order_relaxed);
    }

    bool claimed() const noexcept { return word_.load(std::memory_order_acquire) >= first; }
    std::uint32_t winner() const noexcept
    {
        return word_.load(std::memory_order_acquire) - first;
    }
    void reset() noexcept { word_.store(enrolling, std::memory_order_relaxed); }

private:
    static constexpr std::uint32_t enrolling = 0;
    static constexpr std::uint32_t parked = 1;
    static constexpr std::uint32_t first = 2;

    atomic<std::uint32_t> word_{enrolling};
};

using chan_hook = boost::intrusive::list_base_hook<
    boost::intrusive::link_mode<boost::intrusive::auto_unlink>>;

// Somebody in a channel's queue: a fiber that has parked, a thread that blocks,
// an asynchronous operation, or one case of a select.
struct chan_waiter : chan_hook {
    chan_waiter() = default;
    chan_waiter(chan_waiter const&) = delete;
    chan_waiter& operator=(chan_waiter const&) = delete;
    ~chan_waiter() { BOOST_ASSERT(!queued()); }

    // The holder of the channel's lock.
    bool queued() const noexcept { return chan_hook::is_linked(); }
    void leave_queue() noexcept { chan_hook::unlink(); }

    fiber_record* fiber = nullptr;                     // who to ready; null: resume() is called
    void (*resume)(chan_waiter&) noexcept = nullptr;   // with nothing held
    claim_word* claim = nullptr;                       // null: it waits in this queue alone
    std::uint32_t index = 0;                           // of the case
    chan_result result = chan_result::waiting;
    bool copies = false;                               // a sender: slot is a T const*
    void* slot = nullptr;                              // a sender's T, a receiver's optional<T>
    void* context = nullptr;                           // for resume()
    chan_waiter* next_woken = nullptr;                 // of those that close() wakes
};

// Shape
//
//   A queue of those who wait to receive, a queue of those who wait to send, and
//   (in channel_state) a ring of values; one lock over them all.
//
// Who may touch what
//
//   everything below lock        whoever holds it
//   a waiter                     its owner until it is queued, then whoever holds
//                                the lock, until it is out of the queue; then
//                                whoever took it out, until it has woken the owner
//   handles_, refs_              any thread
//
// Invariants
//
//   I1  But for cases of one select that both sends and receives: somebody waits
//       to receive only where the ring is empty and nobody can send, to send only
//       where the ring is full; or where moving that value into the ring has
//       thrown: it waits for the next receiver, and nobody overtakes it.
//   I2  First come, first served, on each side.
//   I3  Nobody waits in a closed channel.
//   I4  Whoever takes a waiter out of the queue, under the lock, is the one who
//       wakes it, after the lock.
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
//      queued: they are two more of those that I4 is about. The frame outlives
//      them: unhook_wait() waits for a stopper that is inside, and a deadline that
//      could not be taken back is waited for.
//   T  A wait in several queues is claimed: claim_word, and select.hpp.
//
//   Moves of T run under the lock, which is why they must neither park nor use
//   the channel. Where a move throws, the value stays with its sender, who keeps
//   its place, and the exception leaves the call that did the moving.
//
// Not done, and why
//
//   A lock-free ring: it costs read-modify-writes as well, where this lock is one
//   and is held for a few instructions; and select needs a lock over several
//   channels.
//   A word in each waiter (waiter.hpp), so that the lock is released before the
//   switch: two read-modify-writes more for each wait.
//
// Evidence
//
//   test/chan/channel.cpp, test/chan/go_rules.cpp, test/stress/channels.cpp
class SPINDLE_DECL chan_core {
public:
    using queue = boost::intrusive::list<chan_waiter, boost::intrusive::constant_time_size<false>>;

    explicit chan_core(std::size_t capacity) noexcept : capacity_(capacity) {}
    chan_core(chan_core const&) = delete;
    chan_core& operator=(chan_core const&) = delete;

    // Handles are what users hold; references keep the memory. All handles
    // together hold one reference.
    void add_handle() noexcept { handles_.fetch_add(1, std::memory_order_relaxed); }
    void drop_handle() noexcept
    {
        if (handles_.fetch_sub(1, std::memory_order_acq_rel) == 1)
            last_handle_gone();
    }
    void add_reference() noexcept { refs_.fetch_add(1, std::memory_order_relaxed); }
    void drop_reference() noexcept
    {
        if (refs_.fetch_sub(1, std::memory_order_acq_rel) == 1)
            destroy();
    }

    // Any thread. False: it was closed already.
    bool try_close() noexcept;

    bool is_closed() noexcept;
    std::size_t size() noexcept;
    std::size_t capacity() const noexcept { return capacity_; }

    // The holder of the lock.
    queue& receivers() noexcept { return receivers_; }
    queue& senders() noexcept { return senders_; }

    // The holder of the lock. The first that can still be served, out of the
    // queue and claimed; `owed`: it must be woken.
    static chan_waiter* take(queue& q, bool& owed) noexcept
    {
        while (!q.empty()) {
            auto& w = q.front();
            q.pop_front();
            if (!w.claim) [[likely]] {
                owed = true;
                return &w;
            }
            auto const claim = w.claim->try_claim(w.index);
            if (claim == claim_word::claim::lost)
                continue;
            owed = claim == claim_word::claim::parked;
            return &w;
        }
        return nullptr;
    }

    // With nothing held. Its owner goes on.
    static void wake(chan_waiter& w) noexcept
    {
        if (w.fiber) [[likely]]
            ready(*w.fiber);
        else
            w.resume(w);
    }

    // With the lock held, which it releases. Waits in `q`, a fiber or (self null)
    // the calling thread, until somebody takes it out.
    [[nodiscard]] chan_result wait(
        queue& q, void* slot, fiber_record* self, wait_reason why) noexcept;

    biased_lock lock; // above the locks of run queues and timers

protected:
    virtual ~chan_core() = default;

    // Nobody can send, receive or close any more. What still waits are
    // asynchronous operations: they are aborted.
    virtual void last_handle_gone() noexcept;

    queue receivers_, senders_;
    std::size_t count_ = 0; // values in the ring
    std::size_t const capacity_;
    bool closed_ = false;

private:
    virtual void destroy() noexcept = 0;

    atomic<std::size_t> handles_{1};
    atomic<std::size_t> refs_{1};
};

// The lock of a channel, and whom to wake once it is released.
class chan_section {
public:
    explicit chan_section(chan_core& c) noexcept : core_(&c) { c.lock.lock(); }
    chan_section(chan_core& c, std::adopt_lock_t) noexcept : core_(&c) {}
    chan_section(chan_section const&) = delete;
    chan_section& operator=(chan_section const&) = delete;
    ~chan_section()
    {
        if (core_)
            leave();
    }

    void leave() noexcept
    {
        std::exchange(core_, nullptr)->lock.unlock();
        if (wake)
            chan_core::wake(*wake);
    }

    // Somebody else releases it.
    void hand_over() noexcept { core_ = nullptr; }

    chan_waiter* wake = nullptr;

private:
    chan_core* core_;
};

class waiter;

// A fiber or a thread that waits in one channel, until a deadline. Where there is
// one, it is made with nothing held, before the attempt after which it would wait.
class blocked_waiter final : public chan_waiter, public stop_hook, timer_entry {
public:
    // `self` null: a thread. Throws bad_alloc if there is a deadline; max() is none.
    blocked_waiter(chan_core& c, void* s, fiber_record* self, time_point deadline)
        : stop_hook{&stop_now}, core_(c), deadline_(deadline)
    {
        slot = s;
        fiber = self;
        if (self && deadline != time_point::max())
            arm();
    }

    ~blocked_waiter()
    {
        if (timers_)
            disarm();
    }

    // With the lock held, which it releases. As chan_core::wait().
    [[nodiscard]] SPINDLE_DECL chan_result wait(chan_core::queue& q, wait_reason why) noexcept;

private:
    static SPINDLE_DECL void stop_now(stop_hook& h) noexcept;
    SPINDLE_DECL void arm();
    SPINDLE_DECL void disarm() noexcept;
    bool end_wait(chan_result why) noexcept;

    chan_core& core_;
    timer_queue* timers_ = nullptr;     // null: a thread waits, or the deadline is never
    waiter* thread_ = nullptr;
    time_point const deadline_;
    bool passed_ = false;               // under the lock
    atomic<bool> left_{false};          // the timer has; set last
};

// Waits until the fiber is asked to stop, or until the deadline.
SPINDLE_DECL chan_result wait_for_nothing(
    fiber_record* self, time_point deadline = time_point::max());

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_CHAN_CORE_HPP
