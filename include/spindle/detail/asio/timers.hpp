//
// spindle/detail/asio/timers.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// Where a wait of our own puts its deadline.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_ASIO_TIMERS_HPP
#define SPINDLE_DETAIL_ASIO_TIMERS_HPP

#include <spindle/config.hpp>
#include <spindle/detail/fiber/record.hpp>
#include <spindle/detail/time/timer_queue.hpp>

namespace spindle::detail {

// The running fiber's: its processor's queue, or its scheduler's. nullptr: it is
// bound to an executor that has none.
[[nodiscard]] SPINDLE_DECL timer_queue* timers_of(fiber_record& self) noexcept;

// As timers_of() where that gives one; else, and for plain threads and handlers
// (self null), the queue of the one thread that the process has for it, started
// on first use. Throws errc::thread_limit where that thread is refused.
[[nodiscard]] SPINDLE_DECL timer_queue& timers_for(fiber_record* self);

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_ASIO_TIMERS_HPP
