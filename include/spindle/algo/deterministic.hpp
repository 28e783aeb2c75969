//
// spindle/algo/deterministic.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_ALGO_DETERMINISTIC_HPP
#define SPINDLE_ALGO_DETERMINISTIC_HPP

#include <spindle/config.hpp>
#include <spindle/detail/fiber/machine.hpp>

#include <boost/asio/io_context.hpp>

#include <cstdint>
#include <memory>

namespace spindle::detail {
class deterministic_core;
}

namespace spindle::algo {

/// How a seed decides who runs next.
struct deterministic_options {
    /// Another seed, another schedule.
    std::uint64_t seed = 1;
    /// The fiber with the highest of random priorities runs (PCT), instead of any.
    bool priorities = false;
    /// With `priorities`: one more than the number of random steps at which one falls.
    unsigned depth = 3;
};

/// Fibers of one thread in an order that a seed decides, for tests.
/**
 * What `testing::explore` is made of, as an algorithm of Boost.Fiber's: for tests that are
 * written to Boost.Fiber's own API, or that want one schedule only. While main waits in a
 * primitive of Boost.Fiber's, the fibers of the thread run, Spindle's and others, in an
 * order that is the same each time for the same seed. Spindle's `go` and `spawn` work on
 * the same thread, and time is the run's own, as in `explore`: Spindle's sleeps and
 * deadlines pass when nobody can run. Boost.Fiber's own sleeps go by the steady clock, and
 * its own primitives are points only where they wait.
 *
 * Where all wait and nothing is left that could wake one, the process ends, with all
 * fibers on standard error.
 *
 * @par Example
 * @code
 * std::thread([] {
 *     boost::fibers::use_scheduling_algorithm<spindle::algo::deterministic>(
 *         spindle::algo::deterministic_options{.seed = 42});
 *     boost::fibers::fiber a(produce), b(consume);
 *     a.join();
 *     b.join();
 * }).join();
 * @endcode
 *
 * @par Thread Safety
 * No other thread wakes its fibers.
 */
class SPINDLE_DECL deterministic : public detail::machine {
public:
    explicit deterministic(deterministic_options options = {});
    ~deterministic() override;

    context* pick_next() noexcept override;

    /// The io_context of the thread's fibers: `this_fiber::get_executor()` is its.
    [[nodiscard]] boost::asio::io_context& context_of_asio() noexcept;

private:
    class waiter;

    std::unique_ptr<detail::deterministic_core> core_;
    std::unique_ptr<waiter> waiter_;
};

} // namespace spindle::algo

#endif // SPINDLE_ALGO_DETERMINISTIC_HPP
