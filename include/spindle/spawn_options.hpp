//
// spindle/spawn_options.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_SPAWN_OPTIONS_HPP
#define SPINDLE_SPAWN_OPTIONS_HPP

#include <cstddef>
#include <string>

namespace spindle {

/// How one fiber is set up; designated initialisers name what differs.
/**
 * @code
 * spindle::spawn(ex, {.name = "connection"}, serve, asio::detached);
 * @endcode
 */
struct spawn_options {
    /// What messages call it. Empty: "fiber 12".
    std::string name = {};

    /// The address space of its stack, in bytes: 16 KiB to 1 GiB.
    /**
     * 0: as the scheduler's options say. Memory is committed page by page as it
     * is touched.
     */
    std::size_t stack_size = 0;
};

} // namespace spindle

#endif // SPINDLE_SPAWN_OPTIONS_HPP
