//
// spindle/detail/base/atomic.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// The one door to std::atomic. Lock-free code says detail::atomic and
// detail::fence, so that a test can put a model checker's, or ones that yield
// at random, in their place without touching the code under test.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_BASE_ATOMIC_HPP
#define SPINDLE_DETAIL_BASE_ATOMIC_HPP

#include <spindle/config.hpp>

#include <atomic>

#if defined(SPINDLE_TEST_ATOMIC)
#include SPINDLE_TEST_ATOMIC // defines spindle::detail::atomic<T> and fence()
#else
namespace spindle::detail {

using std::atomic;

// std::atomic_thread_fence. TSan does not understand fences and gcc says so
// with a warning. Ours are for StoreLoad only: no data is handed over by a
// fence alone, so nothing that TSan looks for hangs on one.
inline void fence(std::memory_order order) noexcept
{
#if defined(__GNUC__) && !defined(__clang__) && defined(SPINDLE_TSAN)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wtsan"
#endif
    std::atomic_thread_fence(order);
#if defined(__GNUC__) && !defined(__clang__) && defined(SPINDLE_TSAN)
#pragma GCC diagnostic pop
#endif
}

} // namespace spindle::detail
#endif

#endif // SPINDLE_DETAIL_BASE_ATOMIC_HPP
