//
// sync/once.cpp
// ~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/sync/once.hpp>

#include <spindle/detail/base/fatal.hpp>
#include <spindle/detail/fiber/hooks.hpp>
#include <spindle/detail/fiber/waiter.hpp>

#include <utility>

namespace spindle {

// Shape
//
//   word_: fresh -> calling -> a stack of those who wait -> over, or fresh again
//
// Who may touch what
//
//   word_      any thread
//   caller_    stored by the one who calls; read by those who come meanwhile
//   waiting    its owner until it is on the stack; then whoever ends the call
//
// Why it is correct
//
//   One compare-exchange leaves `fresh`, so one calls at a time. The exchange in
//   end() takes the whole stack with it: whoever was on it is woken, and whoever
//   comes later sees how the call ended. After it the flag is touched no more.
//   Release by end() and acquire by all who see `over`, or `fresh` again, carry
//   what the function did.
//   caller_ is cleared before the word says that the call has ended. So who finds
//   himself in it has not ended his call, whatever else he fails to see.
//   A waiter that was woken looks again: if the call threw, one of them calls.
//
// Not done, and why: first come, first served among those who wait for a call
// that throws. Nobody is starved of a call that succeeds.
//
// Evidence: test/sync/once.cpp
struct once_flag::waiting {
    detail::waiter waiter;
    waiting* next = nullptr;
};

bool once_flag::begin()
{
    auto word = word_.load(std::memory_order_acquire);
    if (word == over)
        return false;
    detail::require_may_wait();
    auto const me = detail::whoever_calls();
    while (word != over) {
        if (word == fresh) {
            if (word_.compare_exchange_weak(
                    word, calling, std::memory_order_acquire, std::memory_order_acquire)) {
                caller_.store(me, std::memory_order_relaxed);
                return true;
            }
            continue;
        }
        if (caller_.load(std::memory_order_relaxed) == me)
            detail::fatal(
                "call_once: the function that it calls has come back to the same once_flag, and "
                "would wait for its own end");
        waiting self;
        if (word != calling)
            self.next = reinterpret_cast<waiting*>(word);
        if (word_.compare_exchange_weak(
                word, reinterpret_cast<std::uintptr_t>(&self), std::memory_order_acq_rel,
                std::memory_order_acquire)) {
            self.waiter.wait(detail::wait_reason::once);
            word = word_.load(std::memory_order_acquire);
        }
    }
    return false;
}

void once_flag::end(bool returned) noexcept
{
    caller_.store(nullptr, std::memory_order_relaxed);
    auto const word = word_.exchange(returned ? over : fresh, std::memory_order_acq_rel);
    if (word == calling)
        return;
    for (auto* next = reinterpret_cast<waiting*>(word); next;) {
        auto& w = *next;
        next = w.next; // it may be gone when it is woken
        w.waiter.wake();
    }
}

} // namespace spindle
