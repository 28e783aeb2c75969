//
// spindle/version.hpp
// ~~~~~~~~~~~~~~~~~~~
// The library's version.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_VERSION_HPP
#define SPINDLE_VERSION_HPP

// major * 100000 + minor * 100 + patch, as BOOST_VERSION: 0.1.0 is 000100,
// written without the zeros that would make it octal.
#define SPINDLE_VERSION 100

// The same as text.
#define SPINDLE_LIB_VERSION "0_1_0"

#endif // SPINDLE_VERSION_HPP
