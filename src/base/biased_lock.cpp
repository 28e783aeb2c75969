//
// base/biased_lock.cpp
// ~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/base/biased_lock.hpp>

#include <spindle/detail/base/cpu_relax.hpp>

namespace spindle::detail {

// Whoever meets another thread stays away for a microsecond, or for ten: in that time the
// other, who has the lines of what the lock protects in its core, is in and out many times.
void biased_lock::take() noexcept
{
    for (backoff b(64, 256); !lock_.try_lock();)
        b.wait();
}

void biased_lock::lock_slowly(std::uintptr_t self) noexcept
{
    constexpr std::uintptr_t not_now = 1;
    take();
    auto const who = friend_.load(std::memory_order_relaxed);
    if ((who & not_now) == 0 && who != 0) { // it was one until now, and is not us
        friend_.exchange(who | not_now, std::memory_order_seq_cst);
        heavy_barrier(); // B
        spin_while([this] { return inside_.load(std::memory_order_seq_cst) != 0; }); // R
        uses_ = 0;
        if (patience_ < most_patience)
            patience_ += 2;
    } else if (who == (self | not_now)) {
        if (++uses_ >> patience_ != 0 && has_heavy_barrier) {
            settled_ = true;
            friend_.store(self, std::memory_order_relaxed);
        }
    } else {
        uses_ = 0;
        if (!settled_) // I1
            friend_.store(self | not_now, std::memory_order_relaxed);
    }
}

} // namespace spindle::detail
