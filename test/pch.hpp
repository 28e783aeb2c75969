//
// pch.hpp
// ~~~~~~~
// What most tests parse and none owns, parsed once. No header of ours: those
// change. A test still includes what it uses (b2 builds without this file).
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_TEST_PCH_HPP
#define SPINDLE_TEST_PCH_HPP

#include <boost/asio.hpp>
#include <boost/fiber/all.hpp>
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <iostream>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <string>
#include <thread>
#include <vector>

#endif // SPINDLE_TEST_PCH_HPP
