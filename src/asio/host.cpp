//
// asio/host.cpp
// ~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/asio/host.hpp>

#include <spindle/detail/asio/asio_access.hpp>
#include <spindle/detail/asio/context_service.hpp>
#include <spindle/detail/base/cpu_relax.hpp>
#include <spindle/detail/base/scope_exit.hpp>
#include <spindle/detail/fiber/fiber_pool.hpp>
#include <spindle/detail/fiber/park.hpp>
#include <spindle/detail/fiber/stop.hpp>
#include <spindle/error.hpp>

#include <boost/asio/bind_allocator.hpp>
#include <boost/asio/post.hpp>
#include <boost/system/errc.hpp>
#include <boost/fiber/algo/round_robin.hpp>
#include <boost/fiber/operations.hpp>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <latch>
#include <new>
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

// A thread without a processor leaves after that.
constexpr auto spare_thread_time = std::chrono::seconds(5);

// After the system has refused a thread.
constexpr auto refused_time = std::chrono::milliseconds(1);

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

// --- a processor -------------------------------------------------------------------------

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
    if (processor_.holds(machine_))
        processor_.in_asio_ = false;
    else
        processor_.host_.bring_back_asio(processor_);
}

void host_processor::loop(machine& m)
{
    for (bool last_turn = false;;) {
        if (host_.leaving() && host_.live() == 0 && !away_.load(std::memory_order_acquire)) {
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
        if (sleepers_.earliest_hint() <= coarse_now)
            sleepers_.expire(coarse_now);
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
        if (!r)
            r = search(m);
        if (r) {
            if (searching_) {
                searching_ = false;
                if (host_.idle_.end_search())
                    host_.wake_one();
            }
            m.run(static_cast<fiber_record&>(*r), slices_in_a_row);
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
    dozing_.store(true, std::memory_order_relaxed);
    m.right().watch(true);
    // One more look, now that whoever submits sees us: not only the last
    // searcher does it, since this processor may be the only one.
    auto const stays = !host_.leaving() || away_.load(std::memory_order_acquire);
    if (stays && !host_.has_work_hint() && !m.notified()
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

void host_processor::poll(machine& m)
{
    if (away_.load(std::memory_order_acquire))
        return;
    stats.polls.add();
    polled_at_ = coarse_now;
    turn_in_asio const turn(*this, m);
    turn_.run();
}

// Runs one handler, however long it takes for one to come.
void host_processor::block(machine& m, time_point deadline)
{
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
    while (retired_.load(std::memory_order_seq_cst)
           && !(host_.leaving() && host_.live() == 0)) {
        sleepers_.expire(now());
        auto deadline = time_point::max();
        if (m.take_notified() || m.has_stock_fibers())
            deadline = m.dispatch();
        deadline = std::min(deadline, sleepers_.earliest_hint());
        if (away_.load(std::memory_order_seq_cst)) {
            (void)parker_.park_until(deadline);
            continue;
        }
        arm(deadline);
        machine::excursion const out(m);
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

// A main context that waits in a primitive of Boost.Fiber's: a handler of the
// user's does that. The thread goes on serving its io_context meanwhile.
void host_processor::wait_in_handler(machine& m, time_point deadline) noexcept
try {
    auto const at = now();
    if (holds(m)) {
        coarse_now = at;
        stats.polls.add();
    }
    sleepers_.expire(at);
    m.go_out(false);
    scope_exit const back([&] { (void)m.come_in(); });
    io.restart(); // this may be inside a turn, and its fence may have run
    if (deadline <= at) {
        io.poll_one();
        return;
    }
    // Not in the list of the idle ones, so nobody else wakes this thread.
    auto const soon = at + std::chrono::milliseconds(1);
    io.run_one_until(std::min({deadline, soon, sleepers_.earliest_hint()}));
} catch (...) {
    host_.unhandled_in_handler();
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

// --- a thread ------------------------------------------------------------------------------

bool host_machine::run() noexcept
{
    auto& m = *machine::ensure();
    machine_ = &m;
    leaves_ = false;
    m.set_home(&host_);
    m.set_waiter(this);
    m.move_in();
    while (auto* const p = host_.next_for(*this)) {
        serving_.store(p, std::memory_order_seq_cst);
        p->serve(m);
        serving_.store(nullptr, std::memory_order_relaxed);
    }
    m.move_out();
    return !leaves_;
}

// Without a processor. Its dispatcher may have work all the same.
bool host_machine::rest(time_point since) noexcept
{
    auto deadline = dispatch();
    auto const may_leave = on_own_thread_ && !machine_->has_stock_fibers(); // I4
    if (may_leave)
        deadline = std::min(deadline, since + spare_thread_time);
    (void)parker_.park_until(deadline);
    return !may_leave || now() - since < spare_thread_time;
}

time_point host_machine::dispatch() noexcept
{
    if (!machine_->has_stock_fibers())
        return time_point::max();
    (void)machine_->take_notified();
    return machine_->dispatch();
}

// With nothing else to do than to run one fiber.
void host_machine::run_pinned() noexcept
{
    while (pinned_) {
        if (auto* const g = slice_.exchange(nullptr, std::memory_order_acquire)) {
            (void)machine_->run(*g, 1);
            continue;
        }
        auto const deadline = dispatch();
        if (!slice_.load(std::memory_order_relaxed))
            (void)parker_.park_until(deadline);
    }
}

void host_machine::pin_slices::post_slice(fiber_record& g) noexcept
{
    auto& to = machine_; // the fiber may be gone before the parker was told
    to.slice_.store(&g, std::memory_order_release);
    to.parker_.unpark();
}

void host_machine::wait_until(time_point deadline) noexcept
{
    if (auto* const p = serving_.load(std::memory_order_relaxed))
        p->wait_in_handler(*machine_, deadline);
    else
        (void)parker_.park_until(deadline);
}

// Whoever calls has stored why, seq_cst; the thread stores where it sleeps, and looks.
void host_machine::interrupt() noexcept
{
    parker_.unpark();
    if (auto* const p = serving_.load(std::memory_order_seq_cst))
        p->interrupt();
}

void host_machine::main_goes_on() noexcept
{
    if (auto* const p = serving_.load(std::memory_order_relaxed))
        p->turn_.go_on();
}

void host_machine::comes_in() noexcept
{
    if (auto* const p = serving_.load(std::memory_order_relaxed); p && p->holds(*machine_))
        p->wake_up(*machine_);
}

// --- all of them -----------------------------------------------------------------------------

host::host(scheduler& facade, scheduler_options options, first where)
    : asio_core(resolved(std::move(options))), facade_(facade),
      idle_(options_.processors, max_processors), monitor_(*this)
{
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
    unsigned started = 0;
    try {
        first_is_missing_ = where == first::on_caller;
        for (started = first_is_missing_; started != processors(); ++started)
            start(*machines_[started]);
        monitor_.start();
    } catch (std::system_error const&) {
        {
            std::lock_guard guard(exit_mutex_);
            still_inside_ -= processors() - started;
        }
        for (; started != processors(); ++started)
            end_processor();
        end_threads();
        throw_error(
            make_error_code(errc::thread_limit),
            "the system refused a thread for a processor: ask for fewer "
            "(scheduler_options::processors)");
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
    who.thread = std::thread([this, &who] {
        if (who.run())
            meet_before_exit();
    });
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
    (void)machines_.front()->run();
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
        auto const n = processor_count();
        std::latch behind(static_cast<std::ptrdiff_t>(n));
        for (unsigned i = 0; i != n; ++i)
            boost::asio::post(processor_at(i).io, [&] { behind.count_down(); });
        behind.wait();
    } while (live() != 0);
}

void host::leave() noexcept
{
    leaving_.store(true, std::memory_order_seq_cst);
    for (unsigned i = 0; i != processor_count(); ++i)
        processor_at(i).interrupt();
}

void host::end_threads() noexcept
{
    leave();
    if (std::exchange(first_is_missing_, false)) {
        // run_first() was not called: the main fiber could not be started.
        end_processor();
        std::lock_guard guard(exit_mutex_);
        if (--still_inside_ == 0)
            exit_.notify_all();
    }
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
    std::unique_lock guard(exit_mutex_);
    if (--still_inside_ == 0)
        exit_.notify_all();
    else
        exit_.wait(guard, [&] { return still_inside_ == 0; });
}

boost::asio::io_context& host::next_io() noexcept
{
    auto const i = turn_.fetch_add(1, std::memory_order_relaxed);
    return processor_at(i % processors()).io;
}

scheduler_stats host::stats() const
{
    counter_values sum;
    scheduler_stats s;
    s.queued = global_size_hint();
    for (unsigned i = 0; i != processor_count(); ++i) {
        auto const& p = at(i);
        sum += p.stats.values();
        s.queued += p.queue.size_hint() + !p.lane.empty_hint();
    }
    s.fibers = live();
    s.processors = processors();
    s.idle_processors = idle_.idle_hint();
    s.spawned = sum.spawned + spawned_elsewhere();
    s.finished = sum.finished + finished_elsewhere();
    s.switches = sum.switches;
    s.parks = sum.parks;
    s.steals = sum.steals;
    s.stolen = sum.stolen;
    s.global_takes = sum.global_takes;
    s.polls = sum.polls;
    s.wakes = wakes_.load(std::memory_order_relaxed);
    s.handoffs = handoffs_.load(std::memory_order_relaxed);
    s.preemptions = preemptions_.load(std::memory_order_relaxed);
    std::lock_guard guard(moves_);
    s.threads = threads_;
    return s;
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
    if (!p || &p->owner != this || !inside.here()->on_main() || !p->empty_hint()) {
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
    wakes_.fetch_add(1, std::memory_order_relaxed);
    processor_at(i).interrupt();
    fence(std::memory_order_seq_cst);
    monitor_.stir(); // its thread may be inside a handler, and not come
}

// --- moving processors ------------------------------------------------------------------------

host_processor* host::next_for(host_machine& who) noexcept
{
    std::unique_lock moves(moves_);
    for (auto since = now();;) {
        if (who.pinned_) {
            moves.unlock();
            who.run_pinned();
            moves.lock();
        }
        if (who.given) {
            // Inside until it has taken hold of it.
            who.given->runs_here = who.machine_;
            return std::exchange(who.given, nullptr);
        }
        if (working_processors_ == 0)
            return nullptr;
        if (who.is == host_machine::working)
            put_back(who);
        moves.unlock();
        auto const may_stay = who.rest(since);
        moves.lock();
        if (!may_stay && who.is == host_machine::resting) {
            std::erase(spares_, &who);
            who.is = host_machine::gone;
            who.leaves_ = true;
            --threads_;
            std::lock_guard guard(exit_mutex_);
            --still_inside_; // others are there: the processors' machines
            return nullptr;
        }
        if (who.is != host_machine::resting)
            since = now();
    }
}

// Under moves_.
void host::put_back(host_machine& spare) noexcept
{
    spare.is = host_machine::resting;
    spares_.push_back(&spare); // reserved
}

void host::begin_tenure(host_processor& p, machine& m) noexcept
{
    std::lock_guard guard(moves_);
    p.runs_here = &m;
}

void host::end_tenure(host_processor& p) noexcept
{
    std::lock_guard guard(moves_);
    p.runs_here = nullptr;
}

// The machine has come back out of the io_context of a processor that it has lost.
void host::bring_back_asio(host_processor& p) noexcept
{
    std::lock_guard guard(moves_); // behind the monitor's stop()
    p.io.restart();
    p.away_.store(false, std::memory_order_seq_cst);
    p.parker_.unpark();
}

monitor_policy::look host::look_at(host_processor& p, time_point at) const noexcept
{
    using look = monitor_policy::look;
    look l;
    l.slices = p.stats.switches.get();
    l.rounds = p.stats.polls.get() + p.stats.idles.get();
    if (!p.runs_here) {
        l.is = look::absent;
        return l;
    }
    l.blocking = p.runs_here->blocking();
    l.is = !p.dozing_.load(std::memory_order_relaxed) ? look::running
        : idle_.is_idle_hint(p.id)                    ? look::asleep
                                                      : look::woken;
    auto const due = p.sleepers_.earliest_hint() <= at;
    if (l.is == look::asleep)
        l.work = due || !p.empty_hint(); // then a handler keeps its thread
    else // beyond our own guard, Asio waits for something
        l.work = due || !p.empty_hint() || global_size_hint() != 0
            || (l.is == look::running && asio_work_hint(p.asio_) > 1);
    return l;
}

duration host::look_round(
    monitor_policy& policy, hog_list& hogs, std::vector<host_machine*>& to_wake) noexcept
{
    using verdict = monitor_policy::verdict;
    std::unique_lock moves(moves_);
    for (unsigned i = 0; i != processor_count(); ++i) {
        auto* const p = &processor_at(i);
        auto const at = now();
        auto const seen = look_at(*p, at);
        auto const v = policy.judge(i, seen, at);
        auto done = false;
        switch (v) {
        case verdict::leave:
            break;
        case verdict::call:
            done = p->runs_here->right().call();
            break;
        case verdict::wake_another:
            if (auto const other = idle_.another_to_wake(); other != idle_state::none)
                processor_at(other).interrupt();
            done = true;
            break;
        case verdict::hand_off:
            done = retake(*p, seen, nullptr, to_wake, moves);
            if (done)
                handoffs_.fetch_add(1, std::memory_order_relaxed);
            break;
        case verdict::preempt:
            done = retake(*p, seen, &hogs, to_wake, moves);
            if (done) {
                preemptions_.fetch_add(1, std::memory_order_relaxed);
                hogs.back().ran = policy.since(i, at);
            }
            break;
        }
        if (done)
            policy.done(i, now());
    }
    moves.unlock();
    for (auto* const m : to_wake) // it wants the lock at once
        m->parker_.unpark();
    to_wake.clear();
    if (now() >= overdue_at())
        give_up_waiting();
    return policy.pause();
}

bool host::retake(
    host_processor& p, monitor_policy::look const& seen, hog_list* hogs,
    std::vector<host_machine*>& to_wake, std::unique_lock<std::mutex>& moves) noexcept
{
    auto* const spare = reserve(moves, true);
    if (!spare)
        return false;
    // That may have taken a while.
    auto* const m = p.runs_here;
    if (!m || m->blocking() != seen.blocking || p.stats.switches.get() != seen.slices
        || !m->right().try_examine()) {
        put_back(*spare);
        return false;
    }
    if (hogs) {
        auto const* const g = m->examined_fiber();
        hogs->push_back(
            {g ? display_name(*g) : "a completion handler", g ? g->spawn_site : nullptr, {}});
    }
    auto const in_asio = std::exchange(p.in_asio_, false);
    if (in_asio)
        p.away_.store(true, std::memory_order_seq_cst);
    p.runs_here = nullptr;
    m->right().take();
    if (in_asio)
        p.io.stop(); // the machine comes back after the present handler
    give(p, *spare);
    to_wake.push_back(spare);
    return true;
}

// Under moves_, to a machine that is reserved; it must be woken after.
void host::give(host_processor& p, host_machine& spare) noexcept
{
    spare.is = host_machine::working;
    spare.given = &p;
}

// A machine that has a thread and nothing to do. Lets go of the lock to start one.
host_machine* host::reserve(std::unique_lock<std::mutex>& moves, bool by_monitor) noexcept
{
    if (!spares_.empty()) {
        auto* const spare = spares_.back();
        spares_.pop_back();
        spare->is = host_machine::reserved;
        return spare;
    }
    if (threads_ >= options_.max_threads || now() < refused_until_)
        return nullptr;
    auto started = false;
    host_machine* who = nullptr;
    try {
        auto const left = std::find_if(machines_.begin(), machines_.end(), [](auto const& m) {
            return m->is == host_machine::gone;
        });
        who = left != machines_.end() ? left->get() : &add_machine();
        who->is = host_machine::reserved;
        ++threads_;
        {
            std::lock_guard guard(exit_mutex_);
            ++still_inside_;
        }
        moves.unlock();
        if (by_monitor)
            monitor_.hurry(false);
        start(*who);
        started = true;
    } catch (std::bad_alloc const&) {
    } catch (std::system_error const&) {
    }
    if (by_monitor)
        monitor_.hurry(true);
    if (!moves.owns_lock())
        moves.lock();
    if (started)
        return who;
    refused_until_ = now() + refused_time;
    if (who) {
        who->is = host_machine::gone;
        --threads_;
        std::lock_guard guard(exit_mutex_);
        if (--still_inside_ == 0)
            exit_.notify_all();
    }
    return nullptr;
}

// --- more and fewer ---------------------------------------------------------------------------

void host::set_processors(unsigned n)
{
    if (n == 0 || n > max_processors)
        throw_error(
            make_error_code(boost::system::errc::invalid_argument),
            "a scheduler has from 1 to 1024 processors");
    if (n > options_.max_threads)
        throw_error(
            make_error_code(errc::thread_limit),
            "each processor needs a thread: scheduler_options::max_threads is too low for that");
    std::lock_guard resizing(resizing_);
    auto count = processors();
    for (; count > n; --count) {
        auto& p = processor_at(count - 1);
        active_.store(count - 1, std::memory_order_relaxed);
        p.retired_.store(true, std::memory_order_seq_cst);
        p.interrupt();
    }
    if (count < n)
        set_alone(false);
    for (; count < n; ++count) {
        if (count < processor_count()) {
            auto& p = processor_at(count);
            p.retired_.store(false, std::memory_order_seq_cst);
            p.interrupt();
        } else {
            add_processor_with_machine();
        }
        active_.store(count + 1, std::memory_order_relaxed);
    }
}

void host::add_processor_with_machine()
{
    std::unique_lock moves(moves_);
    auto* const spare = reserve(moves);
    if (!spare)
        throw_error(
            make_error_code(errc::thread_limit),
            "there is no thread for another processor: the scheduler's max_threads is reached, "
            "or the system has refused one");
    if (working_processors_ == 0) { // it is over
        put_back(*spare);
        spare->parker_.unpark();
        return;
    }
    try {
        auto& p = add_processor();
        ++working_processors_;
        idle_.admit();
        give(p, *spare);
        moves.unlock();
        spare->parker_.unpark();
    } catch (...) {
        put_back(*spare);
        throw;
    }
}

// --- pinned fibers ----------------------------------------------------------------------------

void host::pin(fiber_record& g)
{
    auto& m = *machine::current();
    auto& who = static_cast<host_machine&>(*m.waiter());
    host_machine* spare = nullptr;
    {
        std::unique_lock moves(moves_);
        visit const inside;
        if (m.held()) {
            spare = reserve(moves);
            if (!spare)
                throw_error(
                    make_error_code(errc::thread_limit),
                    "a pinned fiber has a thread for itself, and there is no other for its "
                    "processor: the scheduler's max_threads is reached, or the system has "
                    "refused one");
            auto& p = static_cast<host_processor&>(*m.held());
            p.runs_here = nullptr;
            m.resign();
            give(p, *spare);
        }
    }
    if (spare)
        spare->parker_.unpark();
    who.pinned_ = true;
    g.pinned = true;
    g.bound = &who.pin_;
}

void host::unpin(fiber_record& g) noexcept
{
    static_cast<host_machine&>(*machine::current()->waiter()).pinned_ = false;
    g.bound = nullptr;
    g.pinned = false;
    yield(g); // without a processor: to the global queue
}

// For the monitor, behind its barrier.
bool host::all_asleep() const noexcept
{
    for (unsigned i = 0; i != processor_count(); ++i) {
        auto const& p = processor_at(i);
        if (!p.runs_none_.load(std::memory_order_seq_cst)
            && !(p.dozing_.load(std::memory_order_seq_cst) && idle_.is_idle_hint(i)))
            return false;
    }
    return !has_work_hint();
}

// When the monitor must look although nobody has called it: a sleeper's alarm may
// find its thread inside a handler.
time_point host::earliest_deadline() const noexcept
{
    auto earliest = overdue_at();
    for (unsigned i = 0; i != processor_count(); ++i)
        earliest = std::min(earliest, processor_at(i).sleepers_.earliest_hint());
    auto const later = 2 * options_.preempt_after;
    return earliest < time_point::max() - later ? earliest + later : time_point::max();
}

} // namespace spindle::detail
