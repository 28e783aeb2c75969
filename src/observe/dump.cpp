//
// observe/dump.cpp
// ~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/observe/dump.hpp>

#include <spindle/detail/asio/asio_core.hpp>
#include <spindle/detail/fiber/dump.hpp>

#include <ostream>

namespace spindle {

std::string dump_string(dump_options const& options)
{
    return detail::dump_text(
        {.stacks = options.stacks, .all_frames = options.all_frames, .most_listed = options.listed});
}

void dump(std::ostream& os, dump_options const& options)
{
    os << dump_string(options);
    os.flush();
}

void remember_spawners() noexcept { detail::asio_core::want_spawners(); }

} // namespace spindle
