//
// spindle/detail/base/cache_line.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// How far apart two variables of different threads are kept.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_BASE_CACHE_LINE_HPP
#define SPINDLE_DETAIL_BASE_CACHE_LINE_HPP

#include <cstddef>

namespace spindle::detail {

// Not std::hardware_destructive_interference_size: that may differ between
// two translation units compiled with different flags.
inline constexpr std::size_t cache_line_size = 64;

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_BASE_CACHE_LINE_HPP
