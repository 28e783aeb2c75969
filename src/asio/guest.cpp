//
// asio/guest.cpp
// ~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/asio/guest.hpp>

#include <spindle/detail/asio/context_service.hpp>
#include <spindle/detail/asio/host.hpp>
#include <spindle/detail/base/fatal.hpp>
#include <spindle/detail/fiber/fiber_pool.hpp>
#include <spindle/detail/fiber/hooks.hpp>
#include <spindle/detail/fiber/park.hpp>
#include <spindle/detail/fiber/stop.hpp>
#include <spindle/error.hpp>

#include <boost/asio/bind_allocator.hpp>
#include <boost/asio/detail/concurrency_hint.hpp>
#include <boost/asio/detail/scheduler.hpp>
#include <boost/asio/post.hpp>

#include <algorithm>
#include <bit>
#include <functional>

namespace spindle::detail {

namespace {

constexpr unsigned slices_in_a_drain = 61;
constexpr auto drain_time = std::chrono::milliseconds(1);

using asio_scheduler = boost::asio::detail::scheduler;

asio_scheduler& scheduler_of(boost::asio::io_context& io)
{
    return boost::asio::use_service<asio_scheduler>(io);
}

// What the thread had before it took one of our processors.
void give_back(machine& m, processor* outer, core* outer_home) noexcept
{
    if (outer)
        m.take_back(*outer);
    else
        m.drop();
    m.set_home(outer_home);
}

// All guests of the process, for core_running_here().
struct guest_list {
    mutex lock; // leaf
    std::vector<guest*> all;

    static guest_list& get()
    {
        static guest_list& instance = *new guest_list; // guests may outlive main()
        return instance;
    }
};

} // namespace

// --- from a context to its scheduler ----------------------------------------------

boost::asio::execution_context::id context_service::id;

context_service::context_service(boost::asio::execution_context& context)
    : context_service(context, scheduler_options{})
{
}

context_service::context_service(
    boost::asio::execution_context& context, scheduler_options options)
    : service(context), core_(new guest(context, std::move(options))), owned_(true)
{
}

context_service::~context_service()
{
    if (owned_)
        delete core_;
}

asio_core& context_service::core_for(boost::asio::io_context& io)
{
    if (owned_)
        static_cast<guest*>(core_)->serve(io);
    return *core_;
}

void context_service::shutdown()
{
    if (owned_)
        static_cast<guest*>(core_)->shutdown();
}

// --- construction -----------------------------------------------------------------

guest::guest(boost::asio::execution_context& context, scheduler_options options)
    : asio_core(resolved(std::move(options))), context_(context)
{
    schedtrace_.start(*this, wanted_schedtrace());
    auto& list = guest_list::get();
    std::lock_guard guard(list.lock);
    list.all.push_back(this);
}

void guest::serve(boost::asio::io_context& io)
{
    if (this->io())
        return;
    auto const hint = scheduler_of(io).concurrency_hint();
    if (hint == BOOST_ASIO_CONCURRENCY_HINT_UNSAFE
        || hint == BOOST_ASIO_CONCURRENCY_HINT_UNSAFE_IO)
        throw_error(
            make_error_code(boost::system::errc::invalid_argument),
            "this io_context was made without locking (BOOST_ASIO_CONCURRENCY_HINT_UNSAFE), and "
            "fibers are woken from other threads: make it with 1 or more");
    std::lock_guard guard(lock_);
    if (this->io())
        return;
    timers_ = std::make_unique<guest_timers>(*this, io);
    if (auto const n = std::exchange(options_.guest_threads, 0)) // once
        threads_ = std::make_unique<guest_threads>(*this, io, n);
    io_.store(&io, std::memory_order_release);
}

guest::~guest()
{
    await_callers();
    if (closing())
        end_closing();
    if (live() != 0) {
        std::fprintf(
            stderr,
            "spindle: fatal: an execution context was destroyed, and %zu of its fibers wait for "
            "what cannot come any more:\n",
            live());
        print_live_fibers();
        std::terminate();
    }
    for (auto& w : waiters_)
        w->close();
    for (auto& p : processors_)
        release_resting(*p);
    auto& list = guest_list::get();
    std::lock_guard guard(list.lock);
    std::erase(list.all, this);
}

void const* guest::frame_here() const noexcept
{
    namespace asio = boost::asio::detail;
    using threads = asio::call_stack<asio::thread_context, asio::thread_info_base>;
    auto* const here = io();
    return here ? threads::contains(&scheduler_of(*here)) : nullptr;
}

boost::asio::any_io_executor guest::executor_at(processor*)
{
    auto* const here = io();
    if (!here)
        fatal("a free fiber on an execution context that is no io_context");
    return here->get_executor();
}

void guest::begin_work() noexcept
{
    // May overlap with end_work(): Asio counts +1 and -1, not on and off.
    if (working_.fetch_add(1, std::memory_order_relaxed) == 0)
        io()->get_executor().on_work_started();
}

void guest::end_work() noexcept
{
    // Closing: Asio has stopped counting, and its scheduler may be gone.
    if (working_.fetch_sub(1, std::memory_order_acq_rel) == 1 && !closing())
        io()->get_executor().on_work_finished();
}

// --- drains -----------------------------------------------------------------------

void guest::wake_one() noexcept
{
    auto* const here = io();
    if (!here || closing())
        return;
    if (!posted_.load(std::memory_order_seq_cst)
        && !posted_.exchange(true, std::memory_order_seq_cst)) // I2
        boost::asio::post(
            *here, boost::asio::bind_allocator(slot_allocator<void, 256>(drain_memory_), [this] {
                posted_.store(false, std::memory_order_seq_cst); // I1
                if (!drain(nullptr))
                    timers_->retry();
            }));
    if (threads_)
        threads_->call();
}

void guest::has_posted() noexcept
{
    if (io() && threads_)
        threads_->call();
}

void guest::resume(fiber_record& g) noexcept
{
    if (closing())
        return run_abandoned(g);
    // At once, if this thread runs our io_context and is free to. Not so if the
    // operation was of another context: those threads are not ours to use.
    if (!may_drain_here() || !drain(&g))
        ready(g, lane::last);
}

// Not inside a strand, either: other fibers are strangers there.
bool guest::may_drain_here() const noexcept
{
    void const* heads[asio_heads];
    hooks::get().mark(heads);
    return runs_here() && std::all_of(heads + 1, heads + asio_heads, [](auto* h) { return !h; });
}

bool guest::drain(fiber_record* first) noexcept
{
    auto* const m = machine::ensure();
    if (!m || !m->on_main())
        return false; // on a fiber's stack

    // The thread may have a processor: algo::round_robin's, which is one of ours;
    // or a host's, whose handler runs this io_context.
    auto* const outer = m->held();
    auto* const outer_home = m->home();
    auto const own = outer && &outer->owner == this;
    auto& p = own ? *outer : acquire();
    m->take(p);
    m->set_home(this);
    meet(*m);
    if (m->has_stock_fibers())
        see_to_stock_fibers(*m);

    // The clock is read only where something follows: after most completions nothing does.
    struct limits {
        guest& self;
        time_point until;
        bool traced;

        bool may_go_on() const noexcept { return now() < until && !self.io()->stopped(); }
    };
    p.coarse_now = now();
    limits limit{*this, p.coarse_now + drain_time, traced()};

    auto const find = [&]() noexcept -> runnable* {
        if (auto* const r = p.pick())
            return r;
        if (auto* const r = take_global(p))
            return r;
        return steal(p, now());
    };
    auto left = slices_in_a_drain;
    auto* next = static_cast<runnable*>(first);
    while (next || (next = find())) {
        if (has_work_hint())
            wake_one(); // there is more than one thread can run
        left -= m->run(
            static_cast<fiber_record&>(*next), left + limit.traced,
            [](void* argument, bool more) noexcept {
                auto const& l = *static_cast<limits*>(argument);
                if (l.traced && !machine::note_slice_end(nullptr, more)) [[unlikely]]
                    return false;
                return !more || l.may_go_on();
            },
            &limit);
        next = nullptr;
        if (left == 0 || !has_work_hint() || !limit.may_go_on())
            break;
    }

    if (m->has_stock_fibers())
        see_to_stock_fibers(*m);
    if (left != 0)
        (void)end_superfluous(*m, left);
    if (!own) {
        leave(p);
        give_back(*m, outer, outer_home);
    }
    fence(std::memory_order_seq_cst);
    if (has_work_hint())
        wake_one();
    return true;
}

processor& guest::acquire()
{
    std::lock_guard guard(lock_);
    if (!free_.empty()) {
        auto& p = *free_.back();
        free_.pop_back();
        return p;
    }
    auto p = std::make_unique<processor>(*this, static_cast<unsigned>(processors_.size()));
    p->timers = timers_.get();
    p->fiber_size = std::bit_ceil(options_.stack_size);
    free_.reserve(processors_.size() + 1);
    processors_.push_back(std::move(p));
    if (!add(*processors_.back()))
        fatal("more than 1024 threads run one io_context with fibers");
    return *processors_.back();
}

void guest::leave(processor& p) noexcept
{
    give_up(p);
    std::lock_guard guard(lock_);
    free_.push_back(&p); // reserved
}

void guest::add_stats(scheduler_stats& s) const
{
    {
        std::lock_guard guard(lock_);
        for (auto const* const p : free_)
            if (p->id < s.by_processor.size()) // or it is newer
                s.by_processor[p->id].is = processor_stats::activity::idle;
        s.processors = static_cast<unsigned>(processors_.size());
        s.idle_processors = static_cast<unsigned>(free_.size());
    }
    s.threads = static_cast<unsigned>(blocking_threads_.count())
        + (io() && threads_ ? threads_->count() : 0);
}

// Boost.Fiber's dispatcher has its turn; and where a fiber waits in one of its
// primitives, this thread must be the only one, since it alone can be woken for
// that.
void guest::see_to_stock_fibers(machine& m) noexcept
{
    meet(m);
    if (!m.waiter())
        m.set_waiter(make_waiter());
    auto const deadline = m.dispatch();
    if (!m.has_attached_fibers()) {
        stock_waits_.store(false, std::memory_order_seq_cst);
        return;
    }
    stock_waits_.store(true, std::memory_order_seq_cst);
    if (!io()) // nor could anything be posted to wake it
        several_machines_.store(true, std::memory_order_seq_cst);
    refuse_stock_waits_of_several();
    if (deadline != time_point::max())
        timers_->wake_at(deadline);
}

std::shared_ptr<guest_waiter> guest::make_waiter()
{
    auto waiter = std::make_shared<guest_waiter>(*this);
    std::lock_guard guard(lock_);
    waiters_.push_back(waiter);
    return waiter;
}

// Each thread that runs fibers here comes by.
void guest::meet(machine& m) noexcept
{
    auto* first = only_machine_.load(std::memory_order_relaxed);
    if (first == &m)
        return;
    if (first
        || !only_machine_.compare_exchange_strong(first, &m, std::memory_order_relaxed)) {
        several_machines_.store(true, std::memory_order_seq_cst);
        refuse_stock_waits_of_several();
    }
}

// seq_cst, all four: each side stores its own and then looks at the other's.
void guest::refuse_stock_waits_of_several() const noexcept
{
    if (stock_waits_.load(std::memory_order_seq_cst)
        && several_machines_.load(std::memory_order_seq_cst))
        fatal(
            "a fiber waits in a primitive of Boost.Fiber's (boost::fibers::mutex, "
            "condition_variable, future, channel, this_fiber::sleep_for, ...) on an io_context "
            "that several threads run, or on a thread_pool. Asio cannot wake the one thread that "
            "Boost.Fiber wants woken: use spindle's primitive, or one thread, or a "
            "spindle::scheduler");
}

// --- the end ----------------------------------------------------------------------

void guest::shutdown() noexcept
{
    schedtrace_.stop();
    if (threads_)
        threads_->end();
    threads_for_blocking().wait(); // their fibers are ready then
    begin_closing();
    closing_.store(true, std::memory_order_seq_cst);
    await_callers(); // I4
    set_stopping();
    running_all_ = true; // a stopper is inside the fiber's hook: nothing may run above it
    request_stop_all(*this); // those in operations of Asio's come when that drops them
    running_all_ = false;
    // Fibers of Boost.Fiber's own that have ended here count until its dispatcher
    // has released them.
    if (auto* const m = machine::current(); m && m->may_run() && m->has_stock_fibers())
        (void)m->dispatch();
    run_all_here();
    if (timers_)
        timers_->close();
    // algo::round_robin keeps a processor of ours, and us for a home.
    if (auto* const m = machine::current(); m && m->home() == this) {
        if (auto* const p = m->held(); p && &p->owner == this)
            m->drop();
        m->set_home(nullptr);
    }
}

// Bound ones, too: where they are bound to nothing runs any more.
void guest::run_abandoned(fiber_record& g) noexcept
{
    if (!closing())
        return asio_core::run_abandoned(g); // its executor alone is going away
    submit(g);
    if (!running_all_)
        run_all_here();
}

void guest::handler_has_readied() noexcept
{
    if (closing() && !running_all_)
        run_all_here();
}

void guest::run_all_here() noexcept
{
    if (!has_work_hint())
        return;
    auto* const m = machine::ensure();
    if (!m || !m->on_main())
        fatal(
            "an execution context that has fibers was destroyed in a fiber; destroy it on a "
            "thread's own stack");
    running_all_ = true;
    auto* const outer = m->held();
    auto* const outer_home = m->home();
    auto const own = outer && &outer->owner == this;
    auto& p = own ? *outer : acquire();
    m->take(p);
    m->set_home(this);
    do {
        // Nobody else runs here any more: what lies with other processors is free
        // to take.
        for (unsigned i = 0; i != processor_count(); ++i)
            if (&at(i) != &p)
                give_up(at(i));
        runnable* r;
        while ((r = p.pick()) || (r = take_global(p)))
            (void)m->run(static_cast<fiber_record&>(*r), ~0u);
        if (m->has_stock_fibers())
            (void)m->dispatch();
    } while (has_work_hint());
    if (!own)
        leave(p);
    give_back(*m, outer, outer_home);
    running_all_ = false;
}

// --- timers -----------------------------------------------------------------------

void guest_timers::on_earliest(time_point when) noexcept
{
    if (!timer_)
        return;
    timer_->expires_at(when);
    timer_->async_wait(boost::asio::bind_allocator(
        slot_allocator<void, 256>(memory_), [this](error_code ec) {
            if (ec)
                return; // set anew, or not needed any more
            expire(now());
            rearm();
            if (!guest_.drain(nullptr))
                retry();
        }));
}

void guest_timers::retry() noexcept
{
    if (guest_.closing() || retry_.set.exchange(true, std::memory_order_acquire))
        return;
    retry_.when = now() + drain_time;
    push(retry_);
}

void guest_timers::wake_at(time_point when) noexcept
{
    (void)erase(alarm_);
    alarm_.when = when;
    push(alarm_);
}

void guest_timers::on_empty() noexcept
{
    if (timer_)
        timer_->cancel();
}

// --- who is here ------------------------------------------------------------------

asio_core* core_running_here() noexcept
{
    guest* innermost = nullptr;
    {
        void const* frame = nullptr;
        auto& list = guest_list::get();
        std::lock_guard guard(list.lock);
        for (auto* const g : list.all)
            if (auto const* const f = g->frame_here(); f && (!frame || std::less<>()(f, frame))) {
                innermost = g; // stacks grow downwards
                frame = f;
            }
    }
    if (innermost)
        return innermost;
    // A host's own loop lies below everything else on its thread.
    auto* const m = machine::current();
    if (m && m->is_hired())
        return static_cast<asio_core*>(m->home()); // even if its processor is gone
    return m && m->held() ? static_cast<asio_core*>(&m->held()->owner) : nullptr;
}

} // namespace spindle::detail
