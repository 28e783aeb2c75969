// build: openssl
//
// asio/fiber_stream.cpp
// ~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE asio.fiber_stream
#include <spindle/asio/fiber_stream.hpp>
#include <spindle/spawn.hpp>
#include <spindle/this_fiber.hpp>

#include <support/asio_fixture.hpp>

#include <boost/asio/read.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/test/unit_test.hpp>

#include <string>
#include <utility>

using namespace spindle_test;
using namespace std::chrono_literals;
namespace beast = boost::beast;
namespace http = beast::http;
using spindle::fiber_stream;

namespace {

using tcp_stream = fiber_stream<tcp::socket>;

static_assert(beast::is_sync_stream<tcp_stream>::value);
static_assert(beast::is_async_stream<tcp_stream>::value);

} // namespace

BOOST_AUTO_TEST_CASE(an_echo_by_read_until_and_write)
{
    over_processors([] {
        auto [a, b] = connected(spindle::this_fiber::get_executor());
        auto server = spindle::spawn([s = tcp_stream(std::move(a))]() mutable {
            std::string line;
            error_code ec;
            for (;;) {
                auto const n = asio::read_until(s, asio::dynamic_buffer(line), '\n', ec);
                if (ec)
                    return ec;
                asio::write(s, asio::buffer(line, n));
                line.erase(0, n);
            }
        });
        {
            tcp_stream s(std::move(b));
            for (int i = 0; i != 100; ++i) {
                std::string const sent = std::string(static_cast<std::size_t>(i * i), 'x') + '\n';
                std::string back(sent.size(), ' ');
                asio::write(s, asio::buffer(sent));
                asio::read(s, asio::buffer(back));
                BOOST_TEST(back == sent);
            }
        }
        BOOST_TEST((server.join() == asio::error::eof));
    });
}
