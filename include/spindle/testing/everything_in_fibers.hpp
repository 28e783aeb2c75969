//
// spindle/testing/everything_in_fibers.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_TESTING_EVERYTHING_IN_FIBERS_HPP
#define SPINDLE_TESTING_EVERYTHING_IN_FIBERS_HPP

#include <spindle/testing/boost_test.hpp>

namespace spindle::testing {

/// To include this header moves all test cases of a program into fibers: one line.
/**
 * As `everything`, with the options that it has by default.
 */
inline everything const all_cases_in_fibers;

} // namespace spindle::testing

#endif // SPINDLE_TESTING_EVERYTHING_IN_FIBERS_HPP
