//
// sched/chooser.cpp
// ~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/sched/chooser.hpp>

#include <algorithm>
#include <functional>

namespace spindle::detail {

chooser::chooser(std::uint64_t seed, strategy how, unsigned depth) : random_(seed), how_(how)
{
    if (how_ != strategy::priorities)
        return;
    auto const length = std::uint32_t{16} << random_.below(10);
    for (unsigned i = 1; i < depth; ++i)
        changes_.push_back(random_.below(length) + 1);
    std::sort(changes_.begin(), changes_.end(), std::greater<>());
}

chooser::priority chooser::first_priority() noexcept
{
    return how_ == strategy::random ? 0 : (priority{1} << 32) + random_.next();
}

std::size_t chooser::choose(std::span<priority const> candidates) noexcept
{
    ++steps_;
    if (candidates.size() == 1)
        return 0;
    if (how_ == strategy::random)
        return random_.below(static_cast<std::uint32_t>(candidates.size()));
    return static_cast<std::size_t>(
        std::max_element(candidates.begin(), candidates.end()) - candidates.begin());
}

bool chooser::at_change() noexcept
{
    if (changes_.empty() || steps_ < changes_.back())
        return false;
    changes_.pop_back();
    return true;
}

bool chooser::happens(double chance) noexcept
{
    return chance > 0 && random_.next() < chance * 4294967296.0;
}

} // namespace spindle::detail
