//
// stack/statistics.cpp
// ~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE stack.statistics
#include <spindle/stack/statistics.hpp>

#include <spindle/detail/stack/os.hpp>
#include <spindle/detail/stack/pool.hpp>

#include <boost/test/unit_test.hpp>

#include <cstddef>
#include <sstream>
#include <vector>

using spindle::detail::stack_block;
using spindle::detail::stack_pool;
using spindle::stack::get_statistics;
using spindle::stack::guard_kind;

namespace {

constexpr std::size_t kib = 1024;

} // namespace

BOOST_AUTO_TEST_CASE(nothing_is_mapped_before_the_first_stack)
{
    auto const s = get_statistics();
    BOOST_TEST(s.mapped_bytes == 0u);
    BOOST_TEST(s.maps == 0u);
    BOOST_TEST(s.slots == 0u);
    BOOST_TEST(s.high_water == 0u);
}

BOOST_AUTO_TEST_CASE(counts_what_is_out_and_what_is_idle)
{
    auto& pool = stack_pool::instance();
    std::vector<stack_block> blocks;
    for (int i = 0; i != 5; ++i)
        blocks.push_back(pool.allocate(64 * kib));
    auto s = get_statistics();
    BOOST_TEST(s.maps == 1u);
    BOOST_TEST(s.mapped_bytes >= 5 * 128 * kib);
    auto const slots = s.slots;
    BOOST_TEST(slots >= 5u);
    BOOST_TEST(slots < 10u); // some are made ahead, in proportion
    BOOST_TEST(s.in_use == 5u);
    BOOST_TEST(s.idle == slots - 5);
    BOOST_TEST(s.high_water == 5u);

    for (int i = 0; i != 3; ++i) {
        pool.deallocate(blocks.back());
        blocks.pop_back();
    }
    s = get_statistics();
    BOOST_TEST(s.in_use == 2u);
    BOOST_TEST(s.idle == slots - 2);
    BOOST_TEST(s.slots == slots);
    BOOST_TEST(s.high_water == 5u);
    BOOST_TEST(s.trimmed == 0u);

    BOOST_TEST(pool.trim(0) == 3u);
    s = get_statistics();
    BOOST_TEST(s.trimmed == 3u);
    BOOST_TEST(s.idle == slots - 2);
    for (auto const& b : blocks)
        pool.deallocate(b);
    BOOST_TEST(get_statistics().in_use == 0u);
}

BOOST_AUTO_TEST_CASE(counts_guards_by_their_kind)
{
    auto& pool = stack_pool::instance();
    auto const before = get_statistics();
    std::vector<stack_block> blocks;
    std::size_t size = 128 * kib; // the first of a size is made alone
    for (auto const kind : {guard_kind::madvise, guard_kind::mprotect, guard_kind::none}) {
        spindle::detail::os_set_guard_means(kind);
        blocks.push_back(pool.allocate(size));
        size *= 2;
    }
    spindle::detail::os_set_guard_means(guard_kind::madvise);
    auto const after = get_statistics();
    bool const has_madvise = after.guard == guard_kind::madvise;
    BOOST_TEST(after.guarded_by_madvise - before.guarded_by_madvise == (has_madvise ? 1u : 0u));
    BOOST_TEST(after.guarded_by_mprotect - before.guarded_by_mprotect == (has_madvise ? 1u : 2u));
    BOOST_TEST(after.unguarded - before.unguarded == 1u);
    for (auto const& b : blocks)
        pool.deallocate(b);
}

BOOST_AUTO_TEST_CASE(can_be_printed)
{
    std::ostringstream out;
    //! [statistics]
    auto const s = spindle::stack::get_statistics();
    out << s.in_use << " stacks in use, " << s.idle << " idle, at most " << s.high_water;
    if (s.unguarded != 0)
        out << ", " << s.unguarded << " without a guard";
    //! [statistics]
    BOOST_TEST(!out.str().empty());
}
