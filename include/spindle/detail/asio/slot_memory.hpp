//
// spindle/detail/asio/slot_memory.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// Room for one handler at a time, or two, so that handlers which come again and
// again need no heap.
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
        auto* const p = try_allocate(bytes);
        return p ? p : ::operator new(bytes);
    }

    void deallocate(void* p) noexcept
    {
        if (!try_deallocate(p))
            ::operator delete(p);
    }

    // nullptr: not here.
    void* try_allocate(std::size_t bytes) noexcept
    {
        if (bytes <= Size && !taken_.exchange(true, std::memory_order_acquire))
            return block_;
        return nullptr;
    }

    // False: it is not from here.
    [[nodiscard]] bool try_deallocate(void* p) noexcept
    {
        if (p != static_cast<void*>(block_))
            return false;
        taken_.store(false, std::memory_order_release);
        return true;
    }

private:
    atomic<bool> taken_{false};
    alignas(std::max_align_t) std::byte block_[Size];
};

// Two blocks. A composed operation of Boost.Beast keeps a part of itself, which is
// small, for as long as it takes, and starts others meanwhile. Any thread.
template <std::size_t Large, std::size_t Small>
class two_slot_memory {
public:
    void* allocate(std::size_t bytes)
    {
        if (auto* const p = small_.try_allocate(bytes))
            return p;
        return large_.allocate(bytes);
    }

    void deallocate(void* p) noexcept
    {
        if (!small_.try_deallocate(p))
            large_.deallocate(p);
    }

private:
    slot_memory<Large> large_;
    slot_memory<Small> small_;
};

// The allocator over either, for a handler's associated allocator.
template <class T, class Memory>
class memory_allocator {
public:
    using value_type = T;

    explicit memory_allocator(Memory& memory) noexcept : memory_(&memory) {}

    template <class U>
    memory_allocator(memory_allocator<U, Memory> const& other) noexcept : memory_(other.memory())
    {
    }

    T* allocate(std::size_t n)
    {
        static_assert(alignof(T) <= alignof(std::max_align_t));
        return static_cast<T*>(memory_->allocate(n * sizeof(T)));
    }

    void deallocate(T* p, std::size_t) noexcept { memory_->deallocate(p); }

    Memory* memory() const noexcept { return memory_; }

    template <class U>
    bool operator==(memory_allocator<U, Memory> const& other) const noexcept
    {
        return memory_ == other.memory();
    }

private:
    Memory* memory_;
};

template <class T, std::size_t Size>
using slot_allocator = memory_allocator<T, slot_memory<Size>>;

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_ASIO_SLOT_MEMORY_HPP
