//
// spindle/detail/asio/pending.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// An asynchronous operation of our own: its memory, its completion, and what
// becomes of it when its execution context goes away first.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_ASIO_PENDING_HPP
#define SPINDLE_DETAIL_ASIO_PENDING_HPP

#include <spindle/config.hpp>
#include <spindle/detail/base/mutex.hpp>

#include <boost/asio/associated_allocator.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/bind_allocator.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_type.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/execution/context.hpp>
#include <boost/asio/execution/outstanding_work.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/query.hpp>
#include <boost/asio/system_executor.hpp>
#include <boost/intrusive/list.hpp>
#include <boost/version.hpp>

#if BOOST_VERSION >= 108200
#include <boost/asio/associated_immediate_executor.hpp>
#endif

#include <cstddef>
#include <memory>
#include <type_traits>
#include <utility>

namespace spindle::detail {

class pending_service;

class SPINDLE_DECL pending_operation
    : public boost::intrusive::list_base_hook<
          boost::intrusive::link_mode<boost::intrusive::normal_link>> {
public:
    pending_operation() = default;
    pending_operation(pending_operation const&) = delete;
    pending_operation& operator=(pending_operation const&) = delete;

protected:
    ~pending_operation() = default;

    // Before somebody else could complete it.
    void list_in(boost::asio::execution_context& context);

    void unlist() noexcept;

    // Whoever is about to complete it, with nothing held. Until it was posted the
    // execution context is not destroyed.
    class completing {
    public:
        SPINDLE_DECL explicit completing(pending_operation& op) noexcept;
        SPINDLE_DECL ~completing();
        completing(completing const&) = delete;
        completing& operator=(completing const&) = delete;

    private:
        pending_service* service_;
    };

private:
    friend class pending_service;

    // The execution context is being destroyed: what would have run the handler
    // is gone. False: somebody is about to complete it.
    virtual bool withdraw_listed() noexcept = 0;

    // Goes, and the handler with it.
    virtual void drop() noexcept = 0;

    pending_service* service_ = nullptr;
    bool listed_ = false; // under the service's lock
};

// The operations whose handlers are to run on one execution context. Asio's own
// services do the same: a handler may own what keeps its operation alive. The end
// of the context waits for those who are just completing an operation.
class SPINDLE_DECL pending_service final : public boost::asio::execution_context::service {
public:
    using key_type = pending_service;
    static boost::asio::execution_context::id id;

    explicit pending_service(boost::asio::execution_context& context)
        : boost::asio::execution_context::service(context)
    {
    }

private:
    friend class pending_operation;

    void shutdown() noexcept override;

    mutex mutex_; // above the locks of channels and timers
    boost::intrusive::list<pending_operation> all_; // under mutex_
    std::size_t completing_ = 0;                    // under mutex_
};

// Lies in memory of the handler's allocator, holds the handler and counts as
// work of its executor. `Operation` has
//
//   void finish()     on the executor: moves out what it needs, discard()s itself,
//                     and calls the handler
//   bool withdraw()   any thread: makes sure that nobody will complete it; false:
//                     somebody is about to
template <class Operation, class Handler>
class async_operation : public pending_operation {
public:
    using executor_type = boost::asio::associated_executor_t<Handler>;
    using allocator_type = typename std::allocator_traits<
        boost::asio::associated_allocator_t<Handler>>::template rebind_alloc<Operation>;

    template <class... Args>
    static Operation& make(Handler&& handler, Args&&... args)
    {
        allocator_type allocator(boost::asio::get_associated_allocator(handler));
        auto* const p = std::allocator_traits<allocator_type>::allocate(allocator, 1);
        try {
            return *::new (static_cast<void*>(p))
                Operation(std::move(handler), std::forward<Args>(args)...);
        } catch (...) {
            std::allocator_traits<allocator_type>::deallocate(allocator, p, 1);
            throw;
        }
    }

    // The initiation, if it ends before the operation could be completed by
    // somebody else: by an exception, by `finish`.
    void discard() noexcept
    {
        auto const handler = std::move(handler_); // may own what the allocator points into
        release(handler);
    }

    // The same in finish(), which has moved the handler out.
    void release(Handler const& handler) noexcept
    {
        auto& self = static_cast<Operation&>(*this);
        allocator_type allocator(boost::asio::get_associated_allocator(handler));
        std::destroy_at(&self);
        std::allocator_traits<allocator_type>::deallocate(allocator, &self, 1);
    }

    // Any thread, once, with nothing held: the handler is queued. noexcept: there
    // is no way to say that there was no memory for that.
    SPINDLE_NOINLINE void complete() noexcept
    {
        completing const guard(*this);
        boost::asio::post(executor(), call_of(*this));
    }

protected:
    explicit async_operation(Handler&& handler)
        : handler_(std::move(handler)),
          work_(boost::asio::prefer(
              boost::asio::get_associated_executor(handler_),
              boost::asio::execution::outstanding_work.tracked))
    {
    }

    Handler& handler() noexcept { return handler_; }
    executor_type executor() const noexcept
    {
        return boost::asio::get_associated_executor(handler_);
    }

    // The initiation, before it publishes the operation. `cancel` is called where
    // the slot is emitted, whatever the type, until the handler is about to run.
    template <class Cancel>
    void prepare(Cancel cancel)
    {
        auto slot = boost::asio::get_associated_cancellation_slot(handler_);
        if (slot.is_connected())
            slot.assign([cancel](boost::asio::cancellation_type type) {
                if (type != boost::asio::cancellation_type::none)
                    cancel();
            });
        if constexpr (boost::asio::can_query_v<executor_type, boost::asio::execution::context_t>)
            list_in(boost::asio::query(executor(), boost::asio::execution::context));
    }

    // The initiation, by an exception: undoes prepare().
    void take_back() noexcept
    {
        auto slot = boost::asio::get_associated_cancellation_slot(handler_);
        if (slot.is_connected())
            slot.clear();
        unlist();
    }

    // The initiation: the operation was over at once.
    void complete_immediately() noexcept
    {
        unlist();
#if BOOST_VERSION >= 108200
        using immediate = boost::asio::associated_immediate_executor<Handler, executor_type>;
        if constexpr (is_default<immediate>) {
            boost::asio::post(executor(), call_of(*this));
        } else {
            // As Asio: from there a handler goes on to the executor of its own.
            auto const ex = immediate::get(handler_, executor());
            if constexpr (has_own_executor<typename immediate::type>)
                boost::asio::dispatch(ex, boost::asio::bind_executor(executor(), call_of(*this)));
            else
                boost::asio::dispatch(ex, call_of(*this));
        }
#else
        boost::asio::post(executor(), call_of(*this));
#endif
    }

private:
#if BOOST_VERSION >= 108200
    // Nothing is associated with the handler, and Asio's default holds.
    template <class Associated>
    static constexpr bool is_default = requires {
        typename Associated::asio_associated_immediate_executor_is_unspecialised;
    } || requires { typename Associated::asio_associated_executor_is_unspecialised; };

    template <class Immediate>
    static constexpr bool has_own_executor
        = !is_default<boost::asio::associated_executor<Handler>>
        && !requires { typename Immediate::is_associated_executor; };
#endif

    // What is posted: destroyed without being called, it takes the operation along.
    struct call {
        explicit call(async_operation& op) noexcept : self(&op) {}
        call(call&& other) noexcept : self(std::exchange(other.self, nullptr)) {}
        ~call()
        {
            if (self)
                self->discard();
        }

        void operator()() { std::exchange(self, nullptr)->run(); }

        async_operation* self;
    };

    static auto call_of(async_operation& op) noexcept
    {
        return boost::asio::bind_allocator(
            boost::asio::get_associated_allocator(op.handler_), call(op));
    }

    // On the executor, as everything that emits the slot.
    void run()
    {
        auto slot = boost::asio::get_associated_cancellation_slot(handler_);
        if (slot.is_connected())
            slot.clear();
        static_cast<Operation*>(this)->finish();
    }

    bool withdraw_listed() noexcept override { return static_cast<Operation*>(this)->withdraw(); }
    void drop() noexcept override { discard(); }

    using work_type = std::decay_t<decltype(boost::asio::prefer(
        std::declval<executor_type const&>(),
        boost::asio::execution::outstanding_work.tracked))>;

    Handler handler_;
    work_type work_;
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_ASIO_PENDING_HPP
