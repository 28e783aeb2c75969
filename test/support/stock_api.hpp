//
// support/stock_api.hpp
// ~~~~~~~~~~~~~~~~~~~~~
// All of Boost.Fiber's own API, for an algorithm to run under.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_TEST_SUPPORT_STOCK_API_HPP
#define SPINDLE_TEST_SUPPORT_STOCK_API_HPP

#include <boost/fiber/all.hpp>
#include <boost/test/unit_test.hpp>

#include <atomic>
#include <chrono>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

namespace spindle_test {

namespace bf = boost::fibers;

// Each takes how fibers are launched, and is called on a main context or in a
// fiber. What fibers find is counted: the framework is for one thread.

inline void fibers_join(bf::launch how)
{
    std::atomic<int> ran{0};
    std::vector<bf::fiber> fibers;
    for (int i = 0; i != 50; ++i)
        fibers.emplace_back(how, [&ran, i] {
            for (int n = 0; n != i % 5; ++n)
                boost::this_fiber::yield();
            bf::fiber([&ran] { ++ran; }).join(); // from a fiber
            ++ran;
        });
    for (auto& f : fibers)
        f.join();
    BOOST_TEST(ran == 100);
}

template <class Mutex>
void mutex_excludes(bf::launch how)
{
    Mutex m;
    int plain = 0;
    std::vector<bf::fiber> fibers;
    for (int i = 0; i != 10; ++i)
        fibers.emplace_back(how, [&] {
            for (int n = 0; n != 20; ++n) {
                std::lock_guard guard(m);
                auto const was = plain;
                if (n % 4 == 0)
                    boost::this_fiber::yield();
                plain = was + 1;
            }
        });
    for (auto& f : fibers)
        f.join();
    BOOST_TEST(plain == 200);
}

inline void recursive_mutexes_recur(bf::launch how)
{
    bf::recursive_mutex m;
    bf::fiber(how, [&] {
        std::lock_guard first(m);
        std::lock_guard second(m);
    }).join();
    BOOST_TEST(m.try_lock());
    m.unlock();
}

inline void timed_mutexes_time_out(bf::launch how)
{
    bf::timed_mutex m;
    m.lock();
    std::atomic<int> refused{0};
    bf::fiber f(how, [&] { refused += !m.try_lock_for(std::chrono::milliseconds(1)); });
    f.join();
    m.unlock();
    BOOST_TEST(refused == 1);
}

inline void condition_variables_notify(bf::launch how)
{
    bf::mutex m;
    bf::condition_variable changed;
    int turn = 0;
    std::vector<bf::fiber> fibers;
    for (int i = 0; i != 10; ++i)
        fibers.emplace_back(how, [&, i] {
            std::unique_lock lock(m);
            changed.wait(lock, [&] { return turn == i; });
            ++turn;
            changed.notify_all();
        });
    for (auto& f : fibers)
        f.join();
    std::unique_lock lock(m);
    BOOST_TEST(turn == 10);
    BOOST_TEST(
        (changed.wait_for(lock, std::chrono::milliseconds(1)) == bf::cv_status::timeout));
}

inline void futures_carry_values_and_exceptions(bf::launch how)
{
    BOOST_TEST(bf::async(how, [] { return 1; }).get() == 1);
    BOOST_CHECK_THROW(
        bf::async(how, [] { throw std::runtime_error("no"); }).get(), std::runtime_error);
    bf::packaged_task<int(int)> task([](int i) { return i + 1; });
    auto result = task.get_future();
    bf::fiber(how, std::move(task), 41).join();
    BOOST_TEST(result.get() == 42);
    bf::promise<int> p;
    auto shared = p.get_future().share();
    std::atomic<int> sum{0};
    std::vector<bf::fiber> fibers;
    for (int i = 0; i != 5; ++i)
        fibers.emplace_back(how, [shared, &sum] { sum += shared.get(); });
    p.set_value(3);
    for (auto& f : fibers)
        f.join();
    BOOST_TEST(sum == 15);
}

inline void plain_threads_fulfil_futures(bf::launch how)
{
    for (int i = 0; i != 20; ++i) {
        bf::promise<int> p;
        auto f = p.get_future();
        std::thread t([&] {
            if (i % 2)
                std::this_thread::sleep_for(std::chrono::microseconds(200));
            p.set_value(i);
        });
        BOOST_TEST(bf::async(how, [&] { return f.get(); }).get() == i);
        t.join();
    }
    bf::promise<int> p;
    auto f = p.get_future();
    std::thread t([&] { p.set_value(7); });
    BOOST_TEST(f.get() == 7); // the caller itself
    t.join();
}

template <class Channel, class... Args>
void channels_carry_all(bf::launch how, Args... args)
{
    Channel ch{args...};
    std::atomic<int> sum{0};
    std::vector<bf::fiber> receivers;
    for (int i = 0; i != 3; ++i)
        receivers.emplace_back(how, [&] {
            for (int v : ch)
                sum += v;
        });
    std::vector<bf::fiber> senders;
    for (int i = 0; i != 3; ++i)
        senders.emplace_back(how, [&] {
            for (int v = 1; v <= 100; ++v)
                ch.push(v);
        });
    for (auto& f : senders)
        f.join();
    ch.close();
    for (auto& f : receivers)
        f.join();
    BOOST_TEST(sum == 3 * 5050);
}

inline void barriers_hold(bf::launch how)
{
    bf::barrier b(5);
    std::atomic<int> before{0}, early{0};
    std::vector<bf::fiber> fibers;
    for (int i = 0; i != 5; ++i)
        fibers.emplace_back(how, [&] {
            ++before;
            b.wait();
            early += before != 5;
        });
    for (auto& f : fibers)
        f.join();
    BOOST_TEST(early == 0);
}

inline void fiber_specific_pointers_are_each_fibers_own(bf::launch how)
{
    std::atomic<int> wrong{0}, cleaned{0};
    {
        static std::atomic<int>* count = nullptr;
        count = &cleaned;
        // Never destroyed: that would ask for a fiber when the thread's are gone.
        static auto& data = *new bf::fiber_specific_ptr<int>([](int* p) {
            ++*count;
            delete p;
        });
        std::vector<bf::fiber> fibers;
        for (int i = 0; i != 10; ++i)
            fibers.emplace_back(how, [&, i] {
                wrong += data.get() != nullptr;
                data.reset(new int(i));
                boost::this_fiber::yield();
                wrong += *data != i;
            });
        for (auto& f : fibers)
            f.join();
    }
    BOOST_TEST(wrong == 0);
    // A fiber tells those who join it before it cleans up.
    auto const end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (cleaned != 10 && std::chrono::steady_clock::now() < end)
        boost::this_fiber::yield();
    BOOST_TEST(cleaned == 10);
}

inline void sleeps_last_at_least_as_long(bf::launch how)
{
    std::atomic<int> early{0};
    std::vector<bf::fiber> fibers;
    for (int i = 0; i != 10; ++i)
        fibers.emplace_back(how, [&, i] {
            auto const until
                = std::chrono::steady_clock::now() + std::chrono::microseconds(100 * i);
            boost::this_fiber::sleep_until(until);
            early += std::chrono::steady_clock::now() < until;
        });
    for (auto& f : fibers)
        f.join();
    BOOST_TEST(early == 0);
    auto const until = std::chrono::steady_clock::now() + std::chrono::milliseconds(1);
    boost::this_fiber::sleep_until(until);
    BOOST_TEST((std::chrono::steady_clock::now() >= until));
}

// Without other threads, where none may wake a fiber.
inline void all_of_boost_fiber(bool with_threads = true)
{
    for (auto const how : {bf::launch::post, bf::launch::dispatch})
        BOOST_TEST_CONTEXT((how == bf::launch::post ? "launch::post" : "launch::dispatch"))
        {
            fibers_join(how);
            mutex_excludes<bf::mutex>(how);
            mutex_excludes<bf::timed_mutex>(how);
            mutex_excludes<bf::recursive_mutex>(how);
            mutex_excludes<bf::recursive_timed_mutex>(how);
            recursive_mutexes_recur(how);
            timed_mutexes_time_out(how);
            condition_variables_notify(how);
            futures_carry_values_and_exceptions(how);
            if (with_threads)
                plain_threads_fulfil_futures(how);
            channels_carry_all<bf::buffered_channel<int>>(how, 4u);
            channels_carry_all<bf::unbuffered_channel<int>>(how);
            barriers_hold(how);
            fiber_specific_pointers_are_each_fibers_own(how);
            sleeps_last_at_least_as_long(how);
        }
}

} // namespace spindle_test

#endif // SPINDLE_TEST_SUPPORT_STOCK_API_HPP
