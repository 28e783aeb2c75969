//
// test/bench/bench.hpp
// ~~~~~~~~~~~~~~~~~~~~
// What all C++ contenders of the benchmark have in common: the command line,
// the workloads' sizes and units, the clock, the memory gauge, the output.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_TEST_BENCH_BENCH_HPP
#define SPINDLE_TEST_BENCH_BENCH_HPP

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace bench {

/// Fibers between two joins of `spawn`, and fibers at a time in `yield`.
inline constexpr std::size_t wave = 1000;

/// Items a channel of `buffered` and `buffered44` holds.
inline constexpr std::size_t channel_capacity = 128;

/// Fibers that share a mutex.
inline constexpr std::size_t lockers = 8;

/// Fibers that share the permits of `semaphore`, or count `wait_group` down.
inline constexpr std::size_t sharers = 8;
inline constexpr std::ptrdiff_t permits = 4;

/// Connections of `completion`, as many as the client of `echo` has.
inline constexpr std::size_t connections = 64;

/// The stack of a stackful peer's fiber: below malloc's threshold for mmap, so
/// that stacks are reused and not mapped anew.
inline constexpr std::size_t stack_size = 64 * 1024;

/// The command line, with the workload's own count filled in. A count is the
/// number of what the unit is of (fibers, switches, items), for all fibers
/// together; what they cannot share evenly is left out.
struct options {
    std::string workload;
    unsigned threads = 1;
    std::size_t count = 0;
    double seconds = 0;
    std::uint16_t port = 0;
    std::string watch; // what looks on: Spindle's alone
    bool json = false;
};

/// One measured value, in the workload's unit, and what else is worth a column.
struct result {
    double value = 0;
    std::vector<std::pair<std::string, double>> extra = {};
};

/// Thrown by a workload that this contender does not have in this size.
struct unsupported : std::runtime_error {
    using std::runtime_error::runtime_error;
};

using workloads = std::map<std::string, std::function<result(options const&)>>;

/**
 * The whole of a contender's main().
 *
 * Parses the command line, runs the workload it names and prints one line, as
 * text or (`--json`) as an object.
 *
 * @returns The exit code: 2 for a workload that `mine` does not have.
 */
int run(int argc, char** argv, std::string const& peer, workloads const& mine);

/// How long sleeper `i` of `timers` sleeps: 10 to 20 ms, the same in each run.
std::chrono::microseconds nap(std::size_t i);

/// Says that the server of `echo`, or `http`, listens, and ends the process after
/// `--seconds`, if given. Until then it serves until SIGTERM.
void ready(options const&, std::uint16_t port);

/// Throws `unsupported` for more than one thread: two fibers that yield on two
/// threads run side by side, and no switch is left to measure.
void require_one_thread(options const&);

/// Cuts `left` fibers into waves.
struct waves {
    std::size_t left;

    /// The size of the next wave; 0 after the last.
    std::size_t next()
    {
        auto const n = std::min(left, wave);
        left -= n;
        return n;
    }
};

/// What each of the `lockers` fibers of `mutex` does; of `mutex_yield`, where `yield`
/// does something.
template <class Mutex, class Yield>
void lock_often(options const& o, Mutex& m, std::size_t& counter, Yield yield)
{
    for (std::size_t i = 0; i < o.count / lockers; ++i) {
        m.lock();
        ++counter;
        yield();
        m.unlock();
    }
}

/// What each of the `lockers` fibers of `shared_mutex` does: each twentieth lock is a
/// writer's. Returns what it has read, to be used, so that the reads are not left out.
template <class SharedMutex>
std::size_t read_mostly(options const& o, SharedMutex& m, std::size_t& counter)
{
    std::size_t seen = 0;
    for (std::size_t i = 0; i < o.count / lockers; ++i) {
        if (i % 20 == 0) {
            m.lock();
            ++counter;
            m.unlock();
        } else {
            m.lock_shared();
            seen += counter;
            m.unlock_shared();
        }
    }
    return seen;
}

/// What each of the `sharers` fibers of `semaphore` does.
template <class Semaphore, class Yield>
void acquire_often(options const& o, Semaphore& s, Yield yield)
{
    for (std::size_t i = 0; i < o.count / sharers; ++i) {
        s.acquire();
        yield();
        s.release();
    }
}

/// Time since construction.
class stopwatch {
public:
    double ns() const
    {
        return std::chrono::duration<double, std::nano>(clock::now() - start_).count();
    }
    double us() const { return ns() / 1e3; }
    double ms() const { return ns() / 1e6; }

private:
    using clock = std::chrono::steady_clock;
    clock::time_point start_ = clock::now();
};

/// A leaf of `divide`: some ten microseconds of arithmetic that nothing can shorten.
inline std::uint64_t compute(std::uint64_t x)
{
    x += 1;
    for (int i = 0; i < 5000; ++i) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    return x;
}

/// The sum over the leaves of `divide`: each half is a fiber's, `fork(left, right)` runs
/// both functions and adds what they return.
template <class Fork>
std::uint64_t divide(std::size_t first, std::size_t leaves, Fork const& fork)
{
    if (leaves == 1)
        return compute(first);
    auto const half = leaves / 2;
    return fork(
        [=, &fork] { return divide(first, half, fork); },
        [=, &fork] { return divide(first + half, leaves - half, fork); });
}

/// Runs `divide`, twice, since the first time makes the fibers.
template <class Fork>
result divide(options const& o, Fork const& fork)
{
    auto const expected = divide(0, o.count, fork);
    stopwatch watch;
    if (divide(0, o.count, fork) != expected)
        throw std::runtime_error("divide: wrong sum");
    return {watch.ms()};
}

/// One of the fibers of `hog` that never stop computing: until told to, or for two
/// seconds, so that what cannot help it comes to an end.
inline void spin(std::atomic<bool> const& over)
{
    for (stopwatch watch; !over.load(std::memory_order_relaxed) && watch.ms() < 2000;)
        ;
}

/// The fiber of `hog` that ticks each millisecond, by `sleep_until`: the result is
/// how late its ticks come.
template <class SleepUntil>
result tick(options const& o, SleepUntil sleep_until)
{
    using clock = std::chrono::steady_clock;
    std::vector<double> late;
    late.reserve(o.count);
    auto const start = clock::now();
    for (std::size_t i = 1; i <= o.count; ++i) {
        auto const due = start + i * std::chrono::milliseconds(1);
        sleep_until(due);
        late.push_back(std::chrono::duration<double, std::micro>(clock::now() - due).count());
    }
    std::sort(late.begin(), late.end());
    return {late[late.size() * 99 / 100], {{"p50_us", late[late.size() / 2]}}};
}

/// Blocks the thread in the kernel.
void sleep_in_kernel(std::chrono::nanoseconds how_long);

/// A system call that does next to nothing.
void system_call();

/// What `call_blocking` adds to the system call in the function that it is given.
template <class CallBlocking>
result blocking_cost(options const& o, CallBlocking call_blocking)
{
    stopwatch watch;
    for (std::size_t i = 0; i < o.count; ++i)
        system_call();
    auto const alone = watch.ns();
    for (std::size_t i = 0; i < o.count; ++i)
        call_blocking([] { system_call(); });
    return {(watch.ns() - 2 * alone) / static_cast<double>(o.count)};
}

/// What this process has of memory, in bytes.
struct memory {
    double resident;
    double page_tables;
    double peak;

    static memory now();
};

/// The result of `parked`. `us` is the time to create, park, wake and finish
/// all fibers, less the time to read the memory in between.
result parked_result(options const&, double us, memory const& before, memory const& while_parked);

} // namespace bench

#endif // SPINDLE_TEST_BENCH_BENCH_HPP
