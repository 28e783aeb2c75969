//
// spindle/detail/base/thread_random.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// Chance for a thread: where the order of equals is to be fair.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_BASE_THREAD_RANDOM_HPP
#define SPINDLE_DETAIL_BASE_THREAD_RANDOM_HPP

#include <spindle/config.hpp>

#include <cstdint>

namespace spindle::detail {

// The next of the calling thread's: the order of the cases of a select comes from it.
[[nodiscard]] SPINDLE_DECL SPINDLE_NOINLINE std::uint32_t thread_random_bits() noexcept;

// From now on the calling thread's are those of this seed.
SPINDLE_DECL SPINDLE_NOINLINE void seed_thread_random(std::uint64_t seed) noexcept;

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_BASE_THREAD_RANDOM_HPP
