//
// spindle/detail/asio/guest_threads.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// Threads of ours that run a user's io_context, where the user has asked for them.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_ASIO_GUEST_THREADS_HPP
#define SPINDLE_DETAIL_ASIO_GUEST_THREADS_HPP

#include <spindle/config.hpp>
#include <spindle/detail/base/atomic.hpp>

#include <boost/asio/io_context.hpp>

#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace spindle::detail {

class asio_core;

// Shape
//
//   Each thread is in run(), or waits to be called. It begins run() only where there
//   is work, and run() has not been stopped: a run() without work would stop the
//   io_context before the program has begun with it. Whoever posts calls.
//
// Who may touch what
//
//   waiting_          a thread of ours counts itself, under mutex_; anybody reads it
//   calls_, begun_, ending_   under mutex_
//
// Why it is correct
//
//   W  A thread counts itself as waiting, then looks for work; who posts work does so,
//      then looks whether anybody waits; with a seq_cst fence between the steps of
//      each. So the thread finds the work, or is called. It reads calls_ before it
//      looks, so that a call in between is not lost.
//
// Not done, and why
//
//   restart() by ours: when the user's loop goes on is the user's to say. Nor does
//   restart() call them: what comes to run after it does.
//
// Evidence: test/asio/guest_threads.cpp
class guest_threads {
public:
    // Throws errc::thread_limit when the system refuses one.
    guest_threads(asio_core& core, boost::asio::io_context& io, unsigned n);
    guest_threads(guest_threads const&) = delete;
    guest_threads& operator=(guest_threads const&) = delete;
    ~guest_threads() { end(); }

    // Any thread, after it has posted something.
    void call() noexcept
    {
        fence(std::memory_order_seq_cst); // W
        if (waiting_.load(std::memory_order_relaxed) != 0)
            call_those_that_wait();
    }

    // Stops the io_context, and waits until they have left it.
    void end() noexcept;

    unsigned count() const noexcept { return static_cast<unsigned>(threads_.size()); }

private:
    void work() noexcept;
    bool may_run() const noexcept;
    void call_those_that_wait() noexcept;

    asio_core& core_;
    boost::asio::io_context& io_;
    std::mutex mutex_;
    std::condition_variable called_;
    unsigned long calls_ = 0;
    bool begun_ = false; // all of them are there
    bool ending_ = false;
    atomic<unsigned> waiting_{0};
    std::vector<std::thread> threads_;
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_ASIO_GUEST_THREADS_HPP
