//
// spindle/observe.hpp
// ~~~~~~~~~~~~~~~~~~~
// Seeing inside.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_OBSERVE_HPP
#define SPINDLE_OBSERVE_HPP

#include <spindle/observe/dump.hpp>
#include <spindle/observe/prometheus.hpp>
#include <spindle/observe/stats.hpp>
#include <spindle/scheduler_stats.hpp>

#endif // SPINDLE_OBSERVE_HPP
