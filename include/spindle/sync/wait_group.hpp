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
#include <spindle/detail/sync/async_wait.hpp>
#include <spindle/detail/sync/countdown.hpp>
#include <spindle/go.hpp>

#include <cstddef>
#include <optional>
#include <stop_token>
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
 * `async_wait()` never waits: for callbacks, coroutines and futures.
 *
 * @par Cancellation
 * `wait()` is not a cancellation point: it returns when the work is done.
 * `wait(token)` is one. The pieces go on in any case.
 *
 * @par Thread Safety
 * @e Distinct @e objects: Safe.@n
 * @e Shared @e objects: Safe, from fibers of any scheduler, from plain threads
 * and, but for `wait()`, from handlers; except that `add()` from zero must not
 * run at the same time as a wait.
 *
 * @par Lifetime
 * May be destroyed as soon as all waits have returned, and all handlers of
 * `async_wait()` were called. A wait that was cancelled says nothing of the pieces,
 * which may still count down.
 */
class wait_group {
public:
    /// Constructs with `initial` pieces outstanding.
    explicit wait_group(std::size_t initial = 0) noexcept : count_(initial) {}

    wait_group(wait_group const&) = delete;
    wait_group& operator=(wait_group const&) = delete;

    /// Adds `n` pieces.
    void add(std::size_t n = 1) noexcept { count_.add(n); }

    /// Finishes one piece.
    /**
     * @pre The counter is not zero: else the process ends with a message.
     */
    void done() noexcept
    {
        if (!count_.count_down(1)) [[unlikely]]
            done_too_often();
    }

    /// Waits until the counter is zero.
    /**
     * @throws system_error `errc::not_in_fiber` in a completion handler.
     */
    void wait() { count_.wait(detail::wait_reason::wait_group); }

    /// Waits until the counter is zero, or until a stop.
    /**
     * A fiber that was asked to stop does not wait. A counter that is zero wins over
     * the token.
     *
     * @param token Ends the wait; beside it, in a fiber, the fiber's own stop does.
     *
     * @throws system_error `boost::asio::error::operation_aborted` if the token or
     * the fiber was asked to stop; `errc::not_in_fiber` in a completion handler.
     */
    void wait(std::stop_token token)
    {
        count_.wait(detail::wait_reason::wait_group, std::move(token));
    }

    /// Completes when the counter is zero.
    /**
     * The signature is `void(error_code)`; the one error is `operation_aborted`,
     * where the token's cancellation slot is emitted, whatever the type. Honours
     * the token's executor, immediate executor and allocator.
     *
     * @par Example
     * @code
     * group.async_wait([&](spindle::error_code) { flush(); });
     * co_await group.async_wait(boost::asio::use_awaitable);
     * @endcode
     */
    template <class CompletionToken>
    auto async_wait(CompletionToken&& token)
    {
        return detail::async_wait(count_, std::forward<CompletionToken>(token));
    }

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

    [[noreturn]] static SPINDLE_DECL void done_too_often() noexcept;

    detail::countdown count_;
};

} // namespace spindle

#endif // SPINDLE_SYNC_WAIT_GROUP_HPP
