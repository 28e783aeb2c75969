//
// base/spin_lock.cpp
// ~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE base.spin_lock
#include <spindle/detail/base/spin_lock.hpp>

#include <boost/test/unit_test.hpp>

#include <mutex>
#include <thread>
#include <vector>

namespace {

using spindle::detail::spin_lock;

} // namespace

BOOST_AUTO_TEST_SUITE(spinning)

BOOST_AUTO_TEST_CASE(is_refused_while_held)
{
    spin_lock lock;
    BOOST_TEST(lock.try_lock());
    BOOST_TEST(!lock.try_lock());
    lock.unlock();
    BOOST_TEST(lock.try_lock());
    lock.unlock();
}

// More threads than cores: the holder is preempted now and then, and the
// others must let it run.
BOOST_AUTO_TEST_CASE(admits_one_thread_at_a_time)
{
    constexpr int rounds = 20'000;
    constexpr int threads = 4;
    spin_lock lock;
    int counter = 0; // plain on purpose: TSan sees a lost release here
    std::vector<std::thread> pool;
    for (int t = 0; t != threads; ++t)
        pool.emplace_back([&] {
            for (int i = 0; i != rounds; ++i) {
                std::lock_guard<spin_lock> guard(lock);
                ++counter;
            }
        });
    for (auto& t : pool)
        t.join();
    BOOST_TEST(counter == rounds * threads);
}

BOOST_AUTO_TEST_SUITE_END()
