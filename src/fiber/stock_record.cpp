//
// fiber/stock_record.cpp
// ~~~~~~~~~~~~~~~~~~~~~~
// Records of fibers that were made through Boost.Fiber's own API.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/base/fatal.hpp>
#include <spindle/detail/fiber/machine.hpp>
#include <spindle/detail/fiber/stop.hpp>

#include <cstddef>
#include <new>
#include <typeinfo>

namespace spindle::detail {

namespace {

struct stock_record final : fiber_record {
    ~stock_record() override
    {
        // As a pooled fiber ends its own: a stopper may be inside (stop.hpp, L).
        detail::end_life(*this);
        if (auto* const c = scheduler())
            c->end_life();
    }

    static void* operator new(std::size_t n) { return ::operator new(n); }
    static void operator delete(void* p) noexcept { ::operator delete(p); }
};

} // namespace

fiber_record* record_of(boost::fibers::context& c) noexcept
{
    auto* const p = c.get_properties();
    if (!p)
        return nullptr;
    if (typeid(*p) == typeid(fiber_record) || typeid(*p) == typeid(stock_record))
        return static_cast<fiber_record*>(p);
    fatal(
        "a boost::fibers::fiber was given properties of another algorithm; "
        "Spindle's algorithms keep their own");
}

fiber_record& machine::stock_record(context& c) noexcept
{
    stock_ = true;
    auto* const g = new detail::stock_record;
    g->adopt(c);
    c.set_properties(g);
    auto* const home = processor_ ? &processor_->owner : home_;
    if (home && !home->runs_free_fibers())
        fatal(
            "a fiber of Boost.Fiber's own was made in a fiber that is bound to an executor, and "
            "there is no io_context to run it on: use spindle::spawn, or call "
            "spindle::attach(io_context, {}) first");
    g->home.store(home, std::memory_order_relaxed);
    g->life.store(4, std::memory_order_relaxed);
    g->state.store(fiber_state::running, std::memory_order_relaxed);
    if (home)
        home->begin_life();
    register_record(*g);
    return *g;
}

} // namespace spindle::detail
