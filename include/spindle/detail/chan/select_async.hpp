//
// spindle/detail/chan/select_async.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// A select that nobody waits in: for callbacks, coroutines and futures.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_CHAN_SELECT_ASYNC_HPP
#define SPINDLE_DETAIL_CHAN_SELECT_ASYNC_HPP

#include <spindle/config.hpp>
#include <spindle/detail/asio/pending.hpp>
#include <spindle/detail/asio/started.hpp>
#include <spindle/detail/chan/cases.hpp>
#include <spindle/detail/chan/select.hpp>
#include <spindle/error.hpp>

#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/cancellation_type.hpp>
#include <boost/intrusive_ptr.hpp>
#include <boost/smart_ptr/intrusive_ref_counter.hpp>

#include <array>
#include <cstddef>
#include <functional>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>

namespace spindle::detail {

// --- on_completion -------------------------------------------------------------------------

// An operation in flight. Its handler keeps it alive: the select may be gone, when an
// execution context drops both.
template <class Executor, class... Signatures>
class async_started final
    : public operation_results<Signatures...>,
      public boost::intrusive_ref_counter<async_started<Executor, Signatures...>> {
public:
    struct handler {
        using executor_type = Executor;
        using cancellation_slot_type = boost::asio::cancellation_slot;

        explicit handler(async_started& s) : self(&s) {}
        handler(handler&&) noexcept = default;
        handler& operator=(handler&&) = delete;
        ~handler()
        {
            if (self)
                self->progress.finish(); // dropped: there are no results
        }

        executor_type get_executor() const noexcept { return self->executor; }
        boost::asio::cancellation_slot get_cancellation_slot() const noexcept
        {
            return self->signal.slot();
        }

        template <class... Args>
        void operator()(Args&&... args)
        {
            auto const started = std::move(self);
            started->store(std::forward<Args>(args)...);
            started->completed = true;
            started->progress.finish();
        }

        boost::intrusive_ptr<async_started> self;
    };

    explicit async_started(Executor const& ex) : executor(ex) {}

    Executor const executor;
    boost::asio::cancellation_signal signal;
    completion_state progress;
    bool completed = false;
};

template <class Started, class Executor>
struct async_started_of;

template <class... Signatures, class Executor>
struct async_started_of<started_operation<Signatures...>, Executor> {
    using type = async_started<Executor, Signatures...>;
};

template <class Deferred, class Function, class Executor>
class async_deferred_case final : public select_completion {
    using started_type =
        typename async_started_of<started_of<startable<Deferred>>, Executor>::type;

public:
    async_deferred_case(deferred_case<Deferred, Function>&& c, Executor const& ex)
        : deferred_(std::move(c.deferred())), function_(std::move(c.function())), executor_(ex)
    {
    }
    async_deferred_case(async_deferred_case&&) = default; // before it is armed
    ~async_deferred_case() override
    {
        if (started_)
            started_->progress.unwatch();
    }

    void arm(select_wait& w) override
    {
        if (!started_) { // else the select has begun anew
            started_ = new started_type(executor_);
            progress = &started_->progress;
            progress->begin();
            static_cast<startable<Deferred>>(deferred_)(typename started_type::handler(*started_));
        }
        select_completion::arm(w);
    }

    void run() override { started_->deliver(function_); }

    // After disarm(): it has lost, if it was started. False: there is nothing to wait
    // for; else the listener hears of its end.
    bool cancel(detail::completion_listener& l)
    {
        if (!started_ || !progress->in_flight())
            return false;
        if (!progress->watch(l))
            return false;
        started_->signal.emit(boost::asio::cancellation_type::all);
        return true;
    }

    bool dropped() const noexcept { return started_ && !started_->completed; }

    // The initiation of another one threw.
    void abandon() noexcept
    {
        if (started_ && progress->in_flight())
            started_->signal.emit(boost::asio::cancellation_type::all);
    }

    // The listener has heard of it.
    void forget() noexcept { started_.reset(); }

private:
    Deferred deferred_;
    Function function_;
    Executor executor_;
    boost::intrusive_ptr<started_type> started_;
};

// The same, of an operation that a fiber has started. The select has it on loan.
template <class Started, class Function>
class async_started_case final : public started_case<Started, Function> {
public:
    explicit async_started_case(started_case<Started, Function>&& c)
        : started_case<Started, Function>(std::move(c))
    {
        this->progress->lend();
        loan_.reset(this->progress);
    }

    bool ready() override { return this->progress->over(); }

private:
    struct take_back {
        void operator()(completion_state* p) const noexcept { p->take_back(); }
    };

    std::unique_ptr<completion_state, take_back> loan_;
};

// --- what a case is here -------------------------------------------------------------------

template <class Case, class Executor>
struct async_case {
    using type = Case;
    static type make(Case&& c, Executor const&) { return std::move(c); }
};

template <class Deferred, class Function, class Executor>
struct async_case<deferred_case<Deferred, Function>, Executor> {
    using type = async_deferred_case<Deferred, Function, Executor>;
    static type make(deferred_case<Deferred, Function>&& c, Executor const& ex)
    {
        return type(std::move(c), ex);
    }
};

template <class Started, class Function, class Executor>
struct async_case<started_case<Started, Function>, Executor> {
    using type = async_started_case<Started, Function>;
    static type make(started_case<Started, Function>&& c, Executor const&)
    {
        return type(std::move(c));
    }
};

// --- the select ----------------------------------------------------------------------------

// Who may touch what
//
//   The initiation until the select has parked; then whoever claims it, who posts
//   finish(); finish(), on the executor, has it alone, but for operations that have
//   lost and are still in flight. The last of these to complete calls the handler.
template <class Handler, class... Cases>
class select_operation final
    : public async_operation<select_operation<Handler, Cases...>, Handler>, completion_listener {
    using base = async_operation<select_operation<Handler, Cases...>, Handler>;
    using executor_type = typename base::executor_type;
    static constexpr std::size_t size = sizeof...(Cases);

public:
    select_operation(Handler&& handler, std::tuple<Cases...>&& cases)
        : base(std::move(handler)),
          cases_(std::apply(
              [ex = this->executor()](Cases&... c) {
                  (void)ex; // of a select without cases
                  return all_cases(async_case<Cases, executor_type>::make(std::move(c), ex)...);
              },
              cases)),
          all_(std::apply(
              [](auto&... c) { return std::array<select_case_base*, size>{&c...}; }, cases_)),
          wait_(all_, order_.data(), locks_.data())
    {
        wait_.owner_data = this;
        wait_.set_owner(nullptr, [](queued_waiter& w) noexcept {
            static_cast<select_operation*>(select_wait::of(w).owner_data)->complete();
        });
    }

    // Claimed, and never finished: its execution context has gone.
    ~select_operation()
    {
        if (enrolled_)
            (void)wait_.settle();
    }

    void start()
    {
        auto at_once = false;
        try {
            wait_.renew();
            this->prepare([this] { wait_.claim_and_wake(claim_word::aborted); });
            at_once = begin();
        } catch (...) {
            this->take_back();
            std::apply([this](auto&... c) { (this->abandon(c), ...); }, cases_);
            this->discard();
            throw;
        }
        if (at_once)
            this->complete_immediately();
    }

    // On the executor.
    void finish()
    {
        if (dropped_) {
            deliver();
            return;
        }
        auto again = false;
        if (!chosen_) {
            chosen_ = wait_.settle();
            enrolled_ = false;
            again = !chosen_ && wait_.winner() != claim_word::aborted;
        }
        if (again) {
            start(); // a move threw in a peer's hands: here it throws in ours, or goes well
            return;
        }
        losing_.store(1, std::memory_order_relaxed);
        std::apply([this](auto&... c) { (this->cancel(c), ...); }, cases_);
        one_less();
    }

    bool withdraw() noexcept
    {
        if (!wait_.withdraw())
            return false;
        enrolled_ = false;
        return true;
    }

private:
    template <class Case>
    void cancel(Case& c)
    {
        if constexpr (requires { c.cancel(*this); }) {
            if (&c == chosen_)
                return;
            losing_.fetch_add(1, std::memory_order_relaxed);
            if (!c.cancel(*this))
                losing_.fetch_sub(1, std::memory_order_relaxed);
        }
    }

    template <class Case>
    void abandon(Case& c) noexcept
    {
        if constexpr (requires { c.abandon(); })
            c.abandon();
    }

    bool completed() noexcept override
    {
        return losing_.fetch_sub(1, std::memory_order_acq_rel) == 1;
    }
    void go_on() override { end(); }

    // True: over at once. False: it may be over, and gone, by now.
    bool begin()
    {
        chosen_ = wait_.try_now();
        if (!chosen_)
            chosen_ = wait_.enroll();
        if (chosen_)
            return true;
        enrolled_ = true;
        return !wait_.release_and_park();
    }

    void one_less()
    {
        if (losing_.fetch_sub(1, std::memory_order_acq_rel) == 1)
            end();
    }

    void end()
    {
        auto dropped = false; // each of them takes its leave
        std::apply([&](auto&... c) { ((dropped = this->take_leave(c) || dropped), ...); }, cases_);
        if (dropped) { // we are on no executor
            dropped_ = true;
            this->complete();
            return;
        }
        deliver();
    }

    void deliver()
    {
        error_code ec = operation_aborted();
        std::size_t index = 0;
        if (chosen_) {
            ec = {};
            index = chosen_->index;
            // A closed channel is an error of those who send.
            if (chosen_->waiter.result == chan_result::closed &&
                chosen_->what == select_case_base::kind::send)
                ec = make_error_code(errc::channel_closed);
        }
        struct guard {
            ~guard()
            {
                if (self)
                    self->discard();
            }
            select_operation* self;
        } discarding{this};
        if (chosen_ && !ec)
            chosen_->run();
        auto handler = std::move(this->handler());
        std::exchange(discarding.self, nullptr)->release(handler);
        std::move(handler)(ec, index);
    }

    // Of a case that has lost. True: an execution context has dropped its handler.
    template <class Case>
    bool take_leave(Case& c) const noexcept
    {
        if constexpr (requires { c.forget(); }) {
            if (&c == chosen_)
                return false;
            auto const dropped = c.dropped();
            c.forget();
            return dropped;
        } else {
            return false;
        }
    }

    using all_cases = std::tuple<typename async_case<Cases, executor_type>::type...>;

    all_cases cases_;
    std::array<select_case_base*, size> const all_;
    std::array<select_case_base*, size + 1> order_;
    std::array<chan_core*, size + 1> locks_;
    select_wait wait_;
    select_case_base* chosen_ = nullptr;
    bool enrolled_ = false; // settle() must follow
    bool dropped_ = false;
    atomic<std::size_t> losing_{1};
};

struct initiate_select {
    template <class Handler, class... Cases>
    void operator()(Handler&& handler, std::tuple<Cases...>&& cases) const
    {
        using operation = select_operation<std::decay_t<Handler>, Cases...>;
        operation::make(std::forward<Handler>(handler), std::move(cases)).start();
    }
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_CHAN_SELECT_ASYNC_HPP
