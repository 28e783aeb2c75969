//
// base/fatal.cpp
// ~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/base/fatal.hpp>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace spindle::detail {

void fatal(char const* format, ...) noexcept
{
    // One write, so that the messages of two threads do not mix.
    static constexpr char prefix[] = "spindle: fatal: ";
    char text[1024];
    std::memcpy(text, prefix, sizeof prefix);
    auto const at = sizeof prefix - 1;
    std::va_list args;
    va_start(args, format);
    std::vsnprintf(text + at, sizeof text - at - 1, format, args); // - 1: the newline
    va_end(args);
    auto const n = std::strlen(text);
    text[n] = '\n';
    std::fwrite(text, 1, n + 1, stderr);
    std::abort();
}

} // namespace spindle::detail
