//
// spindle/detail/sched/steal_order.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// Every processor once, from a random start with a random stride.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_SCHED_STEAL_ORDER_HPP
#define SPINDLE_DETAIL_SCHED_STEAL_ORDER_HPP

#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

namespace spindle::detail {

// If n and stride have no common divisor, then start, start + stride,
// start + 2 * stride, ... (mod n) meets each of 0 .. n - 1 once in n steps.
// The strides are found beforehand. Thieves that start at different places
// with different strides do not run after one another from victim to victim.
//
// Any thread may call start() at once; reset() only before the threads start
// or while they stand.
class steal_order {
public:
    class walk {
    public:
        bool done() const noexcept { return left_ == 0; }
        std::uint32_t position() const noexcept { return position_; }

        void next() noexcept
        {
            --left_;
            // Not a division: this runs in the spinning loop.
            auto const room = count_ - position_;
            position_ = stride_ < room ? position_ + stride_ : stride_ - room;
        }

    private:
        friend class steal_order;

        walk(std::uint32_t count, std::uint32_t start, std::uint32_t stride) noexcept
            : left_(count), count_(count), position_(start), stride_(stride)
        {
        }

        std::uint32_t left_;
        std::uint32_t count_;
        std::uint32_t position_;
        std::uint32_t stride_;
    };

    explicit steal_order(std::uint32_t count = 0) { reset(count); }

    void reset(std::uint32_t count)
    {
        std::vector<std::uint32_t> strides;
        for (std::uint32_t i = 1; i <= count; ++i)
            if (std::gcd(i, count) == 1)
                strides.push_back(i);
        strides_ = std::move(strides);
        count_ = count;
    }

    // `random` is any number; each start and each stride is as likely as the
    // others if it is drawn from 2^32.
    walk start(std::uint32_t random) const noexcept
    {
        if (count_ == 0)
            return walk(0, 0, 0);
        auto const strides = static_cast<std::uint32_t>(strides_.size());
        return walk(count_, random % count_, strides_[random / count_ % strides]);
    }

    std::uint32_t count() const noexcept { return count_; }

private:
    std::uint32_t count_ = 0;
    std::vector<std::uint32_t> strides_;
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_SCHED_STEAL_ORDER_HPP
