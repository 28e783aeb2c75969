//
// spindle/sync/wait_group.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_SYNC_WAIT_GROUP_HPP
#define SPINDLE_SYNC_WAIT_GROUP_HPP

#include <spindle/config.hpp>
#include <spindle/detail/base/atomic.hpp>
#include <spindle/detail/base/spin_lock.hpp>
#include <spindle/go.hpp>

#include <cstddef>
#include <optional>
#include <type_traits>
#include <utility>

namespace spindle {

/// Waits for a set of fibers to finish.
/**
 * A counter: `add()` before the work starts, `done()` when a piece ends,
 * `wait()` until it is zero. Used again for the next set.
 *
 * @par Example
 * @code
 * spindle::wait_group group;
 * for (auto& shard : shards)
 *     group.go([&shard] { shard.compact(); });
 * group.wait();
 * @endcode
 *
 * @par Blocking
 * `wait()` parks the calling fiber; on a plain thread it blocks the thread.
 *
 * @par Cancellation
 * Not a cancellation point.
 *
 * @par Thread Safety
 * @e Distinct @e objects: Safe.@n
 * @e Shared @e objects: Safe, from fibers of any scheduler, from plain threads
 * and, but for `wait()`, from handlers; except that `add()` from zero must not
 * run at the same time as `wait()`.
 *
 * @par Lifetime
 * May be destroyed as soon as `wait()` has returned.
 */
class wait_group {
public:
    /// Constructs with `initial` pieces outstanding.
    explicit wait_group(std::size_t initial = 0) noexcept : word_(initial * one) {}

    wait_group(wait_group const&) = delete;
    wait_group& operator=(wait_group const&) = delete;

    /// Adds `n` pieces.
    void add(std::size_t n = 1) noexcept
    {
        word_.fetch_add(n * one, std::memory_order_relaxed);
    }

    /// Finishes one piece.
    /**
     * @pre The counter is not zero: else the process ends with a message.
     */
    SPINDLE_DECL void done() noexcept;

    /// Waits until the counter is zero.
    /**
     * @throws system_error `errc::not_in_fiber` in a completion handler.
     */
    SPINDLE_DECL void wait();

    /// Starts `fn` as a piece of its own, as `spindle::go`.
    /**
     * Counts down also where `fn` throws.
     */
    template <class Function>
        requires detail::fiber_function<std::decay_t<Function>>
    SPINDLE_CALLED_FROM_HERE void go(Function&& fn)
    {
        add();
        try {
            detail::start_task(
                detail::place_here(), {}, detail::call_site(),
                piece<std::decay_t<Function>>{
                    detail::go_task<std::decay_t<Function>>{std::forward<Function>(fn), {}}, this},
                detail::inherits::values);
        } catch (...) {
            done();
            throw;
        }
    }

private:
    struct waiting;

    template <class Function>
    struct piece {
        std::optional<detail::go_task<Function>> task;
        wait_group* group;

        void operator()() noexcept
        {
            (*task)();
            task.reset(); // gone before the group hears of it
            group->done();
        }
    };

    // The counter, times two, plus one while somebody waits.
    static constexpr std::size_t one = 2;
    static constexpr std::size_t waited_for = 1;

    detail::atomic<std::size_t> word_;
    detail::spin_lock lock_;
    waiting* waiting_ = nullptr; // under lock_
};

} // namespace spindle

#endif // SPINDLE_SYNC_WAIT_GROUP_HPP
