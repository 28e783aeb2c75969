//
// spindle/group/worker_pool.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_GROUP_WORKER_POOL_HPP
#define SPINDLE_GROUP_WORKER_POOL_HPP

#include <spindle/chan/channel.hpp>
#include <spindle/config.hpp>
#include <spindle/detail/base/atomic.hpp>
#include <spindle/detail/fiber/stop.hpp>
#include <spindle/error.hpp>
#include <spindle/group/task_group.hpp>

#include <boost/system/errc.hpp>

#include <cstddef>
#include <functional>
#include <type_traits>
#include <utility>

namespace spindle {

/// So many fibers that take jobs from one channel.
/**
 * @par Example
 * @code
 * spindle::worker_pool<std::string> pool(8, [&](std::string url) { fetch(url); });
 * for (auto& url : urls)
 *     pool.submit(std::move(url));
 * pool.close();
 * pool.wait();
 * @endcode
 *
 * @par Failure
 * An exception that leaves a job stops the other workers and closes the pool:
 * `submit` fails with `errc::channel_closed`, and `wait()` throws that exception.
 *
 * @par Blocking
 * `submit` waits while all workers are busy and as many jobs wait as `capacity`
 * says; `wait()` and the destructor wait for the workers.
 *
 * @par Cancellation
 * `submit` and `wait` are cancellation points. The workers are in the scope where
 * the pool was made, as the children of a `task_group`.
 *
 * @par Thread Safety
 * @e Distinct @e objects: Safe.@n
 * @e Shared @e objects: Safe.
 */
template <class Job>
class worker_pool {
public:
    /// Starts `workers` fibers beside the calling one; each calls a copy of `fn` of its own.
    /**
     * @throws system_error `invalid_argument` if `workers` is zero; what
     * `spindle::go` throws.
     */
    template <class Function>
        requires std::is_invocable_v<std::decay_t<Function>&, Job>
    explicit worker_pool(std::size_t workers, Function&& fn, std::size_t capacity = 0)
        : jobs_(capacity)
    {
        if (workers == 0)
            detail::throw_error(
                make_error_code(boost::system::errc::invalid_argument),
                "a worker_pool without workers: its jobs would wait for ever");
        std::decay_t<Function> const all(std::forward<Function>(fn));
        for (std::size_t i = 0; i != workers; ++i)
            group_.spawn([this, work = all]() mutable { run(work); });
    }

    worker_pool(worker_pool const&) = delete;
    worker_pool& operator=(worker_pool const&) = delete;

    /// Stops the workers and waits for them; jobs that nobody has begun are dropped.
    /**
     * A failure that no `wait()` has thrown goes to
     * `scheduler_options::unhandled_exception`.
     */
    ~worker_pool() = default;

    /// Gives a job to the next worker that is free.
    /**
     * @throws system_error `errc::channel_closed` after `close()` or a failure;
     * `operation_aborted`.
     */
    void submit(Job job)
    {
        error_code ec;
        submit(std::move(job), ec);
        if (ec)
            detail::throw_error(ec);
    }

    /// As above; the error goes to `ec`, and then the job is dropped.
    void submit(Job job, error_code& ec)
    {
        jobs_.send(std::move(job), ec);
        // The same cancellation may have ended the workers first, and closed the pool.
        if (ec == errc::channel_closed && detail::is_stopped_here()) [[unlikely]]
            ec = detail::operation_aborted();
    }

    /// There are no more jobs: the workers end when they have done those they have.
    /** Closing twice does nothing. */
    void close()
    {
        if (!closed_.exchange(true, std::memory_order_relaxed))
            jobs_.close();
    }

    /// Waits until all workers have ended; does not close the pool.
    /** @throws the first failure; `operation_aborted`, as `task_group::wait`. */
    void wait() { group_.wait(); }

    /// Cancels the workers; does not wait. From any thread.
    void cancel() noexcept { group_.cancel(); }

private:
    template <class Function>
    void run(Function& work)
    {
        try {
            while (auto job = jobs_.receive())
                std::invoke(work, std::move(*job));
        } catch (...) {
            close(); // nobody is left to take a job
            throw;
        }
    }

    channel<Job> jobs_;
    detail::atomic<bool> closed_{false};
    task_group group_; // goes first
};

} // namespace spindle

#endif // SPINDLE_GROUP_WORKER_POOL_HPP
