//
// spindle/detail/fiber/scope_values.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// What a scope tells those who are in it.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_FIBER_SCOPE_VALUES_HPP
#define SPINDLE_DETAIL_FIBER_SCOPE_VALUES_HPP

#include <spindle/config.hpp>
#include <spindle/detail/base/atomic.hpp>

#include <cstddef>
#include <utility>

namespace spindle::detail {

// One value. Keeps the one that was set before it.
struct value_node {
    value_node(void const* k, void const* v) noexcept : key(k), value(v) {}
    value_node(value_node const&) = delete;
    value_node& operator=(value_node const&) = delete;
    virtual ~value_node() = default;

    void const* const key;
    void const* const value;
    value_node* next = nullptr; // counted
    atomic<std::size_t> refs{1};
};

template <class T>
struct value_of final : value_node {
    template <class U>
    value_of(void const* k, U&& u) : value_node(k, &object), object(std::forward<U>(u))
    {
    }

    T const object;
};

// The newest first. A list shares its tail with those that it was copied from: as
// the nodes never change, and a list only grows, a node that was seen in it stays
// as long as the list does.
class value_list {
public:
    value_list() = default;
    value_list(value_list const&) = delete;
    value_list& operator=(value_list const&) = delete;
    ~value_list() { clear(); }

    // Any thread.
    bool empty() const noexcept { return first_.load(std::memory_order_relaxed) == nullptr; }

    // Any thread. nullptr: there is none.
    void const* find(void const* key) const noexcept
    {
        for (auto* n = first_.load(std::memory_order_acquire); n; n = n->next)
            if (n->key == key)
                return n->value;
        return nullptr;
    }

    // The owner, of an empty list.
    void copy(value_list const& from) noexcept
    {
        auto* const n = from.first_.load(std::memory_order_acquire);
        if (n)
            n->refs.fetch_add(1, std::memory_order_relaxed);
        first_.store(n, std::memory_order_release);
    }

    // The owner.
    void push(value_node& n) noexcept
    {
        n.next = first_.load(std::memory_order_relaxed);
        first_.store(&n, std::memory_order_release);
    }

    // The owner, when nobody else looks any more.
    void clear() noexcept
    {
        auto* n = first_.load(std::memory_order_relaxed);
        first_.store(nullptr, std::memory_order_relaxed);
        while (n && n->refs.fetch_sub(1, std::memory_order_acq_rel) == 1)
            delete std::exchange(n, n->next);
    }

private:
    atomic<value_node*> first_{nullptr};
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_FIBER_SCOPE_VALUES_HPP
