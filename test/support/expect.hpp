//
// support/expect.hpp
// ~~~~~~~~~~~~~~~~~~
// A check from any thread: Boost.Test's are for one at a time.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_TEST_SUPPORT_EXPECT_HPP
#define SPINDLE_TEST_SUPPORT_EXPECT_HPP

#include <boost/assert/source_location.hpp>

#include <cstdio>
#include <cstdlib>

namespace spindle_test {

// Ends the program if that is not so.
inline void expect(bool ok, boost::source_location at = BOOST_CURRENT_LOCATION)
{
    if (ok)
        return;
    std::fprintf(
        stderr, "%s(%u): not as expected\n", at.file_name(), static_cast<unsigned>(at.line()));
    std::abort();
}

} // namespace spindle_test

#endif // SPINDLE_TEST_SUPPORT_EXPECT_HPP
