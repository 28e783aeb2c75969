//
// base/asymmetric_barrier.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE base.asymmetric_barrier
#include <spindle/detail/base/asymmetric_barrier.hpp>

#include <boost/test/unit_test.hpp>

#include <atomic>
#include <cstddef>
#include <thread>

#include <sys/wait.h>
#include <unistd.h>

namespace detail = spindle::detail;

namespace {

// Both store, then load. Counts the rounds in which neither saw the other.
std::size_t rounds_lost(std::size_t rounds)
{
    detail::atomic<std::size_t> frequent{0}, rare{0};
    std::atomic<bool> over{false};
    // The frequent side goes on and on; what it saw last, by round of its own.
    struct alignas(64) {
        detail::atomic<std::size_t> round{0}, saw{0};
    } history;
    std::thread often([&] {
        for (std::size_t i = 1; !over.load(std::memory_order_relaxed); ++i) {
            detail::store_then_light_barrier(frequent, i);
            auto const saw = rare.load(std::memory_order_seq_cst);
            history.saw.store(saw, std::memory_order_relaxed);
            history.round.store(i, std::memory_order_release);
        }
    });
    std::size_t lost = 0;
    for (std::size_t r = 1; r <= rounds; ++r) {
        rare.exchange(r, std::memory_order_seq_cst);
        detail::heavy_barrier();
        auto const seen = frequent.load(std::memory_order_seq_cst);
        // The next round of the frequent side, which this side did not see begin,
        // must see this side's store.
        while (history.round.load(std::memory_order_acquire) <= seen)
            std::this_thread::yield();
        if (history.saw.load(std::memory_order_relaxed) < r)
            ++lost;
    }
    over = true;
    often.join();
    return lost;
}

} // namespace

BOOST_AUTO_TEST_CASE(one_of_the_two_sees_the_other)
{
    BOOST_TEST(rounds_lost(3'000) == 0u);
}

BOOST_AUTO_TEST_CASE(works_in_a_child_process)
{
    detail::heavy_barrier();
    auto const child = ::fork();
    BOOST_TEST_REQUIRE(child >= 0);
    if (child == 0) {
        detail::heavy_barrier(); // ends the process where it is refused
        ::_exit(0);
    }
    int status = 0;
    BOOST_TEST(::waitpid(child, &status, 0) == child);
    BOOST_TEST(status == 0);
}
