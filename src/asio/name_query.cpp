//
// asio/name_query.cpp
// ~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/asio/name_query.hpp>

#include <spindle/detail/asio/blocking_threads.hpp>
#include <spindle/detail/base/atomic.hpp>
#include <spindle/detail/fiber/hooks.hpp>
#include <spindle/detail/fiber/machine_list.hpp>
#include <spindle/detail/fiber/park.hpp>
#include <spindle/detail/fiber/stop.hpp>
#include <spindle/detail/fiber/waiter.hpp>

#include <boost/asio/error.hpp>

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <system_error>
#include <thread>

namespace spindle::detail {

namespace {

constexpr std::size_t most_threads = 64;

error_code error_of_resolver(int e) noexcept
{
    namespace error = boost::asio::error;
    switch (e) {
    case 0:
        return {};
    case EAI_AGAIN:
        return error::host_not_found_try_again;
    case EAI_BADFLAGS:
        return error::invalid_argument;
    case EAI_FAIL:
        return error::no_recovery;
    case EAI_FAMILY:
        return error::address_family_not_supported;
    case EAI_MEMORY:
        return error::no_memory;
    case EAI_NONAME:
#if defined(EAI_ADDRFAMILY)
    case EAI_ADDRFAMILY:
#endif
#if defined(EAI_NODATA) && EAI_NODATA != EAI_NONAME
    case EAI_NODATA:
#endif
        return error::host_not_found;
    case EAI_SERVICE:
        return error::service_not_found;
    case EAI_SOCKTYPE:
        return error::socket_type_not_supported;
    default: // EAI_SYSTEM
        return {errno, error::get_system_category()};
    }
}

} // namespace

// Threads that ask. They belong to no scheduler: a name server that does not answer
// holds up nobody's end, only a thread. So they are never joined, and what they use
// lives as long as the process.
//
// One that waits for a query is a bystander while there is none: it must not hide a
// deadlock from those who look for one (host_deadlock.cpp).
//
// Lock order: mutex_, then that of the bystanders.
class name_threads {
public:
    static name_threads& get()
    {
        static auto& instance = *new name_threads;
        return instance;
    }

    // Throws errc::thread_limit where there is no thread at all, and none can be had.
    void submit(boost::intrusive_ptr<name_query> query)
    {
        std::unique_lock guard(mutex_);
        auto const queued = queued_.load(std::memory_order_relaxed);
        if (queued == idle_ && threads_ < most_threads)
            start_thread();
        queued_.store(queued + 1, std::memory_order_relaxed);
        auto& place = last_ ? last_->next_ : first_;
        last_ = query.get();
        place = std::move(query);
        more_.notify_one();
    }

private:
    void start_thread()
    {
        try {
            std::thread([this] { work(); }).detach(); // it waits for mutex_
            ++threads_;
            ++idle_;
        } catch (std::system_error const&) {
            if (threads_ == 0)
                throw_error(
                    make_error_code(errc::thread_limit),
                    "a name is resolved on a thread of its own, and the system has none: raise "
                    "its limit");
        }
    }

    bool wait_for_query(std::unique_lock<std::mutex>& guard) noexcept
    {
        bystander const idle(&has_query, this); // and none any more before queued_ says so
        return more_.wait_for(guard, spare_thread_time, [&] { return first_ != nullptr; });
    }

    static bool has_query(void const* self) noexcept
    {
        return static_cast<name_threads const*>(self)->queued_.load(std::memory_order_relaxed) != 0;
    }

    void work() noexcept
    {
        std::unique_lock guard(mutex_);
        for (;;) {
            if (!wait_for_query(guard))
                break;
            auto query = std::move(first_);
            first_ = std::move(query->next_);
            if (!first_)
                last_ = nullptr;
            queued_.store(queued_.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
            --idle_;
            guard.unlock();
            query->answer();
            query.reset();
            guard.lock();
            ++idle_;
        }
        --idle_;
        --threads_;
    }

    std::mutex mutex_;
    std::condition_variable more_;
    // Under mutex_:
    boost::intrusive_ptr<name_query> first_;
    name_query* last_ = nullptr;
    atomic<std::size_t> queued_{0}; // who looks for bystanders reads it without
    std::size_t threads_ = 0;
    std::size_t idle_ = 0; // of those: they wait for a query, or are about to take one
};

name_query::~name_query()
{
    if (found_)
        ::freeaddrinfo(found_);
}

void name_query::ask() noexcept
{
    auto const text = [](std::string const& s) { return s.empty() ? nullptr : s.c_str(); };
    errno = 0;
    error_ = error_of_resolver(::getaddrinfo(text(host_), text(service_), &hints_, &found_));
}

// A thread that answers.
void name_query::answer() noexcept
{
    if (state_.load(std::memory_order_relaxed) == state::abandoned)
        return; // while it was queued
    ask();
    auto s = state::asked;
    if (state_.compare_exchange_strong(
            s, state::answered, std::memory_order_release, std::memory_order_relaxed))
        waiter_->wake();
}

// A stopper, or the fiber. False: it is answered.
bool name_query::abandon() noexcept
{
    auto s = state::asked;
    return state_.compare_exchange_strong(
        s, state::abandoned, std::memory_order_acquire, std::memory_order_acquire);
}

bool may_resolve()
{
    auto* const self = waiting_fiber();
    if (!self || !stop_seen(*self))
        return true;
    yield(*self); // a loop that ignores its stop must not keep the thread
    return false;
}

error_code name_query::wait(boost::intrusive_ptr<name_query> const& query)
{
    struct stoppable : stop_hook {
        explicit stoppable(name_query& q)
            : stop_hook{[](stop_hook& h) noexcept {
                  auto& self = static_cast<stoppable&>(h);
                  if (self.query.abandon())
                      self.wait.wake();
              }},
              query(q)
        {
        }

        name_query& query;
        waiter wait;
    };

    auto* const self = waiting_fiber();
    if (!self) {
        query->ask();
        return query->error_;
    }
    stoppable s(*query);
    if (!hook_wait(*self, s)) {
        yield(*self); // a loop that ignores its stop must not keep the thread
        return operation_aborted();
    }
    query->waiter_ = &s.wait;
    try {
        name_threads::get().submit(query);
    } catch (...) {
        // A stopper may be inside, and be waking us.
        auto const alone = query->abandon();
        unhook_wait(*self, s);
        if (!alone)
            s.wait.wait(wait_reason::resolve);
        throw;
    }
    s.wait.wait(wait_reason::resolve);
    unhook_wait(*self, s);
    return query->state_.load(std::memory_order_acquire) == state::answered ? query->error_
                                                                            : operation_aborted();
}

} // namespace spindle::detail
