//
// base/thread_random.cpp
// ~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE base.thread_random
#include <spindle/detail/base/thread_random.hpp>

#include <boost/test/unit_test.hpp>

#include <set>
#include <thread>
#include <vector>

using namespace spindle::detail;

namespace {

std::vector<std::uint32_t> some()
{
    std::vector<std::uint32_t> all;
    for (int i = 0; i != 10; ++i)
        all.push_back(thread_random_bits());
    return all;
}

} // namespace

BOOST_AUTO_TEST_CASE(threads_have_their_own)
{
    std::set<std::vector<std::uint32_t>> all{some(), some()};
    for (int i = 0; i != 3; ++i)
        std::thread([&] { all.insert(some()); }).join();
    BOOST_TEST(all.size() == 5u);
}

BOOST_AUTO_TEST_CASE(a_seed_repeats_them)
{
    seed_thread_random(7);
    auto const first = some();
    seed_thread_random(8);
    BOOST_TEST((some() != first));
    std::thread([] { seed_thread_random(7); }).join();
    BOOST_TEST((some() != first));
    seed_thread_random(7);
    BOOST_TEST((some() == first));
}
