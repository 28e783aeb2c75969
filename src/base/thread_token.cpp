//
// base/thread_token.cpp
// ~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/base/thread_token.hpp>

namespace spindle::detail {

#if !defined(SPINDLE_INLINE_THREAD_TOKEN)
SPINDLE_NOINLINE std::uintptr_t this_thread_token() noexcept
{
    alignas(2) static thread_local char here;
    return reinterpret_cast<std::uintptr_t>(&here);
}
#endif

} // namespace spindle::detail
