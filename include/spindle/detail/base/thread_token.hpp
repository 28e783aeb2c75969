//
// spindle/detail/base/thread_token.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// A number that tells the calling thread from all others that live.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_BASE_THREAD_TOKEN_HPP
#define SPINDLE_DETAIL_BASE_THREAD_TOKEN_HPP

#include <spindle/config.hpp>
#include <spindle/detail/base/atomic.hpp>

#include <cstdint>

namespace spindle::detail {

#if defined(SPINDLE_TEST_ATOMIC) // the model has its own
#elif defined(__GNUC__) && defined(__linux__) && defined(__x86_64__) && !defined(__ILP32__)
#define SPINDLE_INLINE_THREAD_TOKEN

// Not zero, and even. Volatile, so that the compiler asks again after a call in
// which a fiber may have moved to another thread.
inline std::uintptr_t this_thread_token() noexcept
{
    std::uintptr_t pointer; // the thread's control block begins with its address
    asm volatile("movq %%fs:0, %0" : "=r"(pointer));
    return pointer;
}

#elif defined(__GNUC__) && defined(__linux__) && defined(__aarch64__) && !defined(__ILP32__)
#define SPINDLE_INLINE_THREAD_TOKEN

inline std::uintptr_t this_thread_token() noexcept
{
    std::uintptr_t pointer;
    asm volatile("mrs %0, tpidr_el0" : "=r"(pointer));
    return pointer;
}

#else
SPINDLE_DECL SPINDLE_NOINLINE std::uintptr_t this_thread_token() noexcept;
#endif

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_BASE_THREAD_TOKEN_HPP
