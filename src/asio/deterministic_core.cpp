//
// asio/deterministic_core.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/error.hpp>

#include <spindle/detail/asio/asio_access.hpp>
#include <spindle/detail/asio/context_service.hpp>
#include <spindle/detail/asio/deterministic_core.hpp>
#include <spindle/detail/base/mutex.hpp>
#include <spindle/detail/base/thread_random.hpp>
#include <spindle/detail/fiber/fiber_pool.hpp>
#include <spindle/detail/fiber/hooks.hpp>
#include <spindle/detail/fiber/machine.hpp>
#include <spindle/detail/fiber/park.hpp>
#include <spindle/detail/fiber/stop.hpp>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>

#include <algorithm>
#include <bit>
#include <mutex>
#include <utility>

namespace spindle::detail {

namespace {

// Not zero, so that a test may look a while back; and the same in each run.
constexpr time_point first_time{std::chrono::hours(24 * 365)};

constexpr std::size_t steps_kept = 64;

// How long a call of a bound fiber's may block a thread.
constexpr auto blocking_patience = std::chrono::minutes(1);

// How often those that are to leave are run for that.
constexpr std::size_t slices_to_clear = 100'000;

scheduler_options options_for(deterministic_core& self, exploring const& how)
{
    scheduler_options options;
    options.processors = 1;
    options.stack_size = how.stack_size;
    options.unhandled_exception = [&self](std::exception_ptr e, fiber_info const&) {
        self.fail(std::move(e));
    };
    return resolved(std::move(options));
}

deterministic_core* deterministic(core* c) noexcept
{
    auto* const a = static_cast<asio_core*>(c);
    return a && a->keeps_time() ? static_cast<deterministic_core*>(a) : nullptr;
}

// --- what is in everybody's way while there is such a scheduler -----------------------

struct doors {
    mutex lock;
    unsigned open = 0; // under lock
    atomic<hooks::gate_function> inner{nullptr};

    static doors& get()
    {
        static doors& instance = *new doors;
        return instance;
    }
};

fiber_record* gate_with_points()
{
    auto* const self = doors::get().inner.load(std::memory_order_relaxed)();
    if (self)
        if (auto* const c = deterministic(self->scheduler()))
            c->point(*self);
    return self;
}

void point_beside_the_gate() noexcept
{
    auto* const self = where_am_i() == standing::in_fiber ? current_fiber() : nullptr;
    if (self)
        if (auto* const c = deterministic(self->scheduler()); c && c->is_fine())
            c->point(*self);
}

time_point time_here() noexcept
{
    auto* const m = machine::current();
    auto* const c = m ? deterministic(m->home()) : nullptr;
    return c ? c->time() : now();
}

constexpr time_source run_time{&time_here};

void open_doors()
{
    auto& d = doors::get();
    std::lock_guard guard(d.lock);
    if (d.open++ != 0)
        return;
    d.inner.store(hooks::get().gate_now(), std::memory_order_relaxed);
    hooks::get().set_gate(&gate_with_points);
    hooks::get().set_point(&point_beside_the_gate);
    other_time.store(&run_time, std::memory_order_relaxed);
}

void close_doors() noexcept
{
    auto& d = doors::get();
    std::lock_guard guard(d.lock);
    if (--d.open != 0)
        return;
    other_time.store(nullptr, std::memory_order_relaxed);
    hooks::get().set_point(nullptr);
    hooks::get().set_gate(d.inner.load(std::memory_order_relaxed));
}

// Runs on the next stack: the fiber can run again at once.
bool commit_point(void* argument) noexcept
{
    auto& g = *static_cast<fiber_record*>(argument);
    g.state.store(fiber_state::runnable, std::memory_order_relaxed);
    if (g.bound)
        return false; // to its executor
    auto& p = static_cast<deterministic_core*>(g.scheduler())->place();
    p.owner.put_tail(p, g);
    return true;
}

} // namespace

// --- construction -----------------------------------------------------------------------

deterministic_core::deterministic_core(exploring options)
    : asio_core(options_for(*this, options)), how_(options),
      chooser_(options.seed, options.how, options.depth),
      asio_(boost::asio::use_service<boost::asio::detail::scheduler>(io_)), processor_(*this, 0),
      machine_(machine::ensure()), time_(first_time)
{
    if (!machine_)
        throw_error(
            make_error_code(errc::not_in_fiber),
            "a schedule is explored on a thread's own stack: not in a fiber");
    boost::asio::make_service<context_service>(io_, *this);
    processor_.timers = &timers_;
    processor_.fiber_size = std::bit_ceil(options_.stack_size);
    processor_.random = random_generator(options.seed);
    processor_.coarse_now = {}; // a dump does not compare our time with the real one
    (void)add(processor_);
    seed_thread_random(options.seed);
    open_doors();
}

deterministic_core::~deterministic_core()
{
    close_doors();
    await_callers();
    release_resting(processor_);
}

void deterministic_core::fail(std::exception_ptr e) noexcept
{
    if (!failure_)
        failure_ = std::move(e);
}

// --- what can run -------------------------------------------------------------------------

deterministic_core::known& deterministic_core::get_known(std::uint64_t id, fiber_record* g) noexcept
{
    auto const [at, is_new] = known_.try_emplace(id);
    auto& k = at->second;
    if (is_new) {
        k.number = static_cast<unsigned>(known_.size());
        k.priority = chooser_.first_priority();
        k.queued = false;
        if (g && !g->name.empty())
            names_.emplace(id, g->name);
    }
    return k;
}

void deterministic_core::collect() noexcept
{
    auto const add_one = [this](runnable* r) {
        auto& g = static_cast<fiber_record&>(*r);
        auto const id = id_of(g).value;
        auto const seen = known_.contains(id);
        auto& k = get_known(id, &g);
        if (!k.queued) {
            k.queued = true;
            if (&g == preempted_)
                preempted_ = nullptr;
            else if (seen && g.reason.load(std::memory_order_relaxed) == wait_reason::none)
                k.priority = chooser_.lowest(); // it has yielded
        }
        ready_.push_back(&g);
    };
    auto const drain = [&] {
        while (auto* const r = processor_.queue.try_pop())
            add_one(r);
        while (auto* const r = processor_.fresh.pop_oldest())
            add_one(r);
        if (auto* const r = processor_.lane.take())
            add_one(r);
    };
    drain();
    while (auto* const r = take_global(processor_)) {
        add_one(r);
        drain();
    }
}

bool deterministic_core::has_asio_work() noexcept { return asio_work_hint(asio_) > 0; }

fiber_record* deterministic_core::take(std::size_t i) noexcept
{
    auto* const g = ready_[i];
    ready_.erase(ready_.begin() + static_cast<std::ptrdiff_t>(i));
    get_known(id_of(*g).value, g).queued = false;
    return g;
}

deterministic_core::choice deterministic_core::choose(fiber_record* running, bool asio) noexcept
{
    priorities_.clear();
    if (running) {
        auto& own = get_known(id_of(*running).value, running);
        if (chooser_.at_change())
            own.priority = chooser_.lowest();
        priorities_.push_back(own.priority);
    }
    for (auto* const g : ready_)
        priorities_.push_back(get_known(id_of(*g).value, g).priority);
    if (asio)
        priorities_.push_back(get_known(asio_id, nullptr).priority);
    if (priorities_.empty())
        return {};
    auto i = chooser_.choose(priorities_);
    if (running && i-- == 0)
        return {.who = choice::running};
    if (i == ready_.size())
        return {.who = choice::asio};
    return {.who = choice::a_fiber, .fiber = take(i)};
}

void deterministic_core::note(std::uint64_t id, wait_reason before, bool kept) noexcept
{
    ++steps_;
    auto const number = get_known(id, nullptr).number;
    for (auto const part : {number, static_cast<unsigned>(before), static_cast<unsigned>(kept)})
        fingerprint_ = (fingerprint_ ^ part) * 1099511628211u;
    step const now_taken{id, before, kept};
    if (trace_.size() < steps_kept)
        trace_.push_back(now_taken);
    else
        trace_[(steps_ - 1) % steps_kept] = now_taken;
}

// A bound fiber in blocking(), whose call is on a thread of its own.
bool deterministic_core::somebody_blocks() const noexcept
{
    struct {
        core const* wanted;
        bool found = false;
    } look{this};
    for_each_record(
        [](fiber_record& g, void* argument) {
            auto& l = *static_cast<decltype(look)*>(argument);
            l.found |= g.scheduler() == l.wanted && life_of(g) != 0 &&
                       g.reason.load(std::memory_order_relaxed) == wait_reason::blocking;
        },
        &look);
    return look.found;
}

bool deterministic_core::over() const noexcept
{
    return steps_ > how_.max_steps || time_ - first_time > how_.max_time || failure_;
}

// --- points -------------------------------------------------------------------------------

void deterministic_core::point(fiber_record& self) noexcept
{
    if (machine::current() != machine_)
        return; // bound to an executor with threads of its own
    if (quiet_ || over()) {
        preempted_ = &self;
        rest(self, &commit_point); // drive() sees to it
        return;
    }
    if (&self != spared_ && chooser_.happens(how_.cancel))
        request_stop(self, life_of(self));
    collect();
    auto const next = choose(&self, driven_ && has_asio_work());
    if (next.who == choice::running) {
        note(id_of(self).value, wait_reason::none, true);
        return;
    }
    next_ = next;
    preempted_ = &self;
    rest(self, &commit_point);
}

// --- the loop -----------------------------------------------------------------------------

bool deterministic_core::poll() noexcept
try {
    io_.restart();
    return io_.poll_one() != 0;
} catch (...) {
    fail(std::current_exception());
    return true;
}

bool deterministic_core::pass_time() noexcept
{
    auto const when = timers_.earliest_hint();
    if (when == time_point::max())
        return false;
    time_ = std::max(time_, when);
    timers_.expire(time_);
    return true;
}

bool deterministic_core::wait_for_asio(time_point deadline) noexcept
try {
    auto const guard = boost::asio::make_work_guard(io_);
    io_.restart();
    return io_.run_one_until(deadline) != 0;
} catch (...) {
    fail(std::current_exception());
    return true;
}

bool deterministic_core::advance() noexcept
{
    if (poll())
        return true;
    if (how_.io_patience > duration::zero() && has_asio_work() &&
        wait_for_asio(now() + how_.io_patience))
        return true;
    return (live() != 0 || has_asio_work()) && pass_time();
}

// Boost.Fiber's dispatcher, where it has something to do. True: it has.
bool deterministic_core::dispatch() noexcept
{
    if (!machine_->has_stock_fibers() && !machine_->take_notified())
        return false;
    auto const deadline = machine_->dispatch();
    collect();
    if (!ready_.empty() || !machine_->has_attached_fibers())
        return !ready_.empty();
    if (deadline == time_point::max())
        return false;
    (void)wait_for_asio(deadline); // Boost.Fiber's own sleeps go by the steady clock
    return true;
}

// The thread's for as long as this lives.
class deterministic_core::tenancy {
public:
    explicit tenancy(deterministic_core& c) noexcept
        : core_(c), home_(c.machine_->home()), outer_(c.machine_->held())
    {
        c.machine_->take(c.processor_);
        c.machine_->set_home(&c);
        c.driven_ = true;
    }
    tenancy(tenancy const&) = delete;
    tenancy& operator=(tenancy const&) = delete;
    ~tenancy()
    {
        if (outer_)
            core_.machine_->take_back(*outer_);
        else
            core_.machine_->drop();
        core_.machine_->set_home(home_);
        core_.driven_ = false;
    }

private:
    deterministic_core& core_;
    core* const home_;
    processor* const outer_;
};

deterministic_core::outcome deterministic_core::drive()
{
    tenancy const here(*this);
    auto asio_is_dry = false;
    for (;;) {
        if (failure_)
            return outcome::failed;
        if (over())
            return outcome::endless;
        collect();
        auto next = std::exchange(next_, {});
        if (next.who == choice::nobody) {
            if (!ready_.empty() && chooser_.happens(how_.delay) && pass_time())
                collect();
            next = choose(nullptr, !asio_is_dry && has_asio_work());
        }
        asio_is_dry = false;
        switch (next.who) {
        case choice::a_fiber:
            note(
                id_of(*next.fiber).value,
                next.fiber->reason.load(std::memory_order_relaxed),
                false);
            (void)machine_->run(*next.fiber, 1);
            break;
        case choice::asio:
            if (poll())
                note(asio_id, wait_reason::none, false);
            else
                asio_is_dry = true;
            break;
        default:
            if (dispatch() || advance())
                break;
            if (live() == 0)
                return outcome::ended;
            if (!somebody_blocks() || !wait_for_asio(now() + blocking_patience))
                return outcome::deadlock;
        }
    }
}

bool deterministic_core::clear_away()
{
    quiet_ = true;
    next_ = {};
    set_stopping();
    tenancy const here(*this);
    request_stop_all(*this);
    for (std::size_t n = 0; n != slices_to_clear && live() != 0; ++n) {
        collect();
        if (!ready_.empty())
            (void)machine_->run(*take(0), 1);
        else if (!poll() && !pass_time() && !dispatch())
            break;
    }
    return live() == 0;
}

void deterministic_core::arrange() noexcept
{
    collect();
    auto next = std::exchange(next_, {});
    if (next.who != choice::a_fiber)
        next = choose(nullptr, false);
    if (next.who != choice::a_fiber)
        return;
    note(id_of(*next.fiber).value, next.fiber->reason.load(std::memory_order_relaxed), false);
    // All of them, so that who looks at the queue finds it as full as it is.
    put_tail(processor_, *next.fiber);
    for (auto* const g : ready_)
        put_tail(processor_, *g);
    ready_.clear();
}

void deterministic_core::resume(fiber_record& g) noexcept { ready(g, lane::last); }

void deterministic_core::add_stats(scheduler_stats& s) const
{
    s.processors = 1;
    s.threads = static_cast<unsigned>(blocking_threads_.count());
}

void deterministic_core::wake_one() noexcept
{
    if (machine::current() != machine_) {
        boost::asio::post(io_, [] {});
        return;
    }
    // The last thing that a spawn does here, and nothing is held: on another processor the
    // new fiber might run at once.
    if (std::exchange(starting_, false))
        if (auto* const self = machine_->running(); self && self->scheduler() == this)
            point(*self);
}

// --- what is said of it ------------------------------------------------------------------

std::string deterministic_core::name_of(std::uint64_t id) const
{
    if (id == asio_id)
        return "(Asio)";
    if (auto const named = names_.find(id); named != names_.end())
        return '"' + named->second + '"';
    auto const at = known_.find(id);
    return "fiber #" + (at == known_.end() ? "?" : std::to_string(at->second.number));
}

std::string deterministic_core::describe_fibers()
{
    struct {
        deterministic_core& self;
        std::string text;
    } all{*this, {}};
    for_each_record(
        [](fiber_record& g, void* argument) {
            auto& a = *static_cast<decltype(all)*>(argument);
            if (g.scheduler() != &a.self || life_of(g) == 0)
                return;
            auto const state = g.state.load(std::memory_order_relaxed);
            a.text += "  " + a.self.name_of(id_of(g).value) + ", " + to_string(state);
            if (state == fiber_state::waiting)
                a.text += std::string(": ") + to_string(g.reason.load(std::memory_order_relaxed));
            a.text += ", spawned from " + describe_site(g.spawn_site) + '\n';
        },
        &all);
    if (has_asio_work())
        all.text +=
            "  operations of Asio's are pending: explore_options::io_patience says how long "
            "to wait for them\n";
    return std::move(all.text);
}

std::string deterministic_core::describe_steps() const
{
    std::string text;
    auto const n = trace_.size();
    for (std::size_t i = 0; i != n; ++i) {
        auto const& s = trace_[n < steps_kept ? i : (steps_ + i) % steps_kept];
        text += "  " + name_of(s.fiber);
        if (s.kept)
            text += ", goes on";
        else if (s.before != wait_reason::none)
            text += std::string(", after ") + to_string(s.before);
        text += '\n';
    }
    return text;
}

} // namespace spindle::detail
