//
// spindle/detail/base/asymmetric_barrier.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// A full barrier of which one side costs nothing and the other side pays.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_BASE_ASYMMETRIC_BARRIER_HPP
#define SPINDLE_DETAIL_BASE_ASYMMETRIC_BARRIER_HPP

#include <spindle/config.hpp>
#include <spindle/detail/base/atomic.hpp>

// Two threads each store, then load what the other stores; at least one must see
// the other's store. Where the kernel can run a barrier on all threads of the
// process (Linux: membarrier), the frequent side needs only to keep the compiler
// from reordering, and the rare side asks the kernel. Elsewhere, and under
// ThreadSanitizer, which knows nothing of membarrier, both sides pay.
//
// Why it is correct: the kernel runs a full barrier on each processor that runs a
// thread of the process, between the rare side's store and its load, and a thread
// that does not run has passed one. The frequent side's two steps are before that
// barrier, or after it, or around it; in each case one of the loads comes after
// the other side's store.
//
// Evidence: test/base/asymmetric_barrier.cpp

#if defined(SPINDLE_TSAN) || defined(SPINDLE_TEST_ATOMIC)
#define SPINDLE_SYMMETRIC_BARRIERS
#endif

namespace spindle::detail {

#if defined(SPINDLE_SYMMETRIC_BARRIERS)

inline constexpr bool has_heavy_barrier = true;

template <class T>
inline void store_then_lightest_barrier(atomic<T>& to, T value) noexcept
{
    to.exchange(value, std::memory_order_seq_cst);
}

inline void heavy_barrier() noexcept {}

#else

// Whether the kernel does it. Constant from before main() on.
extern SPINDLE_DECL bool const has_heavy_barrier;

// The frequent side: the store, then what orders it before the loads that follow.
// For those who use heavy_barrier() only where has_heavy_barrier is true.
template <class T>
inline void store_then_lightest_barrier(atomic<T>& to, T value) noexcept
{
    to.store(value, std::memory_order_release);
    std::atomic_signal_fence(std::memory_order_seq_cst);
}

// The rare side: between its store, which is a seq_cst read-modify-write, and its
// load.
SPINDLE_DECL void heavy_barrier() noexcept;

#endif

// The same, for everybody.
template <class T>
inline void store_then_light_barrier(atomic<T>& to, T value) noexcept
{
    if (has_heavy_barrier) [[likely]]
        store_then_lightest_barrier(to, value);
    else
        to.exchange(value, std::memory_order_seq_cst);
}

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_BASE_ASYMMETRIC_BARRIER_HPP
