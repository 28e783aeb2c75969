//
// cancel/cancel_scope.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/cancel/cancel_scope.hpp>

#include <spindle/detail/asio/timers.hpp>
#include <spindle/detail/base/fatal.hpp>
#include <spindle/detail/base/scope_exit.hpp>
#include <spindle/detail/fiber/hooks.hpp>
#include <spindle/detail/fiber/park.hpp>

namespace spindle {

using namespace detail;

cancel_scope::cancel_scope(std::chrono::steady_clock::time_point deadline)
{
    auto& self = fiber_that_may_park();
    state_ = scope_state::open_in(self, scope_state::kind::plain);
    if (deadline == time_point::max())
        return;
    scope_exit close([&] { state_->close(&self); });
    if (deadline <= time_of_waits())
        state_->cancel(scope_reason::deadline);
    else if (!state_->cancelled())
        state_->arm(timers_for(&self), deadline);
    close.release();
}

cancel_scope::cancel_scope(std::stop_token token) : cancel_scope()
{
    callback_.emplace(std::move(token), request{state_.get()});
}

cancel_scope::~cancel_scope()
{
    auto* const self = current_fiber();
    if (!self || self->scope != state_.get())
        fatal(
            "a cancel_scope was destroyed by another fiber than it was made by, or not in the "
            "order of nesting: let it be a local variable");
    callback_.reset();
    state_->close(self);
}

namespace detail {

void const* find_value(void const* key) noexcept
{
    auto const* const self = current_fiber();
    if (!self)
        return nullptr;
    return self->scope ? self->scope->values.find(key) : self->values.find(key);
}

} // namespace detail

} // namespace spindle
