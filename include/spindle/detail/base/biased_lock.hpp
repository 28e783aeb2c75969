//
// spindle/detail/base/biased_lock.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// A spin lock that costs the thread that takes it again and again no atomic
// read-modify-write.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_BASE_BIASED_LOCK_HPP
#define SPINDLE_DETAIL_BASE_BIASED_LOCK_HPP

#include <spindle/config.hpp>
#include <spindle/detail/base/asymmetric_barrier.hpp>
#include <spindle/detail/base/atomic.hpp>
#include <spindle/detail/base/spin_lock.hpp>
#include <spindle/detail/base/thread_token.hpp>

#include <cstdint>

namespace spindle::detail {

// Shape
//
//   lock_     a spin lock, which everybody can take
//   friend_   the one thread that this lock may be biased to, plus 1 while it is
//             not; 0: nobody yet
//   inside_   that thread, while it is inside without having taken lock_; else 0
//
//   A thread that has taken lock_ often enough, with nobody else in between,
//   becomes the friend. From then on it comes in by a store and a load. Whoever
//   else takes lock_ ends that, with a barrier on all threads, and the friend has
//   to take lock_ more often than the last time before it is the friend again.
//
// Who may touch what
//
//   friend_          the holder of lock_ writes, everybody reads
//   inside_          the friend alone writes, and there is never another one
//   the rest         the holder of lock_
//
// Invariants
//
//   I1  Once friend_ has been without its 1 it names that thread for ever.
//   I2  Whoever is inside has taken lock_, or is the friend; not both are inside.
//
// Why it is correct
//
//   B  The friend stores inside_, then reads friend_; the other changes friend_,
//      then reads inside_. With the asymmetric barrier between the two steps one
//      of them sees the other: the friend turns back, or the other waits for it.
//   R  Release as the friend leaves, acquire by the one who waits for it, carry
//      what it did. In the other direction lock_ does: the friend is a friend
//      again only after it has taken lock_ itself.
//   I1 is what makes a late store harmless. A thread that has seen itself as the
//   friend may store inside_ any time later, over another friend's, who would then
//   not be waited for.
//
// A fiber does not move while it holds a lock, or the lock's holder is not the
// fiber but the thread: what a commit function unlocks, the same thread has locked.
//
// Where the kernel has no such barrier, nobody becomes a friend.
//
// Not done, and why: a new friend where the first has gone away. That takes a
// place for inside_ that is the thread's and not the lock's, which one look at the
// lock does not find.
//
// Evidence: test/model/biased_lock.cpp, test/base/biased_lock.cpp
class biased_lock {
public:
    // Who has taken it 2 to the power of `patience` times is the friend.
    explicit biased_lock(std::uint8_t patience = 6) noexcept : patience_(patience) {}
    biased_lock(biased_lock const&) = delete;
    biased_lock& operator=(biased_lock const&) = delete;

    // Any thread.
    void lock() noexcept
    {
        if (!try_enter()) [[unlikely]]
            lock_slowly(this_thread_token());
    }

    // The thread that locked it.
    void unlock() noexcept
    {
        if (inside_.load(std::memory_order_relaxed) == this_thread_token()) [[likely]]
            leave();
        else
            lock_.unlock();
    }

    // Any thread. The friend's way in: true if that was it, and its way out.
    [[nodiscard]] bool try_enter() noexcept
    {
        auto const self = this_thread_token();
        if (friend_.load(std::memory_order_relaxed) != self) [[unlikely]]
            return false;
        store_then_lightest_barrier(inside_, self);
        if (friend_.load(std::memory_order_seq_cst) == self) [[likely]] // B
            return true;
        leave();
        return false;
    }
    void leave() noexcept { inside_.store(0, std::memory_order_release); } // R

private:
    void take() noexcept;
    SPINDLE_DECL void lock_slowly(std::uintptr_t self) noexcept;

    static constexpr std::uint8_t most_patience = 20;

    atomic<std::uintptr_t> friend_{0};
    atomic<std::uintptr_t> inside_{0};
    std::uint32_t uses_ = 0; // in a row by the thread in friend_, which is none now
    std::uint8_t patience_;
    bool settled_ = false;   // there has been a friend
    spin_lock lock_;
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_BASE_BIASED_LOCK_HPP
