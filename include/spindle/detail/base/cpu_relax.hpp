//
// spindle/detail/base/cpu_relax.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// Waiting in a loop, and the instruction for its body.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_BASE_CPU_RELAX_HPP
#define SPINDLE_DETAIL_BASE_CPU_RELAX_HPP

#include <spindle/detail/base/atomic.hpp>

#if defined(_MSC_VER) && (defined(_M_IX86) || defined(_M_X64))
#include <intrin.h>
#endif

#include <thread>

namespace spindle::detail {

// Tells the core that this is a wait: it saves power and lets the sibling
// hyper-thread run.
inline void relax_cpu() noexcept
{
#if defined(__i386__) || defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(_MSC_VER) && (defined(_M_IX86) || defined(_M_X64))
    _mm_pause();
#elif defined(__aarch64__) || defined(__arm__)
    __asm__ __volatile__("yield" ::: "memory");
#elif defined(__powerpc__)
    __asm__ __volatile__("or 27,27,27" ::: "memory");
#endif
}

// Until the condition no longer holds, which another thread is about to see to.
// Each look takes the cache line from that thread, so looks become rare: under
// contention the other gets a batch done. After a bounded spin it yields to the
// operating system, since that thread may have been preempted, on one core certainly.
template <class Condition>
void spin_while(Condition condition) noexcept
{
#if defined(SPINDLE_TEST_ATOMIC)
    while (condition())
        yield_thread(); // the model's
#else
    constexpr int longest = 128; // some 5 us
    for (int pauses = 1; condition();) {
        if (pauses > longest) {
            std::this_thread::yield();
            continue;
        }
        for (int i = 0; i != pauses; ++i)
            relax_cpu();
        pauses *= 2;
    }
#endif
}

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_BASE_CPU_RELAX_HPP
