//
// stack/pool.cpp
// ~~~~~~~~~~~~~~
// The pool is the process's: each case works on a size of its own, or looks at
// differences.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE stack.pool
#include <spindle/config.hpp>
#include <spindle/error.hpp>

#include <spindle/detail/stack/os.hpp>
#include <spindle/detail/stack/pool.hpp>

#include <boost/system/errc.hpp>
#include <boost/system/system_error.hpp>
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <fstream>
#include <mutex>
#include <set>
#include <string>
#include <sys/mman.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

#if defined(SPINDLE_ASAN)
#include <sanitizer/asan_interface.h>
#endif

using namespace spindle::detail;
using spindle::stack::guard_kind;

namespace {

constexpr std::size_t kib = 1024;
constexpr std::size_t mib = 1024 * kib;
constexpr std::size_t gib = 1024 * mib;

stack_pool& pool() { return stack_pool::instance(); }

char* top_of(stack_block b) { return static_cast<char*>(b.top); }

std::uintptr_t address(void const* p) { return reinterpret_cast<std::uintptr_t>(p); }

char* page_floor(char* p) { return p - address(p) % os_page_size(); }

// The first byte above the guard.
char* guard_end(stack_block b)
{
    auto* const end = page_floor(top_of(b) - 1) + os_page_size();
    return end - b.size - os_page_size();
}

bool accessible(void const* p)
{
    errno = 0;
    return ::access(static_cast<char const*>(p), F_OK) == 0 || errno != EFAULT;
}

// Bytes of memory behind the stack.
std::size_t resident(stack_block b)
{
    auto* const low = guard_end(b);
    auto const bytes = std::size_t(page_floor(top_of(b) - 1) + os_page_size() - low);
    std::vector<unsigned char> pages(bytes / os_page_size());
    BOOST_TEST_REQUIRE(::mincore(low, bytes, pages.data()) == 0);
    std::size_t n = 0;
    for (auto const page : pages)
        n += page & 1u;
    return n * os_page_size();
}

std::size_t resident(std::vector<stack_block> const& blocks)
{
    std::size_t sum = 0;
    for (auto const& b : blocks)
        sum += resident(b);
    return sum;
}

std::vector<stack_block> take(std::size_t n, std::size_t size)
{
    std::vector<stack_block> blocks;
    for (std::size_t i = 0; i != n; ++i)
        blocks.push_back(pool().allocate(size));
    return blocks;
}

// An empty block when there is no memory.
stack_block try_allocate(std::size_t size)
{
    try {
        auto const b = pool().allocate(size);
        top_of(b)[-1] = 1;
        return b;
    } catch (boost::system::system_error const&) {
        return {};
    }
}

void give_back(std::vector<stack_block> const& blocks)
{
    for (auto const& b : blocks)
        pool().deallocate(b);
}

void fill(stack_block b, int value) { std::memset(top_of(b) - b.size, value, b.size); }

std::size_t mappings()
{
    std::ifstream maps("/proc/self/maps");
    std::string line;
    std::size_t n = 0;
    while (std::getline(maps, line))
        ++n;
    return n;
}

// No idle stack holds memory; the bound and the guards are as at the start.
struct pool_fixture {
    pool_fixture() { pool().trim(0); }

    ~pool_fixture()
    {
        BOOST_TEST(pool().get_statistics().in_use == in_use);
        stack_pool::fail_next_maps(0);
        pool().set_max_idle(stack_pool::default_max_idle);
        os_set_guard_means(guard_kind::madvise);
    }

    std::size_t in_use = pool().get_statistics().in_use;
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(blocks, pool_fixture)

BOOST_AUTO_TEST_CASE(sizes_are_rounded_up_to_a_power_of_two)
{
    for (auto const& [asked, got] : std::vector<std::pair<std::size_t, std::size_t>>{
             {16 * kib, 16 * kib},
             {16 * kib + 1, 32 * kib},
             {100 * kib, 128 * kib},
             {256 * kib, 256 * kib},
             {33 * mib, 64 * mib},
             {gib, gib}}) {
        auto const b = pool().allocate(asked);
        BOOST_TEST(b.size == got);
        BOOST_TEST(address(b.top) % 256 == 0u);
        top_of(b)[-1] = 1;
        *(top_of(b) - b.size) = 1;
        pool().deallocate(b);
    }
}

BOOST_AUTO_TEST_CASE(sizes_out_of_bounds_are_an_error)
{
    for (std::size_t const size : {std::size_t{0}, 16 * kib - 1, gib + 1, std::size_t(-1)})
        BOOST_CHECK_EXCEPTION(
            pool().allocate(size), boost::system::system_error, [](auto const& e) {
                return e.code() == boost::system::errc::invalid_argument;
            });
}

BOOST_AUTO_TEST_CASE(the_last_one_freed_comes_first)
{
    auto const a = pool().allocate(256 * kib);
    auto const b = pool().allocate(256 * kib);
    BOOST_TEST(a.top != b.top);
    pool().deallocate(a);
    pool().deallocate(b);
    auto const first = pool().allocate(256 * kib);
    auto const second = pool().allocate(256 * kib);
    BOOST_TEST(first.top == b.top);
    BOOST_TEST(second.top == a.top);
    pool().deallocate(second);
    pool().deallocate(first);
}

// Every size class, several slabs of some: the way back from a top to its slot.
BOOST_AUTO_TEST_CASE(every_block_finds_its_slot_again)
{
    std::vector<stack_block> blocks;
    for (std::size_t size = stack_pool::min_size; size <= 128 * mib; size *= 2)
        for (std::size_t n = std::max<std::size_t>(3, 80 * mib / size / 4); n != 0; --n)
            blocks.push_back(pool().allocate(size));
    std::set<void*> tops;
    for (auto const& b : blocks)
        tops.insert(b.top);
    BOOST_TEST(tops.size() == blocks.size());
    give_back(blocks); // asserts that the slot has this top, and is in use
}

BOOST_AUTO_TEST_CASE(blocks_do_not_overlap)
{
    auto blocks = take(100, 32 * kib);
    std::sort(blocks.begin(), blocks.end(), [](auto const& a, auto const& b) {
        return address(a.top) < address(b.top);
    });
    for (std::size_t i = 1; i != blocks.size(); ++i)
        BOOST_TEST(
            address(blocks[i].top) - blocks[i].size >= address(blocks[i - 1].top) + 64 * kib);
    give_back(blocks);
}

BOOST_AUTO_TEST_CASE(tops_are_staggered)
{
    auto const blocks = take(16, 512 * kib);
    std::set<std::size_t> offsets;
    for (auto const& b : blocks)
        offsets.insert(address(b.top) % os_page_size());
    BOOST_TEST(offsets.size() == 8u);
    give_back(blocks);
}

BOOST_AUTO_TEST_CASE(a_page_is_committed_when_it_is_touched)
{
    auto const b = pool().allocate(8 * mib);
    BOOST_TEST(resident(b) == 0u);
    top_of(b)[-1] = 1;
    BOOST_TEST(resident(b) == os_page_size());
    *(top_of(b) - b.size) = 1;
    BOOST_TEST(resident(b) == 2 * os_page_size());
    pool().deallocate(b);
}

BOOST_AUTO_TEST_CASE(at_least_64_kib_below_are_guarded)
{
    for (auto const kind : {guard_kind::madvise, guard_kind::mprotect}) {
        os_set_guard_means(kind);
        for (std::size_t const size : {16 * kib, 64 * kib, mib, 64 * mib}) {
            auto const blocks = take(40, size);
            for (auto const& b : blocks) {
                BOOST_TEST(accessible(guard_end(b)));
                for (std::size_t below = 1; below <= 64 * kib; below += os_page_size())
                    BOOST_TEST(!accessible(guard_end(b) - below));
                BOOST_TEST(!accessible(guard_end(b) - 64 * kib));
            }
            give_back(blocks);
        }
    }
}

BOOST_AUTO_TEST_CASE(a_fault_in_a_guard_leads_to_its_block)
{
    auto const b = pool().allocate(64 * kib);
    for (std::size_t const below : {std::size_t{1}, 4 * kib, 64 * kib}) {
        auto const found = pool().find_overflowed(guard_end(b) - below);
        BOOST_TEST(found.top == b.top);
        BOOST_TEST(found.size == b.size);
    }
    BOOST_TEST(pool().find_overflowed(guard_end(b)).top == nullptr);
    BOOST_TEST(pool().find_overflowed(top_of(b) - 1).top == nullptr);
    BOOST_TEST(pool().find_overflowed(nullptr).top == nullptr);
    BOOST_TEST(pool().find_overflowed(&b).top == nullptr);
    pool().deallocate(b);
    BOOST_TEST(pool().find_overflowed(guard_end(b) - 1).top == nullptr);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(guards, pool_fixture)

BOOST_AUTO_TEST_CASE(a_hundred_thousand_stacks_take_few_mappings)
{
    if (os_guard_means() != guard_kind::madvise) {
        BOOST_TEST_MESSAGE("this system has no guards inside a mapping");
        return;
    }
    auto const before = mappings();
    auto const counted = pool().get_statistics();
    auto const blocks = take(100'000, 64 * kib);
    auto const after = mappings();
    auto const now = pool().get_statistics();
    BOOST_TEST_MESSAGE("mappings before " << before << ", after " << after);
    BOOST_TEST(after - before < 1000u);
    BOOST_TEST(now.maps - counted.maps < 1000u);
    BOOST_TEST(now.guarded_by_madvise - counted.guarded_by_madvise >= 99'000u);
    BOOST_TEST(now.unguarded == counted.unguarded);
    BOOST_TEST(!accessible(guard_end(blocks.back()) - 1));
    give_back(blocks);
}

BOOST_AUTO_TEST_CASE(falls_back_to_mprotect)
{
    os_set_guard_means(guard_kind::mprotect);
    auto const before = pool().get_statistics();
    auto const blocks = take(100, 2 * mib);
    auto const after = pool().get_statistics();
    BOOST_TEST((after.guard == guard_kind::mprotect));
    BOOST_TEST(after.slots - before.slots >= 50u);
    BOOST_TEST(
        after.guarded_by_mprotect - before.guarded_by_mprotect == after.slots - before.slots);
    BOOST_TEST(!accessible(guard_end(blocks.back()) - 1));
    give_back(blocks);
}

// In a child: what it uses up is the process's.
BOOST_AUTO_TEST_CASE(where_mappings_run_out_there_is_no_guard)
{
    auto const child = ::fork();
    BOOST_TEST_REQUIRE(child >= 0);
    if (child == 0) {
        os_set_guard_means(guard_kind::mprotect);
        auto const blocks = take(40'000, 16 * kib);
        auto const s = pool().get_statistics();
        bool const counted = s.guarded_by_mprotect > 1000 && s.unguarded > 0;
        // Some are left for others.
        bool ok = counted;
        for (int i = 0; i != 1000 && ok; ++i)
            ok = ::mmap(
                     nullptr,
                     4096,
                     i % 2 == 0 ? PROT_READ : PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS,
                     -1,
                     0) != MAP_FAILED;
        fill(blocks.back(), 1);
        give_back(blocks);
        ::_exit(!counted ? 1 : !ok ? 2 : 0);
    }
    int status = 0;
    BOOST_TEST(::waitpid(child, &status, 0) == child);
    BOOST_TEST(WIFEXITED(status));
    BOOST_TEST(WEXITSTATUS(status) == 0);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(exhaustion, pool_fixture)

BOOST_AUTO_TEST_CASE(a_refused_mapping_is_an_error_and_loses_nothing)
{
    auto const size = 512 * mib; // a slab holds one
    auto const first = pool().allocate(size);
    auto const before = pool().get_statistics();
    stack_pool::fail_next_maps(3);
    for (int i = 0; i != 3; ++i)
        BOOST_CHECK_EXCEPTION(
            pool().allocate(size), boost::system::system_error, [](auto const& e) {
                return e.code() == spindle::errc::no_stack_memory &&
                       e.code() == boost::system::errc::not_enough_memory;
            });
    auto const after = pool().get_statistics();
    BOOST_TEST(after.in_use == before.in_use);
    BOOST_TEST(after.slots == before.slots);
    BOOST_TEST(after.mapped_bytes == before.mapped_bytes);

    // It works again.
    auto const second = pool().allocate(size);
    BOOST_TEST(second.top != first.top);
    pool().deallocate(first);

    // What is there already needs no mapping.
    stack_pool::fail_next_maps(1);
    auto const third = pool().allocate(size);
    BOOST_TEST(third.top == first.top);
    pool().deallocate(third);
    pool().deallocate(second);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(memory, pool_fixture)

BOOST_AUTO_TEST_CASE(idle_memory_stays_below_the_bound)
{
    pool().set_max_idle(mib);
    auto const before = pool().get_statistics();
    auto const blocks = take(200, 32 * kib);
    for (auto const& b : blocks)
        fill(b, 1);
    BOOST_TEST(resident(blocks) >= 200 * 32 * kib);
    give_back(blocks);
    // Only size bytes count, and each may have a page more.
    BOOST_TEST(resident(blocks) <= mib + 32 * os_page_size());
    BOOST_TEST(resident(blocks) > 0u);
    BOOST_TEST(pool().get_statistics().trimmed - before.trimmed >= 200u - 32u);
}

BOOST_AUTO_TEST_CASE(the_bound_is_over_all_sizes)
{
    pool().set_max_idle(4 * mib);
    auto small = take(100, 32 * kib);
    auto large = take(10, mib);
    for (auto const& b : small)
        fill(b, 1);
    for (auto const& b : large)
        fill(b, 1);
    give_back(small);
    give_back(large);
    BOOST_TEST(resident(small) + resident(large) <= 4 * mib + 110 * os_page_size());
}

BOOST_AUTO_TEST_CASE(a_steady_coming_and_going_gives_nothing_back)
{
    pool().set_max_idle(2 * mib); // 64 stacks
    give_back(take(200, 32 * kib));
    auto const before = pool().get_statistics();
    for (int round = 0; round != 1000; ++round) {
        auto const blocks = take(30, 32 * kib);
        for (auto const& b : blocks)
            top_of(b)[-1] = 1;
        give_back(blocks);
    }
    auto const after = pool().get_statistics();
    BOOST_TEST(after.trimmed - before.trimmed <= 64u);
    BOOST_TEST(after.slots == before.slots);
}

BOOST_AUTO_TEST_CASE(the_oldest_are_given_back_first)
{
    auto const blocks = take(4, 4 * mib);
    for (auto const& b : blocks)
        fill(b, 1);
    give_back(blocks);
    BOOST_TEST(pool().trim(8 * mib) == 2u);
    BOOST_TEST(resident(blocks[0]) == 0u);
    BOOST_TEST(resident(blocks[1]) == 0u);
    BOOST_TEST(resident(blocks[2]) >= 4 * mib);
    BOOST_TEST(resident(blocks[3]) >= 4 * mib);
    BOOST_TEST(pool().trim(0) == 2u);
    BOOST_TEST(resident(blocks) == 0u);
    // Guards stay where they were, also those between neighbours.
    for (auto const& b : blocks)
        BOOST_TEST(!accessible(guard_end(b) - 1));
}

BOOST_AUTO_TEST_CASE(a_bound_of_nothing_keeps_nothing)
{
    pool().set_max_idle(0);
    auto const b = pool().allocate(mib);
    fill(b, 1);
    pool().deallocate(b);
    BOOST_TEST(resident(b) == 0u);
}

BOOST_AUTO_TEST_CASE(the_owner_gives_back_what_lies_below_its_stack_pointer)
{
    auto const b = pool().allocate(mib);
    fill(b, 7);
    auto* const sp = top_of(b) - 100 * kib;
    pool().trim_below(sp, b);
    BOOST_TEST(resident(b) <= 100 * kib + 3 * os_page_size());
    auto* const kept = page_floor(sp) - os_page_size();
    BOOST_TEST(std::all_of(kept, top_of(b), [](char c) { return c == 7; }));
    BOOST_TEST(int(kept[-1]) == 0);
    BOOST_TEST(int(*(top_of(b) - b.size)) == 0);
    // Nothing to give back is no harm.
    fill(b, 7);
    for (std::size_t const used : {b.size, b.size - 1, b.size - os_page_size()})
        pool().trim_below(top_of(b) - used, b);
    BOOST_TEST(int(*(top_of(b) - b.size)) == 7);
    pool().deallocate(b);
}

#if defined(SPINDLE_ASAN)
BOOST_AUTO_TEST_CASE(a_freed_stack_is_not_poisoned)
{
    auto const b = pool().allocate(64 * kib);
    __asan_poison_memory_region(top_of(b) - 4 * kib, kib);
    pool().deallocate(b);
    auto const again = pool().allocate(64 * kib);
    BOOST_TEST(again.top == b.top);
    fill(again, 1);
    pool().deallocate(again);
}
#endif

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(threads, pool_fixture)

// Each stack is written by one thread, read and freed by another, and written
// again by whoever gets it next; plain bytes, for TSan. Trims come in between.
BOOST_AUTO_TEST_CASE(hand_stacks_on_to_each_other)
{
    constexpr int rounds = 3000;
    constexpr std::size_t sizes[] = {16 * kib, 64 * kib, 64 * kib, 256 * kib};
    pool().set_max_idle(mib);

    std::mutex mutex;
    std::deque<stack_block> written;
    std::size_t wrong = 0;
    auto const work = [&](int seed) {
        std::size_t bad = 0;
        for (int i = 0; i != rounds; ++i) {
            auto const b = pool().allocate(sizes[std::size_t(seed + i) % 4]);
            std::memset(top_of(b) - 64, i, 64);
            top_of(b)[-65] = top_of(b)[-1];
            stack_block other;
            {
                std::lock_guard const hold(mutex);
                written.push_back(b);
                if (written.size() > 40) {
                    other = written.front();
                    written.pop_front();
                }
            }
            if (other.top != nullptr) {
                bad += top_of(other)[-65] != top_of(other)[-64];
                pool().deallocate(other);
            }
            if (i % 500 == 0)
                pool().trim(0);
        }
        std::lock_guard const hold(mutex);
        wrong += bad;
    };
    std::vector<std::thread> workers;
    for (int i = 0; i != 4; ++i)
        workers.emplace_back(work, i);
    for (auto& w : workers)
        w.join();
    BOOST_TEST(wrong == 0u);
    for (auto const& b : written)
        pool().deallocate(b);
}

// All at once on the way to a first slab, and with mappings refused.
BOOST_AUTO_TEST_CASE(map_slabs_at_the_same_time)
{
    std::mutex mutex;
    std::vector<stack_block> blocks;
    std::size_t refused = 0;
    stack_pool::fail_next_maps(5);
    std::vector<std::thread> workers;
    for (int i = 0; i != 4; ++i)
        workers.emplace_back([&] {
            for (int j = 0; j != 10; ++j) {
                auto const b = try_allocate(256 * mib);
                std::lock_guard const hold(mutex);
                if (b.top != nullptr)
                    blocks.push_back(b);
                else
                    ++refused;
            }
        });
    for (auto& w : workers)
        w.join();
    BOOST_TEST(refused == 5u);
    BOOST_TEST(blocks.size() == 35u);
    std::set<void*> tops;
    for (auto const& b : blocks)
        tops.insert(b.top);
    BOOST_TEST(tops.size() == blocks.size());
    give_back(blocks);
}

BOOST_AUTO_TEST_SUITE_END()
