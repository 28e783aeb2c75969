//
// test/bench/peers/std_threads.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// The workloads of synchronisation with what std has for threads: a thread where the
// others have a fiber, all of them on as many processors as the others have threads.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <atomic>
#include <latch>
#include <mutex>
#include <semaphore>
#include <shared_mutex>
#include <thread>
#include <vector>

#include <sched.h>

#include "../bench.hpp"

namespace {

using bench::options;
using bench::result;
using bench::stopwatch;

// The first n of the processors that this process may use.
void use_processors(unsigned n)
{
    cpu_set_t mine, some;
    CPU_ZERO(&some);
    if (::sched_getaffinity(0, sizeof mine, &mine) != 0)
        throw bench::unsupported("there is no affinity");
    for (unsigned cpu = 0; cpu != CPU_SETSIZE && n != 0; ++cpu)
        if (CPU_ISSET(cpu, &mine)) {
            CPU_SET(cpu, &some);
            --n;
        }
    if (n != 0)
        throw bench::unsupported("there are not so many processors");
    if (::sched_setaffinity(0, sizeof some, &some) != 0)
        throw bench::unsupported("affinity cannot be set");
}

// Runs body() in n threads; the time a count.
template <class Body>
result parallel(options const& o, std::size_t n, Body body)
{
    use_processors(o.threads);
    stopwatch watch;
    {
        std::vector<std::jthread> threads;
        for (std::size_t i = 0; i < n; ++i)
            threads.emplace_back(body);
    }
    return {watch.ns() / static_cast<double>(o.count)};
}

template <class Yield>
result mutex(options const& o, Yield yield)
{
    std::mutex m;
    std::size_t counter = 0;
    return parallel(o, bench::lockers, [&] { bench::lock_often(o, m, counter, yield); });
}

result shared_mutex(options const& o)
{
    std::shared_mutex m;
    std::size_t counter = 0;
    std::atomic<std::size_t> sum{0};
    return parallel(o, bench::lockers, [&] { sum += bench::read_mostly(o, m, counter); });
}

result semaphore(options const& o)
{
    std::counting_semaphore<> permits(bench::permits);
    return parallel(
        o, bench::sharers, [&] { bench::acquire_often(o, permits, std::this_thread::yield); });
}

// std's is a latch.
result wait_group(options const& o)
{
    auto const each = o.count / bench::sharers;
    std::latch pieces(static_cast<std::ptrdiff_t>(each * bench::sharers));
    return parallel(o, bench::sharers, [&] {
        for (std::size_t i = 0; i < each; ++i)
            pieces.count_down();
    });
}

} // namespace

int main(int argc, char** argv)
{
    return bench::run(
        argc,
        argv,
        "std_threads",
        {
            {"mutex", [](options const& o) { return mutex(o, [] {}); }},
            {"mutex_yield",
             [](options const& o) { return mutex(o, [] { std::this_thread::yield(); }); }},
            {"shared_mutex", shared_mutex},
            {"semaphore", semaphore},
            {"wait_group", wait_group},
        });
}
