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

// Waits in a loop, each twice as long as the one before, counted in pauses of some 20 ns:
// each look takes the cache line from another thread, so looks become rare. After the
// longest it yields to the operating system, since that thread may have been preempted, on
// one core certainly.
class backoff {
public:
    explicit backoff(int first = 1, int longest = 128) noexcept : pauses_(first), longest_(longest)
    {
    }

    void wait() noexcept
    {
#if defined(SPINDLE_TEST_ATOMIC)
        yield_thread(); // the model's
#else
        if (pauses_ > longest_)
            return std::this_thread::yield();
        for (int i = 0; i != pauses_; ++i)
            relax_cpu();
        pauses_ *= 2;
#endif
    }

private:
    [[maybe_unused]] int pauses_;
    [[maybe_unused]] int const longest_;
};

// Until the condition no longer holds, which another thread is about to see to.
template <class Condition>
void spin_while(Condition condition) noexcept
{
    for (backoff b; condition();)
        b.wait();
}

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_BASE_CPU_RELAX_HPP
