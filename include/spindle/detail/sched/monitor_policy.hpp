//
// spindle/detail/sched/monitor_policy.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// When a processor is taken from its thread, and when to look again (Go's sysmon).
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_SCHED_MONITOR_POLICY_HPP
#define SPINDLE_DETAIL_SCHED_MONITOR_POLICY_HPP

#include <spindle/config.hpp>
#include <spindle/detail/base/clock.hpp>

#include <cstdint>
#include <vector>

namespace spindle::detail {

// Decides, and does nothing: it is told what the monitor sees, and the time, and
// says what to do. Threads read no clock when they begin something: whatever looks
// the same at two looks has lasted from the first of them.
//
// One thread.
class monitor_policy {
public:
    // What the monitor sees of one processor.
    struct look {
        enum state {
            absent,  // no thread has it just now
            asleep,  // its thread waits, and can be woken
            woken,   // somebody has woken it, and it has not come yet
            running,
        };

        state is = running;
        std::uint64_t slices = 0;   // begun so far
        std::uint64_t rounds = 0;   // looks at Asio so far
        std::uint32_t blocking = 0; // odd: inside blocking()
        bool work = false;          // something waits for it
    };

    enum class verdict {
        leave,
        call,         // its thread shall look round: it runs fibers, and nothing else
        hand_off,     // take it from a call that blocks
        preempt,      // take it from whatever else runs there
        wake_another, // it was woken and does not come
    };

    SPINDLE_DECL monitor_policy(
        duration handoff_after, duration preempt_after, unsigned processors = 1);

    // There are so many by now. Throws std::bad_alloc.
    void expect(unsigned processors)
    {
        if (memory_.size() < processors)
            memory_.resize(processors);
    }

    // Once for each processor, between two calls of pause().
    SPINDLE_DECL verdict judge(unsigned id, look const& l, time_point at);

    // The longest pause but max().
    duration longest() const noexcept { return longest_; }

    // How long the processor has looked as it did the last time.
    duration since(unsigned id, time_point at) const { return at - memory_[id].since; }

    // The verdict was carried out.
    SPINDLE_DECL void done(unsigned id, time_point at);

    // It was not, since the machine was inside at that moment, as one is most of the
    // time that does nothing but spawn. Such a moment passes.
    SPINDLE_DECL void missed(unsigned id);

    // Somebody is back who had lost a processor, and will do again what cost it that: short
    // pauses, for a while.
    SPINDLE_DECL void look_often() noexcept;

    // The shortest pause.
    duration shortest() const noexcept { return shortest_; }

    // After all have been judged: until the next look. max(): all have been asleep
    // for long, and nothing happens until somebody is woken.
    SPINDLE_DECL duration pause();

private:
    struct memory {
        look last{.is = look::absent};
        time_point since{};  // it has looked like that
        time_point round{};  // the last change of rounds
        bool another = false; // was woken in its place
        unsigned misses = 0;  // since then
    };

    duration const handoff_after_, preempt_after_, shortest_, longest_;
    duration pause_;
    std::vector<memory> memory_;
    bool new_call_ = false;  // at this look somebody was in a call that blocks, the first time
    bool long_call_ = false; // and in one that was seen before, and keeps something waiting
    bool looks_again_ = false; // this pause is for telling the two apart
    bool missed_ = false;   // at this look somebody was missed, not for the hundredth time
    bool stir_ = false;     // at this look somebody did anything
    unsigned quiet_ = 0;    // looks without a long call, in a row
    unsigned still_ = 0;    // looks without anything, in a row
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_SCHED_MONITOR_POLICY_HPP
