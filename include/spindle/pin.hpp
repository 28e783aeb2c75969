//
// spindle/pin.hpp
// ~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_PIN_HPP
#define SPINDLE_PIN_HPP

#include <spindle/config.hpp>

namespace spindle {

namespace detail {
struct fiber_record;
}

/// A scope in which the fiber stays on its thread (Go's LockOSThread).
/**
 * For libraries that keep something with the thread: a graphics context, a COM
 * apartment, a `thread_local`.
 *
 * @par Example
 * @code
 * spindle::go([] {
 *     spindle::pin here;
 *     auto context = gl_make_current();
 *     while (auto frame = frames.receive())   // other fibers run on other threads
 *         context.draw(*frame);
 * });
 * @endcode
 *
 * The thread is the fiber's alone meanwhile: it runs nothing else, and sleeps while the
 * fiber waits. Its processor goes to another thread, so a pinned fiber runs beside as
 * many others as there are processors. Fibers that it spawns are not pinned. One inside
 * another does nothing more.
 *
 * Each wait costs a thread's sleep and wake-up. Leaving the scope is a scheduling
 * point: the fiber waits for its turn. So is entering it on a thread where a completion
 * handler waits in a primitive of Boost.Fiber's: the fiber goes on on another one.
 *
 * @par Thread Safety
 * For the fiber that made it, which must destroy it before it ends.
 */
class pin {
public:
    /// @throws system_error `errc::not_in_fiber` outside a fiber;
    /// `errc::thread_limit` when there is no other thread for its processor;
    /// `boost::system::errc::operation_not_supported` for a fiber that is bound to an
    /// executor or runs on a user's own io_context, whose threads are not ours.
    SPINDLE_DECL pin();

    /// Lets the fiber go on elsewhere.
    SPINDLE_DECL ~pin();

    pin(pin const&) = delete;
    pin& operator=(pin const&) = delete;

private:
    detail::fiber_record* fiber_ = nullptr; // null: an outer one has it
};

} // namespace spindle

#endif // SPINDLE_PIN_HPP
