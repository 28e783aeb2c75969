//
// asio/scheduler_options.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/scheduler_options.hpp>

#include <spindle/detail/sched/core.hpp>
#include <spindle/detail/stack/pool.hpp>
#include <spindle/error.hpp>

#include <boost/system/errc.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

namespace spindle::detail {

namespace {

[[noreturn]] void refuse(char const* advice)
{
    throw_error(make_error_code(boost::system::errc::invalid_argument), advice);
}

// What the affinity mask allows.
unsigned allowed_cores()
{
#if defined(__linux__)
    cpu_set_t set;
    CPU_ZERO(&set);
    if (::sched_getaffinity(0, sizeof set, &set) == 0)
        return std::max(1u, static_cast<unsigned>(CPU_COUNT(&set)));
#endif
    return std::max(1u, std::thread::hardware_concurrency());
}

// What the cgroup's quota comes to, rounded up; `none` where there is no limit.
unsigned quota_cores(unsigned none)
{
    double quota = -1, period = 0;
    std::string word;
    if (std::ifstream v2("/sys/fs/cgroup/cpu.max"); v2 >> word >> period && word != "max")
        quota = std::strtod(word.c_str(), nullptr);
    else if (std::ifstream q("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"),
             p("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
             q && p)
        q >> quota, p >> period;
    if (quota <= 0 || period <= 0)
        return none;
    return std::max(1u, static_cast<unsigned>(std::ceil(quota / period)));
}

unsigned default_processors()
{
    if (auto const* const text = std::getenv("SPINDLE_PROCESSORS"); text && *text) {
        unsigned n = 0;
        std::string_view const all(text);
        auto const [end, error] = std::from_chars(all.data(), all.data() + all.size(), n);
        if (error != std::errc{} || end != all.data() + all.size() || n == 0)
            refuse("SPINDLE_PROCESSORS must be a number from 1 to 1024");
        return n;
    }
    auto const cores = allowed_cores();
    return std::min(cores, quota_cores(cores));
}

} // namespace

scheduler_options resolved(scheduler_options options)
{
    if (options.processors == 0)
        options.processors = default_processors();
    if (options.processors > core::max_processors)
        refuse("a scheduler has at most 1024 processors");
    if (options.max_threads < options.processors)
        throw_error(
            make_error_code(errc::thread_limit),
            "each processor needs a thread: scheduler_options::max_threads must be at least "
            "scheduler_options::processors");
    if (options.guest_threads > core::max_processors)
        refuse("scheduler_options::guest_threads must be at most 1024");
    if (options.handoff_after < std::chrono::steady_clock::duration::zero()
        || options.preempt_after <= std::chrono::steady_clock::duration::zero())
        refuse(
            "scheduler_options::handoff_after must not be negative, and preempt_after must be "
            "more than zero");
    if (options.stack_size < stack_pool::min_size || options.stack_size > stack_pool::max_size)
        refuse("scheduler_options::stack_size must be between 16 KiB and 1 GiB");
    if (options.shutdown_grace < std::chrono::steady_clock::duration::zero())
        refuse("scheduler_options::shutdown_grace must not be negative");
    return options;
}

} // namespace spindle::detail
