//
// spindle/algo/work_stealing.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_ALGO_WORK_STEALING_HPP
#define SPINDLE_ALGO_WORK_STEALING_HPP

#include <spindle/config.hpp>
#include <spindle/detail/fiber/machine.hpp>
#include <spindle/scheduler.hpp>

namespace spindle::algo {

/// Lets a thread of the user's make fibers for a scheduler, by Boost.Fiber's own API.
/**
 * The threads of a `scheduler` run under this algorithm already: there, and in
 * each of its fibers, `boost::fibers::fiber` and all of Boost.Fiber's primitives
 * work as they are, and their fibers are stolen like any other. Installed on
 * another thread, it sends the fibers that are made there to the scheduler's
 * processors; the thread itself runs its main context, which may wait in any
 * primitive of Boost.Fiber's.
 *
 * @par Example
 * @code
 * spindle::scheduler sched;
 * boost::fibers::use_scheduling_algorithm<spindle::algo::work_stealing>(sched);
 * boost::fibers::async(compute).get();
 * @endcode
 *
 * @par Fibers that wait in a primitive of Boost.Fiber's
 * They come back through the thread that they waited on: a limit of
 * Boost.Fiber's. Spindle's own primitives have no such home.
 *
 * @par Lifetime
 * The scheduler outlives the thread, or the thread's next algorithm.
 */
class work_stealing : public detail::machine {
public:
    SPINDLE_DECL explicit work_stealing(scheduler& sched) noexcept;
};

} // namespace spindle::algo

#endif // SPINDLE_ALGO_WORK_STEALING_HPP
