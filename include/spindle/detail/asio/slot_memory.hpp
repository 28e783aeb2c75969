//
// spindle/detail/asio/slot_memory.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// Room for one handler at a time, so that handlers which come again and again
// need no heap.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_ASIO_SLOT_MEMORY_HPP
#define SPINDLE_DETAIL_ASIO_SLOT_MEMORY_HPP

#include <spindle/detail/base/atomic.hpp>

#include <cstddef>
#include <new>

namespace spindle::detail {

// One block, claimed by one exchange; whoever comes while it is taken, or wants
// more, gets the heap. Any thread.
template <std::size_t Size>
class slot_memory {
public:
    slot_memory() noexcept = default;
    slot_memory(slot_memory const&) = delete;
    slot_memory& operator=(slot_memory const&) = delete;

    void* allocate(std::size_t bytes)
    {
        if (bytes <= Size && !taken_.exchange(true, std::memory_order_acquire))
            return block_;
        return ::operator new(bytes);
    }

    void deallocate(void* p) noexcept
    {
        if (p == static_cast<void*>(block_))
            taken_.store(false, std::memory_order_release);
        else
            ::operator delete(p);
    }

private:
    atomic<bool> taken_{false};
    alignas(std::max_align_t) std::byte block_[Size];
};

// The allocator over it, for a handler's associated allocator.
template <class T, std::size_t Size>
class slot_allocator {
public:
    using value_type = T;

    template <class U>
    struct rebind {
        using other = slot_allocator<U, Size>;
    };

    explicit slot_allocator(slot_memory<Size>& memory) noexcept : memory_(&memory) {}

    template <class U>
    slot_allocator(slot_allocator<U, Size> const& other) noexcept : memory_(other.memory())
    {
    }

    T* allocate(std::size_t n)
    {
        static_assert(alignof(T) <= alignof(std::max_align_t));
        return static_cast<T*>(memory_->allocate(n * sizeof(T)));
    }

    void deallocate(T* p, std::size_t) noexcept { memory_->deallocate(p); }

    slot_memory<Size>* memory() const noexcept { return memory_; }

    template <class U>
    bool operator==(slot_allocator<U, Size> const& other) const noexcept
    {
        return memory_ == other.memory();
    }

private:
    slot_memory<Size>* memory_;
};
} // namespace spindle::detail

#endif // SPINDLE_DETAIL_ASIO_SLOT_MEMORY_HPP
