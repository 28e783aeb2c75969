//
// spindle/detail/chan/select.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// Waiting for the first of several things.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_CHAN_SELECT_HPP
#define SPINDLE_DETAIL_CHAN_SELECT_HPP

#include <spindle/config.hpp>
#include <spindle/detail/base/clock.hpp>
#include <spindle/detail/chan/core.hpp>
#include <spindle/detail/fiber/record.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <stop_token>

namespace spindle::detail {

class select_wait;
struct select_sight;

// One case. Public headers derive from it; select_wait drives it.
class SPINDLE_DECL select_case_base {
public:
    enum class kind : std::uint8_t {
        receive,   // from a channel: attempt() and enlist()
        send,      // to one, the same
        never,     // of a nil channel
        event,     // something else: ready(), arm(), disarm()
        otherwise, // what runs where nothing is ready
    };

    explicit select_case_base(kind k) noexcept : what(k) {}
    // Of a channel; null: of a nil one.
    select_case_base(kind k, chan_core* c) noexcept : what(c ? k : kind::never), core(c) {}
    // What waits stays where it is.
    select_case_base(select_case_base const& other) noexcept : what(other.what), core(other.core) {}
    select_case_base& operator=(select_case_base const&) = delete;
    virtual ~select_case_base() = default;

    // --- channel cases, under the channel's lock -------------------------------------

    // Sends or receives, if that needs no waiting.
    virtual chan_result attempt(chan_waiter*& wake);

    // Where it waits, and with what.
    virtual chan_core::queue* enlist() noexcept { return nullptr; }

    // --- events, with nothing held -----------------------------------------------------

    // Whether it would run now. Looks only, and may be asked again.
    virtual bool ready() { return false; }

    // From now on the event claims w for this case, also before this returns.
    virtual void arm(select_wait& w);

    // Returns once the event does not touch w any more. Also where it was not
    // armed, or arm() threw.
    virtual void disarm() noexcept {}

    // The token that it waits for; null: it waits for something else.
    virtual std::stop_token const* token() const noexcept { return nullptr; }

    // --- all -----------------------------------------------------------------------------

    // Keeps what it was given by reference, or as somebody's handle, itself.
    virtual void own() {}

    // What the user gave, once it was chosen and nothing is held. Throws
    // channel_closed for a send to a closed channel.
    virtual void run() = 0;

    kind const what;
    chan_core* const core = nullptr; // of a channel case
    chan_waiter waiter;              // of a channel case
    std::uint32_t index = 0;         // among the cases, as the user counts them
    bool chosen = false;             // set before the last disarm()
};

// Shape
//
//   One select in progress: its cases, the order to try them in, the channels to
//   lock, and the word by which one case is chosen.
//
// Who may touch what
//
//   the cases and the orders   the owner
//   claim                      whoever wants to end the wait; core.hpp
//
// Invariants
//
//   I1  Exactly one case runs. While the owner is enrolling it alone does a
//       channel case, with all locks held; an event that claims meanwhile is
//       overruled by that: events are levels, and lose nothing. Once the owner
//       has parked, the first claim stands.
//   I2  A peer does a case of a parked select only after claiming it, below the
//       channel's lock.
//   I3  When the owner goes on it has passed through the lock of every channel
//       that it waited in: what a peer did below it is done, and no channel knows
//       of the select any more. A losing case leaves no trace.
//
// Why it is correct
//
//   The three passes of Go's selectgo, and one before them. First each case is
//   tried alone, in random order, below its own lock: nothing is queued yet, so a
//   case that can be done may be done. Then, with all channels locked in the order
//   of their addresses, once more: only so is there a moment at which nothing was
//   ready, which `otherwise` and parking both need. Then the cases are queued;
//   the locks are released by the commit, on the next stack, and the word goes
//   from enrolling to parked after that. A peer or an event that claims between
//   the two finds `enrolling` and owes no wake-up; the commit finds the claim and
//   refuses.
//   The random order makes each of the ready cases equally likely.
//   A move that throws in a peer's hands leaves `again`: the select begins anew,
//   and its own attempt meets the exception.
//
// Not done, and why
//
//   Go's lock over all channels from the start: a select that finds a case ready
//   takes one lock here, not all of them.
//
// Evidence
//
//   test/chan/select.cpp, test/chan/go_rules.cpp, test/stress/channels.cpp
class SPINDLE_DECL select_wait {
public:
    // `cases` as the user gave them; two arrays of that size to work with.
    select_wait(
        std::span<select_case_base* const> cases, select_case_base** order,
        chan_core** locks) noexcept;
    select_wait(select_wait const&) = delete;
    select_wait& operator=(select_wait const&) = delete;

    select_case_base* otherwise() const noexcept { return otherwise_; }

    // Cases that are no channels.
    bool has_events() const noexcept { return ordered_ != channels_; }

    // With nothing held. The case that could be done at once, and was; or
    // `otherwise`; or nullptr.
    select_case_base* try_now();

    // With nothing held. Who goes on when a case is claimed: a fiber, or (null)
    // whoever `resume` wakes.
    void set_owner(fiber_record* self, void (*resume)(queued_waiter&) noexcept) noexcept;

    // Forgets an earlier claim. Before a stop, or whatever else, can claim again.
    void renew() noexcept { claim_.reset(); }

    // Arms the events, then locks and tries once more. A case: done; nothing is
    // held or queued, and the events are disarmed. Else nullptr: all is queued,
    // the locks are held, and park() or a commit that calls it must follow.
    select_case_base* enroll();

    // Releases the locks. False: claimed already, and nobody will wake the owner.
    bool release_and_park() noexcept;

    // The owner, once it was woken, or release_and_park() was false. The case to
    // run; nullptr with claim_word::aborted in winner(), or to begin anew.
    select_case_base* settle() noexcept;

    // Where nobody would go on: nothing of it stays anywhere. False: it was claimed.
    [[nodiscard]] bool withdraw() noexcept
    {
        if (claim_.try_claim(claim_word::aborted) == claim_word::claim::lost)
            return false;
        (void)settle();
        return true;
    }

    // An event, a stop or a cancellation: claims, and wakes whom it owes that.
    // True: it has won.
    bool claim_and_wake(std::uint32_t by) noexcept;

    // As claim_and_wake(), in two steps: wake() if claim_for() says `parked`.
    claim_word::claim claim_for(std::uint32_t by) noexcept { return claim_.try_claim(by); }
    void wake() noexcept { owner_.wake(); }
    fiber_record* fiber() const noexcept { return owner_.fiber; }

    std::uint32_t winner() const noexcept { return claim_.winner(); }

    void* owner_data = nullptr; // for resume()

    // For a dump: `wait` may be gone, or be no select any more (look.hpp).
    static std::size_t look(void const* wait, select_sight* out, std::size_t most);

    // For the resume function of an owner that is no fiber: the select of a case's
    // waiter, or of the owner's own.
    static select_wait& of(queued_waiter& w) noexcept
    {
        return *static_cast<select_wait*>(w.context);
    }

private:
    void sort_locks() noexcept;
    void unlock_all() noexcept;
    void leave_queues(select_case_base const* chosen) noexcept;
    void disarm_all() noexcept;

    std::span<select_case_base* const> cases_;
    select_case_base** const order_;      // what can be tried: channels and events
    chan_core** const locks_;             // sorted, each once
    std::size_t ordered_ = 0;
    std::size_t channels_ = 0;            // cases with one
    std::size_t locked_ = 0;              // how many there are to lock
    select_case_base* otherwise_ = nullptr;
    bool parked_ = false;                 // it was woken by whoever claimed
    chan_waiter owner_;                   // never queued: who is woken
    claim_word claim_;
};

// Runs a select in a fiber or on a plain thread; returns the index of its case.
SPINDLE_DECL std::size_t run_select(
    std::span<select_case_base* const> cases, select_case_base** order, chan_core** locks);

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_CHAN_SELECT_HPP
