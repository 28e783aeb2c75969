//
// spindle/detail/base/random.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// Small, fast, seedable random numbers. Not for secrets.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_BASE_RANDOM_HPP
#define SPINDLE_DETAIL_BASE_RANDOM_HPP

#include <cstdint>

namespace spindle::detail {

// PCG-XSH-RR 64/32 (O'Neill 2014): 8 bytes of state, period 2^64. Equal seeds
// give equal sequences everywhere. Not thread-safe.
class random_generator {
public:
    explicit random_generator(std::uint64_t seed = 0) noexcept
        : state_(seed + increment)
    {
        next(); // so that neighbouring seeds part at once
    }

    std::uint32_t next() noexcept
    {
        auto const s = state_;
        state_ = s * 6364136223846793005u + increment;
        auto const mixed = static_cast<std::uint32_t>(((s >> 18) ^ s) >> 27);
        auto const turn = static_cast<std::uint32_t>(s >> 59);
        return (mixed >> turn) | (mixed << ((32u - turn) & 31u));
    }

    // In [0, n). n == 0 gives 0. By multiplication (Lemire 2019) without the
    // rejection step: off by at most n in 2^32, which no caller can notice.
    std::uint32_t below(std::uint32_t n) noexcept
    {
        return static_cast<std::uint32_t>((std::uint64_t{next()} * n) >> 32);
    }

private:
    static constexpr std::uint64_t increment = 1442695040888963407u;

    std::uint64_t state_;
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_BASE_RANDOM_HPP
