//
// spindle/detail/sched/idle_state.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// Who sleeps, who searches, and whom to wake: no work lies while all sleep.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_SCHED_IDLE_STATE_HPP
#define SPINDLE_DETAIL_SCHED_IDLE_STATE_HPP

#include <spindle/config.hpp>
#include <spindle/detail/base/atomic.hpp>
#include <spindle/detail/base/cache_line.hpp>
#include <spindle/detail/base/mutex.hpp>

#include <cstdint>
#include <memory>
#include <vector>

namespace spindle::detail {

// Shape
//
//   word_   searching in the low half, awake in the high half
//   idle_   a stack of the numbers of the idle processors: the one that went
//           last is the warmest
//
//   A processor is awake or idle; while awake it may be searching, that is,
//   looking through the others' queues with nothing of its own to run.
//
// Who may touch what
//
//   field    any processor      any thread    ordering
//   word_    RMW                load          relaxed; ordered by the fences F1, F2
//   idle_    under mutex_       under mutex_
//   asleep_  under mutex_       load          relaxed, a hint
//
// Invariants
//
//   I1  Whenever mutex_ is free: awake + idle_.size() == number of processors.
//       So awake is changed under mutex_ only; searching is changed anywhere.
//       Processors come and go awake. In between awake is never more than it should
//       be, seen from outside: whoever takes it for less looks again under mutex_.
//   I2  searching <= awake, and a searcher never begins when that would make
//       more than half of the awake ones search (woken ones always search).
//   I3  A number is in idle_ at most once. Whoever takes it out of there, a
//       waker or the processor itself, counts it awake, exactly once.
//
// The protocol
//
//   Two lists that must match. Whoever submits:
//
//     S1  puts the work where every searcher looks (a queue, a counter of one)
//     S2  fence F1, seq_cst: StoreLoad between S1 and S3
//     S3  loads word_. Somebody searches, or all are awake: done.
//     S4  else wakes one idle processor, counted awake and searching before
//         anyone can ask again: so a burst of work wakes one, not all
//
//   Whoever has found nothing:
//
//     G1  leaves word_: not awake, and not searching if it was
//     G2  fence F2, seq_cst: StoreLoad between G1 and G3
//     G3  if nobody searches any more: looks at all queues once more, and
//         takes itself back (end_idle) if there is something
//     G4  sleeps
//
//   And a searcher that has found something runs end_search: if it was the
//   last one, it asks processor_to_wake in the place of those submitters
//   that saw it searching and so woke nobody. There may be more work.
//
// Why it is correct
//
//   Let X be submitted, and v be the value of word_ that S3 read.
//   v says that somebody searches, or that all are awake: then later in
//   word_'s order comes the change M that made the last searcher of that time
//   stop, or made the first of them idle. S3 read a value older than M, F1
//   lies between X and S3, and F2 lies behind M: so F1 is before F2, and what
//   is read behind F2 sees X. Behind F2 comes either G3, or the wake-up that
//   the last searcher owes; the processor woken is searching in turn, and
//   reads after it was woken. If that wake-up finds nobody idle, then all are
//   awake, and each will pass M again before it sleeps.
//   G3 is owed by whoever leaves nobody searching, searcher or not: a
//   processor that was refused as a searcher may go idle after the only
//   searcher has found something else. If somebody still searches, X is that
//   one's concern, by the same argument.
//   v says otherwise: S4 decides again under mutex_, where I1 holds.
//   A waker and the processor's own end_idle meet at mutex_: I3.
//
// Not done, and why
//
//   RMW on word_ instead of F1 (Tokio loads by fetch_add(0)): a fence does
//   not write to the line that all processors share.
//   A rescan by every processor that goes idle: queues of n processors are
//   read n times when the work ends, for nothing.
//   A bitmap of idle ones: the LIFO order is worth more, and the lock is
//   taken only when somebody goes to sleep or wakes up.
//
// Evidence
//
//   test/sched/idle_state.cpp  every transition; real threads, end to end
//   test/model/idle_state.cpp  end to end under Relacy: without F1, without F2,
//                              without the last searcher's debt or the second
//                              look an item is left (test/model/mutants.txt)
class idle_state {
public:
    static constexpr unsigned none = ~0u;

    // All `processors` awake, nobody searching. 1 to 32767 of them, and never more
    // than `most`, or than now.
    SPINDLE_DECL explicit idle_state(unsigned processors, unsigned most = 0);

    idle_state(idle_state const&) = delete;
    idle_state& operator=(idle_state const&) = delete;

    // Any thread, after it has published work. `none`, or the processor to
    // wake, which has left the idle ones and counts as awake and searching.
    unsigned processor_to_wake() noexcept
    {
        fence(std::memory_order_seq_cst); // F1, pairs with F2
        if (!wanted(word_.load(std::memory_order_relaxed)))
            return none;
        return take_idle();
    }

    // Any thread. As processor_to_wake(), although somebody searches: one that was
    // woken, and does not come.
    SPINDLE_DECL unsigned another_to_wake() noexcept;

    // An awake processor that is not searching. False when enough others are:
    // then it goes idle without.
    bool try_begin_search() noexcept
    {
        auto w = word_.load(std::memory_order_relaxed);
        do {
            if (2 * searching(w) >= awake(w))
                return false;
        } while (!word_.compare_exchange_weak(
            w, w + one_searching, std::memory_order_relaxed, std::memory_order_relaxed));
        return true;
    }

    // A searching processor that has found something. True: it was the last
    // searcher, and must now wake whomever processor_to_wake() names.
    [[nodiscard]] bool end_search() noexcept
    {
        auto const before = word_.fetch_sub(one_searching, std::memory_order_relaxed);
        // The debt is paid by processor_to_wake(), whose F1 stands here for F2.
        return searching(before) == 1;
    }

    // An awake processor that has found nothing and holds nothing. True: now
    // nobody searches, and the caller must look at all queues once more.
    // From here on it may be woken: its parker keeps the wake-up until it sleeps.
    SPINDLE_DECL [[nodiscard]] bool begin_idle(unsigned id, bool was_searching) noexcept;

    // An idle processor that comes back by itself (a deadline, I/O, or the
    // second look). True: it is awake, and searching if it says so. False: a
    // waker was faster; then it is awake *and* searching already, and the
    // wake-up is on its way to its parker.
    SPINDLE_DECL [[nodiscard]] bool end_idle(unsigned id, bool searching) noexcept;

    // A processor joins the awake ones; one of those leaves, that is not searching.
    SPINDLE_DECL void admit() noexcept;
    SPINDLE_DECL void expel() noexcept;

    // Any thread. May be out of date.
    bool is_idle_hint(unsigned id) const noexcept
    {
        return asleep_[id].load(std::memory_order_relaxed);
    }

    // Any thread. How many are idle; may be out of date.
    unsigned idle_hint() const noexcept
    {
        auto const up = awake(word_.load(std::memory_order_relaxed));
        auto const all = processors();
        return all > up ? all - up : 0;
    }

    // Any thread. How many are searching; may be out of date.
    unsigned searching_hint() const noexcept
    {
        return searching(word_.load(std::memory_order_relaxed));
    }

    unsigned processors() const noexcept
    {
        return processors_.load(std::memory_order_relaxed);
    }

private:
    using word = std::uint32_t;

    static constexpr word one_searching = 1;
    static constexpr word one_awake = word{1} << 16;

    static unsigned searching(word w) noexcept { return w & 0xffff; }
    static unsigned awake(word w) noexcept { return w >> 16; }

    bool wanted(word w) const noexcept { return searching(w) == 0 && awake(w) != processors(); }

    SPINDLE_DECL unsigned take_idle() noexcept;

    atomic<unsigned> processors_; // written under mutex_
    alignas(cache_line_size) atomic<word> word_;
    alignas(cache_line_size) mutex mutex_;     // leaf: nothing is called while it is held
    std::vector<unsigned> idle_;               // guarded by mutex_; never grows beyond its reserve
    std::unique_ptr<atomic<bool>[]> asleep_;   // written under mutex_
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_SCHED_IDLE_STATE_HPP
