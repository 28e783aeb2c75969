//
// support/simulation.hpp
// ~~~~~~~~~~~~~~~~~~~~~~
// A machine of any number of processors, in one thread and in a time of its own: who
// picks, steals, searches, sleeps and is woken is decided by the library's own core,
// processor and idle_state; how long that takes is assumed here.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_TEST_SUPPORT_SIMULATION_HPP
#define SPINDLE_TEST_SUPPORT_SIMULATION_HPP

#include <spindle/detail/sched/core.hpp>
#include <spindle/detail/sched/idle_state.hpp>
#include <spindle/detail/sched/processor.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <queue>
#include <tuple>
#include <utility>
#include <vector>

namespace spindle_test {

namespace simulated {

using namespace std::chrono_literals;
using spindle::detail::duration;
using spindle::detail::idle_state;
using spindle::detail::runnable;
using spindle::detail::time_point;

// What things cost: assumed, in the order of what the benchmarks show; nothing of it
// was measured for this.
inline constexpr duration switch_cost = 50ns;  // from fiber to fiber
inline constexpr duration line_cost = 90ns;    // a cache line from another core
inline constexpr duration glance_cost = 4ns;   // at a processor whose lines have not moved
inline constexpr duration steal_cost = 300ns;  // once there is something
inline constexpr duration wake_cost = 10us;    // until a thread that was called is there
inline constexpr duration between_looks = 3us; // as host_processor::search
inline constexpr unsigned looks = 10;          // the same

class machine;

// A fiber: how long a slice takes, and what it does at the end of one. True: it goes on
// there; else it does not run again unless somebody queues it.
struct fiber : runnable {
    duration slice{};
    std::function<bool(machine&, unsigned processor)> after;
};

struct result {
    duration length{};    // until the last slice was over
    duration work{};      // of all slices
    duration searching{}; // of all processors
    duration starving{};  // of all processors: not at work, while there was work for them
    std::uint64_t slices = 0;
    std::uint64_t looks = 0; // rounds of the others
    std::uint64_t steals = 0;
    std::uint64_t stolen = 0;
    std::uint64_t wakes = 0;

    double per_slice(std::uint64_t n) const
    {
        return static_cast<double>(n) / static_cast<double>(slices);
    }
    // 1: all processors were at work all the time.
    double efficiency(unsigned processors) const
    {
        return static_cast<double>(work.count()) /
               (static_cast<double>(length.count()) * processors);
    }
};

class machine final : public spindle::detail::core {
public:
    explicit machine(unsigned n) : idle_(n), state_(n), shown_(n, std::vector<std::uint64_t>(n))
    {
        for (unsigned i = 0; i != n; ++i) {
            processors_.push_back(std::make_unique<spindle::detail::processor>(*this, i));
            add(*processors_.back());
        }
    }

    // All processors begin with nothing. Runs until nothing happens any more.
    result run(std::function<void(machine&)> const& begin)
    {
        for (unsigned i = 0; i != processor_count(); ++i)
            plan(duration::zero(), [this, i] { go_on(i); });
        plan(duration::zero(), [this, &begin] { begin(*this); });
        while (!events_.empty()) {
            auto& e = const_cast<event&>(events_.top()); // it is popped next
            auto const at = std::get<0>(e);
            auto const what = std::move(std::get<2>(e));
            events_.pop();
            result_.starving += (at - now_) * std::min(processor_count() - at_work_, queued());
            now_ = at;
            what();
        }
        for (auto const& p : processors_) {
            result_.steals += p->stats.steals.get();
            result_.stolen += p->stats.stolen.get();
        }
        return result_;
    }

    void plan(duration from_now, std::function<void()> what)
    {
        events_.emplace(now_ + from_now, planned_++, std::move(what));
    }

    // From a slice's end, by its processor.
    void begin_fiber(unsigned p, fiber& f) { put_new(at(p), f); }
    void make_ready(unsigned p, fiber& f) { put_next(at(p), f); }

private:
    using event = std::tuple<time_point, std::uint64_t, std::function<void()>>;
    struct later {
        bool operator()(event const& a, event const& b) const
        {
            return std::tie(std::get<0>(a), std::get<1>(a)) >
                   std::tie(std::get<0>(b), std::get<1>(b));
        }
    };

    struct state {
        bool searching = false;
        bool asleep = false;
        unsigned look = 0;
        unsigned slices = 0;     // since the global queue was asked
        std::uint64_t moves = 1; // its lines have moved so often
    };

    void wake_one() noexcept override
    {
        auto const i = idle_.processor_to_wake();
        if (i == idle_state::none)
            return;
        ++result_.wakes;
        plan(wake_cost, [this, i] {
            // It may have looked once more, and have found out by itself.
            if (std::exchange(state_[i].asleep, false)) {
                rise(i);
                go_on(i);
            }
        });
    }

    // host_processor::loop.
    void go_on(unsigned i)
    {
        auto& p = at(i);
        auto& s = state_[i];
        p.coarse_now = now_;
        if (auto* const r = find(i))
            return run_slice(i, *r);
        s.look = 0;
        search(i);
    }

    runnable* find(unsigned i)
    {
        auto& p = at(i);
        auto& s = state_[i];
        if (s.slices != 0 && s.slices != spindle::detail::slices_in_a_row)
            if (auto* const r = p.pick()) {
                ++s.slices;
                return r;
            }
        s.slices = 1;
        if (auto* const r = take_global(p))
            return r;
        auto* const r = p.pick();
        if (!r)
            s.slices = 0;
        return r;
    }

    void run_slice(unsigned i, runnable& r)
    {
        auto& s = state_[i];
        ++s.moves;
        if (std::exchange(s.searching, false) && idle_.end_search())
            wake_one();
        ++at_work_;
        work_on(i, static_cast<fiber&>(r), switch_cost);
    }

    void work_on(unsigned i, fiber& f, duration before)
    {
        ++result_.slices;
        result_.work += f.slice;
        plan(before + f.slice, [this, i, &f] {
            result_.length = now_ - start_;
            ++state_[i].moves;
            if (f.after && f.after(*this, i))
                return work_on(i, f, duration::zero());
            --at_work_;
            go_on(i);
        });
    }

    // host_processor::search, from look to look.
    void search(unsigned i)
    {
        auto& s = state_[i];
        if (processor_count() == 1 || s.look == looks ||
            (!s.searching && !(s.searching = idle_.try_begin_search())))
            return sleep(i);
        ++s.look;
        ++result_.looks;
        auto& p = at(i);
        p.coarse_now = now_;
        auto const before = sizes();
        auto dice = p.random;
        auto* const r = steal(p, now_);
        auto took = cost_of_look(i, p.victims.start(dice.next()), before);
        if (r) {
            took += steal_cost;
            result_.searching += took;
            plan(took, [this, i, r] { run_slice(i, *r); });
            return;
        }
        took += between_looks;
        result_.searching += took;
        plan(took, [this, i] {
            if (auto* const mine = find(i))
                return run_slice(i, *mine);
            search(i);
        });
    }

    unsigned queued() const
    {
        auto n = static_cast<unsigned>(global_size_hint());
        for (auto const& p : processors_)
            n += p->size_hint();
        return n;
    }

    std::vector<unsigned> sizes() const
    {
        std::vector<unsigned> all;
        for (auto const& p : processors_)
            all.push_back(p->size_hint());
        return all;
    }

    // Up to the victim that has less now than before, or round all of them. A processor
    // that has moved since this thief's last look costs a line of each of its parts.
    duration cost_of_look(
        unsigned i, spindle::detail::steal_order::walk walk, std::vector<unsigned> const& before)
    {
        duration cost{};
        for (; !walk.done(); walk.next()) {
            auto const v = walk.position();
            if (v == i)
                continue;
            cost += std::exchange(shown_[i][v], state_[v].moves) == state_[v].moves ? glance_cost
                                                                                    : 3 * line_cost;
            if (at(v).size_hint() < before[v]) {
                ++state_[v].moves;
                break;
            }
        }
        return cost;
    }

    // host_processor::sleep.
    void sleep(unsigned i)
    {
        auto& s = state_[i];
        (void)idle_.begin_idle(i, std::exchange(s.searching, false));
        s.asleep = true;
        if (has_work_hint()) {
            s.asleep = false;
            rise(i);
            plan(switch_cost, [this, i] { go_on(i); });
        }
    }

    void rise(unsigned i)
    {
        if (!idle_.end_idle(i, false))
            state_[i].searching = true;
    }

    idle_state idle_;
    std::vector<std::unique_ptr<spindle::detail::processor>> processors_;
    std::vector<state> state_;
    std::vector<std::vector<std::uint64_t>> shown_; // by thief and victim: its moves, then
    std::priority_queue<event, std::vector<event>, later> events_;
    std::uint64_t planned_ = 0;
    // Far from the time in which the processors were made: nothing depends on that.
    time_point const start_ = spindle::detail::now() + 1h;
    time_point now_ = start_;
    unsigned at_work_ = 0;
    result result_;
};

} // namespace simulated

} // namespace spindle_test

#endif // SPINDLE_TEST_SUPPORT_SIMULATION_HPP
