//
// spindle/detail/sched/tenure.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// How a processor is taken from a thread that does not come back for it.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_SCHED_TENURE_HPP
#define SPINDLE_DETAIL_SCHED_TENURE_HPP

#include <spindle/detail/base/asymmetric_barrier.hpp>
#include <spindle/detail/base/atomic.hpp>
#include <spindle/detail/base/cpu_relax.hpp>

#include <cstdint>

namespace spindle::detail {

// Shape
//
//   inside_   whether the machine is inside the scheduler, where it touches its
//             processor; outside it runs the user's code, and may be there for ever
//   word_     what has become of its right to the processor
//
//     kept, watched   it has it. Watched: and wants to know when it comes in
//     called          it has it, and shall look round at its next entry
//     asked           the monitor wants it
//     examined        the monitor has it, and looks at what the machine left
//     taken           it is gone
//
//   The machine comes in by a store and a load, and leaves by a store. All the
//   rest is paid by the monitor, and by a machine that the monitor has asked.
//
// Who may touch what
//
//   inside_   the machine stores, the monitor loads
//   word_     the machine: from anything but examined and taken to kept or watched;
//                          from taken to kept or watched, when it has noticed
//             the monitor: from kept, watched, called to asked and back;
//                          to called; from asked to examined to taken
//   base_     the machine
//
// Invariants
//
//   I1  One monitor at a time.
//   I2  While the machine is inside, and has seen there that it has the processor,
//       nobody else touches that. While word_ is examined or taken, the machine
//       does not.
//   I3  While word_ is examined, the machine changes nothing that it wrote inside.
//
// Why it is correct
//
//   B  The machine stores inside_, then reads word_; the monitor changes word_ to
//      asked, then reads inside_, with the asymmetric barrier between the steps. So
//      the monitor sees the machine inside, and gives up; or the machine sees
//      that it was asked, and then one of two compare-exchanges wins: the
//      machine's, back to what it was, or the monitor's, on to examined.
//   R  The machine leaves with release, the monitor reads that it is outside with
//      acquire: so it sees what the machine did to the processor.
//   X  From examined to taken with release, read by the machine with acquire: what
//      it does next comes after the monitor's look at it. The machine waits for
//      that, which is a matter of a few instructions.
//   A machine that left and came in again between the monitor's two steps has
//   found asked, and turned it back: the monitor's second step fails.
//
//   Where the kernel has no such barrier every machine is watched, so that it
//   takes the slow way each time, where it stores inside_ by a seq_cst exchange.
//
// Not done, and why
//
//   A lock, or a read-modify-write by the machine at each entry: entries are many,
//   and takings few.
//   A signal to the thread: it would come in the middle of anything, malloc too.
//
// Evidence
//
//   test/sched/tenure.cpp   the rules one by one; real threads
//   test/model/tenure.cpp   B, R and X under Relacy, with mutants
class tenure {
public:
    tenure() = default;
    tenure(tenure const&) = delete;
    tenure& operator=(tenure const&) = delete;

    // --- the machine

    // Whether it is inside already: then entering again does no harm.
    bool inside() const noexcept { return inside_.load(std::memory_order_relaxed); } // ours

    // False: settle() must say more.
    [[nodiscard]] bool enter() noexcept
    {
        store_then_lightest_barrier(inside_, true);
        return word_.load(std::memory_order_seq_cst) == kept; // B
    }

    enum class finding {
        nothing, // it has the processor, and nobody wanted anything
        watched, // the same, and it is being watched
        called,  // the same, and it was called
        lost,    // the processor is gone. It may be given another one
    };

    // Inside, after enter() has returned false.
    [[nodiscard]] finding settle() noexcept
    {
        inside_.exchange(true, std::memory_order_seq_cst); // B, where it is the only one
        for (;;) {
            auto w = word_.load(std::memory_order_seq_cst); // B, X
            switch (w) {
            case kept:
                return finding::nothing;
            case watched:
                return finding::watched;
            case called:
            case asked:
                if (!word_.compare_exchange_strong(
                        w, base_, std::memory_order_relaxed, std::memory_order_relaxed))
                    break;
                if (w == called)
                    return finding::called;
                return base_ == watched ? finding::watched : finding::nothing;
            case examined:
                spin_while(
                    [this] { return word_.load(std::memory_order_relaxed) == examined; });
                break;
            case taken:
                word_.store(base_, std::memory_order_relaxed);
                return finding::lost;
            }
        }
    }

    void leave() noexcept { inside_.store(false, std::memory_order_release); } // R

    // Inside, with the processor. From now on settle() is called at each entry, or
    // no more than need be.
    void watch(bool on) noexcept
    {
        base_ = on || !has_heavy_barrier ? watched : kept;
        auto w = word_.load(std::memory_order_relaxed);
        while (w != called
            && !word_.compare_exchange_weak(
                w, base_, std::memory_order_relaxed, std::memory_order_relaxed))
            ;
    }

    // --- the monitor

    // Any thread. The machine finds `called` when it comes in next. False: it is
    // being asked, or has lost its processor.
    bool call() noexcept
    {
        auto w = word_.load(std::memory_order_relaxed);
        return (w == kept || w == watched)
            && word_.compare_exchange_strong(
                w, called, std::memory_order_relaxed, std::memory_order_relaxed);
    }

    // False: the machine is inside, or has come in meanwhile. True: the processor is
    // the monitor's, which must call take() soon.
    [[nodiscard]] bool try_examine() noexcept
    {
        auto const was = word_.load(std::memory_order_relaxed);
        if (was > called)
            return false;
        auto w = was;
        if (!word_.compare_exchange_strong(
                w, asked, std::memory_order_seq_cst, std::memory_order_relaxed)) // B
            return false;
        heavy_barrier(); // B
        w = asked;
        if (inside_.load(std::memory_order_seq_cst)) { // B, R
            word_.compare_exchange_strong(
                w, was, std::memory_order_relaxed, std::memory_order_relaxed);
            return false;
        }
        return word_.compare_exchange_strong(
            w, examined, std::memory_order_relaxed, std::memory_order_relaxed);
    }

    // After try_examine().
    void take() noexcept { word_.store(taken, std::memory_order_release); } // X

private:
    enum state : std::uint8_t { kept, watched, called, asked, examined, taken };

    atomic<bool> inside_{false};
    atomic<state> word_{has_heavy_barrier ? kept : watched};
    state base_ = has_heavy_barrier ? kept : watched; // kept or watched
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_SCHED_TENURE_HPP
