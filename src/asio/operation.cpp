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
      io_(fiber_io::of(fiber_that_may_park()))
{
}

bool operation_frame::begin() noexcept
{
    io_.begin();
    if (hook_wait(self(), *this))
        return true;
    io_.give_up_start();
    return false;
}

void operation_frame::end() noexcept
{
    auto& g = self();
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

void operation_frame::give_up() noexcept
{
    unhook_wait(self(), *this);
    io_.give_up_start();
}

} // namespace spindle::detail
