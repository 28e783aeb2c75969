//
// stack/os.cpp
// ~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE stack.os
#include <spindle/detail/stack/os.hpp>

#include <boost/test/unit_test.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <vector>

using namespace spindle::detail;
using spindle::stack::guard_kind;

namespace {

// The kernel is asked to read there, so that no fault happens.
bool accessible(void const* p)
{
    errno = 0;
    return ::access(static_cast<char const*>(p), F_OK) == 0 || errno != EFAULT;
}

std::size_t resident_pages(void* p, std::size_t bytes)
{
    std::vector<unsigned char> pages(bytes / os_page_size());
    BOOST_TEST_REQUIRE(::mincore(p, bytes, pages.data()) == 0);
    std::size_t n = 0;
    for (auto const page : pages)
        n += page & 1u;
    return n;
}

// Gives the means back to what the system offers.
struct means_fixture {
    ~means_fixture() { os_set_guard_means(guard_kind::madvise); }
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(os, means_fixture)

BOOST_AUTO_TEST_CASE(page_size_is_a_power_of_two)
{
    auto const page = os_page_size();
    BOOST_TEST(page >= 4096u);
    BOOST_TEST((page & (page - 1)) == 0u);
}

BOOST_AUTO_TEST_CASE(reserves_at_the_alignment)
{
    for (std::size_t alignment = os_page_size(); alignment <= 64u << 20; alignment *= 4) {
        void* const p = os_reserve(alignment, alignment);
        BOOST_TEST_REQUIRE(p != nullptr);
        BOOST_TEST(reinterpret_cast<std::uintptr_t>(p) % alignment == 0u);
        std::memset(p, 1, os_page_size());
        os_release(p, alignment);
    }
}

BOOST_AUTO_TEST_CASE(a_page_is_committed_when_it_is_touched)
{
    std::size_t const bytes = 1u << 20;
    auto* const p = static_cast<char*>(os_reserve(bytes, os_page_size()));
    BOOST_TEST_REQUIRE(p != nullptr);
    BOOST_TEST(resident_pages(p, bytes) == 0u);
    p[bytes - 1] = 1;
    BOOST_TEST(resident_pages(p, bytes) == 1u);
    os_release(p, bytes);
}

BOOST_AUTO_TEST_CASE(decommit_gives_the_pages_back)
{
    std::size_t const bytes = 1u << 20;
    auto* const p = static_cast<char*>(os_reserve(bytes, os_page_size()));
    BOOST_TEST_REQUIRE(p != nullptr);
    std::memset(p, 1, bytes);
    BOOST_TEST(resident_pages(p, bytes) == bytes / os_page_size());
    BOOST_TEST(os_decommit(p, bytes));
    BOOST_TEST(resident_pages(p, bytes) == 0u);
    BOOST_TEST(int(p[bytes / 2]) == 0);
    os_release(p, bytes);
}

BOOST_AUTO_TEST_CASE(a_guard_stops_access_by_either_means)
{
    auto const page = os_page_size();
    for (auto const kind : {guard_kind::madvise, guard_kind::mprotect}) {
        os_set_guard_means(kind);
        auto* const p = static_cast<char*>(os_reserve(8 * page, page));
        BOOST_TEST_REQUIRE(p != nullptr);
        auto const got = os_guard(p + 2 * page, 2 * page);
        BOOST_TEST((got == os_guard_means()));
        BOOST_TEST((kind == guard_kind::madvise || got == guard_kind::mprotect));
        BOOST_TEST(accessible(p + 2 * page - 1));
        BOOST_TEST(!accessible(p + 2 * page));
        BOOST_TEST(!accessible(p + 4 * page - 1));
        BOOST_TEST(accessible(p + 4 * page));
        // It outlives the pages around it.
        std::memset(p, 1, 2 * page);
        BOOST_TEST(os_decommit(p, 8 * page));
        BOOST_TEST(!accessible(p + 2 * page));
        BOOST_TEST(accessible(p));
        os_release(p, 8 * page);
    }
}

BOOST_AUTO_TEST_CASE(a_row_is_guarded_as_far_as_it_says)
{
    auto const page = os_page_size();
    constexpr std::size_t count = 100;
    for (auto const kind : {guard_kind::madvise, guard_kind::mprotect}) {
        os_set_guard_means(kind);
        auto* const p = static_cast<char*>(os_reserve(count * 4 * page, page));
        BOOST_TEST_REQUIRE(p != nullptr);
        auto const done = os_guard_row(p + page, 2 * page, 4 * page, count);
        BOOST_TEST(done <= count);
        if (os_guard_means() != guard_kind::madvise)
            BOOST_TEST(done == 0u);
        BOOST_TEST_MESSAGE(done << " of " << count << " guards in a row");
        for (std::size_t i = 0; i != count; ++i) {
            auto* const slot = p + i * 4 * page;
            BOOST_TEST(accessible(slot + page - 1));
            BOOST_TEST(accessible(slot + page) == (i >= done));
            BOOST_TEST(accessible(slot + 3 * page - 1) == (i >= done));
            BOOST_TEST(accessible(slot + 3 * page));
        }
        os_release(p, count * 4 * page);
    }
}

BOOST_AUTO_TEST_CASE(no_means_no_guard)
{
    auto const page = os_page_size();
    os_set_guard_means(guard_kind::none);
    BOOST_TEST((os_guard_means() == guard_kind::none));
    void* const p = os_reserve(page, page);
    BOOST_TEST_REQUIRE(p != nullptr);
    BOOST_TEST((os_guard(p, page) == guard_kind::none));
    BOOST_TEST(accessible(p));
    os_release(p, page);
}

BOOST_AUTO_TEST_CASE(locked_memory_is_guarded_by_mprotect)
{
    auto const page = os_page_size();
    void* const p = os_reserve(page, page);
    BOOST_TEST_REQUIRE(p != nullptr);
    // A sanitizer's mlock() does nothing.
    if (::syscall(SYS_mlock, p, page) == 0)
        BOOST_TEST((os_guard(p, page) == guard_kind::mprotect));
    else
        BOOST_TEST_MESSAGE("no permission to lock memory");
    os_release(p, page);
}

BOOST_AUTO_TEST_CASE(refuses_as_often_as_told)
{
    auto const page = os_page_size();
    os_refuse_reserves(2);
    BOOST_TEST(os_reserve(page, page) == nullptr);
    BOOST_TEST(os_reserve(page, page) == nullptr);
    void* const p = os_reserve(page, page);
    BOOST_TEST(p != nullptr);
    os_release(p, page);
}

BOOST_AUTO_TEST_CASE(more_than_there_is_is_refused)
{
    BOOST_TEST(os_reserve(std::size_t(-1) / 4 & ~(os_page_size() - 1), os_page_size()) == nullptr);
}

BOOST_AUTO_TEST_SUITE_END()
