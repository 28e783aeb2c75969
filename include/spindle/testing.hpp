//
// spindle/testing.hpp
// ~~~~~~~~~~~~~~~~~~~
// Testing what runs on Spindle, but for the adapters to test frameworks:
// <spindle/testing/boost_test.hpp>.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_TESTING_HPP
#define SPINDLE_TESTING_HPP

#include <spindle/testing/clock.hpp>
#include <spindle/testing/explore.hpp>
#include <spindle/testing/steady_timer.hpp>

#endif // SPINDLE_TESTING_HPP
