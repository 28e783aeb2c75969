//
// chan/select.cpp
// ~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/chan/select.hpp>

#include <spindle/detail/asio/timers.hpp>
#include <spindle/detail/base/cpu_relax.hpp>
#include <spindle/detail/base/scope_exit.hpp>
#include <spindle/detail/base/thread_random.hpp>
#include <spindle/detail/fiber/hooks.hpp>
#include <spindle/detail/fiber/look.hpp>
#include <spindle/detail/fiber/machine_list.hpp>
#include <spindle/detail/fiber/stop.hpp>
#include <spindle/detail/fiber/waiter.hpp>

#include <boost/container/small_vector.hpp>
#include <boost/system/errc.hpp>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <utility>

namespace spindle::detail {

chan_result select_case_base::attempt(chan_waiter*&) { return chan_result::waiting; }
void select_case_base::arm(select_wait&) {}

namespace {

// Numbers below something, several from the same bits.
class dice {
public:
    std::uint32_t below(std::uint32_t n) noexcept
    {
        auto const needed = static_cast<int>(std::bit_width(n));
        if (left_ < needed) {
            bits_ = thread_random_bits();
            left_ = 24; // the last ones would favour some numbers
        }
        left_ -= needed;
        auto const product = std::uint64_t{bits_} * n;
        bits_ = static_cast<std::uint32_t>(product);
        return static_cast<std::uint32_t>(product >> 32);
    }

private:
    std::uint32_t bits_ = 0;
    int left_ = 0;
};

} // namespace

select_wait::select_wait(
    std::span<select_case_base* const> cases, select_case_base** order,
    chan_core** locks) noexcept
    : cases_(cases), order_(order), locks_(locks)
{
    std::uint32_t index = 0;
    for (auto* const c : cases_) {
        c->index = index++;
        c->chosen = false;
        if (c->core) {
            order_[ordered_++] = c;
            ++channels_;
        } else if (c->what == select_case_base::kind::event) {
            order_[ordered_++] = c;
        } else if (c->what == select_case_base::kind::otherwise) {
            otherwise_ = c;
        }
    }
    owner_.context = this;
}

// By address; each once.
void select_wait::sort_locks() noexcept
{
    auto const before = std::less<chan_core*>();
    locked_ = 0;
    for (std::size_t i = 0; i != ordered_; ++i) {
        auto* const c = order_[i]->core;
        if (!c)
            continue;
        auto at = locked_;
        while (at != 0 && before(c, locks_[at - 1]))
            --at;
        if (at != 0 && locks_[at - 1] == c)
            continue;
        for (auto j = locked_++; j != at; --j) // a few: not worth a call of memmove
            locks_[j] = locks_[j - 1];
        locks_[at] = c;
    }
}

select_case_base* select_wait::try_now()
{
    dice random;
    for (std::size_t i = 0; i != ordered_; ++i) {
        auto const left = static_cast<std::uint32_t>(ordered_ - i);
        if (left > 1)
            std::swap(order_[i], order_[i + random.below(left)]);
        auto& c = *order_[i];
        if (auto* const core = c.core) {
            chan_section section(*core);
            c.waiter.result = c.attempt(section.wake);
            if (c.waiter.result != chan_result::waiting)
                return &c;
        } else if (c.ready()) {
            return &c;
        }
    }
    // With one channel that was the moment at which nothing was ready.
    if (otherwise_ && channels_ <= 1)
        return otherwise_;
    if (locked_ == 0)
        sort_locks();
    return otherwise_ ? enroll() : nullptr;
}

void select_wait::set_owner(
    fiber_record* self, void (*resume)(queued_waiter&) noexcept) noexcept
{
    owner_.fiber = self;
    owner_.resume = resume;
}

select_case_base* select_wait::enroll()
{
    if (!otherwise_ && has_events()) {
        scope_exit undo([this] { disarm_all(); });
        for (std::size_t i = 0; i != ordered_; ++i)
            if (!order_[i]->core)
                order_[i]->arm(*this);
        undo.release();
    }
    for (std::size_t i = 0; i != locked_; ++i)
        locks_[i]->lock.lock();
    chan_waiter* wake = nullptr;
    select_case_base* done = nullptr;
    {
        scope_exit undo([&] {
            unlock_all();
            if (wake)
                wake->wake();
            disarm_all();
        });
        for (std::size_t i = 0; i != ordered_ && !done; ++i) {
            auto& c = *order_[i];
            if (!c.core)
                continue;
            c.waiter.result = c.attempt(wake);
            if (c.waiter.result != chan_result::waiting)
                done = &c;
        }
        if (!done)
            done = otherwise_;
        if (done) {
            claim_.claim_first(done->index); // I1
            return done;
        }
        undo.release();
    }
    for (std::size_t i = 0; i != ordered_; ++i) {
        auto& c = *order_[i];
        if (!c.core)
            continue;
        auto& w = c.waiter;
        w.fiber = owner_.fiber;
        w.resume = owner_.resume;
        w.context = this;
        w.claim = &claim_;
        w.index = c.index;
        c.enlist()->push_back(w);
    }
    return nullptr;
}

bool select_wait::release_and_park() noexcept
{
    unlock_all();
    parked_ = true;
    if (claim_.try_park())
        return true; // *this may be gone
    parked_ = false;
    return false;
}

select_case_base* select_wait::settle() noexcept
{
    auto const by = claim_.winner();
    auto* const chosen = by == claim_word::aborted ? nullptr : cases_[by];
    leave_queues(chosen); // I3
    if (chosen)
        chosen->chosen = true;
    disarm_all();
    return chosen && chosen->waiter.result == chan_result::again ? nullptr : chosen;
}

bool select_wait::claim_and_wake(std::uint32_t by) noexcept
{
    auto const claim = claim_.try_claim(by);
    if (claim == claim_word::claim::parked)
        wake();
    return claim != claim_word::claim::lost;
}

void select_wait::unlock_all() noexcept
{
    for (auto i = locked_; i != 0; --i)
        locks_[i - 1]->lock.unlock();
}

void select_wait::leave_queues(select_case_base const* chosen) noexcept
{
    for (std::size_t i = 0; i != ordered_; ++i) {
        auto& c = *order_[i];
        auto* const core = c.core;
        // Whoever chose a case of ours while we were parked took it out of its queue,
        // and woke us after the lock.
        if (!core || (parked_ && &c == chosen))
            continue;
        std::lock_guard guard(core->lock);
        if (c.waiter.queued())
            c.waiter.leave_queue();
    }
}

void select_wait::disarm_all() noexcept
{
    if (otherwise_ || !has_events())
        return;
    for (std::size_t i = 0; i != ordered_; ++i)
        if (!order_[i]->core)
            order_[i]->disarm();
}

// --- for dumps --------------------------------------------------------------------------

namespace {

// The bytes of what may be gone.
template <class T>
class careful_copy {
public:
    explicit careful_copy(void const* of) noexcept : whole_(peek_carefully(bytes_, of, sizeof(T)))
    {
    }

    // Null: it could not be read. Members to look at; no virtual functions.
    T const* get() const noexcept { return whole_ ? reinterpret_cast<T const*>(bytes_) : nullptr; }

private:
    alignas(T) std::byte bytes_[sizeof(T)];
    bool const whole_;
};

} // namespace

// What is read here is right if the fiber has not gone on by the end, which the walk sees.
std::size_t select_wait::look(void const* wait, select_sight* out, std::size_t most)
{
    careful_copy<select_wait> const copy(wait);
    auto const* const w = copy.get();
    std::size_t n = 0;
    for (std::size_t i = 0; w && i < w->cases_.size() && n != most; ++i) {
        select_case_base* at = nullptr;
        if (!peek_carefully(&at, w->cases_.data() + i, sizeof at))
            break;
        careful_copy<select_case_base> const case_copy(at);
        auto const* const c = case_copy.get();
        if (!c)
            break;
        if (c->what == select_case_base::kind::receive || c->what == select_case_base::kind::send)
            out[n++] = {&c->core->lock, c->what == select_case_base::kind::send};
    }
    return n;
}

namespace {

struct select_shown_to_dumps {
    select_shown_to_dumps() noexcept
    {
        look_at_select.store(&select_wait::look, std::memory_order_relaxed);
    }
} const selects_are_shown;

} // namespace

// --- in a fiber, on a thread ------------------------------------------------------------

namespace {

// The stop of the fiber that selects. `told`: whose token it has a case for, which runs
// where the stop comes from there; the innermost one, since a stop of one outside of that
// requests it too.
struct select_stop final : stop_hook {
    select_stop(select_wait& s, token_owner const& t)
        : stop_hook{[](stop_hook& h) noexcept {
              auto& self = static_cast<select_stop&>(h);
              if (!self.told.stopped())
                  self.select.claim_and_wake(claim_word::aborted);
          }},
          select(s), told(t)
    {
    }

    select_wait& select;
    token_owner const& told;
};

SPINDLE_NOINLINE token_owner
find_told(std::span<select_case_base* const> cases, fiber_record& self) noexcept
{
    auto const of_token = [](auto* c) { return c->token() != nullptr; };
    if (std::none_of(cases.begin(), cases.end(), of_token))
        return {};
    return find_token_owner(self, [&](token_owner const& o) {
        return std::any_of(
            cases.begin(), cases.end(), [&](auto* c) { return of_token(c) && o.has(*c->token()); });
    });
}

bool commit_select(void* wait) noexcept
{
    return static_cast<select_wait*>(wait)->release_and_park();
}

select_case_base* wait_in_fiber(select_wait& wait, fiber_record& self, token_owner const& told)
{
    wait.set_owner(&self, nullptr);
    wait.renew();
    select_stop hook(wait, told);
    // A stop from here on claims, or is seen.
    if (!hook_wait(self, hook) && stop_seen_beside(self, told))
        throw_stopped(self);
    scope_exit const unhook([&] { unhook_wait(self, hook); });
    if (auto* const done = wait.enroll())
        return done;
    park(self, &commit_select, &wait, wait_reason::select);
    return wait.settle();
}

select_case_base* wait_on_thread(select_wait& wait)
{
    waiter thread;
    wait.renew();
    wait.set_owner(nullptr, [](queued_waiter& w) noexcept {
        static_cast<waiter*>(select_wait::of(w).owner_data)->wake();
    });
    wait.owner_data = &thread;
    if (auto* const done = wait.enroll())
        return done;
    if (wait.release_and_park())
        thread.wait(wait_reason::select);
    return wait.settle();
}

} // namespace

std::size_t run_select(
    std::span<select_case_base* const> cases, select_case_base** order, chan_core** locks)
{
    select_wait wait(cases, order, locks);
    fiber_record* self = nullptr;
    token_owner told;
    if (wait.otherwise()) {
        explored_point();
    } else {
        self = waiting_fiber();
        if (self) {
            if (wait.has_events())
                told = find_told(cases, *self);
            if (stop_seen_beside(*self, told))
                throw_stopped(*self);
        }
    }
    for (;;) {
        auto* chosen = wait.try_now();
        if (!chosen)
            chosen = self ? wait_in_fiber(wait, *self, told) : wait_on_thread(wait);
        if (chosen) {
            chosen->run();
            return chosen->index;
        }
        if (wait.winner() == claim_word::aborted)
            throw_stopped(*self);
    }
}

// --- events -------------------------------------------------------------------------------

void select_timer::arm(select_wait& w)
{
    if (deadline_ == time_point::max())
        return;
    left_.store(false, std::memory_order_relaxed);
    entry_.self = this;
    entry_.wait = &w;
    entry_.when = deadline_;
    entry_.expired = [](timer_entry& e) noexcept {
        auto const& due = static_cast<entry&>(e);
        auto& self = *due.self;
        auto& wait = *due.wait;
        auto const owed = wait.claim_for(self.index) == claim_word::claim::parked;
        // The owner waits in disarm() for that; if we owe its wake-up, until then.
        self.left_.store(true, std::memory_order_release);
        if (owed)
            wait.wake(); // it may run here and now, where an execution context goes away
    };
    auto& timers = timers_for(w.fiber());
    timers.push(entry_);
    timers_ = &timers;
}

void select_timer::disarm() noexcept
{
    if (!timers_)
        return;
    auto& timers = *std::exchange(timers_, nullptr);
    if (timers.erase(entry_))
        return;
    spin_while([this] { return !left_.load(std::memory_order_acquire); });
}

void select_completion::arm(select_wait& w)
{
    if (progress->empty())
        return;
    if (progress->watched())
        throw_error(
            make_error_code(boost::system::errc::invalid_argument),
            "a spindle::operation is in two cases of one select");
    wait_ = &w;
    if (!progress->watch(*this))
        w.claim_and_wake(index);
}

void select_completion::disarm() noexcept
{
    if (!wait_)
        return;
    progress->unwatch();
    wait_ = nullptr; // only now does nobody read it
}

bool select_completion::completed() noexcept
{
    return wait_->claim_for(index) == claim_word::claim::parked;
}

void select_completion::go_on() noexcept { wait_->wake(); }

void select_stop_case::arm(select_wait& w)
{
    if (token_.stop_possible())
        callback_.emplace(token_, claim{&w, index});
}

} // namespace spindle::detail

namespace spindle {

std::size_t select(std::span<select_case> cases)
{
    auto const n = cases.size();
    boost::container::small_vector<detail::select_case_base*, 16> all(n), order(n);
    boost::container::small_vector<detail::chan_core*, 16> locks(n);
    for (std::size_t i = 0; i != n; ++i)
        all[i] = cases[i].case_.get();
    return detail::run_select(all, order.data(), locks.data());
}

} // namespace spindle
