//
// asio/host_processor.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/asio/host_processor.hpp>

#include <spindle/detail/asio/asio_access.hpp>
#include <spindle/detail/asio/host.hpp>
#include <spindle/detail/base/cpu_relax.hpp>
#include <spindle/detail/fiber/fiber_pool.hpp>
#include <spindle/detail/fiber/watch.hpp>
#include <spindle/error.hpp>

#include <boost/asio/bind_allocator.hpp>
#include <boost/asio/post.hpp>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstddef>
#include <thread>
#include <utility>

namespace spindle::detail {

namespace {

// A processor that is never out of work asks Asio this often.
constexpr auto poll_interval = std::chrono::microseconds(50);

// How often a thread looks at the others' work before it blocks, and the pauses between
// two looks: some 30 us in all. Each look takes cache lines away from those who are at
// work, and what a look may take is what has not moved since the one before. Looking
// all the time, as here once, cost a pair of fibers on another processor a third of its
// speed; three looks are so short that those who have work spend theirs on waking it.
// After each look it looks into its own io_context, since what gets ready there would
// wait for the end of the search. Before the first it yields to whom else the system has
// for this core, which may be the one that has the work: with its client on one of two
// cores echo makes half as many requests more by that, and on eight processors of two
// cores spawn and ping-pong are as fast as on two, and not slower by 40 %. A yield before
// each look does no more, and gives away a core that is wanted in a moment: of messages
// that come now and then one in a hundred is late by twice as much.
constexpr unsigned search_looks = 10;
constexpr unsigned pauses_between_looks = 160;

// Resting fibers that a thread ends before it looks round again.
constexpr std::size_t superfluous_at_a_time = 64;

// Its begin and its end, in a trace; by the thread, which may lose the processor.
class traced_span {
public:
    traced_span(processor const& p, trace_kind begin, trace_kind end) noexcept
        : processor_(p), end_(end), on_(p.owner.traced())
    {
        if (on_) [[unlikely]]
            note_event(p.owner, begin, &p);
    }
    traced_span(traced_span const&) = delete;
    traced_span& operator=(traced_span const&) = delete;
    ~traced_span()
    {
        if (on_) [[unlikely]]
            note_event(processor_.owner, end_, &processor_);
    }

private:
    processor const& processor_;
    trace_kind const end_;
    bool const on_;
};

} // namespace

void host_timers::on_earliest(time_point) noexcept
{
    if (visit const inside; inside.held() != &processor_)
        processor_.interrupt();
}

host_processor::host_processor(host& h, unsigned index)
    : processor(h, index), host_(h), work_(io.get_executor()),
      asio_(boost::asio::use_service<boost::asio::detail::scheduler>(io)), alarm_(io),
      turn_(io), sleepers_(*this)
{
    timers = &sleepers_;
    fiber_size = std::bit_ceil(h.options().stack_size);
}

void host_processor::serve(machine& m) noexcept
{
    m.hold(*this);
    wake_up(m); // where its last machine was asleep, or seemed to be
    while (holds(m)) {
        try {
            loop(m);
            if (!holds(m))
                return;
            release_resting(*this);
            host_.end_tenure(*this);
            m.resign();
            host_.end_processor();
            return;
        } catch (...) {
            // A handler of the user's threw, as it might out of io_context::run().
            if (holds(m))
                io.restart();
            machine::excursion const out(m);
            host_.unhandled_in_handler();
        }
    }
}

host_processor::turn_in_asio::~turn_in_asio()
{
    excursion_.reset();
    if (processor_.away_.load(std::memory_order_relaxed)) // then the processor was taken
        processor_.host_.bring_back_asio(processor_);
    else
        processor_.asio_is_at_.store(nullptr, std::memory_order_relaxed);
}

void host_processor::loop(machine& m)
{
    for (bool last_turn = false;;) {
        if (may_end()) {
            // Completions that were posted before the last fiber ended have their
            // turn; what those start has its own, and there it ends.
            if (!std::exchange(last_turn, true)) {
                poll(m);
                if (!holds(m))
                    return;
            }
            if (host_.live() == 0)
                break;
        }
        if (retired_.load(std::memory_order_relaxed)) [[unlikely]] {
            retire(m);
            continue;
        }
        coarse_now = now();
        if (coarse_now >= host_.overdue_at()) [[unlikely]]
            host_.give_up_waiting();
        if (sleepers_.earliest_hint() <= coarse_now || host_.orphans_due()) {
            expire_sleepers(m, coarse_now);
            if (!holds(m))
                return;
        }
        if (m.take_notified())
            (void)m.dispatch();
        if (coarse_now - polled_at_ >= poll_interval) {
            poll(m);
            if (!holds(m))
                return;
        }
        auto* r = find();
        if (!r) {
            poll(m);
            if (!holds(m))
                return;
            r = find();
        }
        if (!r && m.has_stock_fibers()) {
            (void)m.dispatch();
            r = find();
        }
        if (!r) {
            r = search(m);
            if (!r && goes_on_searching(m))
                continue; // what is ready in its own io_context must not wait for that
        }
        looks_ = 0;
        if (r) {
            if (searching_) {
                searching_ = false;
                if (host_.idle_.end_search())
                    host_.wake_one();
            }
            m.run(
                static_cast<fiber_record&>(*r), slices.load(std::memory_order_relaxed),
                may_go_on.load(std::memory_order_relaxed));
            if (!holds(m))
                return;
            if (m.has_stock_fibers() && ++stock_turn_ % 4 == 0)
                (void)m.dispatch();
            continue;
        }
        sleep(m);
        if (!holds(m))
            return;
    }
    if (searching_) {
        searching_ = false;
        (void)host_.idle_.end_search();
    }
}

// Whoever ends the last fiber then calls all that sleep (host::on_last()).
bool host_processor::may_end() const noexcept
{
    return host_.leaving() && host_.live() == 0 && !away_.load(std::memory_order_seq_cst);
}

// The global queue first: this is each 61st pick, or there is nothing here.
runnable* host_processor::find() noexcept
{
    if (auto* const r = host_.take_global(*this))
        return r;
    return pick();
}

// One look.
runnable* host_processor::search(machine& m)
{
    if (host_.processors() == 1)
        return nullptr;
    if (!searching_ && !(searching_ = host_.idle_.try_begin_search()))
        return nullptr;
    if (looks_++ == 0)
        std::this_thread::yield();
    coarse_now = now();
    if (auto* const r = host_.steal(*this, coarse_now))
        return r;
    // What comes for all, and what comes for this one, is seen at once.
    for (unsigned i = 0; i != pauses_between_looks; ++i) {
        if (auto* const r = find())
            return r;
        if (m.notified() || interrupted_.load(std::memory_order_relaxed))
            return nullptr;
        relax_cpu();
    }
    return nullptr;
}

bool host_processor::goes_on_searching(machine& m) const noexcept
{
    return searching_ && looks_ != search_looks && !host_.leaving() && !m.notified()
        && !interrupted_.load(std::memory_order_relaxed);
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
    dozing_.store(true, std::memory_order_relaxed);
    m.right().watch(true);
    // One more look, now that whoever submits sees us: not only the last
    // searcher does it, since this processor may be the only one.
    if (!may_end() && !host_.has_work_hint() && !m.notified()
        && !retired_.load(std::memory_order_seq_cst)) {
        stats.idles.add();
        block(m, deadline);
        if (!holds(m))
            return;
    }
    wake_up(m);
}

// Inside. Its machine is back, or a handler of its io_context touches it.
void host_processor::wake_up(machine& m) noexcept
{
    if (!dozing_.load(std::memory_order_relaxed))
        return;
    store_then_light_barrier(dozing_, false);
    m.right().watch(false);
    if (!host_.idle_.end_idle(id, false))
        searching_ = true; // a waker took us off the list, and counts on us
    host_.monitor_.stir();
}

// A deadline's stop callbacks are the user's code.
void host_processor::expire_sleepers(machine& m, time_point at) noexcept
{
    machine::excursion const out(m);
    sleepers_.expire(at);
    host_.expire_orphans(at);
}

void host_processor::poll(machine& m)
{
    if (away_.load(std::memory_order_acquire))
        return;
    stats.polls.add();
    polled_at_ = coarse_now;
    traced_span const span(*this, trace_kind::poll, trace_kind::polled);
    turn_in_asio const turn(*this, m);
    turn_.run();
}

// Runs one handler, however long it takes for one to come.
void host_processor::block(machine& m, time_point deadline)
{
    traced_span const span(*this, trace_kind::sleep, trace_kind::woke);
    sleeps_until_.store(deadline, std::memory_order_relaxed);
    if (away_.load(std::memory_order_seq_cst)) {
        (void)parker_.park_until(deadline);
        return;
    }
    arm(deadline);
    turn_in_asio const turn(*this, m);
    io.run_one();
}

void host_processor::arm(time_point deadline)
{
    // Setting an earlier alarm is a system call. A later one can wait until
    // this one has rung for nothing.
    if (deadline >= alarm_at_)
        return;
    alarm_at_ = deadline;
    alarm_.expires_at(deadline);
    alarm_.async_wait(boost::asio::bind_allocator(
        slot_allocator<void, 256>(alarm_memory_), [this](error_code ec) {
            if (!ec)
                alarm_at_ = time_point::max();
        }));
}

// Until it is wanted again, or all is over: what Asio and the sleepers make ready
// goes to the global queue, since the machine does not hold the processor.
void host_processor::retire(machine& m)
{
    if (std::exchange(searching_, false))
        (void)host_.idle_.end_search();
    host_.give_up(*this);
    release_resting(*this);
    host_.end_tenure(*this);
    m.resign();
    host_.idle_.expel();
    runs_none_.store(true, std::memory_order_seq_cst);
    host_.wake_one(); // also for those that saw it search
    while (retired_.load(std::memory_order_seq_cst) && !may_end()) {
        sleepers_.expire(now());
        auto deadline = time_point::max();
        if (m.take_notified() || m.has_stock_fibers())
            deadline = m.dispatch();
        deadline = std::min(deadline, sleepers_.earliest_hint());
        sleeps_until_.store(deadline, std::memory_order_relaxed);
        if (away_.load(std::memory_order_seq_cst)) {
            (void)parker_.park_until(deadline);
            continue;
        }
        arm(deadline);
        turn_in_asio const turn(*this, m);
        try {
            if (io.run_one() == 0)
                io.restart();
        } catch (...) {
            host_.unhandled_in_handler();
        }
    }
    runs_none_.store(false, std::memory_order_seq_cst);
    host_.idle_.admit();
    m.hold(*this);
    host_.begin_tenure(*this, m);
}

// A main context that waits in a primitive of Boost.Fiber's: a handler of the user's
// does that, or a stop callback, or a report. The machine holds the processor, or has
// its Asio, and goes on serving what it has.
void host_processor::wait_in_handler(machine& m, time_point deadline) noexcept
{
    auto const at = now();
    if (holds(m)) {
        coarse_now = at;
        stats.polls.add();
    }
    // Not in the list of the idle ones, so nobody else wakes this thread.
    auto const until = [&] {
        return std::min(
            {deadline, at + std::chrono::milliseconds(1), sleepers_.earliest_hint()});
    };
    auto const in_turn = has_asio(m);
    if (!in_turn && away_.load(std::memory_order_acquire)) {
        expire_sleepers(m, at);
        if (holds(m))
            (void)parker_.park_until(until());
        return;
    }
    std::optional<turn_in_asio> turn;
    if (!in_turn)
        turn.emplace(*this, m);
    expire_sleepers(m, at);
    machine::excursion const out(m);
    try {
        io.restart(); // this may be inside a turn, and its fence may have run
        if (deadline <= at)
            io.poll_one();
        else
            io.run_one_until(until());
    } catch (...) {
        host_.unhandled_in_handler();
    }
}

void host_processor::interrupt() noexcept
{
    auto const on_its_way = interrupted_.exchange(true, std::memory_order_seq_cst);
    if (away_.load(std::memory_order_seq_cst))
        parker_.unpark();
    if (on_its_way)
        return;
    boost::asio::post(
        io,
        boost::asio::bind_allocator(slot_allocator<void, 128>(interrupt_memory_), [this] {
            // Acquire: what was published by those who found `true`, and so did
            // not post, is seen by the look round that follows.
            interrupted_.exchange(false, std::memory_order_acq_rel);
        }));
}

} // namespace spindle::detail
