//
// spindle/detail/stack/pool.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// The stacks of the process: mapped many at a time, guarded, reused.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_STACK_POOL_HPP
#define SPINDLE_DETAIL_STACK_POOL_HPP

#include <spindle/config.hpp>
#include <spindle/stack/statistics.hpp>

#include <spindle/detail/base/atomic.hpp>
#include <spindle/detail/base/cache_line.hpp>
#include <spindle/detail/base/spin_lock.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

namespace spindle::detail {

// The bytes [top - size, top). top is a multiple of 256.
struct stack_block {
    void* top = nullptr;
    std::size_t size = 0;
};

// Shape
//
//   One class for each power of two from 16 KiB to 1 GiB. A class maps slabs:
//
//     slab = header, slot records | slot 0 | slot 1 | ...
//     slot = guard | one page | size bytes
//
//   Slots are carved off the newest slab as they are needed, up to 32 at a time:
//   that is when the guards are installed, by one call where the system has it:
//   a quarter off what a new stack costs (doc/design/stacks.adoc).
//   A slot's first page costs memory when it is used. The tops are
//   staggered by 256 bytes, eight steps, so that the first frames of many
//   stacks do not share a cache set; the extra page makes up for it. A slab of
//   several slots lies at a multiple of its size, so a top leads to its slab
//   by a mask; a slab of one slot is found by counting back from its top.
//
//   The free slots of a class are in two LIFO lists: `warm`, which may hold
//   memory, and `cold`, whose memory was given back. They are linked through
//   the records, not through the stacks: a link in a stack would keep a page of
//   it resident.
//
// Who may touch what
//
//   field                    who                       ordering
//   a class's lists, counts  holder of its lock        the lock
//   size_class::warm_count   written by the holder,    relaxed: a sum that only
//                            read by anyone            has to be about right
//   size_class::geo          written once, by the      the lock; a block's owner
//                            holder                    got it after that
//   slabs_                   pushed by CAS, any        (P) release / acquire
//                            thread; walked by the
//                            handler
//   slab::carved             written by the holder,    (C) release / acquire
//                            read by the handler
//   slot::in_use             written by who takes or   relaxed: the handler asks
//                            frees the slot, read by   for the stack that its
//                            the handler               own thread runs on
//   the stack's memory       its owner; who trims,     the lock
//                            while it is in no list
//
// Invariants
//
//   I1  A carved slot is in exactly one place: in use, in warm, in cold, or in
//       the batch of the one thread that trims (trim_lock_), or in the row of
//       the thread that carved it and has not yet guarded it.
//   I2  No system call is made under a class's lock.
//   I3  A slab is never unmapped and slabs_ only grows, so the handler of a
//       fault may walk it without a lock.
//   I4  The pool has no destructor and is constant-initialised: it serves
//       before the first and after the last constructor and thread_local.
//
// Why it is correct
//
//   Whoever frees a stack unlocks its class; whoever takes it later has locked
//   the class since: so everything written on it happened before (spin_lock).
//   P  a slab's header is written, for good, before the slab is pushed with
//      release.
//   C  a slot's record is made before `carved` counts it, with release.
//   A mapping that is refused changes nothing: the lists are looked at once
//   more, then the caller gets the error.
//
// Memory given back
//
//   An idle stack may hold as much memory as its size; nobody knows how much it
//   does. When the warm stacks of all classes come to more than max_idle bytes
//   so counted, the oldest of the largest class are decommitted until half of
//   it is left, neighbours in one call. So a program whose number of fibers
//   swings by less than half of max_idle makes no such call at all. To know
//   the sum, deallocate() compares one number: check_at, the count of warm
//   stacks from which it is worth adding up the classes. Each class may take a
//   quarter of what is left before it looks again, so the bound may be passed by
//   a few classes at once, for a moment.
//
// Not done, and why
//
//   A lock-free list: a few instructions under a lock that a processor's own
//   cache of whole fibers rarely lets anybody take; and LIFO order, which keeps
//   caches warm, costs a lock-free list its ABA tags.
//   Giving slabs back: their address space is free, and I3 needs them.
//   mincore() to know what idle stacks really hold: a call for each.
//
// Evidence
//
//   test/stack/pool.cpp      LIFO, sizes, exhaustion, hysteresis; threads that
//                            hand plain writes on to each other, under TSan
//   test/stack/overflow.cpp  the handler's walk, in the thread that carved
//   P and C are argued only: they matter to a thread that faults on a stack
//   that another one carved, and got it through a lock or a release anyway.
class stack_pool {
public:
    static constexpr std::size_t min_size = std::size_t{16} << 10;
    static constexpr std::size_t max_size = std::size_t{1} << 30;
    static constexpr std::size_t default_max_idle = std::size_t{64} << 20;

    static stack_pool& instance() noexcept { return instance_; }

    stack_pool(stack_pool const&) = delete;
    stack_pool& operator=(stack_pool const&) = delete;

    // Any thread. At least size bytes (a power of two), of any content. Throws
    // boost::system::system_error: invalid_argument when size is out of bounds,
    // errc::no_stack_memory when the system refuses.
    SPINDLE_DECL stack_block allocate(std::size_t size);

    // Any thread.
    SPINDLE_DECL void deallocate(stack_block block) noexcept;

    // The owner of a live block, on that stack or another: gives back the pages
    // more than one page below sp. They read as zero afterwards.
    SPINDLE_DECL void trim_below(void* sp, stack_block block) noexcept;

    // Any thread. Gives back the memory of idle stacks, oldest first, until
    // those that may hold some come to no more than max_bytes. Returns how many
    // stacks that were.
    SPINDLE_DECL std::size_t trim(std::size_t max_bytes) noexcept;

    // Any thread. How many bytes idle stacks may hold, counted by their sizes.
    SPINDLE_DECL void set_max_idle(std::size_t bytes) noexcept;
    std::size_t max_idle() const noexcept { return max_idle_.load(std::memory_order_relaxed); }

    // Any thread, and a signal handler. The live block whose guard contains p;
    // top is null when there is none.
    SPINDLE_DECL stack_block find_overflowed(void const* p) const noexcept;

    // Any thread.
    SPINDLE_DECL stack::statistics get_statistics() noexcept;

    // For tests. The next n mappings are refused.
    SPINDLE_DECL static void fail_next_maps(unsigned n) noexcept;

private:
    static constexpr std::size_t class_count = 17; // 2^14 .. 2^30
    static constexpr std::size_t stagger_step = 256;
    static constexpr std::size_t stagger_count = 8;
    static constexpr std::size_t carve_most = 32;
    static constexpr std::size_t slab_bytes =
        sizeof(void*) >= 8 ? std::size_t{64} << 20 : std::size_t{4} << 20;

    struct slot {
        slot* next = nullptr;
        slot* prev = nullptr; // towards the newer
        char* top = nullptr;  // constant
        atomic<bool> in_use{false};
    };

    // Newest at the head. Guarded by the class's lock.
    struct slot_list {
        slot* head = nullptr;
        slot* tail = nullptr;

        void push(slot& s) noexcept;
        slot* pop_newest() noexcept;
        slot* pop_oldest() noexcept;
    };

    // Where things are in the slabs of a class. Constant once made.
    struct geometry {
        std::size_t guard = 0;        // bytes of the guard
        std::size_t stride = 0;       // from slot to slot
        std::size_t slots = 0;        // in a slab
        std::size_t header = 0;       // bytes before the first guard
        std::size_t bytes = 0;        // of a slab
        std::uint64_t reciprocal = 0; // 2^32 / units of the stride, rounded up
    };

    struct slab {
        slab* older = nullptr;      // in slabs_
        slab* next_fresh = nullptr; // guarded by the class's lock
        std::size_t size = 0;       // of its blocks
        geometry geo;
        atomic<std::size_t> carved{0};
    };

    // Neighbours.
    struct row {
        slab* in = nullptr;
        std::size_t first = 0;
        std::size_t count = 0;
    };

    struct alignas(cache_line_size) size_class {
        spin_lock lock;
        slot_list warm;
        slot_list cold;
        atomic<std::size_t> warm_count{0};
        std::size_t check_at = 0;
        std::size_t in_use = 0;
        std::size_t high_water = 0;
        std::size_t slots = 0;
        std::size_t trimmed = 0;
        slab* fresh = nullptr; // slabs with slots not yet carved
        geometry geo;
    };

    constexpr stack_pool() noexcept = default;

    static geometry make_geometry(std::size_t size) noexcept;
    static slot* slots_of(slab& s) noexcept;
    static slot const* slots_of(slab const& s) noexcept;
    static slot& slot_of(geometry const& g, char* top) noexcept;
    static slot* take_free_locked(size_class& c) noexcept;
    static row carve_locked(size_class& c) noexcept;

    void guard(row const& r) noexcept;
    slot& make_slot(size_class& c, std::size_t size);
    slab* map_slab(geometry const& g, std::size_t size) noexcept;
    std::size_t warm_bytes() const noexcept;
    void check_idle() noexcept;
    std::size_t trim_holding(std::size_t max_bytes) noexcept;
    std::size_t trim_batch(size_class& c, std::size_t size, std::size_t most) noexcept;
    void set_checks() noexcept;

    std::array<size_class, class_count> classes_{};
    atomic<slab*> slabs_{nullptr}; // newest first
    atomic<std::size_t> max_idle_{default_max_idle};
    atomic<std::size_t> mapped_bytes_{0};
    atomic<std::size_t> maps_{0};
    std::array<atomic<std::size_t>, 3> guards_{}; // by guard_kind
    spin_lock trim_lock_; // one trims at a time; taken before a class's lock

    SPINDLE_DECL static stack_pool instance_;
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_STACK_POOL_HPP
