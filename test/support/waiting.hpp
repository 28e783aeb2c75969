//
// support/waiting.hpp
// ~~~~~~~~~~~~~~~~~~~
// Who waits, and waiting for that.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_TEST_SUPPORT_WAITING_HPP
#define SPINDLE_TEST_SUPPORT_WAITING_HPP

#include <spindle/this_fiber.hpp>

#include <spindle/detail/fiber/boost_access.hpp>
#include <spindle/detail/fiber/record.hpp>

#include <chrono>
#include <cstddef>
#include <thread>

namespace spindle_test {

// Whether a fiber waits for that, and has left its thread: one that is about to has said so
// already, but whoever looks at it sees a fiber that runs.
inline bool is_in(spindle::detail::fiber_record const& g, spindle::detail::wait_reason why)
{
    using namespace spindle::detail;
    return g.state.load(std::memory_order_acquire) == fiber_state::waiting
        && g.reason.load(std::memory_order_relaxed) == why && saved_stack_pointer(*g.ctx()) != 0;
}

// Fibers of the process of which that is true.
inline std::size_t fibers_in(spindle::detail::wait_reason why)
{
    using namespace spindle::detail;
    struct {
        wait_reason why;
        std::size_t n = 0;
    } found{why};
    for_each_record(
        [](fiber_record& g, void* p) {
            auto& f = *static_cast<decltype(found)*>(p);
            f.n += is_in(g, f.why);
        },
        &found);
    return found.n;
}

// Lets others run until the condition holds; false: it has not, for long. In a
// fiber and on a plain thread.
template <class Condition>
[[nodiscard]] bool until(Condition condition)
{
    auto const end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!condition()) {
        if (std::chrono::steady_clock::now() > end)
            return false;
        if (spindle::this_fiber::is_fiber())
            spindle::this_fiber::yield();
        else
            std::this_thread::yield();
    }
    return true;
}

} // namespace spindle_test

#endif // SPINDLE_TEST_SUPPORT_WAITING_HPP
