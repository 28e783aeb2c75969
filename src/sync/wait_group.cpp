//
// sync/wait_group.cpp
// ~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/sync/wait_group.hpp>

#include <spindle/detail/base/fatal.hpp>

namespace spindle {

void wait_group::done_too_often() noexcept
{
    detail::fatal("wait_group::done() was called more often than add()");
}

} // namespace spindle
