//
// spindle/detail/asio/thread_memory.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// Where Asio keeps memory between two uses, for a thread that runs fibers.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_ASIO_THREAD_MEMORY_HPP
#define SPINDLE_DETAIL_ASIO_THREAD_MEMORY_HPP

#include <boost/asio/detail/call_stack.hpp>
#include <boost/asio/detail/thread_context.hpp>
#include <boost/asio/detail/thread_info_base.hpp>

namespace spindle::detail {

// A composed operation has a cancellation signal for each of its layers, and the memory
// of all but the outermost comes from Asio: three blocks a request of HTTP, from a few that
// it keeps for the thread. It keeps them in a frame of io_context::run(). A host's
// fibers run outside of that, where it would ask the heap each time. So there is a
// frame for them: of no io_context, so that nobody takes the thread for one that is
// inside of it; only what is kept for any thread is found there.
//
// Lies on the stack of the thread's own; a fiber holds no address of it. What one thread
// has allocated another one may keep, as always in Asio.
class thread_memory {
public:
    // Around what runs fibers.
    class scope {
    public:
        explicit scope(thread_memory& m) : frame_(&m.nobody_, m.memory_) {}

    private:
        boost::asio::detail::call_stack<
            boost::asio::detail::thread_context,
            boost::asio::detail::thread_info_base>::context frame_;
    };

private:
    boost::asio::detail::thread_context nobody_;
    boost::asio::detail::thread_info_base memory_;
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_ASIO_THREAD_MEMORY_HPP
