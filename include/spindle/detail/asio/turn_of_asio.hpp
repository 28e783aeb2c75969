//
// spindle/detail/asio/turn_of_asio.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// What a processor asks of its io_context in one go.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_ASIO_TURN_OF_ASIO_HPP
#define SPINDLE_DETAIL_ASIO_TURN_OF_ASIO_HPP

#include <spindle/detail/asio/slot_memory.hpp>

#include <boost/asio/io_context.hpp>

namespace spindle::detail {

// One turn of Asio, bounded: a handler that posts itself again and again must
// not keep the thread. A fence posted before poll() stops it: everything that
// was queued before the fence runs, then the reactor is asked once, and what
// that finds lies behind the fence and runs in the next turn. So a turn costs
// one system call, and none is made in vain after a turn that found something.
// A turn that a handler's exception cuts short leaves its fence to the next one.
class turn_of_asio {
public:
    explicit turn_of_asio(boost::asio::io_context& ioc) : ioc_(ioc) {}

    // The thread that runs the io_context. May throw what a handler throws.
    void run();

    // Main has waited inside a handler of this turn, and Asio was served there,
    // which may have taken the fence away: the rest of the turn needs one.
    void go_on();

private:
    void raise_fence();

    boost::asio::io_context& ioc_;
    bool inside_ = false;
    bool fenced_ = false;
    slot_memory<128> fence_memory_;
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_ASIO_TURN_OF_ASIO_HPP
