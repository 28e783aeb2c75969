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
#include <spindle/detail/base/biased_lock.hpp>
#include <spindle/detail/base/clock.hpp>
#include <spindle/detail/fiber/hooks.hpp>
#include <spindle/detail/fiber/record.hpp>
#include <spindle/detail/sync/wait_queue.hpp>

#include <boost/intrusive/list.hpp>

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <utility>

namespace spindle::detail {

using chan_result = wait_result;

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

// Somebody in a channel's queue: who waits in that channel alone, or one case of
// a select.
struct chan_waiter : queued_waiter {
    using lock_type = biased_lock;

    claim_word* claim = nullptr;                       // null: it waits in this queue alone
    std::uint32_t index = 0;                           // of the case
    bool copies = false;                               // a sender: slot is a T const*
    void* slot = nullptr;                              // a sender's T, a receiver's optional<T>
    chan_waiter* next_woken = nullptr;                 // of those that are woken together
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
//       thrown: it waits for the next receiver, and nobody overtakes it. Once it
//       has gone, or a select has begun anew, those behind it get the room.
//   I2  First come, first served, on each side; but a select that begins anew,
//       because a move threw, comes anew.
//   I3  Nobody waits in a closed channel.
//   I4  Whoever takes a waiter out of the queue, under the lock, is the one who
//       wakes it, after the lock.
//
// Why it is correct
//
//   A wait in one queue: wait_queue.hpp.
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
//
// Evidence
//
//   test/chan/channel*.cpp, test/chan/go_rules.cpp, test/stress/channels.cpp
class SPINDLE_DECL chan_core {
public:
    using queue = wait_queue_of<chan_waiter>;

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

    // With the lock held, which it releases. Waits in `q`, a fiber or (self null)
    // the calling thread, until somebody takes it out.
    [[nodiscard]] chan_result wait(
        queue& q, void* slot, fiber_record* self, wait_reason why) noexcept;

    // Where the count of handles lies, and the whole, of the channel with that lock: to
    // be looked at. Neither is touched.
    [[nodiscard]] static void const* handles_of(void const* lock) noexcept;
    [[nodiscard]] static void const* core_of(void const* lock) noexcept;

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
            wake->wake();
    }

    // Somebody else releases it.
    void hand_over() noexcept { core_ = nullptr; }

    chan_waiter* wake = nullptr;

private:
    chan_core* core_;
};

// Those that are woken together, in the order in which they came.
class chan_woken {
public:
    void push(chan_waiter& w) noexcept
    {
        w.next_woken = nullptr; // it may have been woken so before
        last_ = &(*last_ = &w)->next_woken;
    }

    [[nodiscard]] chan_waiter* take() noexcept
    {
        last_ = &first_;
        return std::exchange(first_, nullptr);
    }

    // With nothing held. What take() gave.
    static void wake(chan_waiter* w) noexcept
    {
        while (w)
            std::exchange(w, w->next_woken)->wake(); // it may be gone then
    }

private:
    chan_waiter* first_ = nullptr;
    chan_waiter** last_ = &first_;
};

// Stands for several whom one section has to wake, which knows one; lies in the channel,
// and keeps that until they are woken.
class SPINDLE_DECL chan_crowd final : chan_waiter {
public:
    explicit chan_crowd(chan_core& c) noexcept;

    // The holder of the lock. Has `w` woken beside `wake`.
    void add(chan_waiter& w, chan_waiter*& wake) noexcept;

private:
    void wake_them() noexcept;

    chan_core& core_;
    chan_woken them_; // under the lock
};

// Waits until the fiber is asked to stop, or until the deadline.
SPINDLE_DECL chan_result wait_for_nothing(
    fiber_record* self, time_point deadline = time_point::max());

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_CHAN_CORE_HPP
