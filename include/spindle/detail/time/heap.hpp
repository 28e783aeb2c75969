//
// spindle/detail/time/heap.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// A heap of deadlines with removal from the middle.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_TIME_HEAP_HPP
#define SPINDLE_DETAIL_TIME_HEAP_HPP

#include <spindle/detail/base/clock.hpp>

#include <boost/assert.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace spindle::detail {

// One deadline. Lies in its waiter's frame; the heap holds a pointer while
// index is not npos. `when` is not changed meanwhile.
struct timer_node {
    static constexpr std::uint32_t npos = ~std::uint32_t{0};

    time_point when{};
    std::uint32_t index = npos;

    bool queued() const noexcept { return index != npos; }
};

// An intrusive 4-ary heap. The deadlines are copied beside the pointers: a
// sift compares neighbours in one or two cache lines and touches a node only
// to tell it its new place. Equal deadlines come out in no order.
//
// Not thread-safe by itself: its user locks.
class timer_heap {
public:
    timer_heap() noexcept = default;
    timer_heap(timer_heap const&) = delete;
    timer_heap& operator=(timer_heap const&) = delete;

    void reserve(std::size_t n) { entries_.reserve(n); }

    // O(log n). Throws std::bad_alloc and leaves all as it was.
    void push(timer_node& node)
    {
        BOOST_ASSERT(!node.queued());
        BOOST_ASSERT(entries_.size() < timer_node::npos);
        entries_.push_back({node.when, &node});
        sift_up(entries_.size() - 1, {node.when, &node});
    }

    // O(log n). The node must be in this heap.
    void erase(timer_node& node) noexcept
    {
        BOOST_ASSERT(node.index < entries_.size() && entries_[node.index].node == &node);
        auto const hole = std::size_t{node.index};
        auto const last = entries_.back();
        entries_.pop_back();
        node.index = timer_node::npos;
        if (hole == entries_.size())
            return; // it was the last
        if (hole != 0 && last.when < entries_[parent(hole)].when)
            sift_up(hole, last);
        else
            sift_down(hole, last);
    }

    // The earliest; nullptr when empty.
    timer_node* top() const noexcept { return empty() ? nullptr : entries_.front().node; }

    // Takes the earliest out if it is due; else nullptr.
    timer_node* pop_expired(time_point at) noexcept
    {
        if (empty() || at < entries_.front().when)
            return nullptr;
        auto* const node = entries_.front().node;
        erase(*node);
        return node;
    }

    bool empty() const noexcept { return entries_.empty(); }
    std::size_t size() const noexcept { return entries_.size(); }

private:
    struct entry {
        time_point when;
        timer_node* node;
    };

    static constexpr std::size_t arity = 4;

    static std::size_t parent(std::size_t i) noexcept { return (i - 1) / arity; }

    void place(std::size_t i, entry const& e) noexcept
    {
        entries_[i] = e;
        e.node->index = static_cast<std::uint32_t>(i);
    }

    // Both move the hole at `i` until `e` fits into it.
    void sift_up(std::size_t i, entry const e) noexcept
    {
        while (i != 0 && e.when < entries_[parent(i)].when) {
            place(i, entries_[parent(i)]);
            i = parent(i);
        }
        place(i, e);
    }

    void sift_down(std::size_t i, entry const e) noexcept
    {
        auto const n = entries_.size();
        for (;;) {
            auto const first = i * arity + 1;
            if (first >= n)
                break;
            auto const end = first + arity < n ? first + arity : n;
            auto least = first;
            for (auto child = first + 1; child != end; ++child)
                if (entries_[child].when < entries_[least].when)
                    least = child;
            if (!(entries_[least].when < e.when))
                break;
            place(i, entries_[least]);
            i = least;
        }
        place(i, e);
    }

    std::vector<entry> entries_;
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_TIME_HEAP_HPP
