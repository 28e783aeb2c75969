//
// spindle/detail/sched/latency.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// How long what was ready waited until it ran: a histogram of powers of two.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_SCHED_LATENCY_HPP
#define SPINDLE_DETAIL_SCHED_LATENCY_HPP

#include <spindle/detail/base/atomic.hpp>
#include <spindle/detail/base/clock.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace spindle::detail {

// The same as plain numbers, to add up over processors. counts[i]: those of less than
// 2^i ns, and not of less than 2^(i-1); the last one has the rest, too.
struct latency_values {
    static constexpr std::size_t buckets = 36;

    std::array<std::uint64_t, buckets> counts{};
    std::uint64_t total_ns = 0;

    latency_values& operator+=(latency_values const& o) noexcept
    {
        for (std::size_t i = 0; i != buckets; ++i)
            counts[i] += o.counts[i];
        total_ns += o.total_ns;
        return *this;
    }

    static std::size_t bucket_of(std::uint64_t ns) noexcept
    {
        return std::min<std::size_t>(static_cast<std::size_t>(std::bit_width(ns)), buckets - 1);
    }
};

// Readers see each number grow, and no order between two of them.
class latency_counters {
public:
    // One thread at a time.
    void add(duration d) noexcept
    {
        auto const ns = nanoseconds_in(d);
        auto& n = counts_[latency_values::bucket_of(ns)];
        n.store(n.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
        total_ns_.store(
            total_ns_.load(std::memory_order_relaxed) + ns, std::memory_order_relaxed);
    }

    // Any thread; of those that use this one, all.
    void add_shared(duration d) noexcept
    {
        auto const ns = nanoseconds_in(d);
        counts_[latency_values::bucket_of(ns)].fetch_add(1, std::memory_order_relaxed);
        total_ns_.fetch_add(ns, std::memory_order_relaxed);
    }

    // Any thread.
    latency_values values() const noexcept
    {
        latency_values v;
        for (std::size_t i = 0; i != v.counts.size(); ++i)
            v.counts[i] = counts_[i].load(std::memory_order_relaxed);
        v.total_ns = total_ns_.load(std::memory_order_relaxed);
        return v;
    }

private:
    static std::uint64_t nanoseconds_in(duration d) noexcept
    {
        auto const n = std::chrono::duration_cast<std::chrono::nanoseconds>(d).count();
        return n > 0 ? static_cast<std::uint64_t>(n) : 0;
    }

    std::array<atomic<std::uint64_t>, latency_values::buckets> counts_{};
    atomic<std::uint64_t> total_ns_{0};
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_SCHED_LATENCY_HPP
