//
// spindle/sync/once.hpp
// ~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_SYNC_ONCE_HPP
#define SPINDLE_SYNC_ONCE_HPP

#include <spindle/config.hpp>
#include <spindle/detail/base/atomic.hpp>
#include <spindle/detail/base/scope_exit.hpp>

#include <cstdint>
#include <functional>
#include <utility>

namespace spindle {

/// Remembers for `call_once` whether it has called.
/**
 * As `std::once_flag`. May be a static variable that is initialised before the
 * program starts.
 *
 * @par Thread Safety
 * Safe, from fibers of any scheduler and from plain threads.
 *
 * @par Lifetime
 * Must outlive every `call_once` on it.
 */
class once_flag {
public:
    /// Constructs a flag for which nothing was called yet.
    constexpr once_flag() noexcept = default;

    once_flag(once_flag const&) = delete;
    once_flag& operator=(once_flag const&) = delete;

private:
    template <class Function, class... Args>
    friend void call_once(once_flag& flag, Function&& fn, Args&&... args);

    struct waiting;

    bool called() const noexcept { return word_.load(std::memory_order_acquire) == over; }

    // Waits while somebody else calls. True: the caller is the one who calls;
    // end() is due. False: it was called.
    SPINDLE_DECL bool begin();
    SPINDLE_DECL void end(bool returned) noexcept;

    // Else a waiting*, of the last who came, while somebody calls.
    static constexpr std::uintptr_t fresh = 0;
    static constexpr std::uintptr_t calling = 1; // and nobody waits
    static constexpr std::uintptr_t over = 2;

    detail::atomic<std::uintptr_t> word_{fresh};
    detail::atomic<void const*> caller_{nullptr}; // who calls, to tell it from others
};

/// Calls `fn(args...)`, unless that was done for this flag.
/**
 * As `std::call_once`. Of those who come at the same time one calls; the others
 * return when it has, and see what it did. If the call throws, the exception
 * leaves to its caller, the flag is as before, and the next one calls.
 *
 * @par Example
 * @code
 * spindle::once_flag loaded;
 * spindle::call_once(loaded, [&] { table = load(path); }); // may park
 * @endcode
 *
 * @par Blocking
 * Parks the calling fiber while another one calls; on a plain thread it blocks
 * the thread. Afterwards it never waits: one load. `fn` may park, and may end on
 * another thread.
 *
 * @par Cancellation
 * Not a cancellation point: the next cancellable wait reports the stop. What
 * `fn` waits for can be cancelled, and then counts as a call that threw.
 *
 * @throws system_error `errc::not_in_fiber` in a completion handler, unless it
 * was called before. Whatever `fn` throws.
 *
 * @pre `fn` does not itself come back to this flag: else the process ends with a
 * message.
 */
template <class Function, class... Args>
void call_once(once_flag& flag, Function&& fn, Args&&... args)
{
    if (flag.called()) [[likely]]
        return;
    if (!flag.begin())
        return;
    detail::scope_exit failed([&]() noexcept { flag.end(false); });
    std::invoke(std::forward<Function>(fn), std::forward<Args>(args)...);
    failed.release();
    flag.end(true);
}

} // namespace spindle

#endif // SPINDLE_SYNC_ONCE_HPP
