// build: openssl
//
// asio/streams.cpp
// ~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE asio.streams
#include <spindle/asio/use_fiber.hpp>
#include <spindle/spawn.hpp>
#include <spindle/this_fiber.hpp>

#include <support/asio_fixture.hpp>
#include <support/tls.hpp>

#include <boost/asio/detached.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/test/unit_test.hpp>

#include <chrono>
#include <string>
#include <utility>

using namespace spindle_test;
using namespace std::chrono_literals;
namespace beast = boost::beast;
namespace http = beast::http;
using spindle::use_fiber;

BOOST_AUTO_TEST_SUITE(streams)

// --- Boost.Beast ------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(http_over_a_tcp_stream)
{
    over_threads([](asio::io_context& ioc, unsigned threads) {
        tally t;
        tcp::acceptor acceptor(ioc, {asio::ip::address_v4::loopback(), 0});
        constexpr int clients = 8, requests = 10;
        spindle::spawn(
            ioc,
            [&] {
                for (int i = 0; i != clients; ++i)
                    spindle::spawn(
                        ioc,
                        [s = beast::tcp_stream(acceptor.async_accept(use_fiber))]() mutable {
                            beast::flat_buffer buffer;
                            for (;;) {
                                s.expires_after(30s);
                                http::request<http::string_body> request;
                                http::async_read(s, buffer, request, use_fiber);
                                http::response<http::string_body> answer(
                                    http::status::ok, request.version());
                                answer.body() = "you said " + request.body();
                                answer.prepare_payload();
                                http::async_write(s, answer, use_fiber);
                            }
                        },
                        asio::detached);
            },
            asio::detached);
        for (int i = 0; i != clients; ++i)
            spindle::spawn(
                ioc,
                [&, i] {
                    beast::tcp_stream s(ioc);
                    s.expires_after(30s);
                    s.async_connect(acceptor.local_endpoint(), use_fiber);
                    beast::flat_buffer buffer;
                    for (int k = 0; k != requests; ++k) {
                        http::request<http::string_body> request(http::verb::post, "/", 11);
                        request.body() = std::to_string(100 * i + k);
                        request.prepare_payload();
                        http::async_write(s, request, use_fiber);
                        http::response<http::string_body> answer;
                        http::async_read(s, buffer, answer, use_fiber);
                        t.check(answer.body() == "you said " + request.body());
                    }
                },
                asio::detached);
        run_on(ioc, threads);
        BOOST_TEST(t.good() == static_cast<std::size_t>(clients * requests));
        BOOST_TEST(t.bad() == 0u);
    });
}

BOOST_AUTO_TEST_CASE(a_timeout_of_a_tcp_stream_is_its_own_error)
{
    asio::io_context ioc;
    error_code ec;
    auto [a, b] = connected(ioc.get_executor());
    spindle::spawn(
        ioc,
        [&, &a = a] {
            beast::tcp_stream s(std::move(a));
            s.expires_after(2ms);
            char text[10];
            s.async_read_some(asio::buffer(text), use_fiber[ec]);
        },
        asio::detached);
    ioc.run();
    BOOST_TEST((ec == beast::error::timeout));
}

// --- TLS --------------------------------------------------------------------------

namespace {

using tls_stream = ssl::stream<tcp::socket>;

} // namespace

BOOST_AUTO_TEST_CASE(an_echo_over_tls)
{
    tls_contexts contexts;
    over_threads([&](asio::io_context& ioc, unsigned threads) {
        tally t;
        for (int i = 0; i != 6; ++i) {
            auto [a, b] = connected(ioc.get_executor());
            spindle::spawn(
                ioc,
                [s = tls_stream(std::move(a), contexts.server)]() mutable {
                    s.async_handshake(ssl::stream_base::server, use_fiber);
                    std::string text(5000, ' ');
                    for (;;) {
                        auto const n = s.async_read_some(asio::buffer(text), use_fiber);
                        asio::async_write(s, asio::buffer(text.data(), n), use_fiber);
                    }
                },
                asio::detached);
            spindle::spawn(
                ioc,
                [&t, s = tls_stream(std::move(b), contexts.client)]() mutable {
                    s.async_handshake(ssl::stream_base::client, use_fiber);
                    for (std::size_t size : {1u, 100u, 20'000u}) {
                        std::string const sent(size, 'z');
                        std::string back(size, ' ');
                        asio::async_write(s, asio::buffer(sent), use_fiber);
                        asio::async_read(s, asio::buffer(back), use_fiber);
                        t.check(back == sent);
                    }
                },
                asio::detached);
        }
        run_on(ioc, threads);
        BOOST_TEST(t.good() == 18u);
        BOOST_TEST(t.bad() == 0u);
    });
}

BOOST_AUTO_TEST_CASE(stops_meet_tls_operations)
{
    tls_contexts contexts;
    tally t;
    {
        asio::io_context ioc;
        for (std::size_t i = 0; i != scaled(1'000); ++i) {
            auto [a, b] = connected(ioc.get_executor());
            spindle::spawn(
                ioc,
                [&, i, s = tls_stream(std::move(a), contexts.server),
                 c = tls_stream(std::move(b), contexts.client)]() mutable {
                    auto one = spindle::spawn([&] {
                        s.async_handshake(ssl::stream_base::server, use_fiber);
                        char text[10];
                        asio::async_read(s, asio::buffer(text), use_fiber);
                    });
                    auto other = spindle::spawn([&] {
                        c.async_handshake(ssl::stream_base::client, use_fiber);
                        asio::async_write(c, asio::buffer("12345", 5), use_fiber);
                    });
                    for (auto k = i % 40; k-- > 0;)
                        spindle::this_fiber::yield();
                    spindle::this_fiber::sleep_for(std::chrono::microseconds(i % 50 * 60));
                    one.request_stop();
                    t.check(!!error_of([&] { one.join(); }));
                    other.request_stop();
                    (void)error_of([&] { other.join(); });
                },
                asio::detached);
        }
        run_on(ioc, 4);
    }
    BOOST_TEST(t.good() == scaled(1'000));
    BOOST_TEST(t.bad() == 0u);
    check_nothing_left();
}

BOOST_AUTO_TEST_SUITE_END()
