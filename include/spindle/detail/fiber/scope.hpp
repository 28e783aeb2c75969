//
// spindle/detail/fiber/scope.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// Go's context: what is cancelled together, in the order in which it was begun.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_FIBER_SCOPE_HPP
#define SPINDLE_DETAIL_FIBER_SCOPE_HPP

#include <spindle/config.hpp>
#include <spindle/detail/base/atomic.hpp>
#include <spindle/detail/base/clock.hpp>
#include <spindle/detail/base/mutex.hpp>
#include <spindle/detail/fiber/scope_values.hpp>
#include <spindle/detail/time/timer_queue.hpp>

#include <boost/intrusive/list.hpp>
#include <boost/smart_ptr/intrusive_ptr.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <stop_token>
#include <vector>

namespace spindle::detail {

class cancellation;
struct fiber_record;
class scope_state;

using scope_ptr = boost::intrusive_ptr<scope_state>;

// Why a scope is cancelled.
enum class scope_reason : std::uint8_t {
    none,      // it is not
    cancelled, // somebody has called cancel()
    deadline,  // its time is up
    enclosing, // the scope around it was cancelled, or its fiber was asked to stop
};

// What was begun in a scope and is cancelled with it: a fiber, an operation that
// nobody waits for yet, or a scope that is not open in a fiber.
struct scope_member
    : boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::normal_link>> {
    using function = void (*)(scope_member&, scope_state& by, cancellation&) noexcept;

    explicit scope_member(function f) noexcept : reached(f) {}
    scope_member(scope_member const&) = delete;
    scope_member& operator=(scope_member const&) = delete;

    // The member only. Afterwards no cancellation touches it.
    void leave() noexcept
    {
        if (member_of.load(std::memory_order_acquire)) [[unlikely]]
            leave_scope();
    }

    function const reached;                  // called under the scope's lock
    atomic<scope_state*> member_of{nullptr}; // whose list it is in

private:
    SPINDLE_DECL void leave_scope() noexcept;
};

// Shape
//
//   A fiber's scopes are a chain, from the innermost one outwards (record.scope,
//   then `outer`). The chain of a fiber that was spawned in a scope goes on there:
//   that scope is the fiber's `base`. So the chains of all fibers are a tree.
//   Downwards there are two ways: from a scope to the fiber that it is open in,
//   which knows the scopes inside of it; and from a scope to its members.
//
//   reason    none, or why it is cancelled: for good
//   spared    it has closed uncancelled: its handles and its token stay as they are
//   shield    what is cancelled outside is not cancelled in here
//
// Who may touch what
//
//   outer, shield         constant; each scope keeps the one outside of it
//   reason                none -> something, once: cancel() under mutex_, the other
//                         ways as below; read by anybody
//   record.scope, .base   written by the fiber, with its stopper taken (stop.hpp);
//                         read by whoever has taken it, and by the fiber
//   owner_, open_,        under mutex_
//   members_, source_
//   next_                 the cancellation that has set `reason`
//
//   Locks, in this order: a scope's mutex_; that of a scope outside of it; a
//   fiber's stopper; what its hook takes (of channels, timers, run queues).
//
// Invariants
//
//   I1  Where a scope is cancelled, so is every open scope inside of it, up to
//       the next shield: one look at the innermost scope tells a fiber whether it
//       is cancelled (stop_seen).
//   I2  Whoever sets `reason` lists the scope in its cancellation, which comes by
//       for the members, and after that runs the user's callbacks.
//   I3  A member is in the list of a scope that is open or cancelled; a scope that
//       closes uncancelled hands its members on, outwards.
//   I4  A stopper that is in a fiber finds the chain that it needs: a scope that is
//       open in a fiber is in its chain, and the base of a fiber is a member's, or
//       inside of the scope whose member it is.
//
// Why it is correct
//
//   A fiber opens and closes a scope with its own stopper taken. A stopper first
//   cancels the outermost scope that it means, or life, then takes stopper and
//   cancels the scopes inside. A scope opened before that is found; one opened
//   after that finds the one outside of it, or life, cancelled. I1.
//   From there on it is a stop as any other: D and F of stop.hpp, where D's word
//   is the reason of the innermost scope.
//   A closing scope is taken off the chain before it looks at `reason`: nobody
//   sets it from then on, but for those that come by its members. If it is
//   set, the members stay, and the cancellation comes for them, or has come, and
//   they have seen it. If it is not, they go outwards: under both locks, to a
//   scope that is not cancelled yet, whose cancellation will come by; or, where
//   that one is cancelled, the closing scope is.
//   A member that joins does so under the lock under which a cancellation looks
//   at the members: it is found, or finds the scope cancelled.
//
// Not done, and why
//
//   One lock for each tree of scopes: simpler; but each request of a server with
//   one scope around it all would take it, twice. Here a fiber that opens a scope
//   takes locks that nobody else wants.
//   One heavy barrier for all members: a stopper would have to keep many fibers
//   at once from going on, while it runs the hooks of others.
//   Callbacks of std::stop_tokens where the stop meets them: some are met by a hook of
//   Asio's that stops a fiber on the way of another cancellation, under its locks.
//   Cancelling, from within the hook of a fiber's wait (an intermediate handler of
//   Asio's that runs there), a scope around that same fiber: the hook runs with
//   the fiber's stopper taken. Post it.
//
// Evidence: test/cancel/cancel_scope.cpp, test/cancel/every_step.cpp
class scope_state final : scope_member, timer_entry {
public:
    enum class kind : std::uint8_t { plain, shield };

    // The fiber. Opens a scope in it, inside of its innermost one.
    [[nodiscard]] SPINDLE_DECL static scope_ptr open_in(fiber_record& self, kind k);

    // One that no fiber is in, inside of `outer` (may be null).
    [[nodiscard]] SPINDLE_DECL static scope_ptr open_beside(scope_state* outer);

    // The fiber, if it is open in one; else its owner, who sees to it that nobody
    // joins any more.
    SPINDLE_DECL void close(fiber_record* self) noexcept;

    // The owner, once: it is cancelled then. Throws bad_alloc.
    SPINDLE_DECL void arm(timer_queue& timers, time_point deadline);

    // Any thread. Nothing happens once it is closed or cancelled.
    SPINDLE_DECL void cancel(scope_reason why) noexcept;

    scope_reason reason() const noexcept { return reason_.load(std::memory_order_seq_cst); }
    bool cancelled() const noexcept { return reason() != scope_reason::none; }

    // Any thread. What handles say: once it has closed uncancelled, none for ever. A
    // cancellation outside of it still marks it, for the sake of those whose base it is.
    scope_reason reason_for_users() const noexcept
    {
        auto const why = reason(); // first: it was open then
        return spared_.load(std::memory_order_seq_cst) ? scope_reason::none : why;
    }

    // The member. True: its scope is cancelled already.
    SPINDLE_DECL bool join(scope_member& m) noexcept;

    // Any thread.
    [[nodiscard]] SPINDLE_DECL std::stop_token token();
    [[nodiscard]] SPINDLE_DECL bool has_token(std::stop_token const& t) noexcept;

    scope_state* outer() const noexcept { return outer_; }
    bool is_shield() const noexcept { return shield_; }

    value_list values; // written by the owner

private:
    friend class cancellation;
    friend struct scope_member;
    friend void intrusive_ptr_add_ref(scope_state* s) noexcept
    {
        s->refs_.fetch_add(1, std::memory_order_relaxed);
    }
    friend SPINDLE_DECL void intrusive_ptr_release(scope_state* s) noexcept;

    using member_list = boost::intrusive::list<
        scope_member, boost::intrusive::constant_time_size<false>>;

    scope_state(scope_state* outer, bool shield);
    ~scope_state() = default;

    void hand_over(cancellation& c) noexcept;

    atomic<std::size_t> refs_{1};
    scope_state* const outer_; // counted
    bool const shield_;
    atomic<scope_reason> reason_{scope_reason::none};
    atomic<bool> spared_{false}; // it has closed uncancelled; set under mutex_

    mutex mutex_;
    fiber_record* owner_ = nullptr;
    bool open_ = true;
    member_list members_;
    std::optional<std::stop_source> source_; // made on first use

    timer_queue* timers_ = nullptr; // the owner's
    scope_state* next_ = nullptr;
};

SPINDLE_DECL void intrusive_ptr_release(scope_state* s) noexcept;

// A cancellation on its way: what is left to be done once its author has let go
// of all locks, which is when this is destroyed. One that a hook begins on the way
// of another, so with locks of that one held, leaves it to that one.
class cancellation {
public:
    cancellation() = default;
    cancellation(cancellation const&) = delete;
    cancellation& operator=(cancellation const&) = delete;
    SPINDLE_DECL ~cancellation();

    // False: it was cancelled before.
    bool add(scope_state& s, scope_reason why) noexcept;

    // Its callbacks run at the end.
    SPINDLE_DECL void add(std::stop_source const& s) noexcept;

    // With the fiber's stopper taken. Cancels its scopes inside of `up_to`, and the
    // wait that goes on, as far as no shield is in between.
    void reach(fiber_record& g, scope_state const* up_to) noexcept;

    // With the lock taken of a scope that is cancelled, and is open in that fiber
    // or has it as a member.
    void visit(fiber_record& g, scope_state const& by, bool member) noexcept;

private:
    // Whose hooks run on this thread, with a lock of its held.
    class with_hooks;

    void leave_to(cancellation& outer) noexcept;
    void run() noexcept;

    scope_state* first_ = nullptr;
    std::vector<std::stop_source> sources_;
};

// The fiber's spawner, before the fiber is started: it is in that scope, a member.
SPINDLE_DECL void begin_in_scope(fiber_record& g, scope_state& s) noexcept;

// The same: it has the values that are seen where `from` runs.
SPINDLE_DECL void inherit_values(fiber_record& g, fiber_record const& from) noexcept;

// The fiber, when its function has ended: it is in no scope any more. Before anybody
// hears of the end by a join or its group: who looks after that sees that it has returned.
SPINDLE_DECL void leave_scopes(fiber_record& self) noexcept;

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_FIBER_SCOPE_HPP
