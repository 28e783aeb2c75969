//
// base/thread_random.cpp
// ~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/base/clock.hpp>
#include <spindle/detail/base/random.hpp>
#include <spindle/detail/base/thread_random.hpp>

namespace spindle::detail {

namespace {

random_generator& generator() noexcept
{
    thread_local random_generator instance(
        reinterpret_cast<std::uintptr_t>(&instance) ^
        static_cast<std::uint64_t>(now().time_since_epoch().count()));
    return instance;
}

} // namespace

std::uint32_t thread_random_bits() noexcept
{
    asm volatile("");
    return generator().next();
}

void seed_thread_random(std::uint64_t seed) noexcept
{
    asm volatile("");
    generator() = random_generator(seed);
}

} // namespace spindle::detail
