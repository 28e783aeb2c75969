//
// spindle/detail/fiber/wait_reason.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// What a parked fiber waits for. A reason is unique to one kind of wait and is
// never reused, so that a dump can be read.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_FIBER_WAIT_REASON_HPP
#define SPINDLE_DETAIL_FIBER_WAIT_REASON_HPP

#include <cstdint>

namespace spindle::detail {

enum class fiber_state : std::uint8_t {
    idle,     // no function: in a cache, waiting for one
    created,  // as runnable, and has not run yet
    runnable, // in a run queue, or posted to the executor that it is bound to
    running,  // on a thread
    blocking, // the same, in a call that blocks it: spindle::blocking()
    waiting,  // parked; wait_reason says for what
    examined, // for a moment, in the place of any of them: look.hpp
};

enum class wait_reason : std::uint8_t {
    none,
    operation,  // an Asio operation, through use_fiber
    sleep,      // this_fiber::sleep_for, sleep_until
    join,       // fiber<R>::join
    wait_group, // wait_group::wait
    task_group, // task_group::wait, and spawn beyond its limit
    once,       // call_once
    singleflight, // singleflight::call
    semaphore,  // counting_semaphore::acquire
    latch,      // latch::wait
    barrier,    // barrier::wait
    send,       // channel::send
    receive,    // channel::receive
    select,     // select
    nil_channel, // a nil channel: never ready
    mutex,      // mutex, timed_mutex, recursive_mutex: lock
    shared_mutex, // shared_mutex: lock, lock_shared
    condition_variable, // condition_variable::wait
    blocking,   // blocking(), on another thread
    stock,      // a primitive of Boost.Fiber's own
};

inline char const* to_string(fiber_state s) noexcept
{
    switch (s) {
    case fiber_state::idle:
        return "idle";
    case fiber_state::created:
        return "created";
    case fiber_state::runnable:
        return "runnable";
    case fiber_state::running:
        return "running";
    case fiber_state::blocking:
        return "in a blocking call";
    case fiber_state::waiting:
        return "waiting";
    case fiber_state::examined:
        return "examined";
    }
    return "?";
}

inline char const* to_string(wait_reason r) noexcept
{
    switch (r) {
    case wait_reason::none:
        return "none";
    case wait_reason::operation:
        return "asio operation";
    case wait_reason::blocking:
        return "blocking call";
    case wait_reason::sleep:
        return "sleep";
    case wait_reason::join:
        return "join";
    case wait_reason::task_group:
        return "task_group";
    case wait_reason::wait_group:
        return "wait_group";
    case wait_reason::once:
        return "call_once";
    case wait_reason::singleflight:
        return "singleflight call";
    case wait_reason::semaphore:
        return "semaphore acquire";
    case wait_reason::latch:
        return "latch";
    case wait_reason::barrier:
        return "barrier";
    case wait_reason::send:
        return "channel send";
    case wait_reason::receive:
        return "channel receive";
    case wait_reason::select:
        return "select";
    case wait_reason::nil_channel:
        return "a nil channel";
    case wait_reason::mutex:
        return "mutex lock";
    case wait_reason::shared_mutex:
        return "shared_mutex lock";
    case wait_reason::condition_variable:
        return "condition_variable wait";
    case wait_reason::stock:
        return "boost.fiber primitive";
    }
    return "?";
}

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_FIBER_WAIT_REASON_HPP
