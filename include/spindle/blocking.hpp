//
// spindle/blocking.hpp
// ~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_BLOCKING_HPP
#define SPINDLE_BLOCKING_HPP

#include <spindle/config.hpp>
#include <spindle/detail/asio/blocking_call.hpp>

#include <exception>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace spindle {

namespace detail {

// What a call on another thread has come to.
template <class R>
class call_outcome {
public:
    template <class Function>
    void fill(Function&& fn) noexcept
    {
        try {
            if constexpr (std::is_void_v<R>)
                std::invoke(std::forward<Function>(fn));
            else if constexpr (std::is_reference_v<R>)
                value_ = std::addressof(std::invoke(std::forward<Function>(fn)));
            else
                value_.emplace(std::invoke(std::forward<Function>(fn)));
        } catch (...) {
            error_ = std::current_exception();
        }
    }

    R take()
    {
        if (error_)
            std::rethrow_exception(std::move(error_));
        if constexpr (!std::is_void_v<R>) {
            if constexpr (std::is_reference_v<R>)
                return static_cast<R>(*value_);
            else
                return std::move(*value_);
        }
    }

private:
    struct nothing {};
    using storage = std::conditional_t<
        std::is_void_v<R>, nothing,
        std::conditional_t<
            std::is_reference_v<R>, std::remove_reference_t<R>*,
            std::optional<std::conditional_t<std::is_void_v<R>, nothing, std::decay_t<R>>>>>;

    [[no_unique_address]] storage value_{};
    std::exception_ptr error_;
};

} // namespace detail

/// Runs a call that may block its thread: a file, a name server, a library that knows
/// nothing of fibers.
/**
 * @par Example
 * @code
 * auto const text = spindle::blocking([&] { return read_file(path); });
 * @endcode
 *
 * Returns what `fn` returns, throws what it throws, and leaves `errno` as it left it.
 *
 * On a `scheduler` the call runs here and now. If it takes longer than
 * `scheduler_options::handoff_after`, the other fibers and the completions of this
 * processor go on by another thread; when the call returns, the fiber waits for its
 * turn. A short call costs a few nanoseconds, so nothing speaks against wrapping one
 * that blocks only sometimes. There may be as many threads as
 * `scheduler_options::max_threads`; beyond that processors wait.
 *
 * On a user's own io_context, and in a fiber that is bound to an executor, the call
 * runs on another thread, and the fiber parks.
 *
 * @par Blocking
 * Blocks a plain thread. Inside `fn` nothing may park the fiber: what would throws
 * `errc::not_in_fiber`. In a completion handler: throws `errc::not_in_fiber`.
 *
 * @par Cancellation
 * Not a cancellation point: a call cannot be taken back. The next one sees the stop.
 *
 * @throws system_error `errc::thread_limit` if the call needs another thread, and the
 * system has none at all; `fn` was not called.
 */
template <class Function>
std::invoke_result_t<Function> blocking(Function&& fn)
{
    detail::blocking_call call;
    if (call.is_here())
        return std::invoke(std::forward<Function>(fn));
    struct frame {
        Function& fn;
        detail::call_outcome<std::invoke_result_t<Function>> outcome = {};
    } f{fn};
    call.run_elsewhere(
        [](void* p) noexcept {
            auto& self = *static_cast<frame*>(p);
            self.outcome.fill(std::forward<Function>(self.fn));
        },
        &f);
    return f.outcome.take();
}

/// Waits for a `std::future`, as `blocking` does.
template <class T>
T get(std::future<T>& f)
{
    return blocking([&]() -> T { return f.get(); });
}

/// @copydoc get(std::future<T>&)
template <class T>
T get(std::future<T>&& f)
{
    return get(f);
}

} // namespace spindle

#endif // SPINDLE_BLOCKING_HPP
