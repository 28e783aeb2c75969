//
// spindle/detail/asio/blocking_threads.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// Threads for calls that block, where the fiber's own thread is not ours.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_ASIO_BLOCKING_THREADS_HPP
#define SPINDLE_DETAIL_ASIO_BLOCKING_THREADS_HPP

#include <spindle/config.hpp>
#include <spindle/detail/fiber/record.hpp>

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <list>
#include <mutex>
#include <thread>

namespace spindle::detail {

// A thread that has had nothing to do for so long leaves.
inline constexpr auto spare_thread_time = std::chrono::seconds(5);

// A queue of calls, and threads that take them: one is started where none is free, up
// to the limit; beyond that calls wait for their turn. One that finds nothing for some
// seconds leaves. A call lies in the frame of its fiber, which parks until it was made.
// Its thread is a foreign one to the scheduler (core::caller): the fiber may be gone,
// and the scheduler be waiting in its destructor, before that has left ready().
//
// Lock order: mutex_ is a leaf.
class blocking_threads {
public:
    explicit blocking_threads(std::size_t most) noexcept : most_(most) {}
    blocking_threads(blocking_threads const&) = delete;
    blocking_threads& operator=(blocking_threads const&) = delete;

    // No call is on its way.
    SPINDLE_DECL ~blocking_threads();

    // The running fiber only. Calls and parks until that returns; returns its errno.
    // Throws errc::thread_limit where there is no thread at all, and none can be had.
    SPINDLE_DECL int run(fiber_record& self, void (*call)(void*) noexcept, void* argument);

    // Any thread. How many there are now.
    SPINDLE_DECL std::size_t count() const;

    // Any plain thread. Waits for the calls that are on their way.
    SPINDLE_DECL void wait() noexcept;

private:
    struct job {
        blocking_threads& threads;
        fiber_record& fiber;
        void (*call)(void*) noexcept;
        void* argument;
        int error = 0;
        job* next = nullptr;
    };

    static bool commit(void* argument) noexcept;
    void want_thread(std::unique_lock<std::mutex>& guard);
    void work(std::list<std::thread>::iterator self) noexcept;
    void join_those_that_left(std::unique_lock<std::mutex>& guard) noexcept;

    std::size_t const most_;
    mutable std::mutex mutex_;
    std::condition_variable more_, none_;
    // Under mutex_:
    job* first_ = nullptr; // in the order in which they came
    job** end_ = &first_;
    std::size_t under_way_ = 0; // calls: promised, queued or running
    std::list<std::thread> threads_, left_;
    bool ending_ = false;
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_ASIO_BLOCKING_THREADS_HPP
