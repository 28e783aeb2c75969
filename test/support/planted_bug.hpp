//
// support/planted_bug.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~
// What a function that is explored throws where it has gone wrong.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_TEST_SUPPORT_PLANTED_BUG_HPP
#define SPINDLE_TEST_SUPPORT_PLANTED_BUG_HPP

#include <stdexcept>

namespace spindle_test {

struct bug : std::runtime_error {
    using std::runtime_error::runtime_error;
};

inline void expect(bool ok, char const* what)
{
    if (!ok)
        throw bug(what);
}

} // namespace spindle_test

#endif // SPINDLE_TEST_SUPPORT_PLANTED_BUG_HPP
