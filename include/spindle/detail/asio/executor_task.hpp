//
// spindle/detail/asio/executor_task.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// What a fiber runs for an executor: a function that nobody waits for.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_ASIO_EXECUTOR_TASK_HPP
#define SPINDLE_DETAIL_ASIO_EXECUTOR_TASK_HPP

#include <spindle/config.hpp>
#include <spindle/detail/asio/spawn_fiber.hpp>
#include <spindle/detail/fiber/record.hpp>

#include <memory>
#include <type_traits>
#include <utility>

namespace spindle::detail {

// The fiber, first of all. False: what runs it is being destroyed, and what has not
// begun is destroyed without being called, as Asio does.
[[nodiscard]] SPINDLE_DECL bool begin_for_executor() noexcept;
SPINDLE_DECL void end_for_executor() noexcept;

template <class Function>
void run_for_executor(Function& f) noexcept
{
    if (!begin_for_executor())
        return;
    try {
        std::move(f)();
    } catch (...) {
        if (!left_by_stop())
            unhandled_here();
    }
    end_for_executor();
}

template <class Function>
struct executor_task {
    Function function;

    void operator()() noexcept { run_for_executor(function); }
};

// One that does not fit in the fiber, in memory of the allocator's; given back before
// the function is called, as Asio's executors do it.
template <class Function, class Allocator>
class allocated_executor_task {
    using traits = typename std::allocator_traits<Allocator>::template rebind_traits<Function>;
    using allocator_type = typename traits::allocator_type;

public:
    template <class F>
    allocated_executor_task(F&& f, Allocator const& allocator)
        : allocator_(allocator), function_(traits::allocate(allocator_, 1))
    {
        try {
            ::new (static_cast<void*>(std::to_address(function_))) Function(std::forward<F>(f));
        } catch (...) {
            traits::deallocate(allocator_, function_, 1);
            throw;
        }
    }

    allocated_executor_task(allocated_executor_task&& other) noexcept
        : allocator_(std::move(other.allocator_)),
          function_(std::exchange(other.function_, nullptr))
    {
    }

    ~allocated_executor_task() { free(); }

    void operator()() noexcept
    {
        Function f(std::move(*function_));
        free();
        run_for_executor(f);
    }

private:
    void free() noexcept
    {
        if (!function_)
            return;
        std::destroy_at(std::to_address(function_));
        traits::deallocate(allocator_, std::exchange(function_, nullptr), 1);
    }

    [[no_unique_address]] allocator_type allocator_;
    typename traits::pointer function_;
};

template <class Function, class Allocator>
auto make_executor_task(Function&& f, Allocator const& allocator)
{
    using plain = executor_task<std::decay_t<Function>>;
    if constexpr (
        std::is_same_v<Allocator, std::allocator<void>>
        || sizeof(plain) <= fiber_record::storage_size)
        return plain{std::forward<Function>(f)};
    else
        return allocated_executor_task<std::decay_t<Function>, Allocator>(
            std::forward<Function>(f), allocator);
}

// Starts a fiber behind those that wait for their turn. Where the execution context is
// being destroyed nothing is started, and nothing thrown: destructors post, too.
template <class Task>
void submit_task(place&& where, void const* site, Task&& task)
{
    if (where.core->closing())
        return;
    auto& g = prepare_fiber(where, {}, site);
    try {
        set_task(g, std::forward<Task>(task));
    } catch (...) {
        discard_fiber(g);
        throw;
    }
    g.function = submitted::waiting;
    start_fiber(g, *where.core, where.bound.release(), lane::last);
}

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_ASIO_EXECUTOR_TASK_HPP
