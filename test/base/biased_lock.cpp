//
// base/biased_lock.cpp
// ~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE base.biased_lock
#include <spindle/detail/base/biased_lock.hpp>

#include <boost/test/unit_test.hpp>

#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace {

using spindle::detail::biased_lock;

// Plain on purpose: TSan sees a lost release here.
struct counter {
    explicit counter(std::uint8_t patience) : lock(patience) {}

    void add(int times)
    {
        for (int i = 0; i != times; ++i) {
            std::lock_guard guard(lock);
            ++value;
        }
    }

    biased_lock lock;
    int value = 0;
};

} // namespace

BOOST_AUTO_TEST_CASE(threads_have_tokens_of_their_own)
{
    auto const here = spindle::detail::this_thread_token();
    BOOST_TEST(here != 0u);
    BOOST_TEST(here % 2 == 0u);
    BOOST_TEST(here == spindle::detail::this_thread_token());
    std::uintptr_t there = here;
    std::thread([&] { there = spindle::detail::this_thread_token(); }).join();
    BOOST_TEST(here != there);
}

BOOST_AUTO_TEST_CASE(one_thread_takes_it_for_ever)
{
    counter c(3);
    c.add(100'000);
    BOOST_TEST(c.value == 100'000);
}

// The friend has ended, or is still there: the next one takes it from it.
BOOST_AUTO_TEST_CASE(a_friend_gives_it_up)
{
    counter c(3);
    std::thread([&] { c.add(1000); }).join();
    c.add(1000);
    std::thread([&] { c.add(1000); }).join();
    c.add(1000);
    BOOST_TEST(c.value == 4000);
}

// Friends that come and go all the time, on more threads than cores.
BOOST_AUTO_TEST_CASE(admits_one_thread_at_a_time)
{
    constexpr int rounds = 20'000;
    constexpr int threads = 4;
    for (std::uint8_t patience = 0; patience != 7; ++patience) {
        counter c(patience);
        std::vector<std::thread> pool;
        for (int t = 0; t != threads; ++t)
            pool.emplace_back([&] { c.add(rounds); });
        for (auto& t : pool)
            t.join();
        BOOST_TEST(c.value == rounds * threads);
    }
}

// A thread that takes it almost always, and one that comes by: the case that it
// is made for.
BOOST_AUTO_TEST_CASE(a_rare_guest_among_a_friends_turns)
{
    counter c(2);
    std::thread guest([&] {
        for (int i = 0; i != 200; ++i) {
            c.add(1);
            std::this_thread::yield();
        }
    });
    c.add(500'000);
    guest.join();
    BOOST_TEST(c.value == 500'200);
}

// Two at a time, in the same order, as a select holds them.
BOOST_AUTO_TEST_CASE(several_at_once)
{
    counter a(2), b(2);
    auto const both = [&] {
        for (int i = 0; i != 20'000; ++i) {
            std::lock_guard first(a.lock);
            std::lock_guard second(b.lock);
            ++a.value;
            ++b.value;
        }
    };
    std::thread other(both);
    both();
    other.join();
    BOOST_TEST(a.value == 40'000);
    BOOST_TEST(b.value == 40'000);
}
