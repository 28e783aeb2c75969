//
// sync/singleflight.cpp
// ~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/sync/singleflight.hpp>

#include <spindle/detail/base/fatal.hpp>

namespace spindle::detail {

void flight_waits_for_itself() noexcept
{
    fatal(
        "singleflight: the function that is called for a key has called with the same key, and "
        "would wait for its own end");
}

} // namespace spindle::detail
