//
// asio/operation_memory.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~
// Where the memory of operations comes from.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE asio.operation_memory
#include <spindle.hpp>

#include <support/allocations.hpp>

#include <spindle/detail/asio/slot_memory.hpp>

#include <boost/asio.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>
#include <utility>

namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using asio::ip::tcp;
using spindle::use_fiber;
using spindle_test::allocations;
using spindle::detail::two_slot_memory;

using small_memory = two_slot_memory<512, 64>;

bool lies_in(small_memory const& m, void const* p)
{
    auto const* const begin = reinterpret_cast<std::byte const*>(&m);
    auto const* const at = static_cast<std::byte const*>(p);
    return at >= begin && at < begin + sizeof m;
}

std::pair<tcp::socket, tcp::socket> connected()
{
    auto const ex = spindle::this_fiber::get_executor();
    tcp::acceptor acceptor(ex, {asio::ip::address_v4::loopback(), 0});
    tcp::socket a(ex);
    auto connecting =
        spindle::spawn([&] { a.async_connect(acceptor.local_endpoint(), use_fiber); });
    tcp::socket b = acceptor.async_accept(use_fiber);
    connecting.join();
    return {std::move(a), std::move(b)};
}

} // namespace

BOOST_AUTO_TEST_SUITE(two_slots)

BOOST_AUTO_TEST_CASE(hold_a_small_and_a_large_one)
{
    small_memory m;
    auto* const small = m.allocate(60);
    auto* const large = m.allocate(500);
    BOOST_TEST(lies_in(m, small));
    BOOST_TEST(lies_in(m, large));
    m.deallocate(large);
    m.deallocate(small);
}

BOOST_AUTO_TEST_CASE(hold_two_small_ones)
{
    small_memory m;
    auto* const one = m.allocate(60);
    auto* const other = m.allocate(60);
    BOOST_TEST(one != other);
    BOOST_TEST(lies_in(m, one));
    BOOST_TEST(lies_in(m, other));
    m.deallocate(one);
    BOOST_TEST(m.allocate(10) == one); // what was given back is given again
    m.deallocate(one);
    m.deallocate(other);
}

BOOST_AUTO_TEST_CASE(leave_the_rest_to_the_heap)
{
    small_memory m;
    auto* const one = m.allocate(500);
    auto* const second = m.allocate(500);
    auto* const huge = m.allocate(5000);
    BOOST_TEST(lies_in(m, one));
    BOOST_TEST(!lies_in(m, second));
    BOOST_TEST(!lies_in(m, huge));
    m.deallocate(huge);
    m.deallocate(one);
    m.deallocate(second);
    BOOST_TEST(m.allocate(500) == one);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(an_operation)

// A message of Beast's is a small part that stays and a large one for each write.
BOOST_AUTO_TEST_CASE(of_beast_takes_nothing_from_the_heap)
{
    spindle::run(
        [] {
            auto [client, server] = connected();
            http::request<http::empty_body> const request(http::verb::get, "/", 11);
            boost::beast::flat_buffer buffer;
            buffer.reserve(8192);
            std::size_t least = 1000;
            for (int i = 0; i != 20; ++i) {
                http::request_parser<http::empty_body> parser;
                auto const before = allocations.load(std::memory_order_relaxed);
                http::async_write(client, request, use_fiber);
                auto const after = allocations.load(std::memory_order_relaxed);
                least = std::min(least, after - before);
                http::async_read(server, buffer, parser, use_fiber);
            }
            BOOST_TEST(least == 0u);
        },
        {.processors = 1});
}

BOOST_AUTO_TEST_SUITE_END()
