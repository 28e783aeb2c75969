//
// asio/guest_threads.cpp
// ~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/asio/guest_threads.hpp>

#include <spindle/detail/asio/asio_access.hpp>
#include <spindle/detail/asio/asio_core.hpp>
#include <spindle/detail/asio/machine_thread.hpp>
#include <spindle/detail/base/fatal.hpp>
#include <spindle/error.hpp>

#include <boost/asio/detail/scheduler.hpp>

#include <system_error>

namespace spindle::detail {

guest_threads::guest_threads(asio_core& core, boost::asio::io_context& io, unsigned n)
    : core_(core), io_(io)
{
    threads_.reserve(n);
    waiting_.store(n, std::memory_order_relaxed); // from the first
    try {
        while (threads_.size() != n)
            threads_.push_back(start_machine_thread([this] { work(); }));
    } catch (std::system_error const&) {
        end();
        throw_error(
            make_error_code(errc::thread_limit),
            "the system refuses a thread: scheduler_options::guest_threads is too high for it");
    } catch (...) { // no memory for the thread's own object
        end();
        throw;
    }
    std::lock_guard const guard(mutex_);
    begun_ = true;
}

void guest_threads::work() noexcept
{
    std::unique_lock guard(mutex_);
    unsigned long before = 0;
    for (bool looks = false;; looks = true) { // not before the first call
        if (!looks || !may_run())
            called_.wait(guard, [&] { return calls_ != before || ending_; });
        waiting_.fetch_sub(1, std::memory_order_relaxed);
        if (ending_)
            return;
        if (may_run()) {
            guard.unlock();
            try {
                io_.run();
            } catch (...) {
                core_.unhandled_in_handler(); // and run() goes on, as Asio has it
            }
            guard.lock();
        }
        before = calls_;
        waiting_.fetch_add(1, std::memory_order_relaxed);
        fence(std::memory_order_seq_cst); // W
    }
}

// With mutex_ held.
bool guest_threads::may_run() const noexcept
{
    return begun_ && !io_.stopped()
        && asio_work_hint(boost::asio::use_service<boost::asio::detail::scheduler>(io_)) > 0;
}

void guest_threads::call_those_that_wait() noexcept
{
    {
        std::lock_guard guard(mutex_);
        ++calls_;
    }
    called_.notify_all();
}

void guest_threads::end() noexcept
{
    for (auto const& t : threads_)
        if (t.get_id() == std::this_thread::get_id())
            fatal(
                "an io_context was destroyed by one of its scheduler_options::guest_threads, "
                "inside its own run()");
    {
        std::lock_guard guard(mutex_);
        ending_ = true;
    }
    called_.notify_all();
    if (begun_)
        io_.stop();
    for (auto& t : threads_)
        t.join();
    threads_.clear();
}

} // namespace spindle::detail
