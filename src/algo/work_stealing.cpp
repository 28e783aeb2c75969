//
// algo/work_stealing.cpp
// ~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/algo/work_stealing.hpp>

#include <spindle/detail/asio/asio_core.hpp>

namespace spindle::algo {

work_stealing::work_stealing(scheduler& sched) noexcept { set_home(&detail::core_of(sched)); }

} // namespace spindle::algo
