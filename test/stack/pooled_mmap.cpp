//
// stack/pooled_mmap.cpp
// ~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE stack.pooled_mmap
#include <spindle/error.hpp>
#include <spindle/stack/pooled_mmap.hpp>
#include <spindle/stack/statistics.hpp>

#include <boost/context/fiber.hpp>
#include <boost/fiber/fiber.hpp>
#include <boost/fiber/operations.hpp>
#include <boost/system/system_error.hpp>
#include <boost/test/unit_test.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

using spindle::stack::get_statistics;
using spindle::stack::pooled_mmap;

namespace {

constexpr std::size_t kib = 1024;

#if defined(__GNUC__)
__attribute__((noinline))
#endif
std::size_t
dig(std::size_t bytes)
{
    char volatile frame[kib];
    frame[0] = static_cast<char>(bytes);
    return bytes < kib ? std::size_t(frame[0] != 0) : dig(bytes - kib) + std::size_t(frame[0] == 1);
}

struct nothing_left {
    ~nothing_left() { BOOST_TEST(get_statistics().in_use == 0u); }
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(allocator, nothing_left)

BOOST_AUTO_TEST_CASE(is_copyable_and_small)
{
    static_assert(std::is_copy_constructible_v<pooled_mmap>);
    static_assert(std::is_copy_assignable_v<pooled_mmap>);
    static_assert(std::is_nothrow_move_constructible_v<pooled_mmap>);
    BOOST_TEST(sizeof(pooled_mmap) == sizeof(std::size_t));
}

BOOST_AUTO_TEST_CASE(gives_256_kib_by_default)
{
    pooled_mmap stacks;
    auto sctx = stacks.allocate();
    BOOST_TEST(sctx.size == 256 * kib);
    BOOST_TEST(reinterpret_cast<std::uintptr_t>(sctx.sp) % 256 == 0u);
    std::memset(static_cast<char*>(sctx.sp) - sctx.size, 1, sctx.size);
    stacks.deallocate(sctx);
}

BOOST_AUTO_TEST_CASE(a_copy_may_give_back)
{
    pooled_mmap stacks(20 * kib);
    auto sctx = stacks.allocate();
    BOOST_TEST(sctx.size == 32 * kib);
    auto* const sp = sctx.sp;
    pooled_mmap copy(stacks);
    copy.deallocate(sctx);
    auto again = stacks.allocate();
    BOOST_TEST(again.sp == sp);
    std::thread([&] { pooled_mmap(32 * kib).deallocate(again); }).join();
}

BOOST_AUTO_TEST_CASE(reports_errors_when_it_allocates)
{
    pooled_mmap tiny(1);
    BOOST_CHECK_THROW(static_cast<void>(tiny.allocate()), boost::system::system_error);
    spindle::detail::stack_pool::fail_next_maps(1);
    pooled_mmap large(std::size_t{1} << 30);
    BOOST_CHECK_EXCEPTION(
        static_cast<void>(large.allocate()), boost::system::system_error, [](auto const& e) {
            return e.code() == spindle::errc::no_stack_memory;
        });
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(fibers, nothing_left)

BOOST_AUTO_TEST_CASE(run_on_pooled_stacks)
{
    //! [pooled_mmap]
    int answer = 0;
    boost::fibers::fiber f(std::allocator_arg, spindle::stack::pooled_mmap(), [&] { answer = 42; });
    f.join();
    //! [pooled_mmap]
    BOOST_TEST(answer == 42);
    boost::this_fiber::yield(); // the dispatcher frees what has ended
}

BOOST_AUTO_TEST_CASE(may_use_the_whole_size)
{
    std::size_t sum = 0;
    for (std::size_t const size : {64 * kib, 256 * kib, 4096 * kib}) {
        boost::fibers::fiber f(
            std::allocator_arg, pooled_mmap(size), [&sum, size] { sum += dig(size / 2); });
        f.join();
    }
    BOOST_TEST(sum != std::size_t(-1));
    boost::this_fiber::yield();
}

BOOST_AUTO_TEST_CASE(reuse_their_stacks)
{
    auto const before = get_statistics();
    for (int round = 0; round != 100; ++round) {
        std::vector<boost::fibers::fiber> all;
        for (int i = 0; i != 10; ++i)
            all.emplace_back(
                std::allocator_arg, pooled_mmap(128 * kib), [] { boost::this_fiber::yield(); });
        for (auto& f : all)
            f.join();
        boost::this_fiber::yield();
    }
    BOOST_TEST(get_statistics().slots - before.slots <= 30u);
}

BOOST_AUTO_TEST_CASE(are_boost_context_fibers_as_well)
{
    int steps = 0;
    boost::context::fiber f(
        std::allocator_arg, pooled_mmap(64 * kib), [&](boost::context::fiber&& back) {
            ++steps;
            back = std::move(back).resume();
            ++steps;
            return std::move(back);
        });
    f = std::move(f).resume();
    BOOST_TEST(steps == 1);
    f = std::move(f).resume();
    BOOST_TEST(steps == 2);
}

BOOST_AUTO_TEST_SUITE_END()
