//
// spindle/algo/round_robin.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_ALGO_ROUND_ROBIN_HPP
#define SPINDLE_ALGO_ROUND_ROBIN_HPP

#include <spindle/config.hpp>
#include <spindle/detail/fiber/machine.hpp>

#include <boost/asio/io_context.hpp>

#include <memory>

namespace spindle::detail {
class guest_waiter;
}

namespace spindle::algo {

/// Fibers of one thread, on one io_context, in turn.
/**
 * For programs of one thread that use Boost.Fiber's own API beside Asio. While
 * main is inside `ioc.run()`, fibers run between handlers; while main waits in a
 * primitive of Boost.Fiber's, fibers run and the io_context is served. Spindle's
 * own `spawn`, `go` and `use_fiber` work on the same thread, too.
 *
 * @par Example
 * @code
 * asio::io_context ioc;
 * boost::fibers::use_scheduling_algorithm<spindle::algo::round_robin>(ioc);
 * boost::fibers::fiber f([&] { talk(ioc); });
 * ioc.run();
 * f.join();
 * @endcode
 *
 * @par Blocking
 * An idle thread sleeps inside the io_context: it uses no CPU, and completions,
 * Boost.Fiber's sleeps and wake-ups from other threads all wake it.
 *
 * @par Thread Safety
 * One thread runs the io_context.
 *
 * @par Lifetime
 * The io_context outlives the thread's fibers.
 */
class round_robin : public detail::machine {
public:
    /// @throws system_error `invalid_argument` for an io_context without locking.
    SPINDLE_DECL explicit round_robin(boost::asio::io_context& ioc);
    SPINDLE_DECL ~round_robin() override;

private:
    std::shared_ptr<detail::guest_waiter> waiter_;
};

} // namespace spindle::algo

#endif // SPINDLE_ALGO_ROUND_ROBIN_HPP
