//
// asio/turn_of_asio.cpp
// ~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/asio/turn_of_asio.hpp>

#include <spindle/detail/base/scope_exit.hpp>

#include <boost/asio/bind_allocator.hpp>
#include <boost/asio/post.hpp>

namespace spindle::detail {

void turn_of_asio::run()
{
    raise_fence();
    scope_exit const after([&] { inside_ = false; });
    inside_ = true;
    ioc_.poll();
    ioc_.restart();
}

void turn_of_asio::raise_fence()
{
    if (fenced_)
        return;
    boost::asio::post(
        ioc_, boost::asio::bind_allocator(slot_allocator<void, 128>(fence_memory_), [this] {
            fenced_ = false;
            ioc_.stop();
        }));
    fenced_ = true;
}

void turn_of_asio::go_on()
{
    if (inside_)
        raise_fence();
}

} // namespace spindle::detail
