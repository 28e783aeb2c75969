//
// sched/monitor_policy.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/sched/monitor_policy.hpp>

#include <algorithm>
#include <utility>

namespace spindle::detail {

namespace {

// Go's.
constexpr duration shortest_pause = std::chrono::microseconds(20);
constexpr duration longest_pause = std::chrono::milliseconds(10);
constexpr unsigned looks_before_pauses_grow = 50;

// An answer takes a thread's wake-up.
constexpr duration answer_time = std::chrono::microseconds(100);

// Who is inside each time will be so the next time.
constexpr unsigned most_misses = 100;

// All asleep for so many of the longest pauses: until somebody wakes up.
constexpr unsigned looks_before_sleep = 5;

} // namespace

monitor_policy::monitor_policy(
    duration handoff_after, duration preempt_after, unsigned processors)
    : handoff_after_(handoff_after), preempt_after_(preempt_after),
      shortest_(std::clamp(handoff_after, shortest_pause, longest_pause)),
      longest_(std::max(shortest_, std::min(preempt_after, longest_pause))), pause_(longest_),
      memory_(processors)
{
}

monitor_policy::verdict monitor_policy::judge(unsigned id, look const& l, time_point at)
{
    auto& m = memory_[id];
    auto const& was = m.last;
    auto const same = l.is == was.is && l.slices == was.slices && l.rounds == was.rounds
        && l.blocking == was.blocking && l.work == was.work;
    if (l.rounds != was.rounds || l.is != was.is)
        m.round = at;
    stir_ |= !same || l.is > look::asleep;
    // That there is work now does not mean that it has waited: but for who sleeps,
    // what runs has run for as long without it.
    auto const goes_on = l.is == was.is && l.slices == was.slices && l.rounds == was.rounds
        && l.blocking == was.blocking;
    if (l.blocking % 2 != 0) {
        new_call_ |= !goes_on;
        long_call_ |= goes_on && l.work;
    }
    if (l.is == look::asleep ? !same : !goes_on) {
        m.since = at;
        m.another = false;
        m.misses = 0;
    }
    m.last = l;

    auto const lasted = at - m.since;
    if (l.is == look::absent || !l.work)
        return verdict::leave;
    if (l.blocking % 2 != 0 && l.is == look::running)
        return lasted >= handoff_after_ && lasted > duration::zero() ? verdict::hand_off
                                                                     : verdict::leave;
    if (lasted >= preempt_after_)
        return verdict::preempt;
    if (l.is == look::woken && lasted >= answer_time && !m.another)
        return verdict::wake_another;
    if (l.is == look::running && at - m.round >= preempt_after_)
        return verdict::call;
    return verdict::leave;
}

void monitor_policy::done(unsigned id, time_point at)
{
    auto& m = memory_[id];
    if (m.last.is == look::woken && at - m.since < preempt_after_)
        m.another = true;
    else
        m.since = m.round = at;
    m.misses = 0;
    long_call_ |= m.last.blocking % 2 != 0;
}

void monitor_policy::missed(unsigned id) { missed_ |= ++memory_[id].misses <= most_misses; }

void monitor_policy::look_often() noexcept
{
    quiet_ = 0;
    pause_ = shortest_;
}

duration monitor_policy::pause()
{
    still_ = std::exchange(stir_, false) ? 0 : still_ + 1;
    auto const new_call = std::exchange(new_call_, false);
    if (std::exchange(long_call_, false)) {
        look_often();
    } else if (quiet_ < looks_before_pauses_grow) {
        ++quiet_;
    } else {
        pause_ = std::min(2 * pause_, longest_);
    }
    looks_again_ = new_call && !looks_again_;
    if (std::exchange(missed_, false) || looks_again_)
        return shortest_;
    if (pause_ == longest_ && still_ >= looks_before_sleep)
        return duration::max();
    return pause_;
}

} // namespace spindle::detail
