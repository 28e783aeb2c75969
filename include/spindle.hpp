//
// spindle.hpp
// ~~~~~~~~~~~
// Everything but what is for looking inside and for testing.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_HPP
#define SPINDLE_HPP

#include <spindle/algo/round_robin.hpp>
#include <spindle/algo/work_stealing.hpp>
#include <spindle/asio/fiber_executor.hpp>
#include <spindle/asio/fiber_stream.hpp>
#include <spindle/asio/resolve.hpp>
#include <spindle/asio/start.hpp>
#include <spindle/asio/use_fiber.hpp>
#include <spindle/attach.hpp>
#include <spindle/blocking.hpp>
#include <spindle/cancel/cancel_scope.hpp>
#include <spindle/cancel/shielded.hpp>
#include <spindle/cancel/within.hpp>
#include <spindle/chan/channel.hpp>
#include <spindle/chan/select.hpp>
#include <spindle/config.hpp>
#include <spindle/error.hpp>
#include <spindle/fiber.hpp>
#include <spindle/fwd.hpp>
#include <spindle/go.hpp>
#include <spindle/group/task_group.hpp>
#include <spindle/group/worker_pool.hpp>
#include <spindle/pin.hpp>
#include <spindle/run.hpp>
#include <spindle/scheduler.hpp>
#include <spindle/scheduler_options.hpp>
#include <spindle/spawn.hpp>
#include <spindle/spawn_options.hpp>
#include <spindle/stack/pooled_mmap.hpp>
#include <spindle/stack/statistics.hpp>
#include <spindle/sync/barrier.hpp>
#include <spindle/sync/condition_variable.hpp>
#include <spindle/sync/latch.hpp>
#include <spindle/sync/mutex.hpp>
#include <spindle/sync/once.hpp>
#include <spindle/sync/semaphore.hpp>
#include <spindle/sync/shared_mutex.hpp>
#include <spindle/sync/singleflight.hpp>
#include <spindle/sync/wait_group.hpp>
#include <spindle/this_fiber.hpp>
#include <spindle/time/ticker.hpp>
#include <spindle/version.hpp>

#endif // SPINDLE_HPP
