//
// algo/deterministic.cpp
// ~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/algo/deterministic.hpp>

#include <spindle/detail/asio/deterministic_core.hpp>
#include <spindle/detail/base/fatal.hpp>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>

#include <cstdio>
#include <exception>
#include <limits>

namespace spindle::algo {

namespace {

detail::exploring settings(deterministic_options const& o)
{
    return {
        .seed = o.seed,
        .how = o.priorities ? detail::chooser::strategy::priorities
                            : detail::chooser::strategy::random,
        .depth = o.depth,
        .max_steps = std::numeric_limits<std::size_t>::max(),
        .max_time = detail::duration::max()};
}

} // namespace

// Where the thread sleeps while main waits: time passes instead, as far as it is ours.
class deterministic::waiter final : public detail::poller {
public:
    explicit waiter(detail::deterministic_core& c) noexcept : core_(c) {}

    void wait_until(detail::time_point deadline) noexcept override
    {
        if (deadline == detail::time_point::min()) {
            (void)core_.poll();
            return;
        }
        if (core_.advance())
            return report();
        if (deadline == detail::time_point::max())
            die("all fibers wait, and nothing will wake them");
        (void)core_.wait_for_asio(deadline); // a sleep of Boost.Fiber's
        report();
    }

    void interrupt() noexcept override
    {
        boost::asio::post(core_.io(), [] {});
    }

private:
    void report() noexcept
    {
        if (core_.failure())
            std::rethrow_exception(core_.failure()); // and terminate: nobody else wants it
    }

    [[noreturn]] void die(char const* what) noexcept
    {
        std::fprintf(stderr, "spindle: fatal: %s:\n%s", what, core_.describe_fibers().c_str());
        std::terminate();
    }

    detail::deterministic_core& core_;
};

deterministic::deterministic(deterministic_options options)
    : core_(std::make_unique<detail::deterministic_core>(settings(options))),
      waiter_(std::make_unique<waiter>(*core_))
{
    set_waiter(waiter_.get());
    take(core_->place());
    set_home(core_.get());
}

deterministic::~deterministic()
{
    drop();
    set_home(nullptr);
    set_waiter(nullptr);
    // Fibers that wait for ever keep their stacks, and what those refer to.
    if (core_->live() != 0)
        (void)core_.release();
}

deterministic::context* deterministic::pick_next() noexcept
{
    core_->arrange();
    return machine::pick_next();
}

boost::asio::io_context& deterministic::context_of_asio() noexcept { return core_->io(); }

} // namespace spindle::algo
