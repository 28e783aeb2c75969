//
// asio/place.cpp
// ~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/asio/place.hpp>

#include <spindle/detail/asio/guest.hpp>
#include <spindle/detail/fiber/park.hpp>
#include <spindle/error.hpp>

namespace spindle::detail {

place place_here()
{
    if (auto* const g = current_fiber()) {
        if (auto* const core = asio_core_of(*g))
            return {
                core, std::unique_ptr<slice_poster>(g->bound ? g->bound->clone() : nullptr), g};
    } else if (auto* const core = core_running_here()) {
        return {core, nullptr};
    }
    throw_error(
        make_error_code(errc::not_in_fiber),
        "there is no scheduler here to start a fiber on: name one, as in "
        "spindle::spawn(scheduler, fn, token)");
}

} // namespace spindle::detail
