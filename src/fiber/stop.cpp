//
// fiber/stop.cpp
// ~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/fiber/stop.hpp>

#include <spindle/detail/base/cpu_relax.hpp>
#include <spindle/detail/fiber/park.hpp>
#include <spindle/error.hpp>

#include <memory>
#include <utility>
#include <vector>

namespace spindle::detail {

void await_stopper(fiber_record const& self) noexcept
{
    spin_while([&] { return self.stopper.load(std::memory_order_seq_cst); });
}

void begin_life(fiber_record& self) noexcept
{
    auto const last = self.life.load(std::memory_order_relaxed); // over: ours alone
    self.life.store((last | 3) + 1, std::memory_order_seq_cst);
}

void end_life(fiber_record& self) noexcept
{
    auto const life = self.life.load(std::memory_order_relaxed) & ~std::uint64_t{3};
    auto const before = self.life.exchange(life | 2, std::memory_order_seq_cst); // L
    // Without a source, too: a stopper that has seen this life alive and is about
    // to look for one must not find the next life's.
    if ((before & 1) != 0)
        await_stopper(self);
    if (auto* const s = self.source.load(std::memory_order_relaxed)) {
        self.source.store(nullptr, std::memory_order_relaxed);
        delete s;
    }
}

std::stop_source begin_stop(fiber_record& g, std::uint64_t life) noexcept
{
    std::stop_source source(std::nostopstate);
    auto expected = life;
    if (life == 0
        || !g.life.compare_exchange_strong(
            expected, life | 1, std::memory_order_seq_cst, std::memory_order_relaxed))
        return source;
    spin_while([&] { return g.stopper.exchange(true, std::memory_order_seq_cst); });
    heavy_barrier(); // D, F
    if (g.life.load(std::memory_order_seq_cst) == (life | 1)) { // L
        if (auto* const hook = g.hook.load(std::memory_order_seq_cst))
            hook->stop(*hook);
        if (auto* const s = g.source.load(std::memory_order_seq_cst))
            source = *s;
    }
    g.stopper.store(false, std::memory_order_release);
    return source;
}

void request_stop(fiber_record& g, std::uint64_t life) noexcept
{
    begin_stop(g, life).request_stop(); // the user's callbacks: with nothing held
}

void request_stop_all(core& home)
{
    struct all {
        core& home;
        std::vector<std::stop_source> sources;
    } stopped{home, {}};
    for_each_record(
        [](fiber_record& g, void* argument) {
            auto& s = *static_cast<all*>(argument);
            auto const life = life_of(g);
            if (g.home.load(std::memory_order_acquire) != &s.home)
                return;
            auto source = begin_stop(g, life);
            if (!source.stop_possible())
                return;
            try {
                s.sources.push_back(source);
            } catch (std::bad_alloc const&) {
                source.request_stop(); // under the lock, rather than not at all
            }
        },
        &stopped);
    for (auto& source : stopped.sources)
        source.request_stop();
}

std::stop_token stop_token_of(fiber_record& self)
{
    auto* s = self.source.load(std::memory_order_relaxed); // ours to write
    if (!s) {
        s = std::make_unique<std::stop_source>().release();
        self.source.store(s, std::memory_order_seq_cst);
        if ((self.life.load(std::memory_order_seq_cst) & 3) == 1)
            s->request_stop();
    }
    return s->get_token();
}

bool is_stop_of(fiber_record const& self, std::stop_token const& token) noexcept
{
    auto const* const source = self.source.load(std::memory_order_relaxed); // ours to write
    return source && source->get_token() == token;
}

void throw_stopped(fiber_record& self)
{
    yield(self);
    throw_error(operation_aborted());
}

bool left_by_stop() noexcept
{
    auto const* const self = current_fiber();
    if (!self || (self->life.load(std::memory_order_relaxed) & 3) != 1)
        return false;
    try {
        throw;
    } catch (system_error const& e) {
        return e.code() == operation_aborted();
    } catch (...) {
        return false;
    }
}

} // namespace spindle::detail
