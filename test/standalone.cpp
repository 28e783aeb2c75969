//
// standalone.cpp
// ~~~~~~~~~~~~~~
// Includes one header, twice. b2 compiles this once for each; CMake writes the
// like of it into its build folder.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define SPINDLE_TEST_STRING_(s) #s
#define SPINDLE_TEST_STRING(s) SPINDLE_TEST_STRING_(s)

#include SPINDLE_TEST_STRING(SPINDLE_TEST_HEADER)
#include SPINDLE_TEST_STRING(SPINDLE_TEST_HEADER)
