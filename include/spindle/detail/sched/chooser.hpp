//
// spindle/detail/sched/chooser.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// Who runs next where a seed decides it.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_SCHED_CHOOSER_HPP
#define SPINDLE_DETAIL_SCHED_CHOOSER_HPP

#include <spindle/config.hpp>

#include <spindle/detail/base/random.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace spindle::detail {

// Shape
//
//   A decision without threads and without a clock: the same seed and the same
//   questions have the same answers. Two ways to decide:
//
//   random      any of those that can run, each as likely
//   priorities  each has a random priority when it first comes up, and the highest
//               runs; at `depth` - 1 steps of the run, drawn beforehand, the one that
//               runs falls below all others (PCT, Burckhardt et al. 2010). A bug that
//               needs d constraints on the order of steps is met by one run of n
//               fibers and k steps with a chance of at least 1 / (n k^(d-1)), however
//               rare it is under random.
//
//   How many steps a run has is not known beforehand, and a seed must be enough to
//   repeat it: so each run draws its k, from 16 to 8192.
//
// One who gives up its turn of its own accord falls below all others, too: it may
// wait for one of them in a loop.
//
// Evidence: test/sched/chooser.cpp
class SPINDLE_DECL chooser {
public:
    enum class strategy : std::uint8_t { random, priorities };
    using priority = std::uint64_t;

    chooser(std::uint64_t seed, strategy how, unsigned depth);

    // Of one that can run for the first time.
    priority first_priority() noexcept;

    // Below all that there are.
    priority lowest() noexcept { return --low_; }

    // One step of the run. Which of them; there is one.
    std::size_t choose(std::span<priority const> candidates) noexcept;

    // Whether the run has come to where the one that runs loses its priority. Asked once
    // a step.
    bool at_change() noexcept;

    // For what else is left to chance: true once in 1 / `chance` times.
    bool happens(double chance) noexcept;
    std::uint32_t below(std::uint32_t n) noexcept { return random_.below(n); }

private:
    random_generator random_;
    strategy const how_;
    std::uint64_t steps_ = 0;
    priority low_ = priority{1} << 32;   // first ones are above
    std::vector<std::uint64_t> changes_; // the last one comes first
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_SCHED_CHOOSER_HPP
