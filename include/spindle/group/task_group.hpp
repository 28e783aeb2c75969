//
// spindle/group/task_group.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_GROUP_TASK_GROUP_HPP
#define SPINDLE_GROUP_TASK_GROUP_HPP

#include <spindle/cancel/cancel_scope.hpp>
#include <spindle/config.hpp>
#include <spindle/detail/asio/spawn_fiber.hpp>
#include <spindle/detail/base/spin_lock.hpp>
#include <spindle/detail/sync/wait_queue.hpp>
#include <spindle/spawn_options.hpp>

#include <cstddef>
#include <exception>
#include <limits>
#include <optional>
#include <type_traits>
#include <utility>

namespace spindle {

/// Fibers that do one thing together: the first failure stops the others. Go's errgroup.
/**
 * No child outlives the group. Its children are in a scope of the group's own, which
 * is inside of the innermost `cancel_scope` where the group was made: that cancels
 * them, and they see its values.
 *
 * A child fails if an exception leaves it that is not its stop. The first failure
 * cancels the others and is what `wait()` throws; later ones are dropped.
 *
 * @par Example
 * @code
 * spindle::task_group group;
 * for (auto const& url : urls)
 *     group.spawn([&] { fetch(url); });
 * group.wait();
 * @endcode
 *
 * @par Blocking
 * `wait()`, `spawn` beyond the limit and the destructor park the calling fiber; on a
 * plain thread they block it.
 *
 * @par Cancellation
 * `wait()` and `spawn` are cancellation points, the destructor is not. In a group
 * that was cancelled, by a failure or by `cancel()`, children that are spawned yet
 * are born cancelled.
 *
 * @par Thread Safety
 * @e Distinct @e objects: Safe.@n
 * @e Shared @e objects: Safe: a child may spawn others.
 *
 * @par Lifetime
 * May be used again after a `wait()` that has returned. Destroyed in the fiber, or
 * on the thread, that owns it, and never by one of its own children.
 */
class task_group {
public:
    /// Without children, and without a limit.
    SPINDLE_DECL task_group();

    task_group(task_group const&) = delete;
    task_group& operator=(task_group const&) = delete;

    /// Stops the children and waits for them.
    /**
     * A failure that no `wait()` has thrown goes to
     * `scheduler_options::unhandled_exception`.
     */
    SPINDLE_DECL ~task_group();

    /// Starts `fn` in a fiber beside the caller, as `spindle::spawn(fn)`.
    /**
     * Waits while as many run as the limit allows. What `fn` captured is destroyed
     * before the group hears of its end; what it returns is dropped.
     *
     * @throws system_error `operation_aborted` when the caller is stopped while it
     * waits; what `spindle::go` throws. Then nothing was started.
     */
    template <class Function>
        requires detail::fiber_function<std::decay_t<Function>>
    SPINDLE_CALLED_FROM_HERE void spawn(spawn_options options, Function&& fn)
    {
        reserve();
        start(std::move(options), std::forward<Function>(fn), detail::call_site());
    }

    /// As above, with the scheduler's options.
    template <class Function>
        requires detail::fiber_function<std::decay_t<Function>>
    SPINDLE_CALLED_FROM_HERE void spawn(Function&& fn)
    {
        reserve();
        start({}, std::forward<Function>(fn), detail::call_site());
    }

    /// As `spawn`, but never waits: false if the limit is reached.
    template <class Function>
        requires detail::fiber_function<std::decay_t<Function>>
    [[nodiscard]] SPINDLE_CALLED_FROM_HERE bool try_spawn(Function&& fn)
    {
        if (!try_reserve())
            return false;
        start({}, std::forward<Function>(fn), detail::call_site());
        return true;
    }

    /// At most `n` children run at a time from here on.
    /**
     * @throws system_error `invalid_argument` if `n` is zero.
     */
    SPINDLE_DECL void set_limit(std::size_t n);

    /// Waits until no child runs.
    /**
     * @par Cancellation
     * When the caller is stopped, it stops the children, waits for them, and then
     * throws.
     *
     * @throws the first failure, again each time; else `operation_aborted` if the
     * caller was stopped. `errc::not_in_fiber` in a completion handler.
     */
    SPINDLE_DECL void wait();

    /// Cancels the children; does not wait. From any thread.
    void cancel() noexcept { scope_->cancel(cancel_reason::cancelled); }

    /// For those who may cancel the children; outlives the group.
    [[nodiscard]] cancel_handle handle() const noexcept { return cancel_handle(scope_); }

private:
    template <class Function>
    struct child {
        std::optional<Function> function;
        task_group* group;

        void operator()() noexcept
        {
            std::exception_ptr failure;
            try {
                (void)detail::call_fiber_function(std::move(*function));
            } catch (...) {
                if (!detail::left_by_stop())
                    failure = std::current_exception();
            }
            function.reset();
            detail::leave_scopes(*detail::current_fiber());
            group->finish(std::move(failure));
        }
    };

    template <class Function>
    void start(spawn_options&& options, Function&& fn, void const* site)
    {
        try {
            detail::start_task(
                detail::place_here(), std::move(options), site,
                child<std::decay_t<Function>>{std::forward<Function>(fn), this},
                detail::inherits::nothing, scope_.get());
        } catch (...) {
            finish(nullptr);
            throw;
        }
    }

    SPINDLE_DECL void reserve();
    [[nodiscard]] SPINDLE_DECL bool try_reserve() noexcept;
    SPINDLE_DECL void finish(std::exception_ptr failure) noexcept;

    bool block(bool for_a_place, detail::cancellable c);
    static void take_first(detail::wait_queue& from, detail::wait_queue& woken) noexcept;

    detail::scope_ptr scope_;
    detail::spin_lock lock_;
    std::size_t running_ = 0; // under lock_, as all below
    std::size_t limit_ = std::numeric_limits<std::size_t>::max();
    std::exception_ptr first_failure_;
    detail::asio_core* core_ = nullptr; // whose unhandled_exception hears of it
    bool seen_ = false;
    detail::wait_queue for_a_place_;
    detail::wait_queue for_the_end_;
};

} // namespace spindle

#endif // SPINDLE_GROUP_TASK_GROUP_HPP
