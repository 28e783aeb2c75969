//
// spindle/detail/base/spin_lock.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// A lock of one byte for sections of a few instructions.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_BASE_SPIN_LOCK_HPP
#define SPINDLE_DETAIL_BASE_SPIN_LOCK_HPP

#include <spindle/detail/base/atomic.hpp>
#include <spindle/detail/base/cpu_relax.hpp>

namespace spindle::detail {

// Test and test-and-set. Not fair. A Lockable: use it with std::lock_guard.
// Never held across a park or a call to user code.
class spin_lock {
public:
    spin_lock() noexcept = default;
    spin_lock(spin_lock const&) = delete;
    spin_lock& operator=(spin_lock const&) = delete;

    // Any thread.
    void lock() noexcept
    {
        while (!try_lock())
            // Reads only: the line stays shared until the holder writes it.
            spin_while([this] { return locked_.load(std::memory_order_relaxed); });
    }

    // Any thread.
    bool try_lock() noexcept
    {
        return !locked_.exchange(true, std::memory_order_acquire); // pairs with unlock
    }

    // The holder only.
    void unlock() noexcept { locked_.store(false, std::memory_order_release); }

private:
    atomic<bool> locked_{false};
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_BASE_SPIN_LOCK_HPP
