//
// stack/os_posix.cpp
// ~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/base/atomic.hpp>
#include <spindle/detail/stack/os.hpp>

#include <boost/assert.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#if defined(__linux__)
#include <sys/syscall.h>
#endif

// What a system lacks of these it does without.
#if !defined(MAP_ANONYMOUS)
#define MAP_ANONYMOUS MAP_ANON
#endif
#if !defined(MAP_NORESERVE)
#define MAP_NORESERVE 0
#endif
#if !defined(MAP_STACK)
#define MAP_STACK 0
#endif

namespace spindle::detail {
namespace {

using stack::guard_kind;

#if defined(__linux__)
constexpr bool on_linux = true;
constexpr int advice_guard_install = 102; // MADV_GUARD_INSTALL, Linux 6.13
constexpr int advice_no_huge_page = MADV_NOHUGEPAGE;
constexpr int advice_dont_need = MADV_DONTNEED;
#else
constexpr bool on_linux = false;
constexpr int advice_guard_install = -1;
constexpr int advice_no_huge_page = -1;
#if defined(MADV_FREE)
constexpr int advice_dont_need = MADV_FREE;
#else
constexpr int advice_dont_need = -1;
#endif
#endif

// A guard by mprotect splits a mapping in three. This many mappings are left
// to the rest of the process, whose malloc and threads need some too.
constexpr long mappings_for_others = 8192;

enum class means : unsigned char { unknown, madvise, mprotect, none };

atomic<means> guard_means{means::unknown};
atomic<bool> madvise_works{false}; // meaningful when guard_means is known
atomic<unsigned> reserves_to_refuse{0};
atomic<long> mprotect_guards_left{-1}; // -1: the limit is not read yet

int advise(void* p, std::size_t bytes, int advice) noexcept
{
    if (advice < 0) {
        errno = EINVAL;
        return -1;
    }
    int r = 0;
    do
        r = ::madvise(p, bytes, advice);
    while (r != 0 && (errno == EAGAIN || errno == EINTR));
    return r;
}

void* map(std::size_t bytes) noexcept
{
    void* const p = ::mmap(
        nullptr,
        bytes,
        PROT_READ | PROT_WRITE,
        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK,
        -1,
        0);
    return p == MAP_FAILED ? nullptr : p;
}

// Tries it on a page of its own. An emulator may accept an advice that it does
// not know, so the kernel is then asked to read the page.
bool probe_madvise() noexcept
{
    if (!on_linux)
        return false;
    auto const page = os_page_size();
    void* const p = map(page);
    if (p == nullptr)
        return false;
    bool const works = advise(p, page, advice_guard_install) == 0 &&
                       ::access(static_cast<char const*>(p), F_OK) != 0 && errno == EFAULT;
    ::munmap(p, page);
    return works;
}

// How many of the `count` ranges could be made guards in one call.
std::size_t advise_row(
    char* first, std::size_t bytes, std::size_t stride, std::size_t count) noexcept
{
#if defined(__linux__) && defined(SYS_process_madvise)
    constexpr int this_process = -10001; // PIDFD_SELF_THREAD_GROUP
    std::array<iovec, 32> ranges;
    std::size_t done = 0;
    while (done != count) {
        auto const n = std::min(count - done, ranges.size());
        for (std::size_t i = 0; i != n; ++i)
            ranges[i] = {first + (done + i) * stride, bytes};
        auto const r = ::syscall(
            SYS_process_madvise, this_process, ranges.data(), n, advice_guard_install, 0U);
        if (r > 0)
            done += static_cast<std::size_t>(r) / bytes;
        if (r != static_cast<long>(n * bytes))
            break;
    }
    return done;
#else
    (void)first, (void)bytes, (void)stride, (void)count;
    return 0;
#endif
}

means known_guard_means() noexcept
{
    auto m = guard_means.load(std::memory_order_acquire); // pairs with the exchange below
    if (m != means::unknown)
        return m;
    // Several threads may probe; they find the same.
    bool const works = probe_madvise();
    madvise_works.store(works, std::memory_order_relaxed);
    auto const found = works ? means::madvise : means::mprotect;
    return guard_means.compare_exchange_strong(
               m, found, std::memory_order_release, std::memory_order_acquire)
               ? found
               : m;
}

long read_mprotect_limit() noexcept
{
    long limit = 1L << 30; // where no number says otherwise, ENOMEM does
    int const fd = ::open("/proc/sys/vm/max_map_count", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        char text[32];
        auto const n = ::read(fd, text, sizeof text - 1);
        ::close(fd);
        if (n > 0) {
            text[n] = '\0';
            auto const maps = std::strtol(text, nullptr, 10);
            limit = maps > mappings_for_others ? (maps - mappings_for_others) / 2 : 0;
        }
    }
    return limit;
}

// One of the guards that mprotect may still make.
bool take_mprotect_guard() noexcept
{
    auto left = mprotect_guards_left.load(std::memory_order_relaxed);
    if (left < 0) {
        auto const limit = read_mprotect_limit();
        if (mprotect_guards_left.compare_exchange_strong(left, limit, std::memory_order_relaxed))
            left = limit;
    }
    while (left > 0)
        if (mprotect_guards_left.compare_exchange_weak(left, left - 1, std::memory_order_relaxed))
            return true;
    return false;
}

bool refuse_this_reserve() noexcept
{
    auto n = reserves_to_refuse.load(std::memory_order_relaxed);
    while (n != 0)
        if (reserves_to_refuse.compare_exchange_weak(n, n - 1, std::memory_order_relaxed))
            return true;
    return false;
}

} // namespace

std::size_t os_page_size() noexcept
{
    static std::size_t const size = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    return size;
}

void* os_reserve(std::size_t bytes, std::size_t alignment) noexcept
{
    BOOST_ASSERT(alignment != 0 && (alignment & (alignment - 1)) == 0);
    if (refuse_this_reserve())
        return nullptr;
    auto const misaligned = [alignment](void* p) {
        return (reinterpret_cast<std::uintptr_t>(p) & (alignment - 1)) != 0;
    };
    void* p = map(bytes);
    // Linux maps below what it mapped last, so from the second time on the
    // address is usually good as it is.
    if (p != nullptr && misaligned(p)) {
        ::munmap(p, bytes);
        p = map(bytes + alignment);
        if (p != nullptr) {
            auto* const start = static_cast<char*>(p);
            auto const rest = reinterpret_cast<std::uintptr_t>(p) & (alignment - 1);
            auto const before = rest == 0 ? 0 : alignment - rest;
            if (before != 0)
                ::munmap(start, before);
            if (before != alignment)
                ::munmap(start + before + bytes, alignment - before);
            p = start + before;
        }
    }
    // A huge page would make a stack of one page cost two megabytes.
    if (p != nullptr)
        advise(p, bytes, advice_no_huge_page);
    return p;
}

void os_release(void* p, std::size_t bytes) noexcept { ::munmap(p, bytes); }

guard_kind os_guard(void* p, std::size_t bytes) noexcept
{
    auto const m = known_guard_means();
    if (m == means::none)
        return guard_kind::none;
    // Refused for locked memory; then mprotect still serves.
    if (m == means::madvise && advise(p, bytes, advice_guard_install) == 0)
        return guard_kind::madvise;
    if (take_mprotect_guard()) {
        if (::mprotect(p, bytes, PROT_NONE) == 0)
            return guard_kind::mprotect;
        mprotect_guards_left.fetch_add(1, std::memory_order_relaxed);
    }
    return guard_kind::none;
}

std::size_t os_guard_row(
    void* first, std::size_t bytes, std::size_t stride, std::size_t count) noexcept
{
    return known_guard_means() == means::madvise
               ? advise_row(static_cast<char*>(first), bytes, stride, count)
               : 0;
}

guard_kind os_guard_means() noexcept
{
    switch (known_guard_means()) {
    case means::madvise:
        return guard_kind::madvise;
    case means::mprotect:
        return guard_kind::mprotect;
    default:
        return guard_kind::none;
    }
}

bool os_decommit(void* p, std::size_t bytes) noexcept
{
    return advise(p, bytes, advice_dont_need) == 0;
}

void os_refuse_reserves(unsigned n) noexcept
{
    reserves_to_refuse.store(n, std::memory_order_relaxed);
}

void os_set_guard_means(guard_kind kind) noexcept
{
    known_guard_means();
    auto m = means::none;
    if (kind == guard_kind::mprotect)
        m = means::mprotect;
    else if (kind == guard_kind::madvise)
        m = madvise_works.load(std::memory_order_relaxed) ? means::madvise : means::mprotect;
    guard_means.store(m, std::memory_order_release); // pairs with known_guard_means
}

} // namespace spindle::detail
