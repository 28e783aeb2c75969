//
// spindle/fwd.hpp
// ~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_FWD_HPP
#define SPINDLE_FWD_HPP

#include <cstddef>

namespace spindle {

class scheduler;
struct scheduler_options;
struct spawn_options;
class pin;
class condition_variable;
class mutex;
class recursive_mutex;
class shared_mutex;
class timed_mutex;
class wait_group;
class once_flag;
class latch;
template <class Key, class Value, class Hash, class KeyEqual>
class singleflight;
template <std::ptrdiff_t LeastMaxValue>
class counting_semaphore;
template <class CompletionFunction>
class barrier;
template <class R>
class fiber;
template <class Executor, class Allocator>
class fiber_executor;
template <class Stream>
class fiber_stream;
template <class... Signatures>
class operation;
template <class T>
class channel_view;
template <class T>
class channel;
template <class T>
class send_channel;
template <class T>
class receive_channel;
template <class T>
class close_guard;
class select_case;
class cancel_handle;
class cancel_scope;
template <class T>
class key;
class task_group;
template <class Job>
class worker_pool;

} // namespace spindle

#endif // SPINDLE_FWD_HPP
