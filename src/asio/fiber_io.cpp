//
// asio/fiber_io.cpp
// ~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/asio/fiber_io.hpp>

#include <spindle/detail/asio/asio_core.hpp>
#include <spindle/detail/base/cpu_relax.hpp>
#include <spindle/detail/base/fatal.hpp>
#include <spindle/detail/base/spin_lock.hpp>
#include <spindle/detail/fiber/park.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/cancellation_type.hpp>
#include <boost/asio/post.hpp>

#include <exception>
#include <memory>
#include <mutex>
#include <utility>

namespace spindle::detail {

// Those whose fibers are gone; I4.
struct fiber_io::resting {
    spin_lock lock; // leaf
    fiber_io* first = nullptr;

    static resting& get() noexcept
    {
        static constinit resting all;
        return all;
    }

    static fiber_io& take()
    {
        auto& all = get();
        {
            std::lock_guard guard(all.lock);
            if (auto* const io = all.first) {
                all.first = io->next_resting_;
                return *io;
            }
        }
        return *new fiber_io;
    }

    static void put(fiber_io& io) noexcept
    {
        auto& all = get();
        std::lock_guard guard(all.lock);
        io.next_resting_ = all.first;
        all.first = &io;
    }
};

// A record's.
struct fiber_io::lease final : record_attachment {
    explicit lease(fiber_record& g) : io(resting::take()) { io.fiber_ = &g; }

    ~lease() override { resting::put(io); }

    // Whose initiation goes on, where there are several.
    fiber_io& innermost() noexcept { return inner ? *inner : io; }

    fiber_io& io;
    fiber_io* inner = nullptr; // the last of those beside it, and on by next_resting_
};

fiber_io& fiber_io::take(fiber_record& g)
{
    if (auto* const own = static_cast<lease*>(g.io.get()); own && !own->io.taken_) [[likely]] {
        own->io.taken_ = true;
        return own->io;
    }
    return take_new(g);
}

// Out of line: it would cost each operation the registers that it wants.
fiber_io& fiber_io::take_new(fiber_record& g)
{
    if (!g.io) {
        g.io = std::make_unique<lease>(g);
        return take(g);
    }
    auto& own = static_cast<lease&>(*g.io);
    auto& io = resting::take();
    io.fiber_ = &g;
    own.innermost().mark_outside(); // the fiber may go to another thread; I5
    io.next_resting_ = std::exchange(own.inner, &io);
    return io;
}

void fiber_io::release_inner() noexcept
{
    auto& own = static_cast<lease&>(*fiber_->io);
    own.inner = next_resting_;
    own.innermost().mark_inside();
    resting::put(*this);
}

fiber_io& fiber_io::borrow(fiber_record& g, owner& o)
{
    auto& io = resting::take();
    io.fiber_ = &g;
    io.owner_ = &o;
    return io;
}

void fiber_io::give_back() noexcept
{
    owner_ = nullptr;
    resting::put(*this);
}

// A handler that an earlier operation has left behind is inside.
void fiber_io::begin_behind_stray() noexcept
{
    for (unsigned spins = 0;; ++spins) {
        auto w = idle;
        if (word_.compare_exchange_weak(
                w, locked, std::memory_order_acquire, std::memory_order_relaxed))
            return;
        if (spins % 64 == 63)
            yield(*fiber_);
        else
            relax_cpu();
    }
}

// The holder, when the operation is over.
void fiber_io::release_to_idle() noexcept
{
    for (;;) {
        auto w = do_what_was_left();
        mark_outside();
        if (word_.compare_exchange_strong(
                w, idle, std::memory_order_release, std::memory_order_relaxed))
            return;
        mark_inside();
    }
}

boost::asio::execution_context& fiber_io::context() const noexcept
{
    return asio_core_of(*fiber_)->context();
}

void fiber_io::give_up_start() noexcept
{
    disconnect();
    release_to_idle();
}

// The fiber, and nobody else is inside: what the signal was connected to goes
// with the operation. Another handler in its place, rather than clear(): that
// would free the memory which the next operation wants.
void fiber_io::disconnect() noexcept
{
    struct nothing {
        void operator()(boost::asio::cancellation_type) const noexcept {}
    };
    if (auto slot = signal_.slot(); slot.has_handler())
        slot.emplace<nothing>();
}

bool fiber_io::wait() noexcept
{
    for (bool parked = false;; parked = true) {
        if ((do_what_was_left() & done) != 0) {
            // Ours is the lock, and the operation is over.
            disconnect();
            release_to_idle();
            return parked;
        }
        mark_outside();
        park(*fiber_, &commit, this, wait_reason::operation);
        if ((word_.load(std::memory_order_acquire) & idle) != 0) {
            disconnect();
            return true; // resumed by I2
        }
        mark_inside(); // refused: the lock is still ours
    }
}

bool fiber_io::commit(void* argument) noexcept
{
    auto& self = *static_cast<fiber_io*>(argument);
    auto w = locked;
    return self.word_.compare_exchange_strong(
        w, 0, std::memory_order_release, std::memory_order_relaxed);
}

void fiber_io::finish() noexcept
{
    auto const before = word_.fetch_or(done, std::memory_order_acq_rel);
    if ((before & locked) != 0)
        return; // I2: the holder resumes the fiber; it may be our own caller
    if (try_lock())
        unlock(&resume_from_handler);
}

void fiber_io::emit() noexcept
{
    auto w = word_.load(std::memory_order_relaxed);
    for (;;) {
        if ((w & (done | idle)) != 0)
            return;
        auto const free = (w & locked) == 0;
        if (word_.compare_exchange_weak(
                w, w | (free ? locked : emission), std::memory_order_acq_rel,
                std::memory_order_relaxed)) {
            if (free) {
                mark_inside();
                if (!asio_core_of(*fiber_)->closing())
                    signal_.emit(boost::asio::cancellation_type::all);
                unlock(&resume_later);
            }
            return;
        }
    }
}

void fiber_io::enqueue(pending_function& p)
{
    auto w = word_.load(std::memory_order_relaxed);
    for (;;) {
        if ((w & locked) == 0) {
            if (!try_lock()) {
                w = word_.load(std::memory_order_relaxed);
                continue;
            }
            scope_exit const release([this] { unlock(&resume_from_handler); }); // if it throws, too
            p.run(&p);
            return;
        }
        p.next = reinterpret_cast<pending_function*>(w & ~flags);
        auto const with = reinterpret_cast<std::uintptr_t>(&p) | (w & flags);
        if (word_.compare_exchange_weak(
                w, with, std::memory_order_release, std::memory_order_relaxed))
            return;
    }
}

// `stray`: of an operation before. Its fiber's context may be gone, and nobody is there
// to hear of it.
void fiber_io::run_left(pending_function& p, bool stray) noexcept
{
    try {
        p.run(&p);
    } catch (...) {
        if (stray)
            fatal("an exception has left a handler of an operation that is over");
        boost::asio::post(
            asio_core_of(*fiber_)->executor_at(nullptr),
            [e = std::current_exception()] { std::rethrow_exception(e); });
    }
}

// The holder. Returns the word as it then was: locked, perhaps done, nothing else.
std::uintptr_t fiber_io::do_what_was_left() noexcept
{
    auto w = word_.load(std::memory_order_acquire);
    while ((w & ~(locked | done | idle)) != 0) {
        if (!word_.compare_exchange_weak(
                w, w & (locked | done | idle), std::memory_order_acquire,
                std::memory_order_acquire))
            continue;
        // In the order in which they came.
        pending_function* first = nullptr;
        for (auto* p = reinterpret_cast<pending_function*>(w & ~flags); p;) {
            auto* const older = p->next;
            p->next = first;
            first = p;
            p = older;
        }
        while (first) {
            auto* const p = first;
            first = first->next;
            run_left(*p, (w & idle) != 0);
        }
        if ((w & emission) != 0 && (word_.load(std::memory_order_acquire) & done) == 0
            && !asio_core_of(*fiber_)->closing())
            signal_.emit(boost::asio::cancellation_type::all);
        w = word_.load(std::memory_order_acquire);
    }
    return w;
}

void fiber_io::unlock(resume_function resume) noexcept
{
    for (;;) {
        auto w = do_what_was_left();
        auto const is_done = (w & done) != 0;
        auto* const starter = owner_;
        if (is_done && starter)
            disconnect();
        mark_outside();
        if (word_.compare_exchange_strong(
                w, is_done ? idle : w & ~locked, std::memory_order_acq_rel,
                std::memory_order_relaxed)) {
            if (is_done && starter) {
                auto& core = *asio_core_of(*fiber_);
                starter->finished(); // I6: the fiber may go
                if (resume == &resume_from_handler) // else nobody may run above us
                    core.handler_has_readied();
            } else if (is_done) {
                resume(*fiber_); // I2
            }
            return;
        }
        mark_inside();
    }
}

void resume_from_handler(fiber_record& g) noexcept
{
    if (g.bound)
        g.bound->post_slice(g);
    else
        asio_core_of(g)->resume(g);
}

void resume_later(fiber_record& g) noexcept { ready(g, lane::last); }

} // namespace spindle::detail
