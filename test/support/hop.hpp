//
// support/hop.hpp
// ~~~~~~~~~~~~~~~
// Moves a fiber to another thread, as far as chance has it.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_TEST_SUPPORT_HOP_HPP
#define SPINDLE_TEST_SUPPORT_HOP_HPP

#include <spindle/detail/fiber/park.hpp>
#include <spindle/detail/fiber/record.hpp>

#include <atomic>

namespace spindle_test {

// A number for each thread. Not inlined: the thread may be another one each time.
SPINDLE_NOINLINE inline int thread_number() noexcept
{
    static std::atomic<int> last{0};
    static thread_local int const mine = ++last;
    asm volatile("");
    return mine;
}

// Parks the running fiber and puts it into its scheduler's global queue, so that
// whichever processor comes first takes it.
inline void hop() noexcept
{
    using namespace spindle::detail;
    auto& self = *current_fiber();
    park(
        self,
        [](void* argument) noexcept {
            auto& g = *static_cast<fiber_record*>(argument);
            g.state.store(fiber_state::runnable, std::memory_order_relaxed);
            g.scheduler()->submit(g);
            return true;
        },
        &self, wait_reason::none);
}

} // namespace spindle_test

#endif // SPINDLE_TEST_SUPPORT_HOP_HPP
