//
// asio/host.cpp
// ~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/asio/host.hpp>

#include <spindle/detail/asio/context_service.hpp>
#include <spindle/detail/base/cpu_relax.hpp>
#include <spindle/detail/base/scope_exit.hpp>
#include <spindle/detail/fiber/fiber_pool.hpp>
#include <spindle/detail/fiber/park.hpp>
#include <spindle/detail/fiber/stop.hpp>
#include <spindle/error.hpp>

#include <boost/asio/bind_allocator.hpp>
#include <boost/asio/post.hpp>
#include <boost/fiber/algo/round_robin.hpp>
#include <boost/fiber/operations.hpp>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <latch>
#include <system_error>

namespace spindle::detail {

namespace {

// Fibers that run between two looks at the world outside.
constexpr unsigned slices_in_a_row = 61;

// A processor that is never out of work asks Asio this often.
constexpr auto poll_interval = std::chrono::microseconds(50);

// Rounds of looking for work before a thread blocks. A round visits every other
// processor; the lane of one is taken only after it was seen twice, 3 us apart.
constexpr unsigned search_rounds = 40;

// Resting fibers that a thread ends before it looks round again.
constexpr std::size_t superfluous_at_a_time = 64;

} // namespace

// --- one turn of Asio -----------------------------------------------------------------

void turn_of_asio::run()
{
    raise_fence();
    scope_exit const after([&] { inside_ = false; });
    inside_ = true;
    ioc_.poll();
    ioc_.restart();
}

void turn_of_asio::raise_fence()
{
    if (fenced_)
        return;
    boost::asio::post(
        ioc_, boost::asio::bind_allocator(slot_allocator<void, 128>(fence_memory_), [this] {
            fenced_ = false;
            ioc_.stop();
        }));
    fenced_ = true;
}

void turn_of_asio::go_on()
{
    if (inside_)
        raise_fence();
}

// --- a processor and its thread -----------------------------------------------------------

void host_timers::on_earliest(time_point) noexcept
{
    if (auto* const m = machine::current(); !m || m->held() != &processor_)
        processor_.interrupt();
}

host_processor::host_processor(host& h, unsigned index)
    : processor(h, index), host_(h), work_(io.get_executor()), alarm_(io), turn_(io),
      sleepers_(*this)
{
    timers = &sleepers_;
    fiber_size = std::bit_ceil(h.options().stack_size);
}

void host_processor::run() noexcept
{
    auto& m = *machine::ensure();
    m.set_home(&host_);
    m.set_waiter(this);
    m.take(*this);
    for (;;) {
        try {
            loop(m);
            break;
        } catch (...) {
            // A handler of the user's threw, as it might out of io_context::run().
            io.restart();
            host_.unhandled_in_handler();
        }
    }
    release_resting(*this);
    m.drop();
    host_.meet_before_exit();
}

void host_processor::loop(machine& m)
{
    for (bool last_turn = false;;) {
        if (host_.leaving() && host_.live() == 0) {
            // Completions that were posted before the last fiber ended have their
            // turn; what those start has its own, and there it ends.
            if (!std::exchange(last_turn, true))
                poll();
            if (host_.live() == 0)
                break;
        }
        coarse_now = now();
        if (coarse_now >= host_.overdue_at()) [[unlikely]]
            host_.give_up_waiting();
        if (sleepers_.earliest_hint() <= coarse_now)
            sleepers_.expire(coarse_now);
        if (m.take_notified())
            (void)m.dispatch();
        if (coarse_now - polled_at_ >= poll_interval)
            poll();
        auto* r = find();
        if (!r) {
            poll();
            r = find();
        }
        if (!r && m.has_stock_fibers()) {
            (void)m.dispatch();
            r = find();
        }
        if (!r)
            r = search(m);
        if (r) {
            if (searching_) {
                searching_ = false;
                if (host_.idle_.end_search())
                    host_.wake_one();
            }
            m.run(static_cast<fiber_record&>(*r), slices_in_a_row);
            if (m.has_stock_fibers() && ++stock_turn_ % 4 == 0)
                (void)m.dispatch();
            continue;
        }
        sleep(m);
    }
    if (searching_) {
        searching_ = false;
        (void)host_.idle_.end_search();
    }
}

// The global queue first: this is each 61st pick, or there is nothing here.
runnable* host_processor::find() noexcept
{
    if (auto* const r = host_.take_global(*this))
        return r;
    return pick();
}

runnable* host_processor::search(machine& m)
{
    if (host_.processors() == 1)
        return nullptr;
    if (!searching_ && !(searching_ = host_.idle_.try_begin_search()))
        return nullptr;
    for (unsigned round = 0; round != search_rounds && !host_.leaving(); ++round) {
        coarse_now = now();
        if (auto* const r = host_.steal(*this, coarse_now))
            return r;
        if (auto* const r = find())
            return r;
        if (m.notified() || interrupted_.load(std::memory_order_relaxed))
            return nullptr;
        for (int i = 0; i != 32; ++i)
            relax_cpu();
    }
    return nullptr;
}

void host_processor::sleep(machine& m)
{
    // The dispatcher says until when; before the announcement, since it may
    // make fibers ready.
    auto deadline = time_point::max();
    if (m.has_stock_fibers()) {
        deadline = m.dispatch();
        if (!empty_hint())
            return;
    }
    deadline = std::min({deadline, sleepers_.earliest_hint(), host_.overdue_at()});
    if (end_superfluous(m, superfluous_at_a_time) != 0)
        return;

    (void)host_.idle_.begin_idle(id, std::exchange(searching_, false));
    scope_exit const back([&] { // also where a handler throws
        if (!host_.idle_.end_idle(id, false))
            searching_ = true; // a waker took us off the list, and counts on us
    });
    // One more look, now that whoever submits sees us: not only the last
    // searcher does it, since this processor may be the only one.
    if (!host_.has_work_hint() && !m.notified() && !host_.leaving()) {
        stats.idles.add();
        block(deadline);
    }
}

void host_processor::poll()
{
    stats.polls.add();
    turn_.run();
    polled_at_ = coarse_now;
}

// Runs one handler, however long it takes for one to come.
void host_processor::block(time_point deadline)
{
    // Setting an earlier alarm is a system call. A later one can wait until
    // this one has rung for nothing.
    if (deadline < alarm_at_) {
        alarm_at_ = deadline;
        alarm_.expires_at(deadline);
        alarm_.async_wait(boost::asio::bind_allocator(
            slot_allocator<void, 256>(alarm_memory_), [this](error_code ec) {
                if (!ec)
                    alarm_at_ = time_point::max();
            }));
    }
    io.run_one();
}

// A main context that waits in a primitive of Boost.Fiber's: a handler of the
// user's does that. The thread goes on serving its io_context meanwhile.
void host_processor::wait_until(time_point deadline) noexcept
try {
    coarse_now = now();
    sleepers_.expire(coarse_now);
    io.restart(); // this may be inside a turn, and its fence may have run
    if (deadline <= coarse_now) {
        io.poll_one();
        return;
    }
    // Not in the list of the idle ones, so nobody else wakes this thread.
    auto const soon = coarse_now + std::chrono::milliseconds(1);
    io.run_one_until(std::min({deadline, soon, sleepers_.earliest_hint()}));
} catch (...) {
    host_.unhandled_in_handler();
}

void host_processor::main_goes_on() noexcept { turn_.go_on(); }

void host_processor::interrupt() noexcept
{
    if (interrupted_.exchange(true, std::memory_order_seq_cst))
        return; // one is on its way
    boost::asio::post(
        io,
        boost::asio::bind_allocator(slot_allocator<void, 128>(interrupt_memory_), [this] {
            // Acquire: what was published by those who found `true`, and so did
            // not post, is seen by the look round that follows.
            interrupted_.exchange(false, std::memory_order_acq_rel);
        }));
}

// --- all of them -----------------------------------------------------------------------------

host::host(scheduler& facade, scheduler_options options, first where)
    : asio_core(resolved(std::move(options))), facade_(facade), idle_(options_.processors)
{
    if (options_.processors == 1)
        set_alone();
    for (unsigned i = 0; i != options_.processors; ++i) {
        all_.push_back(std::make_unique<host_processor>(*this, i));
        add(*all_.back());
        boost::asio::make_service<context_service>(all_.back()->io, *this);
    }
    still_inside_ = options_.processors;
    callers_machine_ = machine::current();
    if (where == first::on_caller && !machine::ensure())
        throw_error(
            make_error_code(errc::not_in_fiber),
            "spindle::run blocks its thread: not in a fiber of another algorithm");
    for (auto& p : all_)
        try {
            if (where == first::on_caller && p->id == 0)
                first_is_missing_ = true;
            else
                p->thread_ = std::thread([&p] { p->run(); });
        } catch (std::system_error const&) {
            {
                std::lock_guard guard(exit_mutex_);
                for (auto& q : all_)
                    still_inside_ -= !q->thread_.joinable();
                first_is_missing_ = false;
            }
            end_threads();
            throw_error(
                make_error_code(errc::thread_limit),
                "the system refused a thread for a processor: ask for fewer "
                "(scheduler_options::processors)");
        }
}

host::~host()
{
    stop();
    auto const grace = options_.shutdown_grace;
    await_end(grace == grace.max() ? time_point::max() : now() + grace);
    end_threads();
}

void host::run_first() noexcept
{
    first_is_missing_ = false;
    auto* const had = callers_machine_;
    auto* const held = had ? had->held() : nullptr;
    auto* const home = had ? had->home() : nullptr;
    auto* const waiter = had ? had->waiter() : nullptr;
    all_.front()->run();
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
    if (auto* const g = current_fiber(); g && g->scheduler() == this)
        throw_error(
            make_error_code(errc::deadlock),
            "a fiber cannot wait for the end of its own scheduler: call join() from outside");
    // A fiber posts its completion before it ends, and an io_context keeps the
    // order: what lies before these is delivered when they are.
    do {
        await_end(time_point::max());
        std::latch behind(static_cast<std::ptrdiff_t>(all_.size()));
        for (auto& p : all_)
            boost::asio::post(p->io, [&] { behind.count_down(); });
        behind.wait();
    } while (live() != 0);
}

void host::leave() noexcept
{
    leaving_.store(true, std::memory_order_seq_cst);
    for (auto& p : all_)
        p->interrupt();
}

void host::end_threads() noexcept
{
    leave();
    if (std::exchange(first_is_missing_, false)) {
        // run_first() was not called: the main fiber could not be started.
        std::lock_guard guard(exit_mutex_);
        if (--still_inside_ == 0)
            exit_.notify_all();
    }
    for (auto& p : all_)
        if (p->thread_.joinable())
            p->thread_.join();
}

// A fiber of Boost.Fiber's that was woken through another thread may have ended
// while its waker is still on the way out of this thread's notify(). The waker
// is on one of our threads: none exits before all have left their fibers.
void host::meet_before_exit() noexcept
{
    std::unique_lock guard(exit_mutex_);
    if (--still_inside_ == 0)
        exit_.notify_all();
    else
        exit_.wait(guard, [&] { return still_inside_ == 0; });
}

boost::asio::io_context& host::next_io() noexcept
{
    auto const i = turn_.fetch_add(1, std::memory_order_relaxed);
    return all_[i % all_.size()]->io;
}

scheduler_stats host::stats() const
{
    counter_values sum;
    scheduler_stats s;
    s.queued = global_size_hint();
    for (auto const& p : all_) {
        sum += p->processor::stats.values();
        s.queued += p->queue.size_hint() + !p->lane.empty_hint();
    }
    s.fibers = live();
    s.processors = processors();
    s.idle_processors = idle_.idle_hint();
    s.spawned = sum.spawned;
    s.finished = sum.finished;
    s.switches = sum.switches;
    s.parks = sum.parks;
    s.steals = sum.steals;
    s.stolen = sum.stolen;
    s.global_takes = sum.global_takes;
    s.polls = sum.polls;
    s.wakes = sum.wakes;
    return s;
}

boost::asio::any_io_executor host::executor_at(processor* p)
{
    return (p ? static_cast<host_processor&>(*p) : *all_.front()).io.get_executor();
}

// From Asio's turn in the loop: the fiber is what this thread does next, so the
// first one is nobody else's concern.
void host::resume(fiber_record& g) noexcept
{
    auto* const m = machine::current();
    auto* const p = m ? m->held() : nullptr;
    if (!p || &p->owner != this || !m->on_main() || !p->empty_hint()) {
        ready(g, lane::last);
        return;
    }
    g.state.store(fiber_state::runnable, std::memory_order_relaxed);
    p->stats.readies.add();
    put_tail(*p, g);
}

void host::wake_one() noexcept
{
    auto const i = idle_.processor_to_wake();
    if (i == idle_state::none)
        return;
    if (auto* const m = machine::current(); m && m->held())
        m->held()->stats.wakes.add();
    all_[i]->interrupt();
}

} // namespace spindle::detail
