//
// asio/operation.cpp
// ~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/asio/operation.hpp>

#include <spindle/detail/fiber/hooks.hpp>

namespace spindle::detail {

operation_frame::operation_frame()
    : stop_hook{[](stop_hook& h) noexcept { static_cast<operation_frame&>(h).io_.emit(); }},
      io_(fiber_io::take(fiber_that_may_park()))
{
}

bool operation_frame::begin() noexcept
{
    if (stop_seen(self()))
        return false;
    io_.begin();
    return true;
}

// Hooked from here on, and not before the initiation, which may wait itself: what asks
// the fiber to stop meanwhile could not cancel the operation before that is over.
void operation_frame::end() noexcept
{
    auto& g = self();
    if (!try_hook_wait(g, *this)) [[unlikely]]
        io_.emit();
    auto const parked = io_.wait();
    unhook_wait(g, *this);
    if (parked) {
        g.budget = 0;
    } else {
        completed_at_once(g);
    }
}

namespace {

// Operations that completed at once, in a row, before the others get a turn.
constexpr std::uint8_t immediate_budget = 128;

} // namespace

void completed_at_once(fiber_record& self) noexcept
{
    if (++self.budget == immediate_budget) {
        self.budget = 0;
        yield(self);
    }
}

} // namespace spindle::detail
