//
// stack/pool.cpp
// ~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/config.hpp>
#include <spindle/error.hpp>

#include <spindle/detail/stack/os.hpp>
#include <spindle/detail/stack/pool.hpp>

#include <boost/assert.hpp>
#include <boost/system/errc.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <functional>
#include <mutex>
#include <new>
#include <type_traits>

#if defined(SPINDLE_ASAN)
#include <sanitizer/asan_interface.h>
#endif

namespace spindle::detail {
namespace {

constexpr std::size_t kib = 1024;

constexpr std::size_t round_up(std::size_t n, std::size_t to) noexcept
{
    return (n + to - 1) & ~(to - 1);
}

std::uintptr_t address_of(void const* p) noexcept { return reinterpret_cast<std::uintptr_t>(p); }

constexpr unsigned first_bit = unsigned(std::countr_zero(stack_pool::min_size));

std::size_t class_index(std::size_t size)
{
    if (size < stack_pool::min_size || size > stack_pool::max_size)
        throw_error(
            make_error_code(boost::system::errc::invalid_argument),
            "the size of a stack must be from 16 KiB to 1 GiB");
    return unsigned(std::bit_width(size - 1)) - first_bit;
}

constexpr std::size_t class_size(std::size_t index) noexcept
{
    return stack_pool::min_size << index;
}

// What ASan knows about the frames of the last fiber that ran there.
void unpoison(stack_block block) noexcept
{
#if defined(SPINDLE_ASAN)
    __asan_unpoison_memory_region(static_cast<char*>(block.top) - block.size, block.size);
#else
    static_cast<void>(block);
#endif
}

// Slot addresses are counted in units of this, so that a slab's fit into the
// 32 bits that make the reciprocal exact. Every page size is a multiple.
constexpr unsigned unit_bits = 12;

} // namespace

constinit stack_pool stack_pool::instance_;
static_assert(std::is_trivially_destructible_v<stack_pool>);

// Lists. ------------------------------------------------------------------------

inline void stack_pool::slot_list::push(slot& s) noexcept
{
    s.prev = nullptr;
    s.next = head;
    (head != nullptr ? head->prev : tail) = &s;
    head = &s;
}

inline stack_pool::slot* stack_pool::slot_list::pop_newest() noexcept
{
    auto* const s = head;
    if (s != nullptr) {
        head = s->next;
        (head != nullptr ? head->prev : tail) = nullptr;
    }
    return s;
}

inline stack_pool::slot* stack_pool::slot_list::pop_oldest() noexcept
{
    auto* const s = tail;
    if (s != nullptr) {
        tail = s->prev;
        (tail != nullptr ? tail->next : head) = nullptr;
    }
    return s;
}

// Where things are. -------------------------------------------------------------

stack_pool::geometry stack_pool::make_geometry(std::size_t size) noexcept
{
    auto const page = os_page_size();
    geometry g;
    // A stack of large size has large frames, which may step over a small guard.
    g.guard = round_up(std::clamp(size / 4, 64 * kib, 1024 * kib), page);
    g.stride = g.guard + page + round_up(size, page);
    auto const header_for = [page](std::size_t slots) {
        return round_up(sizeof(slab) + slots * sizeof(slot), page);
    };
    g.slots = slab_bytes / g.stride;
    while (g.slots > 1 && header_for(g.slots) + g.slots * g.stride > slab_bytes)
        --g.slots;
    g.slots = std::max<std::size_t>(g.slots, 1);
    g.header = header_for(g.slots);
    g.bytes = g.slots > 1 ? slab_bytes : g.header + g.stride;
    auto const units = std::uint64_t{g.stride >> unit_bits};
    g.reciprocal = ((std::uint64_t{1} << 32) + units - 1) / units;
    return g;
}

inline stack_pool::slot* stack_pool::slots_of(slab& s) noexcept
{
    return std::launder(reinterpret_cast<slot*>(&s + 1));
}

inline stack_pool::slot const* stack_pool::slots_of(slab const& s) noexcept
{
    return std::launder(reinterpret_cast<slot const*>(&s + 1));
}

inline stack_pool::slot& stack_pool::slot_of(geometry const& g, char* top) noexcept
{
    // The top is staggered downwards, and one of the first slot may be the
    // first byte after it: the byte below is inside the slot for sure.
    if (g.slots == 1)
        return *slots_of(*std::launder(reinterpret_cast<slab*>(top - g.stride - g.header)));
    auto const within = (address_of(top) - 1) & (slab_bytes - 1);
    auto& s = *std::launder(reinterpret_cast<slab*>(top - 1 - within));
    auto const index = ((within - g.header) >> unit_bits) * g.reciprocal >> 32;
    return slots_of(s)[index];
}

// Taking and freeing. -----------------------------------------------------------

inline stack_pool::slot* stack_pool::take_free_locked(size_class& c) noexcept
{
    auto* s = c.warm.pop_newest();
    if (s != nullptr)
        c.warm_count.store(
            c.warm_count.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
    else if ((s = c.cold.pop_newest()) == nullptr)
        return nullptr;
    if (++c.in_use > c.high_water)
        c.high_water = c.in_use;
    return s;
}

stack_block stack_pool::allocate(std::size_t size)
{
    auto const index = class_index(size);
    auto& c = classes_[index];
    slot* s = nullptr;
    {
        std::lock_guard const hold(c.lock);
        s = take_free_locked(c);
    }
    if (BOOST_UNLIKELY(s == nullptr))
        s = &make_slot(c, class_size(index));
    s->in_use.store(true, std::memory_order_relaxed); // for this thread's own handler
    return {s->top, class_size(index)};
}

void stack_pool::deallocate(stack_block block) noexcept
{
    BOOST_ASSERT_MSG(
        std::has_single_bit(block.size) && block.size >= min_size && block.size <= max_size,
        "not a block of the stack pool");
    unpoison(block);
    auto& c = classes_[std::size_t(std::countr_zero(block.size)) - first_bit];
    auto& s = slot_of(c.geo, static_cast<char*>(block.top));
    BOOST_ASSERT_MSG(s.top == block.top, "not a block of the stack pool");
    BOOST_ASSERT_MSG(s.in_use.load(std::memory_order_relaxed), "a stack was given back twice");
    s.in_use.store(false, std::memory_order_relaxed);
    bool check = false;
    {
        std::lock_guard const hold(c.lock);
        c.warm.push(s);
        --c.in_use;
        auto const warm = c.warm_count.load(std::memory_order_relaxed) + 1;
        c.warm_count.store(warm, std::memory_order_relaxed);
        check = warm >= c.check_at;
    }
    if (BOOST_UNLIKELY(check))
        check_idle();
}

// Making more. ------------------------------------------------------------------

// As many as there are already, up to a bound: a program with few fibers makes few.
stack_pool::row stack_pool::carve_locked(size_class& c) noexcept
{
    auto* const from = c.fresh;
    if (from == nullptr)
        return {};
    auto const first = from->carved.load(std::memory_order_relaxed); // ours: we hold the lock
    auto const count =
        std::min(std::clamp<std::size_t>(c.slots, 1, carve_most), from->geo.slots - first);
    for (auto i = first; i != first + count; ++i) {
        auto* const s = ::new (reinterpret_cast<char*>(from + 1) + i * sizeof(slot)) slot;
        // Slots that lie a multiple of 128 KiB apart compete for the same sets of a
        // second-level cache: they differ in their steps, and so do neighbours.
        s->top = reinterpret_cast<char*>(from) + from->geo.header + (i + 1) * from->geo.stride -
                 (i + i / 32) % stagger_count * stagger_step;
    }
    from->carved.store(first + count, std::memory_order_release); // C
    if (first + count == from->geo.slots)
        c.fresh = from->next_fresh;
    c.slots += count;
    if (++c.in_use > c.high_water)
        c.high_water = c.in_use;
    return {from, first, count};
}

void stack_pool::guard(row const& r) noexcept
{
    auto& g = r.in->geo;
    auto* const first = reinterpret_cast<char*>(r.in) + g.header + r.first * g.stride;
    auto const done = r.count > 1 ? os_guard_row(first, g.guard, g.stride, r.count) : 0;
    guards_[std::size_t(stack::guard_kind::madvise)].fetch_add(done, std::memory_order_relaxed);
    for (auto i = done; i != r.count; ++i) {
        auto const kind = os_guard(first + i * g.stride, g.guard);
        guards_[std::size_t(kind)].fetch_add(1, std::memory_order_relaxed);
    }
}

stack_pool::slot& stack_pool::make_slot(size_class& c, std::size_t size)
{
    row carved;
    slab* mapped = nullptr;
    geometry geo;
    for (bool refused = false;; refused = mapped == nullptr) {
        {
            std::lock_guard const hold(c.lock);
            if (c.geo.slots == 0)
                c.geo = make_geometry(size);
            geo = c.geo;
            if (mapped != nullptr) {
                mapped->next_fresh = c.fresh;
                c.fresh = mapped;
            }
            // Somebody may have freed a stack, or mapped a slab, since we looked.
            if (auto* const s = take_free_locked(c))
                return *s;
            if ((carved = carve_locked(c)).count != 0)
                break;
        }
        if (refused)
            throw_error(make_error_code(errc::no_stack_memory));
        mapped = map_slab(geo, size);
    }
    guard(carved);
    auto* const slots = slots_of(*carved.in) + carved.first;
    BOOST_ASSERT(&slot_of(geo, slots->top) == slots);
    if (carved.count != 1) {
        std::lock_guard const hold(c.lock);
        for (auto i = carved.count - 1; i != 0; --i)
            c.cold.push(slots[i]);
    }
    return *slots;
}

stack_pool::slab* stack_pool::map_slab(geometry const& g, std::size_t size) noexcept
{
    auto* const p = os_reserve(g.bytes, g.slots > 1 ? slab_bytes : os_page_size());
    if (p == nullptr)
        return nullptr;
    auto* const s = ::new (p) slab;
    s->size = size;
    s->geo = g;
    mapped_bytes_.fetch_add(g.bytes, std::memory_order_relaxed);
    maps_.fetch_add(1, std::memory_order_relaxed);
    s->older = slabs_.load(std::memory_order_relaxed);
    while (!slabs_.compare_exchange_weak(
        s->older, s, std::memory_order_release, std::memory_order_relaxed)) { // P
    }
    return s;
}

// Giving memory back. -----------------------------------------------------------

std::size_t stack_pool::warm_bytes() const noexcept
{
    std::size_t sum = 0;
    for (std::size_t i = 0; i != class_count; ++i)
        sum += classes_[i].warm_count.load(std::memory_order_relaxed) * class_size(i);
    return sum;
}

void stack_pool::check_idle() noexcept
{
    // Whoever finds another at it leaves it to that one.
    if (!trim_lock_.try_lock())
        return;
    std::lock_guard const hold(trim_lock_, std::adopt_lock);
    auto const bound = max_idle();
    if (warm_bytes() > bound)
        trim_holding(bound / 2);
    set_checks();
}

// Holds trim_lock_.
void stack_pool::set_checks() noexcept
{
    auto const bound = max_idle();
    auto const sum = warm_bytes();
    auto const room = bound > sum ? bound - sum : 0;
    for (std::size_t i = 0; i != class_count; ++i) {
        auto& c = classes_[i];
        std::lock_guard const hold(c.lock);
        c.check_at = c.warm_count.load(std::memory_order_relaxed) + 1 + room / 4 / class_size(i);
    }
}

std::size_t stack_pool::trim(std::size_t max_bytes) noexcept
{
    std::lock_guard const hold(trim_lock_);
    auto const n = trim_holding(max_bytes);
    set_checks();
    return n;
}

void stack_pool::set_max_idle(std::size_t bytes) noexcept
{
    std::lock_guard const hold(trim_lock_);
    max_idle_.store(bytes, std::memory_order_relaxed);
    if (warm_bytes() > bytes)
        trim_holding(bytes);
    set_checks();
}

// Holds trim_lock_.
std::size_t stack_pool::trim_holding(std::size_t max_bytes) noexcept
{
    std::size_t n = 0;
    for (;;) {
        std::size_t sum = 0;
        std::size_t most = 0;
        std::size_t largest = 0;
        for (std::size_t i = 0; i != class_count; ++i) {
            auto const bytes =
                classes_[i].warm_count.load(std::memory_order_relaxed) * class_size(i);
            sum += bytes;
            if (bytes > most) {
                most = bytes;
                largest = i;
            }
        }
        if (sum <= max_bytes)
            return n;
        auto const size = class_size(largest);
        auto const done = trim_batch(classes_[largest], size, (sum - max_bytes + size - 1) / size);
        if (done == 0) // others took them all
            return n;
        n += done;
    }
}

// Holds trim_lock_.
std::size_t stack_pool::trim_batch(size_class& c, std::size_t size, std::size_t most) noexcept
{
    std::array<slot*, 64> batch;
    auto const limit = std::min(most, batch.size());
    std::size_t n = 0;
    {
        std::lock_guard const hold(c.lock);
        while (n != limit && (batch[n] = c.warm.pop_oldest()) != nullptr)
            ++n;
        c.warm_count.store(
            c.warm_count.load(std::memory_order_relaxed) - n, std::memory_order_relaxed);
    }
    // Neighbours in one call. What lies between them is the upper one's guard,
    // which stays one.
    std::sort(batch.begin(), batch.begin() + std::ptrdiff_t(n), [](slot* a, slot* b) {
        return std::less<>()(a->top, b->top);
    });
    auto const page = os_page_size();
    auto const usable = round_up(size, page) + page;
    std::size_t trimmed = 0;
    for (std::size_t i = 0; i != n;) {
        auto const begin = round_up(address_of(batch[i]->top), page) - usable;
        auto end = begin + usable;
        auto j = i + 1;
        for (; j != n; ++j) {
            auto const next_end = round_up(address_of(batch[j]->top), page);
            if (next_end - end != c.geo.stride)
                break;
            end = next_end;
        }
        if (os_decommit(reinterpret_cast<void*>(begin), end - begin))
            trimmed += j - i;
        i = j;
    }
    // Into cold even where the system refused: it would refuse again.
    std::lock_guard const hold(c.lock);
    for (std::size_t i = n; i != 0; --i)
        c.cold.push(*batch[i - 1]);
    c.trimmed += trimmed;
    return n;
}

void stack_pool::trim_below(void* sp, stack_block block) noexcept
{
    auto const page = os_page_size();
    auto const low = (address_of(block.top) - block.size) & ~(page - 1);
    auto const high = (address_of(sp) & ~(page - 1)) - page;
    BOOST_ASSERT(address_of(sp) <= address_of(block.top));
    if (high > low && high < address_of(block.top))
        os_decommit(reinterpret_cast<void*>(low), high - low);
}

// Looking. ----------------------------------------------------------------------

stack_block stack_pool::find_overflowed(void const* p) const noexcept
{
    auto* s = slabs_.load(std::memory_order_acquire); // pairs with P
    for (; s != nullptr; s = s->older) {
        auto const offset = address_of(p) - address_of(s);
        if (offset < s->geo.header || offset >= s->geo.header + s->geo.slots * s->geo.stride)
            continue;
        auto const index = (offset - s->geo.header) / s->geo.stride;
        if (index >= s->carved.load(std::memory_order_acquire)) // pairs with C
            break;
        auto const& found = slots_of(*s)[index];
        if ((offset - s->geo.header) % s->geo.stride >= s->geo.guard ||
            !found.in_use.load(std::memory_order_relaxed))
            break;
        return {found.top, s->size};
    }
    return {};
}

stack::statistics stack_pool::get_statistics() noexcept
{
    stack::statistics r;
    for (auto& c : classes_) {
        std::lock_guard const hold(c.lock);
        r.slots += c.slots;
        r.in_use += c.in_use;
        r.high_water += c.high_water;
        r.trimmed += c.trimmed;
    }
    r.idle = r.slots - r.in_use;
    r.mapped_bytes = mapped_bytes_.load(std::memory_order_relaxed);
    r.maps = maps_.load(std::memory_order_relaxed);
    r.guard = os_guard_means();
    auto const count = [this](stack::guard_kind k) {
        return guards_[std::size_t(k)].load(std::memory_order_relaxed);
    };
    r.guarded_by_madvise = count(stack::guard_kind::madvise);
    r.guarded_by_mprotect = count(stack::guard_kind::mprotect);
    r.unguarded = count(stack::guard_kind::none);
    return r;
}

void stack_pool::fail_next_maps(unsigned n) noexcept { os_refuse_reserves(n); }

} // namespace spindle::detail
