//
// sync/latch.cpp
// ~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/sync/latch.hpp>

#include <spindle/detail/base/fatal.hpp>
#include <spindle/detail/fiber/hooks.hpp>

namespace spindle {

std::size_t latch::checked(std::ptrdiff_t expected) noexcept
{
    if (expected < 0)
        detail::fatal("latch(%td): fewer than no arrivals cannot be waited for", expected);
    return static_cast<std::size_t>(expected);
}

void latch::count_down(std::ptrdiff_t n) noexcept
{
    if (n < 0 || !count_.count_down(static_cast<std::size_t>(n)))
        detail::fatal("latch::count_down(%td): more arrivals than the latch waits for", n);
}

void latch::arrive_and_wait(std::ptrdiff_t n)
{
    detail::require_may_wait();
    count_down(n);
    wait();
}

} // namespace spindle
