//
// asio/bound_executor.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/asio/bound_executor.hpp>

#include <spindle/detail/asio/asio_core.hpp>
#include <spindle/detail/base/fatal.hpp>
#include <spindle/detail/fiber/hooks.hpp>
#include <spindle/detail/fiber/machine.hpp>
#include <spindle/detail/fiber/watch.hpp>

#include <boost/asio/bind_allocator.hpp>
#include <boost/asio/post.hpp>

namespace spindle::detail {

namespace {

// Another fiber's function is running, for an executor like strand<fiber_executor>, and
// Asio is not being run inside it: it would be the same again and again.
void refuse_in_fiber_of_executor(machine& m) noexcept
{
    void const* heads[asio_heads] = {};
    hooks::get().mark(heads);
    if (auto* const g = m.running(); g && g->function == submitted::running && heads[0] == m.entry_mark[0])
        fatal(
            "a fiber was spawned on an executor that runs its functions in fibers: spawn it on "
            "fiber_executor(strand), or on the strand, instead of strand<fiber_executor>");
}

void run_slice(fiber_record& g) noexcept
{
    auto* const m = machine::ensure();
    if (!m)
        fatal(
            "a bound fiber's executor was run on a fiber of another algorithm; run it on a "
            "thread's own stack");
    if (!m->on_main()) {
        refuse_in_fiber_of_executor(*m);
        m->postpone(g); // Asio is being run on a fiber's stack
        return;
    }
    auto& core = *asio_core_of(g);
    // Fibers of Boost.Fiber's own that it makes belong to its scheduler.
    auto* const home = m->home();
    if (!m->held())
        m->set_home(g.scheduler());
    single_slice const one(g);
    m->run(g, one.slices, one.may_go_on);
    m->set_home(home);
    if (m->has_stock_fibers())
        core.see_to_stock_fibers(*m);
}

// The function that is posted. One that is destroyed without having been called
// belongs to an executor that is going away: the fiber finishes here.
class slice {
public:
    explicit slice(fiber_record& g) noexcept : fiber_(&g) {}
    slice(slice&& other) noexcept : fiber_(std::exchange(other.fiber_, nullptr)) {}
    slice& operator=(slice&&) = delete;

    ~slice()
    {
        if (!fiber_)
            return;
        if (fiber_->function == submitted::waiting)
            fiber_->function = submitted::dropped;
        asio_core_of(*fiber_)->run_abandoned(*fiber_);
    }

    void operator()() noexcept { run_slice(*std::exchange(fiber_, nullptr)); }

private:
    fiber_record* fiber_;
};

} // namespace

void bound_executor::post_slice(fiber_record& g) noexcept
{
    auto& core = *asio_core_of(g);
    if (core.closing()) {
        core.run_abandoned(g);
        return;
    }
    if (core.watched() != 0)
        note_ready(g);
    boost::asio::post(
        executor_,
        boost::asio::bind_allocator(slot_allocator<void, 256>(slice_memory_), slice(g)));
    core.has_posted();
}

} // namespace spindle::detail
