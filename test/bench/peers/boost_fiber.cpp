//
// test/bench/peers/boost_fiber.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// The workloads in stock Boost.Fiber, under its own algorithms: round_robin on
// one thread, work_stealing on more. Its idle threads sleep: of shared_work and
// work_stealing, each with and without sleep, that is by far the fastest with
// channels and among the fastest in the rest.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <boost/fiber/all.hpp>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "../bench.hpp"

namespace {

namespace fibers = boost::fibers;
using bench::options;
using bench::result;
using bench::stopwatch;

// The threads that run fibers: the constructing one and others.
class thread_pool {
public:
    explicit thread_pool(unsigned threads)
    {
        if (threads == 1)
            return; // round_robin is the default
        for (unsigned i = 1; i < threads; ++i)
            threads_.emplace_back([this, threads] {
                steal(threads);
                std::unique_lock lock(mutex_);
                finished_.wait(lock, [this] { return finishing_; });
            });
        steal(threads);
    }

    ~thread_pool()
    {
        {
            std::lock_guard lock(mutex_);
            finishing_ = true;
        }
        finished_.notify_all();
    }

private:
    // It returns when all `threads` have called it.
    static void steal(unsigned threads)
    {
        fibers::use_scheduling_algorithm<fibers::algo::work_stealing>(threads, true);
    }

    fibers::mutex mutex_;
    fibers::condition_variable finished_;
    bool finishing_ = false;
    std::vector<std::jthread> threads_;
};

template <class Function>
void go(Function function)
{
    fibers::fiber(
        fibers::launch::post,
        std::allocator_arg,
        fibers::fixedsize_stack(bench::stack_size),
        std::move(function))
        .detach();
}

// Boost.Fiber has none. It must outlive the thread_pool: wait() may return
// while the last done() has not.
class wait_group {
public:
    void add(std::size_t n) { left_.fetch_add(n, std::memory_order_relaxed); }

    void done()
    {
        if (left_.fetch_sub(1, std::memory_order_acq_rel) != 1)
            return;
        std::lock_guard lock(mutex_);
        none_left_.notify_one();
    }

    void wait()
    {
        std::unique_lock lock(mutex_);
        none_left_.wait(lock, [this] { return left_.load(std::memory_order_acquire) == 0; });
    }

private:
    std::atomic<std::size_t> left_{0};
    fibers::mutex mutex_;
    fibers::condition_variable none_left_;
};

// Runs body(0) to body(n - 1) in fibers of `threads` threads and waits.
template <class Body>
void parallel(unsigned threads, std::size_t n, Body body)
{
    wait_group group;
    group.add(n);
    thread_pool pool(threads);
    for (std::size_t i = 0; i < n; ++i)
        go([&, i] {
            body(i);
            group.done();
        });
    group.wait();
}

result spawn(options const& o)
{
    wait_group group;
    thread_pool pool(o.threads);
    stopwatch watch;
    for (bench::waves waves{o.count}; auto const n = waves.next();) {
        group.add(n);
        for (std::size_t i = 0; i < n; ++i)
            go([&] { group.done(); });
        group.wait();
    }
    return {watch.ns() / static_cast<double>(o.count)};
}

result yield(options const& o)
{
    stopwatch watch;
    parallel(o.threads, bench::wave, [&](std::size_t) {
        for (std::size_t i = 0; i < o.count / bench::wave; ++i)
            boost::this_fiber::yield();
    });
    return {watch.ns() / static_cast<double>(o.count)};
}

result hand_over(options const& o)
{
    bench::require_one_thread(o);
    stopwatch watch;
    parallel(1, 2, [&](std::size_t) {
        for (std::size_t i = 0; i < o.count / 2; ++i)
            boost::this_fiber::yield();
    });
    return {watch.ns() / static_cast<double>(o.count)};
}

result pingpong(options const& o)
{
    fibers::unbuffered_channel<std::size_t> ping;
    fibers::unbuffered_channel<std::size_t> pong;
    stopwatch watch;
    parallel(o.threads, 2, [&](std::size_t side) {
        for (std::size_t i = 0; i < o.count; ++i) {
            if (side == 0) {
                ping.push(i);
                pong.value_pop();
            } else {
                pong.push(ping.value_pop());
            }
        }
    });
    return {watch.ns() / static_cast<double>(o.count)};
}

// As many producers as consumers on one channel.
result buffered(options const& o, std::size_t pairs)
{
    fibers::buffered_channel<std::size_t> channel(bench::channel_capacity);
    stopwatch watch;
    parallel(o.threads, 2 * pairs, [&](std::size_t i) {
        for (std::size_t k = 0; k < o.count / pairs; ++k) {
            if (i < pairs)
                channel.push(k);
            else
                channel.value_pop();
        }
    });
    return {watch.ns() / static_cast<double>(o.count)};
}

template <class Yield>
result mutex(options const& o, Yield yield)
{
    fibers::mutex m;
    std::size_t counter = 0;
    stopwatch watch;
    parallel(
        o.threads, bench::lockers, [&](std::size_t) { bench::lock_often(o, m, counter, yield); });
    return {watch.ns() / static_cast<double>(o.count)};
}

result parked(options const& o)
{
    auto const before = bench::memory::now();
    fibers::unbuffered_channel<int> gate;
    std::atomic<std::size_t> arrived{0};
    wait_group group;
    group.add(o.count);
    thread_pool pool(o.threads);

    stopwatch parking;
    for (std::size_t i = 0; i < o.count; ++i)
        go([&] {
            arrived.fetch_add(1, std::memory_order_relaxed);
            int value;
            gate.pop(value);
            group.done();
        });
    while (arrived.load(std::memory_order_relaxed) < o.count)
        boost::this_fiber::yield();
    auto us = parking.us();

    auto const while_parked = bench::memory::now();

    stopwatch waking;
    gate.close();
    group.wait();
    us += waking.us();
    return bench::parked_result(o, us, before, while_parked);
}

result timers(options const& o)
{
    stopwatch watch;
    parallel(
        o.threads, o.count, [](std::size_t i) { boost::this_fiber::sleep_for(bench::nap(i)); });
    return {watch.ms()};
}

result divide(options const& o)
{
    thread_pool pool(o.threads);
    return bench::divide(o, [](auto left, auto right) {
        auto sum = fibers::async(
            fibers::launch::post, std::allocator_arg, fibers::fixedsize_stack(bench::stack_size),
            left);
        auto const rest = right();
        return sum.get() + rest;
    });
}

result hog(options const& o)
{
    std::atomic<bool> over{false};
    wait_group hogs;
    hogs.add(o.threads);
    thread_pool pool(o.threads);
    for (unsigned i = 0; i < o.threads; ++i)
        go([&] {
            bench::spin(over);
            hogs.done();
        });
    auto const r
        = bench::tick(o, [](auto when) { boost::this_fiber::sleep_until(when); });
    over.store(true, std::memory_order_relaxed);
    hogs.wait();
    return r;
}

} // namespace

int main(int argc, char** argv)
{
    return bench::run(
        argc,
        argv,
        "boost_fiber",
        {
            {"spawn", spawn},
            {"yield", yield},
            {"switch", hand_over},
            {"pingpong", pingpong},
            {"buffered", [](options const& o) { return buffered(o, 1); }},
            {"buffered44", [](options const& o) { return buffered(o, 4); }},
            {"mutex", [](options const& o) { return mutex(o, [] {}); }},
            {"mutex_yield",
             [](options const& o) { return mutex(o, [] { boost::this_fiber::yield(); }); }},
            {"divide", divide},
            {"parked", parked},
            {"timers", timers},
            {"hog", hog},
        });
}
