//
// asio/spawn_fiber.cpp
// ~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/asio/spawn_fiber.hpp>

#include <spindle/detail/asio/executor_task.hpp>
#include <spindle/detail/fiber/machine.hpp>
#include <spindle/error.hpp>

namespace spindle::detail {

fiber_record& prepare_fiber(place const& where, spawn_options&& options, void const* site)
{
    auto const unusual = asio_core::unusual();
    if (unusual != 0 && where.core->closing()) [[unlikely]]
        throw_error(
            make_error_code(errc::scheduler_stopped),
            "the execution context is being destroyed: it starts no fibers any more");
    auto const size
        = options.stack_size != 0 ? options.stack_size : where.core->options().stack_size;
    auto& g = acquire_fiber(size);
    if (!options.name.empty())
        set_name(g, std::move(options.name));
    g.spawn_site = site;
    if ((unusual & asio_core::spawners_wanted) != 0) [[unlikely]]
        g.spawner = where.spawner ? id_of(*where.spawner).value : 0;
    return g;
}

void discard_fiber(fiber_record& g) noexcept
{
    if (!g.name.empty())
        clear_name(g);
    visit const inside;
    release_fiber(inside.held(), g);
}

void unhandled_here() noexcept
{
    auto& g = *current_fiber();
    asio_core_of(g)->unhandled(g);
}

bool begin_for_executor() noexcept
{
    auto& g = *current_fiber();
    auto const begins = g.function != submitted::dropped && !asio_core_of(g)->closing();
    g.function = begins ? submitted::running : submitted::no;
    return begins;
}

void end_for_executor() noexcept { current_fiber()->function = submitted::no; }

} // namespace spindle::detail
