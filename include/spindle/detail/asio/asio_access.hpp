//
// spindle/detail/asio/asio_access.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// What we need of Asio and it does not show.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_ASIO_ASIO_ACCESS_HPP
#define SPINDLE_DETAIL_ASIO_ASIO_ACCESS_HPP

#include <spindle/detail/fiber/boost_access.hpp>

#include <boost/asio/detail/scheduler.hpp>
#include <boost/asio/io_context.hpp>

namespace spindle::detail {

struct outstanding_work_tag {
    friend constexpr auto member_of(outstanding_work_tag) noexcept;
};

template struct expose_member<
    outstanding_work_tag, &boost::asio::detail::scheduler::outstanding_work_>;

// Any thread. What the io_context waits for or has queued, and its work guards. May
// be out of date.
inline long asio_work_hint(boost::asio::detail::scheduler& s) noexcept
{
    return s.*member_of(outstanding_work_tag{});
}

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_ASIO_ASIO_ACCESS_HPP
