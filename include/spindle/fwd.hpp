//
// spindle/fwd.hpp
// ~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_FWD_HPP
#define SPINDLE_FWD_HPP

namespace spindle {

class scheduler;
struct scheduler_options;
struct spawn_options;
class wait_group;
template <class R>
class fiber;

} // namespace spindle

#endif // SPINDLE_FWD_HPP
