//
// spindle/detail/chan/cases.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// The cases of a select that wait for a channel, a time or a stop.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_CHAN_CASES_HPP
#define SPINDLE_DETAIL_CHAN_CASES_HPP

#include <spindle/config.hpp>
#include <spindle/detail/asio/started.hpp>
#include <spindle/detail/base/atomic.hpp>
#include <spindle/detail/base/clock.hpp>
#include <spindle/detail/base/scope_exit.hpp>
#include <spindle/detail/chan/handle.hpp>
#include <spindle/detail/chan/select.hpp>
#include <spindle/detail/time/timer_queue.hpp>
#include <spindle/error.hpp>
#include <spindle/fwd.hpp>

#include <concepts>
#include <functional>
#include <optional>
#include <stop_token>
#include <type_traits>
#include <utility>
#include <variant>

namespace spindle::detail {

struct no_function {
    template <class... Args>
    void operator()(Args&&...) const noexcept
    {
    }
};

// --- receive ----------------------------------------------------------------------------

// What was received goes to the user's own variable.
template <class Value>
struct receive_target {
    Value* to;
};

template <class T, class Sink>
class receive_case final : public select_case_base {
    using value_type = carried_t<T>;

public:
    receive_case(channel_handle<T> const& h, bool keep, Sink sink)
        : select_case_base(kind::receive, h.state()), state_(h.state()), sink_(std::move(sink))
    {
        if (keep)
            kept_ = h;
    }

    void own() override
    {
        if (state_ && !kept_.state())
            kept_ = channel_handle<T>(*state_);
    }

    chan_result attempt(chan_waiter*& wake) override { return state_->get(value_, wake); }

    chan_core::queue* enlist() noexcept override
    {
        waiter.slot = &value_;
        return &state_->receivers();
    }

    void run() override
    {
        if constexpr (std::is_void_v<T>) {
            auto const open = value_.has_value();
            value_.reset();
            if constexpr (std::is_same_v<Sink, receive_target<bool>>)
                *sink_.to = open;
            else if constexpr (std::invocable<Sink&, bool>)
                std::invoke(sink_, open);
            else
                std::invoke(sink_);
        } else if constexpr (std::is_same_v<Sink, receive_target<std::optional<T>>>) {
            sink_.to->reset(); // T need not be assignable
            if (value_) {
                sink_.to->emplace(std::move(*value_));
                value_.reset();
            }
        } else if constexpr (std::invocable<Sink&, std::optional<T>>) {
            scope_exit const empty([this] { value_.reset(); }); // a case may be used again
            std::invoke(sink_, std::move(value_));
        } else {
            value_.reset();
            std::invoke(sink_);
        }
    }

private:
    channel_state<value_type>* state_;
    channel_handle<T> kept_;
    std::optional<value_type> value_;
    Sink sink_;
};

// --- send -------------------------------------------------------------------------------

template <class T, class Function>
class send_case final : public select_case_base {
    using value_type = carried_t<T>;

public:
    // `value` null: it lies in `stored`.
    send_case(
        channel_handle<T> const& h,
        bool keep,
        value_type* value,
        bool copies,
        std::optional<value_type> stored,
        Function f)
        : select_case_base(kind::send, h.state()), state_(h.state()), value_(value),
          copies_(copies), stored_(std::move(stored)), function_(std::move(f))
    {
        if (keep)
            kept_ = h;
    }

    void own() override
    {
        if (state_ && !kept_.state())
            kept_ = channel_handle<T>(*state_);
        if (!value_)
            return;
        if constexpr (std::is_copy_constructible_v<value_type>) {
            if (copies_)
                stored_.emplace(std::as_const(*value_));
        }
        if (!stored_)
            stored_.emplace(std::move(*value_));
        value_ = nullptr;
        copies_ = false;
    }

    chan_result attempt(chan_waiter*& wake) override
    {
        if constexpr (std::is_copy_constructible_v<value_type>) {
            if (copies_)
                return state_->put(std::as_const(value()), wake);
        }
        return state_->put(std::move(value()), wake);
    }

    chan_core::queue* enlist() noexcept override
    {
        waiter.slot = &value();
        waiter.copies = copies_;
        return &state_->senders();
    }

    void run() override
    {
        if (waiter.result == chan_result::closed)
            throw_error(make_error_code(errc::channel_closed));
        std::invoke(function_);
    }

private:
    value_type& value() noexcept { return value_ ? *value_ : *stored_; }

    channel_state<value_type>* state_;
    channel_handle<T> kept_;
    value_type* value_;
    bool copies_;
    std::optional<value_type> stored_;
    Function function_;
};

// --- events -----------------------------------------------------------------------------

// A deadline, wherever the one who selects has its timers.
class SPINDLE_DECL select_timer : public select_case_base {
public:
    explicit select_timer(time_point deadline) noexcept
        : select_case_base(kind::event), deadline_(deadline)
    {
    }
    select_timer(select_timer const& other) noexcept
        : select_case_base(other), deadline_(other.deadline_)
    {
    }

    bool ready() override { return deadline_ != time_point::max() && deadline_ <= time_of_waits(); }
    void arm(select_wait& w) override;
    void disarm() noexcept override;

private:
    struct entry : timer_entry {
        select_timer* self = nullptr;
        select_wait* wait = nullptr;
    };

    time_point const deadline_;
    entry entry_;
    timer_queue* timers_ = nullptr; // where it lies, or has lain
    atomic<bool> left_{false};      // expired() touches nothing any more
};

template <class Function>
class timeout_case final : public select_timer {
public:
    timeout_case(time_point deadline, Function f)
        : select_timer(deadline), function_(std::move(f))
    {
    }

    void run() override { std::invoke(function_); }

private:
    Function function_;
};

class SPINDLE_DECL select_stop_case : public select_case_base {
public:
    explicit select_stop_case(std::stop_token token) noexcept
        : select_case_base(kind::event), token_(std::move(token))
    {
    }

    bool ready() override { return token_.stop_requested(); }
    void arm(select_wait& w) override;
    void disarm() noexcept override { callback_.reset(); }
    std::stop_token const* token() const noexcept override { return &token_; }

private:
    struct claim {
        select_wait* wait;
        std::uint32_t index;

        void operator()() const noexcept { wait->claim_and_wake(index); }
    };

    // Not copied: a case is copied before it is armed.
    struct callback : std::optional<std::stop_callback<claim>> {
        callback() = default;
        callback(callback const&) noexcept : optional() {}
        using std::optional<std::stop_callback<claim>>::emplace;
    };

    std::stop_token token_;
    callback callback_;
};

template <class Function>
class stop_case final : public select_stop_case {
public:
    stop_case(std::stop_token token, Function f)
        : select_stop_case(std::move(token)), function_(std::move(f))
    {
    }

    void run() override { std::invoke(function_); }

private:
    Function function_;
};

// An operation that a fiber has started, or is to start.
class SPINDLE_DECL select_completion : public select_case_base, completion_listener {
public:
    // `p` null: what it is to hear of comes when it is armed.
    explicit select_completion(completion_state* p = nullptr) noexcept
        : select_case_base(kind::event), progress(p)
    {
    }
    // Before it is armed.
    select_completion(select_completion const& other) noexcept
        : select_case_base(other), completion_listener(), progress(other.progress)
    {
    }

    void arm(select_wait& w) override;
    void disarm() noexcept override;

protected:
    completion_state* progress;

private:
    bool completed() noexcept override;
    void go_on() noexcept override;

    select_wait* wait_ = nullptr; // null: not armed
};

// An `operation` of the user's.
template <class Started, class Function>
class started_case : public select_completion {
public:
    started_case(Started& op, Function f)
        : select_completion(&op.progress()), operation_(op), function_(std::move(f))
    {
    }

    bool ready() override
    {
        progress->check_not_lent();
        return progress->over();
    }
    void run() override { operation_.deliver(function_); }

private:
    Started& operation_;
    Function function_;
};

// What was given to on_completion to be started: once for each time that the select
// begins anew, if it can be.
template <class Deferred>
using startable = std::conditional_t<
    deferred_operation<Deferred const&>, Deferred const&, Deferred&&>;

// One that this select starts, where nothing else is ready.
template <class Deferred, class Function>
class deferred_case final : public select_completion {
    using started_type = started_of<startable<Deferred>>;

public:
    using deferred_type = Deferred;
    using function_type = Function;

    deferred_case(Deferred op, Function f) : deferred_(std::move(op)), function_(std::move(f)) {}
    deferred_case(deferred_case&& other)
        : select_completion(other), deferred_(std::move(other.deferred_)),
          function_(std::move(other.function_))
    {
    }


    void arm(select_wait& w) override
    {
        progress = &operation_.emplace().progress();
        operation_->start([this](auto&& handler) {
            static_cast<startable<Deferred>>(deferred_)(std::move(handler));
        });
        select_completion::arm(w);
    }

    void disarm() noexcept override
    {
        select_completion::disarm();
        // Chosen: it is over, and run() takes the result. Else it has lost.
        if (operation_ && !(chosen && operation_->over()))
            operation_.reset(); // cancels and waits
    }

    void run() override
    {
        operation_->deliver(function_);
        operation_.reset();
    }

    Deferred& deferred() noexcept { return deferred_; }
    Function& function() noexcept { return function_; }

private:
    Deferred deferred_;
    Function function_;
    std::optional<started_type> operation_;
};

template <class Function>
class otherwise_case final : public select_case_base {
public:
    explicit otherwise_case(Function f)
        : select_case_base(kind::otherwise), function_(std::move(f))
    {
    }

    void run() override { std::invoke(function_); }

private:
    Function function_;
};

// --- from what the user wrote --------------------------------------------------------------

template <class Channel>
using value_of_channel = typename std::remove_cvref_t<Channel>::value_type;

template <class Channel>
concept receivable
    = std::derived_from<std::remove_cvref_t<Channel>, channel_view<value_of_channel<Channel>>>
    && requires(std::remove_cvref_t<Channel> const& ch) { ch.receive(); };

template <class Channel>
concept sendable
    = std::derived_from<std::remove_cvref_t<Channel>, channel_view<value_of_channel<Channel>>>
    && requires(std::remove_cvref_t<Channel> const& ch) { ch.close(); };

// A T; or what a T can be made from without using it up, since the case may lose.
template <class T, class Value>
concept sendable_value
    = (std::same_as<std::remove_cvref_t<Value>, T> && std::constructible_from<T, Value>)
    || (!std::same_as<std::remove_cvref_t<Value>, T>
        && std::constructible_from<T, std::remove_reference_t<Value> const&>);

template <class T, class F>
concept receive_function
    = (std::is_void_v<T> && std::invocable<F&, bool>)
    || (!std::is_void_v<T> && std::invocable<F&, std::optional<carried_t<T>>>)
    || std::invocable<F&>;

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_CHAN_CASES_HPP
