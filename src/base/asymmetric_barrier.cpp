//
// base/asymmetric_barrier.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/base/asymmetric_barrier.hpp>

#include <spindle/detail/base/fatal.hpp>

#if defined(__linux__)
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#if !defined(SPINDLE_SYMMETRIC_BARRIERS)

namespace spindle::detail {

namespace {

#if defined(__linux__) && defined(SYS_membarrier)

long membarrier(int command) noexcept { return ::syscall(SYS_membarrier, command, 0, 0); }

bool prepare() noexcept
{
    return membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0;
}

bool run_barrier() noexcept { return membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0; }

#else

bool prepare() noexcept { return false; }
bool run_barrier() noexcept { return false; }

#endif

} // namespace

bool const has_heavy_barrier = prepare();

void heavy_barrier() noexcept
{
    if (!has_heavy_barrier)
        return; // the frequent side's read-modify-write is seq_cst, as the caller's
    // A process that was made by fork() may have to say again that it wants this.
    if (!run_barrier() && !(prepare() && run_barrier()))
        fatal("the kernel offers membarrier(), and then refuses it");
}

} // namespace spindle::detail

#endif
