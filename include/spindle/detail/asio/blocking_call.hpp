//
// spindle/detail/asio/blocking_call.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// What is around a call that blocks its thread.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_ASIO_BLOCKING_CALL_HPP
#define SPINDLE_DETAIL_ASIO_BLOCKING_CALL_HPP

#include <spindle/config.hpp>
#include <spindle/detail/fiber/hooks.hpp>

namespace spindle::detail {

class machine;

// A fiber of a host marks its machine, so that the monitor sees how long that takes;
// and the way into every wait is barred meanwhile (hooks.hpp): the machine's mark of
// what Asio has on the thread is one that Asio never has.
class blocking_call {
public:
    // Throws errc::not_in_fiber in a handler.
    SPINDLE_DECL SPINDLE_NOINLINE blocking_call();

    // Returns when the fiber may run on.
    SPINDLE_DECL SPINDLE_NOINLINE ~blocking_call();

    blocking_call(blocking_call const&) = delete;
    blocking_call& operator=(blocking_call const&) = delete;

    // True: the call is for this thread.
    bool is_here() const noexcept { return where_ != where::elsewhere; }

    // Else. Throws errc::thread_limit, and has not called it.
    SPINDLE_DECL void run_elsewhere(void (*call)(void*) noexcept, void* argument);

private:
    enum class where { here, marked, traced, elsewhere } where_ = where::here;
    int error_ = 0; // errno, of the other thread
    machine* machine_ = nullptr; // the fiber's, which stays the same meanwhile
    fiber_record* fiber_ = nullptr;
    void const* mark_ = nullptr; // the machine's first
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_ASIO_BLOCKING_CALL_HPP
