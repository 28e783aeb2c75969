//
// spindle/detail/base/mutex.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// The door to std::mutex and std::condition_variable, as atomic.hpp is the
// one to std::atomic; the same test header replaces both.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_BASE_MUTEX_HPP
#define SPINDLE_DETAIL_BASE_MUTEX_HPP

#include <spindle/detail/base/atomic.hpp>

#if !defined(SPINDLE_TEST_ATOMIC)
#include <condition_variable>
#include <mutex>

namespace spindle::detail {

using std::condition_variable;
using std::mutex;

} // namespace spindle::detail
#endif

#endif // SPINDLE_DETAIL_BASE_MUTEX_HPP
