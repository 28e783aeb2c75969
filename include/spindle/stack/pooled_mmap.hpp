//
// spindle/stack/pooled_mmap.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// A Boost.Context stack allocator over the process's pool of stacks.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_STACK_POOLED_MMAP_HPP
#define SPINDLE_STACK_POOLED_MMAP_HPP

#include <spindle/config.hpp>

#include <spindle/detail/stack/pool.hpp>

#include <boost/context/stack_context.hpp>

#if defined(BOOST_USE_VALGRIND)
#include <valgrind/valgrind.h>
#endif

#include <cstddef>

namespace spindle::stack {

/// Stacks with guards from a pool that the whole process shares.
/**
 * A StackAllocator for Boost.Context, Boost.Coroutine2 and Boost.Fiber. The
 * size is address space: a page becomes memory when the fiber first touches
 * it. A stack that was used lately is handed out first, still warm; the memory
 * of stacks that lie idle in great number goes back to the system.
 *
 * @par Example
 * @snippet stack/pooled_mmap.cpp pooled_mmap
 *
 * @par Blocking
 * Does not suspend the fiber.
 *
 * @par Thread Safety
 * @e Distinct @e objects: Safe.@n
 * @e Shared @e objects: Safe. A stack may be given back by any thread, through
 * any pooled_mmap of the same size.
 *
 * @par Lifetime
 * The pool is never destroyed: a stack may outlive the allocator, and a
 * fiber may end after `main` has returned.
 */
class pooled_mmap {
public:
    /// The size of a stack when none is given: 256 KiB.
    static constexpr std::size_t default_size = 256 * 1024;

    /// Makes stacks of at least `size` bytes.
    /**
     * The size is rounded up to a power of two.
     *
     * @pre `size` is at least 16 KiB and at most 1 GiB: else `allocate()`
     * throws.
     */
    explicit pooled_mmap(std::size_t size = default_size) noexcept : size_(size) {}

    /// Takes a stack.
    /**
     * @throws boost::system::system_error with `errc::no_stack_memory` when the
     * system refuses address space, with `invalid_argument` when the size is
     * out of bounds.
     */
    [[nodiscard]] boost::context::stack_context allocate()
    {
        auto const block = detail::stack_pool::instance().allocate(size_);
        boost::context::stack_context sctx;
        sctx.sp = block.top;
        sctx.size = block.size;
#if defined(BOOST_USE_VALGRIND)
        sctx.valgrind_stack_id =
            VALGRIND_STACK_REGISTER(sctx.sp, static_cast<char*>(sctx.sp) - sctx.size);
#endif
        return sctx;
    }

    /// Gives a stack back.
    void deallocate(boost::context::stack_context& sctx) noexcept
    {
#if defined(BOOST_USE_VALGRIND)
        VALGRIND_STACK_DEREGISTER(sctx.valgrind_stack_id);
#endif
        detail::stack_pool::instance().deallocate({sctx.sp, sctx.size});
    }

private:
    std::size_t size_;
};

} // namespace spindle::stack

#endif // SPINDLE_STACK_POOLED_MMAP_HPP
