//
// asio/host.cpp
// ~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/asio/host.hpp>

#include <spindle/detail/asio/context_service.hpp>
#include <spindle/detail/asio/machine_thread.hpp>
#include <spindle/detail/fiber/park.hpp>
#include <spindle/detail/fiber/stop.hpp>
#include <spindle/error.hpp>

#include <boost/asio/post.hpp>
#include <boost/fiber/algo/round_robin.hpp>
#include <boost/fiber/operations.hpp>

#include <cstddef>
#include <latch>
#include <memory>
#include <mutex>
#include <system_error>
#include <utility>

namespace spindle::detail {

host::host(scheduler& facade, scheduler_options options, first where)
    : asio_core(resolved(std::move(options))), facade_(facade),
      idle_(options_.processors, max_processors), inside_run_(where == first::on_caller),
      monitor_(*this)
{
    auto const lines_every = wanted_schedtrace();
    set_alone(options_.processors == 1);
    active_.store(options_.processors, std::memory_order_relaxed);
    for (unsigned i = 0; i != options_.processors; ++i)
        (void)add_processor();
    callers_machine_ = machine::current();
    if (where == first::on_caller && !machine::ensure())
        throw_error(
            make_error_code(errc::not_in_fiber),
            "spindle::run blocks its thread: not in a fiber of another algorithm");
    working_processors_ = still_inside_ = threads_ = options_.processors;
    for (auto& p : all_) {
        auto& who = add_machine();
        who.is = host_machine::working;
        who.given = p.get();
    }
    first_is_missing_ = where == first::on_caller;
    try {
        start_threads();
    } catch (std::system_error const&) {
        throw_error(
            make_error_code(errc::thread_limit),
            "the system refused a thread for a processor: ask for fewer "
            "(scheduler_options::processors)");
    }
    schedtrace_.start(*this, lines_every);
}

// All or none.
void host::start_threads()
{
    unsigned started = first_is_missing_;
    try {
        for (; started != processors(); ++started)
            start(*machines_[started]);
        monitor_.start();
    } catch (...) {
        {
            std::lock_guard guard(exit_mutex_);
            still_inside_ -= processors() - started;
        }
        for (; started != processors(); ++started)
            end_processor();
        end_threads();
        throw;
    }
}

host_processor& host::add_processor()
{
    all_.push_back(std::make_unique<host_processor>(*this, processor_count()));
    auto& p = *all_.back();
    boost::asio::make_service<context_service>(p.io, *this);
    if (!add(p))
        all_.pop_back(); // resolved() and set_processors() see to it that there is room
    return p;
}

host_machine& host::add_machine()
{
    machines_.push_back(std::make_unique<host_machine>(*this));
    spares_.reserve(machines_.capacity());
    return *machines_.back();
}

// What its last thread left is gone already, or about to be.
void host::start(host_machine& who)
{
    if (who.thread.joinable())
        who.thread.join();
    who.on_own_thread_ = true;
    who.thread = start_machine_thread([this, &who] {
        if (who.run())
            meet_before_exit();
    });
}

host::~host()
{
    report_left(nullptr);
    stop();
    auto const grace = options_.shutdown_grace;
    await_end(grace == grace.max() ? time_point::max() : now() + grace);
    end_threads();
    schedtrace_.stop();
    await_callers();
}

void host::run_first() noexcept
{
    first_is_missing_ = false;
    auto* const had = callers_machine_;
    auto* const held = had ? had->held() : nullptr;
    auto* const home = had ? had->home() : nullptr;
    auto* const waiter = had ? had->waiter() : nullptr;
    auto& mine = [&]() -> host_machine& {
        std::lock_guard guard(moves_); // the monitor may be adding one
        return *machines_.front();
    }();
    (void)mine.run();
    meet_before_exit();
    end_threads();
    if (had) {
        if (held)
            had->take(*held);
        had->set_home(home);
        had->set_waiter(waiter);
    } else {
        // Boost.Fiber keeps the thread's algorithm; ours has nothing to run any more.
        boost::fibers::use_scheduling_algorithm<boost::fibers::algo::round_robin>();
    }
}

void host::finish() noexcept
{
    auto const grace = options_.shutdown_grace;
    if (grace != grace.max())
        overdue_at_.store(now() + grace, std::memory_order_relaxed);
    finishing_.store(true, std::memory_order_seq_cst);
    report_left(current_fiber());
    stop(); // the caller is alive, so on_last() is yet to come
}

void host::on_last() noexcept
{
    asio_core::on_last();
    if (finishing_.load(std::memory_order_seq_cst))
        leave();
}

void host::stop() noexcept
{
    set_stopping();
    request_stop_all(*this);
}

void host::join()
{
    if (auto* const g = current_fiber(); runs_here() || (g && g->scheduler() == this))
        throw_error(
            make_error_code(errc::deadlock),
            "neither a fiber nor a handler can wait for the end of its own scheduler: call join() "
            "from outside");
    // A fiber posts its completion before it ends, and an io_context keeps the
    // order: what lies before these is delivered when they are.
    do {
        await_end(time_point::max());
        auto const n = processor_count();
        auto const behind // shared: a post may throw, and others lie there then
            = std::make_shared<std::latch>(static_cast<std::ptrdiff_t>(n));
        for (unsigned i = 0; i != n; ++i)
            boost::asio::post(processor_at(i).io, [behind] { behind->count_down(); });
        behind->wait();
    } while (live() != 0);
}

// On a thread of ours, whatever it runs: a processor waits until that is over.
bool host::runs_here() const noexcept
{
    auto* const m = machine::current();
    return m && m->is_hired() && &static_cast<host_machine*>(m->waiter())->host_ == this;
}

void host::leave() noexcept
{
    leaving_.store(true, std::memory_order_seq_cst);
    for (unsigned i = 0; i != processor_count(); ++i)
        processor_at(i).interrupt();
}

void host::end_threads() noexcept
{
    finishing_.store(true, std::memory_order_seq_cst); // late fibers end, too
    leave();
    if (std::exchange(first_is_missing_, false)) {
        // run_first() was not called: the main fiber could not be started.
        end_processor();
        one_less_inside();
    }
    // Handlers are running yet, and late fibers: those need the monitor, and make machines.
    await_nobody_inside();
    monitor_.end();
    for (auto& m : machines_)
        if (m->thread.joinable())
            m->thread.join();
}

// A processor's loop has ended. After the last one machines rest no more.
void host::end_processor() noexcept
{
    std::lock_guard guard(moves_);
    if (--working_processors_ == 0)
        for (auto& m : machines_)
            m->parker_.unpark();
}

// A fiber of Boost.Fiber's that was woken through another thread may have ended
// while its waker is still on the way out of this thread's notify(). The waker
// is on one of our threads: none exits before all have left their fibers.
void host::meet_before_exit() noexcept
{
    one_less_inside();
    await_nobody_inside();
}

void host::one_less_inside() noexcept
{
    std::lock_guard guard(exit_mutex_);
    if (--still_inside_ == 0)
        exit_.notify_all();
}

void host::await_nobody_inside() noexcept
{
    std::unique_lock guard(exit_mutex_);
    exit_.wait(guard, [&] { return still_inside_ == 0; });
}

boost::asio::io_context& host::next_io() noexcept
{
    auto const i = turn_.fetch_add(1, std::memory_order_relaxed);
    return processor_at(i % processors()).io;
}

void host::add_stats(scheduler_stats& s) const
{
    using activity = processor_stats::activity;
    for (auto& p : s.by_processor)
        if (processor_at(p.id).retired_.load(std::memory_order_relaxed))
            p.is = activity::retired;
        else if (idle_.is_idle_hint(p.id))
            p.is = activity::idle;
    s.processors = processors();
    s.idle_processors = idle_.idle_hint();
    s.searching_processors = idle_.searching_hint();
    s.wakes = wakes_.load(std::memory_order_relaxed);
    s.handoffs = handoffs_.load(std::memory_order_relaxed);
    s.preemptions = preemptions_.load(std::memory_order_relaxed);
    std::lock_guard guard(moves_);
    s.threads = threads_;
    s.spare_threads = static_cast<unsigned>(spares_.size());
}

boost::asio::any_io_executor host::executor_at(processor* p)
{
    return (p ? static_cast<host_processor&>(*p) : processor_at(0)).io.get_executor();
}

// From Asio's turn in the loop: the fiber is what this thread does next, so the
// first one is nobody else's concern.
void host::resume(fiber_record& g) noexcept
{
    visit const inside;
    auto* const p = inside.held();
    if (!p || p->unwatched.load(std::memory_order_relaxed) != this
        || !inside.here()->on_main() || !p->empty_hint()) {
        ready(g, lane::last);
        return;
    }
    g.state.store(fiber_state::runnable, std::memory_order_relaxed);
    put_tail(*p, g);
}

void host::wake_one() noexcept
{
    auto const i = idle_.processor_to_wake();
    if (i == idle_state::none)
        return;
    wakes_.fetch_add(1, std::memory_order_relaxed);
    processor_at(i).interrupt();
    fence(std::memory_order_seq_cst);
    monitor_.stir(); // its thread may be inside a handler, and not come
}

} // namespace spindle::detail
