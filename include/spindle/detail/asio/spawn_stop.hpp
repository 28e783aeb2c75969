//
// spindle/detail/asio/spawn_stop.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// A stop from outside, for one life of one fiber: from a token's cancellation
// slot, or from a handle.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_ASIO_SPAWN_STOP_HPP
#define SPINDLE_DETAIL_ASIO_SPAWN_STOP_HPP

#include <spindle/config.hpp>
#include <spindle/detail/base/spin_lock.hpp>
#include <spindle/detail/fiber/park.hpp>
#include <spindle/detail/fiber/record.hpp>
#include <spindle/detail/fiber/stop.hpp>

#include <boost/asio/cancellation_type.hpp>

#include <cstdint>
#include <memory>
#include <mutex>

namespace spindle::detail {

// The fiber enters itself when it begins and leaves when it ends, so that a stop
// that comes earlier is kept and one that comes later hits nobody.
class spawn_stop {
public:
    // Connected to `slot`; nullptr if nobody can emit there.
    template <class Slot>
    static std::shared_ptr<spawn_stop> connect(Slot slot)
    {
        if (!slot.is_connected())
            return nullptr;
        auto stop = std::make_shared<spawn_stop>();
        slot.assign([stop](boost::asio::cancellation_type type) {
            if (type != boost::asio::cancellation_type::none)
                stop->request();
        });
        return stop;
    }

    // Any thread.
    void request() noexcept
    {
        cancellation c; // the user's callbacks: with nothing held
        std::lock_guard guard(lock_);
        requested_ = true;
        if (fiber_)
            begin_stop(*fiber_, life_, c);
    }

    // The fiber.
    void begin() noexcept
    {
        auto* const self = current_fiber();
        cancellation c;
        std::lock_guard guard(lock_);
        fiber_ = self;
        life_ = life_of(*self);
        if (requested_)
            begin_stop(*self, life_, c);
    }

    void end() noexcept
    {
        std::lock_guard guard(lock_);
        fiber_ = nullptr;
    }

private:
    spin_lock lock_; // below it: the fiber's own lock and the run queues
    bool requested_ = false;
    fiber_record* fiber_ = nullptr;
    std::uint64_t life_ = 0;
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_ASIO_SPAWN_STOP_HPP
