//
// support/allocations.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~
// Counts what a program allocates, and refuses it. For one source of it.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_TEST_SUPPORT_ALLOCATIONS_HPP
#define SPINDLE_TEST_SUPPORT_ALLOCATIONS_HPP

#include <support/fixture.hpp>

#include <boost/config.hpp>

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace spindle_test {

inline std::atomic<std::size_t> allocations{0};

// The calling thread is refused what goes beyond.
inline constexpr std::size_t unlimited = ~std::size_t{0};
inline thread_local constinit std::size_t allocations_left = unlimited;

inline void* counted_allocation(std::size_t n)
{
    allocations.fetch_add(1, std::memory_order_relaxed);
    if (allocations_left == 0)
        throw std::bad_alloc();
    if (allocations_left != unlimited)
        --allocations_left;
    if (auto* const p = std::malloc(n))
        return p;
    throw std::bad_alloc();
}

} // namespace spindle_test

#if !defined(SPINDLE_TEST_SANITIZED) // these bring an operator new of their own
// Not inlined: g++ would see half of a pair and take it for a mismatch.
BOOST_NOINLINE void* operator new(std::size_t n) { return spindle_test::counted_allocation(n); }
BOOST_NOINLINE void* operator new[](std::size_t n) { return spindle_test::counted_allocation(n); }
BOOST_NOINLINE void operator delete(void* p) noexcept { std::free(p); }
BOOST_NOINLINE void operator delete[](void* p) noexcept { std::free(p); }
BOOST_NOINLINE void operator delete(void* p, std::size_t) noexcept { std::free(p); }
BOOST_NOINLINE void operator delete[](void* p, std::size_t) noexcept { std::free(p); }
#endif

#endif // SPINDLE_TEST_SUPPORT_ALLOCATIONS_HPP
