//
// asio/host_moves.cpp
// ~~~~~~~~~~~~~~~~~~~
// Processors and threads come together, and part.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/asio/host.hpp>

#include <spindle/detail/asio/asio_access.hpp>
#include <spindle/detail/fiber/park.hpp>
#include <spindle/detail/fiber/watch.hpp>
#include <spindle/error.hpp>

#include <boost/system/errc.hpp>

#include <algorithm>
#include <chrono>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace spindle::detail {

namespace {

// After the system has refused a thread, or memory.
constexpr auto refused_time = std::chrono::milliseconds(1);

// Empty: there is no memory for it.
std::string name_of(fiber_record const* g) noexcept
try {
    return g ? display_name(*g) : "a completion handler";
} catch (std::bad_alloc const&) {
    return {};
}

} // namespace

host_processor* host::next_for(host_machine& who) noexcept
{
    std::unique_lock moves(moves_);
    for (auto since = now();;) {
        if (who.pinned_) {
            moves.unlock();
            who.run_pinned();
            since = now();
            moves.lock();
        }
        if (who.given) {
            // Inside until it has taken hold of it.
            who.given->runs_here = who.machine_;
            return std::exchange(who.given, nullptr);
        }
        if (working_processors_ == 0)
            return nullptr;
        auto const lost_one = who.is == host_machine::working;
        if (lost_one)
            put_back(who);
        moves.unlock();
        if (lost_one)
            monitor_.look_soon();
        auto const may_stay = who.rest(since);
        moves.lock();
        if (!may_stay && who.is == host_machine::resting) {
            std::erase(spares_, &who);
            who.is = host_machine::gone;
            who.leaves_ = true;
            --threads_;
            one_less_inside(); // perhaps the last one
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
    p.asio_is_at_.store(nullptr, std::memory_order_relaxed);
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
    auto const due = p.sleepers_.earliest_hint() <= at || (p.id == 0 && orphans_due());
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
    auto const n = processor_count();
    try {
        hogs.reserve(n); // in the midst of a retake nothing may fail
        to_wake.reserve(n);
        policy.expect(n);
    } catch (std::bad_alloc const&) {
        return refused_time;
    }
    auto orphans = false;
    for (unsigned i = 0; i != n; ++i) {
        auto* const p = &processor_at(i);
        auto const at = now();
        orphans |= p->runs_none_.load(std::memory_order_relaxed)
            && p->sleepers_.earliest_hint() <= at - options_.preempt_after;
        auto const seen = look_at(*p, at);
        auto const v = policy.judge(i, seen, at);
        auto what = outcome::nothing;
        switch (v) {
        case verdict::leave:
            break;
        case verdict::call:
            if (p->runs_here->right().call())
                what = outcome::done;
            break;
        case verdict::wake_another:
            if (auto const other = idle_.another_to_wake(); other != idle_state::none)
                processor_at(other).interrupt();
            what = outcome::done;
            break;
        case verdict::hand_off:
            what = retake(*p, seen, nullptr, to_wake, moves);
            if (what == outcome::done)
                handoffs_.fetch_add(1, std::memory_order_relaxed);
            break;
        case verdict::preempt:
            what = retake(*p, seen, &hogs, to_wake, moves);
            if (what == outcome::done) {
                preemptions_.fetch_add(1, std::memory_order_relaxed);
                hogs.back().ran = policy.since(i, at);
            }
            break;
        }
        if (what == outcome::done)
            policy.done(i, now());
        else if (what == outcome::missed)
            policy.missed(i);
    }
    moves.unlock();
    if (orphans) {
        orphans_due_.store(true, std::memory_order_seq_cst);
        processor_at(0).interrupt(); // it never retires
    }
    for (auto* const m : to_wake) // it wants the lock at once
        m->parker_.unpark();
    to_wake.clear();
    if (now() >= overdue_at())
        give_up_waiting();
    return policy.pause();
}

host::outcome host::retake(
    host_processor& p, monitor_policy::look const& seen, hog_list* hogs,
    std::vector<host_machine*>& to_wake, std::unique_lock<std::mutex>& moves) noexcept
{
    auto* const spare = reserve(moves, true);
    if (!spare)
        return outcome::nothing;
    // That may have taken a while.
    auto* const m = p.runs_here;
    auto const same =
        m && m->blocking() == seen.blocking && p.stats.switches.get() == seen.slices;
    if (!same || !m->right().try_examine()) {
        put_back(*spare);
        return same ? outcome::missed : outcome::nothing;
    }
    if (hogs) {
        auto const* const g = m->examined_fiber();
        hogs->push_back({name_of(g), g ? g->spawn_site : nullptr, {}}); // reserved
    }
    if (traced())
        note_event(
            *this, hogs ? trace_kind::preempt : trace_kind::handoff, &p, m->examined_fiber());
    auto const in_asio = p.has_asio(*m);
    if (in_asio)
        p.away_.store(true, std::memory_order_seq_cst);
    p.runs_here = nullptr;
    m->right().take();
    if (in_asio)
        p.io.stop(); // the machine comes back after the present handler
    give(p, *spare);
    to_wake.push_back(spare); // reserved
    return outcome::done;
}

void host::expire_orphans(time_point at) noexcept
{
    if (!orphans_due_.exchange(false, std::memory_order_relaxed))
        return;
    for (unsigned i = 1; i != processor_count(); ++i)
        if (auto& p = processor_at(i); p.runs_none_.load(std::memory_order_relaxed))
            p.sleepers_.expire(at);
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
        one_less_inside();
    }
    return nullptr;
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
    auto* who = static_cast<host_machine*>(m.waiter());
    auto const here = m.runs_from_loop(); // else a handler's end comes before its slices
    host_machine* spare = nullptr;
    {
        std::unique_lock moves(moves_);
        visit const inside;
        if (m.held() || !here) {
            spare = reserve(moves);
            if (!spare)
                throw_error(
                    make_error_code(errc::thread_limit),
                    "a pinned fiber has a thread for itself, and there is no other one: the "
                    "scheduler's max_threads is reached, or the system has refused one");
        }
        if (!here) {
            spare->is = host_machine::working;
            who = spare;
        } else if (m.held()) {
            auto& p = static_cast<host_processor&>(*m.held());
            p.runs_here = nullptr;
            m.resign();
            give(p, *spare);
        }
        who->pinned_ = true;
    }
    if (spare)
        spare->parker_.unpark();
    g.pinned = true;
    g.bound = &who->pin_;
    if (!here)
        yield(g); // and goes on there
}

void host::unpin(fiber_record& g) noexcept
{
    static_cast<host_machine&>(*machine::current()->waiter()).pinned_ = false;
    g.bound = nullptr;
    g.pinned = false;
    yield(g); // without a processor: to the global queue
}

} // namespace spindle::detail
