//
// fiber/machine.cpp
// ~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/fiber/machine.hpp>

#include <spindle/detail/base/fatal.hpp>
#include <spindle/detail/fiber/boost_access.hpp>
#include <spindle/detail/fiber/gate.hpp>
#include <spindle/detail/fiber/park.hpp>
#include <spindle/detail/fiber/watch.hpp>

#include <boost/assert.hpp>
#include <boost/fiber/operations.hpp>
#include <boost/fiber/scheduler.hpp>

#include <algorithm>

#if defined(__GNUC__)
#include <cxxabi.h>
#endif

namespace spindle::detail {

namespace {

// How many fibers run between two turns of the dispatcher where main waits.
constexpr unsigned slices_between_dispatches = 61;

} // namespace

SPINDLE_NOINLINE exception_state* exception_state::of_this_thread() noexcept
{
#if defined(__GNUC__)
    asm volatile(""); // the call must not be taken for a repetition of an earlier one
    return reinterpret_cast<exception_state*>(abi::__cxa_get_globals());
#else
    // No such state to carry: the runtime keeps it on the stack.
    static thread_local exception_state unused;
    return &unused;
#endif
}

thread_local constinit machine* this_machine = nullptr;

namespace {

[[maybe_unused]] bool const watcher_is_set = [] {
    core::set_slice_watcher(&machine::note_slice_end);
    return true;
}();

} // namespace

machine* machine::current() noexcept
{
#if defined(__GNUC__)
    asm volatile("");
#endif
    return this_machine;
}

machine* machine::ensure()
{
    if (auto* const m = current())
        return m;
    if (!context::active()->is_context(boost::fibers::type::main_context))
        return nullptr;
    boost::fibers::use_scheduling_algorithm<machine>();
    return current();
}

machine::machine() noexcept
    : current_(context::active()), thread_state_(exception_state::of_this_thread()),
      owner_(&main_state_), main_(current_), scheduler_(current_->get_scheduler())
{
    BOOST_ASSERT(main_->is_context(boost::fibers::type::main_context));
    this_machine = this;
}

machine::~machine()
{
    // What was ready here has gone to the thread's next algorithm, by pick_next()
    // and without a switch; or the dispatcher has gone back to main for good.
    if (owner_ != &main_state_)
        *thread_state_ = main_state_;
    if (this_machine == this)
        this_machine = nullptr;
    // Where another algorithm takes over, it asked us by pick_next() for what is
    // ready, and switched to none of it: main's state is what the thread needs.
    if (owner_ != &main_state_)
        *thread_state_ = main_state_;
}

// --- the right to the processor ---------------------------------------------------

void machine::settle_tenure() noexcept
{
    switch (tenure_.settle()) {
    case tenure::finding::nothing:
        return;
    case tenure::finding::called:
        slices_ = may_go_on_ ? 1 : 0; // main has its turn; who is asked says no to the last
        break;
    case tenure::finding::watched:
        break;
    case tenure::finding::lost:
        if (processor_ == tenured_)
            processor_ = nullptr;
        retaken_ = std::exchange(tenured_, nullptr);
        tenure_.watch(false);
        return;
    }
    if (tenured_ != nullptr)
        if (auto* const w = waiter_.load(std::memory_order_relaxed))
            w->comes_in();
}

void machine::hold(processor& p) noexcept
{
    BOOST_ASSERT(on_main() && !tenured_);
    processor_ = tenured_ = &p;
    retaken_ = nullptr;
}

void machine::resign() noexcept { processor_ = tenured_ = nullptr; }

void machine::take_back(processor& outer) noexcept
{
    auto const was = come_in();
    processor_ = &outer == retaken_ ? nullptr : &outer;
    go_out(was);
}

void machine::move_in() noexcept
{
    hired_ = true;
    main_is_outside_ = false;
    stay_in();
}

void machine::move_out() noexcept
{
    hired_ = false;
    retaken_ = nullptr; // it goes with its host
    main_is_outside_ = true;
    tenure_.leave();
}

// What runs now is the user's code, unless it is ours.
inline void machine::after_switch() noexcept
{
    if (record_ || (current_ == main_ && main_is_outside_))
        tenure_.leave(); // I5
}

// --- Boost.Fiber's side -------------------------------------------------------

SPINDLE_FLATTEN void machine::awakened(context* c) noexcept
{
    auto* const g = std::exchange(leaving_, nullptr);
    if (!g) [[unlikely]] {
        awaken_from_outside(c);
        return;
    }
    BOOST_ASSERT(g->ctx() == c);
    scheduler_->detach_worker_context(c); // I3
    // After a commit that returned true *g may be running elsewhere, or be gone.
    if (auto const commit = g->commit; !commit)
        take_turn_again(*g);
    else if (g->commit = nullptr; !commit(g->commit_argument)) [[unlikely]]
        requeue(*g);
    after_switch(); // the fiber came in before it left
}

// A yield: behind what is queued here.
inline void machine::take_turn_again(fiber_record& g) noexcept
{
    auto* const home = g.scheduler();
    if (g.bound || !processor_
        || processor_->unwatched.load(std::memory_order_relaxed) != home) [[unlikely]] {
        requeue(g); // wherever it belongs
        return;
    }
    g.state.store(fiber_state::runnable, std::memory_order_relaxed);
    home->put_tail(*processor_, g);
}

SPINDLE_NOINLINE void machine::awaken_from_outside(context* c) noexcept
{
    auto const was = come_in();
    awaken(c);
    go_out(was);
}

// By Boost.Fiber's API.
void machine::awaken(context* c) noexcept
{
    if (c == current_)
        settle(c);
    if (c == main_) {
        main_ready_ = true;
        if (!driving_) // by Boost.Fiber's API: what is queued already comes before it
            slices_ = processor_ ? processor_->size_hint()
                                 : static_cast<unsigned>(kept_.size());
        return;
    }
    if (c->is_context(boost::fibers::type::dispatcher_context)) {
        dispatcher_ = c;
        dispatcher_ready_ = true;
        return;
    }
    auto* g = record_of(*c);
    if (!g)
        g = &stock_record(*c);
    if (!g->scheduler()) [[unlikely]] {
        g->state.store(fiber_state::runnable, std::memory_order_relaxed);
        kept_.push_back(*g); // of this thread alone: it stays attached
        return;
    }
    scheduler_->detach_worker_context(c); // I3
    requeue(*g);
}

machine::context* machine::pick_next() noexcept
{
    auto const parks = leaving_ != nullptr; // then it has come in already
    if (!parks) {
        stay_in();
        if (is_blocking()) [[unlikely]]
            fatal(
                "a fiber waits, or yields, by Boost.Fiber's API inside spindle::blocking(), where "
                "nothing may park it");
    }
    auto* const next = choose();
    if (next) {
        enter(next);
        if (!parks)
            after_switch(); // nothing may be awakened
    }
    return next;
}

// Boost.Fiber's scheduler::yield() with the short way first: from a fiber of ours
// straight to another one, while main waits in run(). What is different then is done
// by choose() and enter().
SPINDLE_FLATTEN void machine::give_way(
    fiber_record& self, commit_function commit, void* argument) noexcept
{
    self.commit = commit;
    self.commit_argument = argument;
    leaving_ = &self; // inside until somebody else's code runs: after_switch()
    auto* next = next_fiber();
    if (!next) [[unlikely]]
        next = pick_next();
    next->resume(self.ctx());
}

SPINDLE_FLATTEN void machine::give_turn(fiber_record& self) noexcept
{
    auto const was = come_in();
    if (!self.bound && stays())
        go_out(was);
    else
        give_way(self, nullptr, nullptr);
}

// The lines that a switch touches first: of a fiber that is next but one they come
// while the next one runs. A few fibers are in the cache anyhow.
inline void machine::fetch_early(local_queue const& q) noexcept
{
#if defined(__GNUC__)
    constexpr std::uint32_t few = 32;
    constexpr int lines_below = 4, lines_above = 2; // a pooled fiber's context, its record
    if (auto const* const r = q.peek_if_more_than(few)) [[unlikely]] {
        auto const* const g = reinterpret_cast<std::byte const*>(static_cast<fiber_record const*>(r));
        for (int i = -lines_below; i != lines_above; ++i)
            __builtin_prefetch(g + i * int{cache_line_size});
    }
#else
    (void)q;
#endif
}

inline machine::context* machine::next_fiber() noexcept
{
    if (!driving_ || slices_ == 0 || may_go_on_ || !processor_)
        return nullptr;
    auto* const r = processor_->pick();
    if (!r)
        return nullptr;
    --slices_;
    auto& g = static_cast<fiber_record&>(*r);
    fetch_early(processor_->queue);
    record_ = &g;
    current_ = g.ctx();
    enter_fiber(g);
    return current_;
}

bool machine::has_ready_fibers() const noexcept
{
    // Boost.Fiber asks when it replaces the algorithm, to move what is ready to
    // the new one by pick_next(). What is detached in a scheduler's queues
    // stays there.
    return main_ready_ || dispatcher_ready_ || !kept_.empty();
}

// With a processor.
inline bool machine::has_more() const noexcept
{
    return !processor_->empty_hint() || processor_->owner.global_size_hint() != 0;
}

void machine::suspend_until(time_point const& deadline) noexcept
{
    if (dispatcher_turn_ == turn::given) {
        wanted_ = deadline;
        dispatcher_turn_ = turn::done;
        return;
    }
    // Main waits in a primitive of Boost.Fiber's: the thread sleeps here.
    auto* const w = waiter_.load(std::memory_order_relaxed);
    auto const busy = take_notified() || main_ready_ || !kept_.empty()
        || (processor_ && has_more());
    (w ? *w : static_cast<poller&>(parking_)).wait_until(busy ? time_point::min() : deadline);
    (void)take_notified(); // the dispatcher looks at everything now
}

void machine::notify() noexcept
{
    notified_.store(true, std::memory_order_seq_cst);
    auto* const w = waiter_.load(std::memory_order_acquire);
    (w ? *w : static_cast<poller&>(parking_)).interrupt();
}

// --- what runs next -------------------------------------------------------------

SPINDLE_NOINLINE machine::context* machine::choose() noexcept
{
    if (forced_ != nullptr) {
        record_ = std::exchange(forced_, nullptr);
        return record_->ctx();
    }

    auto const in_dispatcher = current_ == dispatcher_;
    switch (dispatcher_turn_) {
    case turn::none:
        break;
    case turn::asked:
        BOOST_ASSERT(dispatcher_ready_);
        dispatcher_turn_ = turn::given;
        dispatcher_ready_ = false;
        record_ = nullptr;
        return dispatcher_;
    case turn::given:
        return nullptr; // so that it tells us, by suspend_until(), when it wants to wake
    case turn::done:
        dispatcher_turn_ = turn::none;
        main_ready_ = false;
        record_ = nullptr;
        return main_;
    }

    if (in_dispatcher && !main_ready_ && !polled_) {
        polled_ = true;
        return nullptr; // suspend_until() polls, or waits if there is nothing
    }

    if (processor_ != nullptr) {
        if (slices_ == 0 && !main_ready_) {
            // Main waits, or yields by Boost.Fiber's API: nobody else hands out
            // slices. When it yields it is as one of those in the queue.
            slices_ = current_ == main_ ? std::max(1u, processor_->size_hint())
                                        : slices_between_dispatches;
            if (dispatcher_ready_)
                return leave_for(dispatcher_);
        }
        if (slices_ != 0 && (!may_go_on_ || may_go_on_(permission_argument_, has_more()))) {
            --slices_;
            auto* r = processor_->pick();
            if (!r && !main_ready_)
                r = processor_->owner.take_global(*processor_);
            if (r) {
                auto& g = static_cast<fiber_record&>(*r);
                record_ = &g;
                return g.ctx();
            }
        }
    } else if (!kept_.empty() && (!main_ready_ || slices_ != 0)) {
        if (dispatcher_ready_ && ++kept_turn_ % slices_between_dispatches == 0)
            return leave_for(dispatcher_);
        if (main_ready_)
            --slices_;
        record_ = static_cast<fiber_record*>(kept_.pop_front());
        return record_->ctx();
    } else if (may_go_on_) {
        (void)may_go_on_(permission_argument_, false); // a note may be made
    }

    if (main_ready_)
        return leave_for(main_);
    if (dispatcher_ready_)
        return leave_for(dispatcher_);
    if (!in_dispatcher)
        fatal("nothing can run on this thread"); // I4
    return nullptr;
}

inline bool machine::stays() noexcept
{
    auto* const p = processor_;
    if (!p || slices_ == 0 || has_more()
        || (may_go_on_ && !may_go_on_(permission_argument_, true))) // itself
        return false;
    --slices_;
    p->stats.switches.add();
    return true;
}

machine::context* machine::leave_for(context* c) noexcept
{
    (c == main_ ? main_ready_ : dispatcher_ready_) = false;
    record_ = nullptr;
    if (c == main_ && !driving_)
        if (auto* const w = waiter_.load(std::memory_order_relaxed))
            w->main_goes_on();
    return c;
}

void machine::enter(context* next) noexcept
{
    polled_ = false;
    auto* const previous = std::exchange(current_, next);
    auto* slot = &main_state_;
    if (next != main_) {
        if (next == dispatcher_) {
            slot = &dispatcher_state_;
        } else {
            // What Asio has on the stack below the fibers: it changes only while
            // main or the dispatcher runs.
            if (previous == main_ || previous == dispatcher_)
                hooks::get().mark(entry_mark);
            enter_fiber(*record_);
            return;
        }
    }
    swap_exceptions(*slot);
}

inline void machine::enter_fiber(fiber_record& g) noexcept
{
    g.state.store(fiber_state::running, std::memory_order_relaxed);
    if (g.entry != 0) [[unlikely]]
        enter_unusual(g);
    if (auto* const c = g.ctx(); !c->get_scheduler())
        scheduler_->attach_worker_context(c);
    if (processor_)
        processor_->stats.switches.add();
    swap_exceptions(g.exceptions);
}

bool machine::note_slice_end(void*, bool) noexcept
{
    auto const* const m = current();
    if (m->leaving_)
        note_leave(*m->leaving_, m->processor_);
    return m->slices_ > 1; // the last one is for being asked here
}

void machine::enter_unusual(fiber_record& g) noexcept
{
    if (!g.pooled())
        stock_ = true; // made on another thread, perhaps; it may sleep or end here
    if (g.entry & fiber_record::entry_noted)
        note_entry(g, processor_);
}

inline void machine::swap_exceptions(exception_state& slot) noexcept
{
    if (&slot == owner_) // I2
        return;
    *owner_ = *thread_state_;
    *thread_state_ = slot;
    owner_ = &slot;
}

// A fiber was launched with launch::dispatch: `launcher` became ready while,
// as far as we knew, it was running.
void machine::settle(context* launcher) noexcept
{
    auto* const active = context::active();
    if (active == launcher)
        return; // the thread's own start
    current_ = active;
    record_ = nullptr;
    record_ = record_of(*active);
    if (!record_)
        record_ = &stock_record(*active);
    *owner_ = *thread_state_;
    *thread_state_ = record_->exceptions;
    owner_ = &record_->exceptions;
}

SPINDLE_NOINLINE void machine::requeue(fiber_record& g) noexcept
{
    g.state.store(fiber_state::runnable, std::memory_order_relaxed);
    if (g.bound)
        g.bound->post_slice(g);
    else if (auto* const home = g.scheduler();
             processor_ && processor_->unwatched.load(std::memory_order_relaxed) == home)
        home->put_last(*processor_, g);
    else if (home)
        ready_by_the_long_way(processor_, g, lane::last, true);
    else
        kept_.push_back(g);
}

// --- main's side ----------------------------------------------------------------

unsigned machine::run(
    fiber_record& g, unsigned slices, permission may_go_on, void* argument) noexcept
{
    BOOST_ASSERT(on_main() && slices != 0);
    slices_ = slices - 1;
    may_go_on_ = may_go_on;
    permission_argument_ = argument;
    forced_ = &g; // record_ inside: main may be outside, and examined
    driving_ = true;
    scheduler_->yield(main_);
    driving_ = false;
    auto const ran = slices - slices_;
    slices_ = 0;
    may_go_on_ = nullptr;
    if (has_attached_fibers())
        stock_ = true; // what parks through park() is detached
    // Where their executor is gone, they run from here, and one level deep.
    if (!std::exchange(reposting_, true)) {
        while (auto* const r = postponed_.pop_front()) {
            auto& again = static_cast<fiber_record&>(*r);
            again.bound->post_slice(again);
        }
        reposting_ = false;
    }
    return ran;
}

bool machine::has_attached_fibers() const noexcept
{
    return boost_fiber_has_attached_fibers(*scheduler_);
}

time_point machine::dispatch() noexcept
{
    BOOST_ASSERT(on_main());
    dispatcher_turn_ = turn::asked;
    driving_ = true;
    scheduler_->yield(main_);
    driving_ = false;
    return std::exchange(wanted_, time_point::max());
}

fiber_record* machine::running() noexcept
{
    if (record_)
        return record_;
    if (current_ == main_ || current_ == dispatcher_)
        return nullptr;
    auto const was = come_in(); // who examines this machine reads record_
    record_ = &stock_record(*current_);
    go_out(was);
    return record_;
}

} // namespace spindle::detail
