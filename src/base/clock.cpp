//
// base/clock.cpp
// ~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/base/clock.hpp>

namespace spindle::detail {

constinit atomic<time_source const*> other_time{nullptr};

} // namespace spindle::detail
