//
// spindle/detail/asio/machine_thread.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// Threads of ours that run fibers.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_ASIO_MACHINE_THREAD_HPP
#define SPINDLE_DETAIL_ASIO_MACHINE_THREAD_HPP

#include <spindle/detail/fiber/machine.hpp>

#include <condition_variable>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <utility>

namespace spindle::detail {

// A thread that has its machine by the time that this returns, and then calls f().
// Boost.Fiber takes memory for each thread: where there is none, the thread could do
// nothing but end the process. So that is a refused thread, as any other: throws
// std::system_error.
template <class Function>
std::thread start_machine_thread(Function f)
{
    // On this stack: a std::promise takes memory to say that it was broken.
    struct {
        std::mutex mutex;
        std::condition_variable said;
        enum { nothing, has_machine, has_none } what = nothing;
    } state;
    std::thread thread([&state, f = std::move(f)]() mutable {
        auto what = state.has_machine;
        try {
            (void)machine::ensure();
        } catch (std::bad_alloc const&) {
            what = state.has_none;
        }
        {
            std::lock_guard const guard(state.mutex);
            state.what = what;
            state.said.notify_one(); // with the lock held: state goes once it is released
        }
        if (what == state.has_machine)
            f();
    });
    std::unique_lock guard(state.mutex);
    state.said.wait(guard, [&] { return state.what != state.nothing; });
    if (state.what == state.has_machine)
        return thread;
    guard.unlock();
    thread.join();
    throw std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again));
}

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_ASIO_MACHINE_THREAD_HPP
