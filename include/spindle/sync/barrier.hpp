//
// spindle/sync/barrier.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_SYNC_BARRIER_HPP
#define SPINDLE_SYNC_BARRIER_HPP

#include <spindle/config.hpp>
#include <spindle/detail/base/spin_lock.hpp>
#include <spindle/detail/sync/async_wait.hpp>
#include <spindle/detail/sync/wait_queue.hpp>
#include <spindle/error.hpp>

#include <boost/asio/async_result.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <utility>

namespace spindle {

namespace detail {

struct no_completion {
    void operator()() noexcept {}
};

// Shape
//
//   A phase ends when all who are expected have arrived. The last one runs the
//   completion function, and begins the next phase.
//
// Who may touch what
//
//   all of it     under lock_
//   the function  the last one who arrives, between arrive() and begin_phase():
//                 nobody else may arrive then
//
// Why it is correct
//
//   Who waits, waits for the end of the phase that goes on: begin_phase() takes
//   all of them out of the queue. They may destroy the barrier, which it touches
//   no more. The lock carries what was done before arriving to the one who runs
//   the function, and what that one did to those who wait.
//
// Evidence: test/sync/barrier.cpp
class barrier_core {
public:
    SPINDLE_DECL explicit barrier_core(std::ptrdiff_t expected) noexcept;

    // The phase that it arrived in. `last`: all have arrived.
    SPINDLE_DECL std::uint64_t arrive(std::ptrdiff_t n, bool& last) noexcept;
    SPINDLE_DECL void begin_phase() noexcept;
    SPINDLE_DECL void drop() noexcept;

    // Returns when that phase is over.
    SPINDLE_DECL void wait(std::uint64_t phase);

    // Arrives and waits. True: it was the last, and has not waited.
    [[nodiscard]] SPINDLE_DECL bool arrive_and_wait();

    // For async_wait(): the end of one phase.
    struct end_of_phase {
        bool must_wait() const noexcept { return core.phase_ == phase; }

        barrier_core& core;
        std::uint64_t phase;
        spin_lock& lock = core.lock_;
        wait_queue& waiters = core.waiters_;
    };

private:
    void take_off(std::ptrdiff_t n) noexcept;

    spin_lock lock_;
    wait_queue waiters_;
    std::uint64_t phase_ = 0;
    std::ptrdiff_t expected_; // in the next phase
    std::ptrdiff_t left_;     // to arrive in this one
};

} // namespace detail

/// A gate that lets a group through each time that all of them have come.
/**
 * As `std::barrier`. The last one who arrives in a phase runs the completion
 * function, before anybody goes on.
 *
 * @par Example
 * @code
 * spindle::barrier step(workers, [&]() noexcept { std::swap(now, next); });
 * for (int w = 0; w != workers; ++w)
 *     group.go([&, w] {
 *         for (int i = 0; i != steps; ++i) {
 *             compute(w, now, next);
 *             step.arrive_and_wait();
 *         }
 *     });
 * @endcode
 *
 * @par Blocking
 * `wait()` and `arrive_and_wait()` park the calling fiber; on a plain thread they
 * block the thread. `arrive()` and `arrive_and_drop()` do not wait, but may run the
 * completion function, which may.
 *
 * @par Cancellation
 * Not a cancellation point: one who left would keep the others for ever. A fiber
 * that ends instead of coming back calls `arrive_and_drop()`.
 *
 * @par Thread Safety
 * @e Distinct @e objects: Safe.@n
 * @e Shared @e objects: Safe, from fibers of any scheduler and from plain threads;
 * `arrive()`, `arrive_and_drop()` and the `async_` forms from handlers, too.
 *
 * @par Lifetime
 * May be destroyed as soon as all who were to arrive or to wait have returned.
 *
 * @tparam CompletionFunction Called without arguments; must not throw.
 */
template <class CompletionFunction = detail::no_completion>
class barrier {
    static_assert(
        std::is_nothrow_invocable_v<CompletionFunction&>,
        "a barrier's completion function takes no arguments and is noexcept");

public:
    /// Says in which phase somebody has arrived.
    class arrival_token {
    public:
        arrival_token(arrival_token&&) = default;
        arrival_token& operator=(arrival_token&&) = default;
        ~arrival_token() = default;

    private:
        friend barrier;

        explicit arrival_token(std::uint64_t phase) noexcept : phase_(phase) {}

        std::uint64_t phase_;
    };

    /// Constructs a barrier for groups of `expected`.
    /**
     * @pre `0 <= expected`: else the process ends with a message.
     */
    explicit barrier(std::ptrdiff_t expected, CompletionFunction f = CompletionFunction())
        : core_(expected), completion_(std::move(f))
    {
    }

    barrier(barrier const&) = delete;
    barrier& operator=(barrier const&) = delete;

    /// The most that a group can have.
    static constexpr std::ptrdiff_t max() noexcept
    {
        return std::numeric_limits<std::ptrdiff_t>::max();
    }

    /// Arrives `n` times, and does not wait.
    /**
     * @pre `0 < n`, and at most what is left to arrive in this phase: else the
     * process ends with a message.
     *
     * @returns What `wait()` takes to wait for the end of this phase.
     */
    [[nodiscard]] arrival_token arrive(std::ptrdiff_t n = 1)
    {
        bool last = false;
        auto const phase = core_.arrive(n, last);
        if (last)
            complete();
        return arrival_token(phase);
    }

    /// Waits until the phase of `arrival` is over.
    /**
     * @throws system_error `errc::not_in_fiber` in a completion handler.
     */
    void wait(arrival_token&& arrival) const { core_.wait(arrival.phase_); }

    /// Arrives, and waits until the phase is over.
    /**
     * @throws system_error `errc::not_in_fiber` in a completion handler, which has
     * then not arrived.
     */
    void arrive_and_wait()
    {
        if (core_.arrive_and_wait())
            complete();
    }

    /// As `wait`, for callbacks and coroutines: `void(error_code)`.
    /**
     * The error is `operation_aborted` when the token's cancellation slot was emitted
     * (any type) before the phase was over. Who has arrived has arrived all the same.
     *
     * @par Thread Safety
     * Any thread, fiber or handler.
     *
     * @par Lifetime
     * The barrier must live until the phase is over, and as long as the cancellation
     * slot can be emitted.
     */
    template <class CompletionToken>
    auto async_wait(arrival_token&& arrival, CompletionToken&& token) const
    {
        return boost::asio::async_initiate<CompletionToken, void(error_code)>(
            initiate_wait{this}, token, arrival.phase_);
    }

    /// Arrives, and waits until the phase is over; for callbacks and coroutines.
    /**
     * It arrives when the operation is initiated. Otherwise as `async_wait`.
     */
    template <class CompletionToken>
    auto async_arrive_and_wait(CompletionToken&& token)
    {
        return boost::asio::async_initiate<CompletionToken, void(error_code)>(
            initiate_arrival{this}, token);
    }

    /// Arrives for this phase, and will not for the next ones.
    void arrive_and_drop()
    {
        core_.drop();
        (void)arrive();
    }

private:
    struct initiate_wait {
        template <class Handler>
        void operator()(Handler&& handler, std::uint64_t phase) const
        {
            using operation
                = detail::wait_operation<detail::barrier_core::end_of_phase, std::decay_t<Handler>>;
            operation::make(
                std::forward<Handler>(handler),
                detail::barrier_core::end_of_phase{self->core_, phase})
                .start();
        }

        barrier const* self;
    };

    struct initiate_arrival {
        template <class Handler>
        void operator()(Handler&& handler) const
        {
            initiate_wait{self}(std::forward<Handler>(handler), self->arrive().phase_);
        }

        barrier* self;
    };

    void complete() noexcept
    {
        completion_();
        core_.begin_phase();
    }

    mutable detail::barrier_core core_;
    [[no_unique_address]] CompletionFunction completion_;
};

} // namespace spindle

#endif // SPINDLE_SYNC_BARRIER_HPP
