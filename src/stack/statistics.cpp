//
// stack/statistics.cpp
// ~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/stack/statistics.hpp>

#include <spindle/detail/stack/pool.hpp>

namespace spindle::stack {

statistics get_statistics() noexcept { return detail::stack_pool::instance().get_statistics(); }

} // namespace spindle::stack
