//
// cancel/shielded.cpp
// ~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/cancel/shielded.hpp>

#include <spindle/detail/base/fatal.hpp>
#include <spindle/detail/fiber/hooks.hpp>
#include <spindle/detail/fiber/park.hpp>
#include <spindle/detail/fiber/record.hpp>

namespace spindle::detail {

shield::shield()
    : state_(scope_state::open_in(fiber_that_may_park(), scope_state::kind::shield))
{
}

shield::~shield()
{
    auto& self = *current_fiber();
    if (self.scope != state_.get())
        fatal("a cancel_scope that was made in shielded() has outlived it");
    state_->close(&self);
}

} // namespace spindle::detail
