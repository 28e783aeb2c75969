//
// spindle/sync/singleflight.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_SYNC_SINGLEFLIGHT_HPP
#define SPINDLE_SYNC_SINGLEFLIGHT_HPP

#include <spindle/config.hpp>
#include <spindle/detail/base/mutex.hpp>
#include <spindle/detail/fiber/hooks.hpp>
#include <spindle/detail/fiber/stop.hpp>
#include <spindle/detail/sync/countdown.hpp>

#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <variant>

namespace spindle {

namespace detail {

// One call, and those who share it.
//
// Who may touch what
//
//   shared      under the lock of the singleflight
//   the rest    the caller until it counts `over` down; then nobody writes it
struct flight {
    countdown over{1};
    void const* const caller = whoever_calls();
    bool shared = false;
    bool abandoned = false;   // its caller was stopped: that is nobody else's result
    std::exception_ptr error;
};

template <class Value>
struct flight_result {
    Value value;
    bool shared;
};

template <>
struct flight_result<void> {
    bool shared;
};

// Ends the process with a message.
[[noreturn]] SPINDLE_DECL void flight_waits_for_itself() noexcept;

} // namespace detail

/// Lets those who want the same thing at the same time share one call.
/**
 * Go's `singleflight`: while a call for a key is under way, whoever calls with
 * that key waits for it, and gets a copy of its result, or its exception. When it
 * is over, the next one calls anew: this is no cache.
 *
 * @par Example
 * @code
 * spindle::singleflight<std::string, page> fetches;
 *
 * page get(std::string const& url) // from a thousand fibers
 * {
 *     return fetches.call(url, [&] { return download(url); }).value;
 * }
 * @endcode
 *
 * @par Blocking
 * The first caller runs the function; it may park. The others park; plain threads
 * block.
 *
 * @par Cancellation
 * Those who wait: a cancellation point. Who is asked to stop leaves with
 * `operation_aborted`; the call goes on for the others. The one who calls: up to
 * what its function waits for. If that ends the call by `operation_aborted` since its
 * fiber was asked to stop, this is its stop alone: one of those who wait calls anew.
 *
 * @par Thread Safety
 * @e Distinct @e objects: Safe.@n
 * @e Shared @e objects: Safe, from fibers of any scheduler and from plain threads;
 * `forget()` from handlers, too. An exception that is shared is one object: those
 * who catch it must not change it.
 *
 * @par Lifetime
 * Must outlive every call.
 *
 * @tparam Key Copyable. Hashing and comparing keys must neither park nor come back
 * to the object.
 *
 * @tparam Value Copyable, or `void`. For what is expensive to copy, or cannot be, a
 * `std::shared_ptr`.
 */
template <
    class Key, class Value, class Hash = std::hash<Key>, class KeyEqual = std::equal_to<Key>>
class singleflight {
    static_assert(
        std::is_void_v<Value> || std::is_copy_constructible_v<Value>,
        "each of those who share a call gets a copy of the value: use a std::shared_ptr");

    using stored = std::conditional_t<std::is_void_v<Value>, std::monostate, Value>;

public:
    /// What `call()` returns: `value`, unless that is `void`, and `shared`, which
    /// says whether somebody else was given the same.
    using result = detail::flight_result<Value>;

    singleflight() = default;
    singleflight(singleflight const&) = delete;
    singleflight& operator=(singleflight const&) = delete;

    /// Calls `fn()`, or waits for the call for the same key that is under way.
    /**
     * @throws system_error `boost::asio::error::operation_aborted` if the fiber was
     * asked to stop while it waited, `errc::not_in_fiber` in a completion handler.
     * Whatever the function that was called throws, to all who share the call.
     *
     * @pre `fn` does not itself call with the same key: else the process ends with a
     * message.
     */
    template <class Function>
        requires std::is_invocable_r_v<Value, Function>
    result call(Key const& key, Function&& fn)
    {
        detail::require_may_wait();
        for (;;) {
            auto [f, first] = join(key);
            if (first)
                return lead(key, f, std::forward<Function>(fn));
            if (f->caller == detail::whoever_calls())
                detail::flight_waits_for_itself();
            f->over.wait(detail::wait_reason::singleflight, std::stop_token());
            if (f->error)
                std::rethrow_exception(f->error);
            if (!f->abandoned)
                return make_result(*f->value, true);
        }
    }

    /// Lets the next one who calls with that key call anew, and not share the call
    /// that is under way.
    void forget(Key const& key)
    {
        std::lock_guard guard(mutex_);
        flights_.erase(key);
    }

private:
    struct flight : detail::flight {
        std::optional<stored> value;
    };

    using flight_ptr = std::shared_ptr<flight>;

    // True: the caller is the first.
    std::pair<flight_ptr, bool> join(Key const& key)
    {
        std::lock_guard guard(mutex_);
        if (auto const it = flights_.find(key); it != flights_.end()) {
            it->second->shared = true;
            return {it->second, false};
        }
        auto f = std::make_shared<flight>();
        flights_.emplace(key, f);
        return {std::move(f), true};
    }

    template <class Function>
    result lead(Key const& key, flight_ptr const& f, Function&& fn)
    {
        try {
            if constexpr (std::is_void_v<Value>) {
                std::invoke(std::forward<Function>(fn));
                f->value.emplace();
            } else {
                f->value.emplace(std::invoke(std::forward<Function>(fn)));
            }
        } catch (...) {
            f->abandoned = detail::left_by_stop();
            if (!f->abandoned)
                f->error = std::current_exception();
            land(key, f);
            throw;
        }
        return land(key, f) ? make_result(*f->value, true)
                            : make_result(std::move(*f->value), false);
    }

    // The call is over. True: somebody shares it.
    bool land(Key const& key, flight_ptr const& f) noexcept
    {
        bool shared;
        {
            std::lock_guard guard(mutex_);
            if (auto const it = flights_.find(key); it != flights_.end() && it->second == f)
                flights_.erase(it);
            shared = f->shared;
        }
        (void)f->over.count_down(1);
        return shared;
    }

    template <class Stored>
    static result make_result([[maybe_unused]] Stored&& value, bool shared)
    {
        if constexpr (std::is_void_v<Value>)
            return {shared};
        else
            return {std::forward<Stored>(value), shared};
    }

    detail::mutex mutex_; // not held while anybody parks, or calls fn
    std::unordered_map<Key, flight_ptr, Hash, KeyEqual> flights_; // under mutex_
};

} // namespace spindle

#endif // SPINDLE_SYNC_SINGLEFLIGHT_HPP
