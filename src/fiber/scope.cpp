//
// fiber/scope.cpp
// ~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/fiber/scope.hpp>

#include <spindle/detail/base/fatal.hpp>
#include <spindle/detail/fiber/record.hpp>
#include <spindle/detail/fiber/stop.hpp>

#include <boost/intrusive/parent_from_member.hpp>

#include <mutex>
#include <new>
#include <utility>

namespace spindle::detail {

// --- members ----------------------------------------------------------------------------

void scope_member::leave_scope() noexcept
{
    // What it is in may close, and hand it on, until the lock is taken; but it does
    // not go away: the member keeps the innermost one, and that keeps the others.
    while (auto* const s = member_of.load(std::memory_order_acquire)) {
        std::lock_guard guard(s->mutex_);
        if (member_of.load(std::memory_order_relaxed) != s)
            continue;
        s->members_.erase(s->members_.iterator_to(*this));
        member_of.store(nullptr, std::memory_order_relaxed);
        return;
    }
}

bool scope_state::join(scope_member& m) noexcept
{
    cancellation c;
    for (auto* s = this; s; s = s->outer_) {
        std::lock_guard guard(s->mutex_);
        if (s->cancelled()) // with it, all that is inside
            for (auto* inner = this; inner != s; inner = inner->outer_)
                c.add(*inner, scope_reason::enclosing);
        else if (!s->open_)
            continue; // its members have gone outwards
        m.member_of.store(s, std::memory_order_release);
        s->members_.push_back(m);
        return s->cancelled();
    }
    return cancelled();
}

// --- a scope ----------------------------------------------------------------------------

scope_state::scope_state(scope_state* outer, bool shield)
    : scope_member([](scope_member& m, scope_state&, cancellation& c) noexcept {
          c.add(static_cast<scope_state&>(m), scope_reason::enclosing);
      }),
      outer_(outer), shield_(shield)
{
    if (outer)
        intrusive_ptr_add_ref(outer);
}

void intrusive_ptr_release(scope_state* s) noexcept
{
    while (s && s->refs_.fetch_sub(1, std::memory_order_acq_rel) == 1) // not by recursion
        delete std::exchange(s, s->outer_);
}

scope_ptr scope_state::open_in(fiber_record& self, kind k)
{
    auto const shield = k == kind::shield;
    scope_ptr s(new scope_state(self.scope, shield), false);
    s->values.copy(self.scope ? self.scope->values : self.values);
    s->owner_ = &self;
    stopper_lock const guard(self);
    self.scope = s.get();
    if (shield)
        ++self.shielded;
    else if (s->outer_ && s->outer_->cancelled())
        s->reason_.store(scope_reason::enclosing, std::memory_order_seq_cst);
    else if (stop_seen(self))
        s->reason_.store(scope_reason::enclosing, std::memory_order_seq_cst);
    return s;
}

scope_ptr scope_state::open_beside(scope_state* outer)
{
    scope_ptr s(new scope_state(outer, false), false);
    if (outer) {
        s->values.copy(outer->values);
        if (outer->join(*s)) {
            cancellation c;
            c.add(*s, scope_reason::enclosing);
        }
    }
    return s;
}

void scope_state::arm(timer_queue& timers, time_point deadline)
{
    when = deadline;
    expired = [](timer_entry& e) noexcept {
        scope_ptr const self(static_cast<scope_state*>(&e), false);
        self->cancel(scope_reason::deadline);
    };
    intrusive_ptr_add_ref(this); // the timer's
    try {
        timers.push(*this);
    } catch (...) {
        intrusive_ptr_release(this);
        throw;
    }
    timers_ = &timers;
}

void scope_state::cancel(scope_reason why) noexcept
{
    cancellation c;
    std::lock_guard guard(mutex_);
    if (open_ && c.add(*this, why) && owner_)
        c.visit(*owner_, *this, false);
}

void scope_state::close(fiber_record* self) noexcept
{
    if (timers_ && timers_->erase(*this))
        intrusive_ptr_release(this); // else it has just expired, and finds the scope closed
    scope_member::leave();
    cancellation c;
    std::lock_guard guard(mutex_);
    if (self) {
        stopper_lock const still(*self);
        self->scope = outer_;
        if (shield_)
            --self->shielded;
    }
    owner_ = nullptr;
    open_ = false;
    if (!members_.empty() && !cancelled())
        hand_over(c);
    if (!cancelled())
        spared_.store(true, std::memory_order_seq_cst);
}

// With the lock taken.
void scope_state::hand_over(cancellation& c) noexcept
{
    for (auto* s = outer_; s; s = s->outer_) {
        std::lock_guard guard(s->mutex_);
        if (s->cancelled()) {
            c.add(*this, scope_reason::enclosing);
            return;
        }
        if (!s->open_)
            continue;
        for (auto& m : members_)
            m.member_of.store(s, std::memory_order_release);
        s->members_.splice(s->members_.end(), members_);
        return;
    }
    while (!members_.empty()) {
        auto& m = members_.front();
        members_.pop_front();
        m.member_of.store(nullptr, std::memory_order_release); // it may be gone now
    }
}

std::stop_token scope_state::token()
{
    std::lock_guard guard(mutex_);
    if (!source_) {
        source_.emplace();
        if (reason_for_users() != scope_reason::none)
            source_->request_stop(); // nobody has a callback there yet
    }
    return source_->get_token();
}

bool scope_state::has_token(std::stop_token const& t) noexcept
{
    std::lock_guard guard(mutex_);
    return source_ && source_->get_token() == t;
}

// --- a cancellation ---------------------------------------------------------------------

namespace {

thread_local constinit cancellation* on_its_way = nullptr;

} // namespace

// No fiber parks in there: hooks do not.
class cancellation::with_hooks {
public:
    explicit with_hooks(cancellation& c) noexcept : outer_(std::exchange(on_its_way, &c)) {}
    with_hooks(with_hooks const&) = delete;
    with_hooks& operator=(with_hooks const&) = delete;
    ~with_hooks() { on_its_way = outer_; }

private:
    cancellation* const outer_;
};

bool cancellation::add(scope_state& s, scope_reason why) noexcept
{
    auto expected = scope_reason::none;
    if (!s.reason_.compare_exchange_strong(
            expected, why, std::memory_order_seq_cst, std::memory_order_relaxed))
        return false;
    intrusive_ptr_add_ref(&s);
    s.next_ = std::exchange(first_, &s);
    return true;
}

void cancellation::add(std::stop_source const& s) noexcept
{
    try {
        sources_.push_back(s);
    } catch (std::bad_alloc const&) {
        auto now = s;
        now.request_stop(); // below locks, rather than not at all
    }
}

void cancellation::reach(fiber_record& g, scope_state const* up_to) noexcept
{
    auto* from = g.scope;
    for (auto* s = g.scope; s != up_to; s = s->outer())
        if (s->is_shield())
            from = s->outer();
    for (auto* s = from; s != up_to; s = s->outer())
        add(*s, scope_reason::enclosing);
    heavy_barrier(); // D, F
    if (from == g.scope) {
        with_hooks const here(*this);
        stop_wait(g);
    }
}

void cancellation::visit(fiber_record& g, scope_state const& by, bool member) noexcept
{
    stopper_lock const guard(g);
    reach(g, &by);
    if (member)
        if (auto* const s = g.source.load(std::memory_order_seq_cst))
            add(*s);
}

cancellation::~cancellation()
{
    if (!first_ && sources_.empty()) [[likely]]
        return;
    if (auto* const outer = on_its_way)
        leave_to(*outer);
    else
        run();
}

void cancellation::leave_to(cancellation& outer) noexcept
{
    while (auto* const s = first_) {
        first_ = s->next_;
        s->next_ = std::exchange(outer.first_, s);
    }
    for (auto& source : sources_)
        outer.add(source);
}

void cancellation::run() noexcept
{
    scope_state* reached = nullptr;
    while (auto* const s = first_) {
        first_ = s->next_;
        {
            with_hooks const here(*this);
            std::lock_guard guard(s->mutex_);
            for (auto& m : s->members_)
                m.reached(m, *s, *this);
        }
        s->next_ = std::exchange(reached, s);
    }
    // The user's callbacks: with nothing held.
    for (auto& source : sources_)
        source.request_stop();
    while (auto* const s = reached) {
        reached = s->next_;
        auto source = std::stop_source(std::nostopstate);
        {
            std::lock_guard guard(s->mutex_);
            if (s->source_ && !s->spared_.load(std::memory_order_relaxed))
                source = *s->source_;
        }
        source.request_stop();
        intrusive_ptr_release(s);
    }
}

// --- a fiber ----------------------------------------------------------------------------

void reach_fiber(scope_member& m, scope_state& by, cancellation& c) noexcept
{
    c.visit(
        *boost::intrusive::get_parent_from_member(&m, &fiber_record::membership), by, true);
}

void begin_in_scope(fiber_record& g, scope_state& s) noexcept
{
    intrusive_ptr_add_ref(&s);
    g.scope = g.base = &s; // seen by those that find it in a list
    (void)s.join(g.membership);
}

void inherit_values(fiber_record& g, fiber_record const& from) noexcept
{
    g.values.copy(from.scope ? from.scope->values : from.values);
}

void leave_scopes(fiber_record& self) noexcept
{
    self.returned = true;
    self.values.clear();
    if (!self.base && !self.scope)
        return;
    if (self.scope != self.base)
        fatal(
            "a fiber has ended inside a cancel_scope of its own: it must be destroyed where it "
            "was made, by the fiber that made it");
    self.membership.leave();
    auto* const base = self.base;
    {
        stopper_lock const guard(self);
        self.scope = self.base = nullptr;
    }
    if (base)
        intrusive_ptr_release(base);
}

} // namespace spindle::detail
