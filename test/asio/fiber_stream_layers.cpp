// build: openssl
//
// asio/fiber_stream_layers.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// What others have written for streams that block, above and below a fiber_stream: TLS,
// HTTP, WebSocket.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE asio.fiber_stream_layers
#include <spindle/asio/fiber_stream.hpp>
#include <spindle/cancel/within.hpp>
#include <spindle/spawn.hpp>
#include <spindle/this_fiber.hpp>

#include <support/asio_fixture.hpp>
#include <support/tls.hpp>

#include <boost/asio/detached.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/serial_port.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <boost/beast/websocket.hpp>
#include <boost/beast/websocket/ssl.hpp>
#include <boost/test/unit_test.hpp>

#include <chrono>
#include <string>
#include <utility>

using namespace spindle_test;
using namespace std::chrono_literals;
namespace beast = boost::beast;
namespace http = beast::http;
namespace websocket = beast::websocket;
namespace this_fiber = spindle::this_fiber;
using spindle::fiber_stream;

namespace {

using tcp_stream = fiber_stream<tcp::socket>;
using timed_stream = fiber_stream<beast::tcp_stream>;
using tls_above = ssl::stream<tcp_stream>;               // OpenSSL calls us
using tls_below = fiber_stream<ssl::stream<tcp::socket>>; // we call Asio's TLS

template <class Stream>
constexpr bool is_stream
    = beast::is_sync_stream<Stream>::value && beast::is_async_stream<Stream>::value;

static_assert(is_stream<tcp_stream>);
static_assert(is_stream<timed_stream>);
static_assert(is_stream<tls_above>);
static_assert(is_stream<tls_below>);
static_assert(is_stream<fiber_stream<tcp::socket&>>);
static_assert(is_stream<fiber_stream<asio::local::stream_protocol::socket>>);
static_assert(is_stream<fiber_stream<asio::posix::stream_descriptor>>);
static_assert(is_stream<fiber_stream<asio::serial_port>>);

// Makes each kind from a socket. The contexts are for those that want them.
tls_contexts& contexts()
{
    static tls_contexts c;
    return c;
}

template <class Stream>
Stream make(tcp::socket&& s, bool is_server)
{
    if constexpr (std::is_same_v<Stream, tls_below>)
        return Stream(std::move(s), is_server ? contexts().server : contexts().client);
    else
        return Stream(std::move(s));
}

template <>
tls_above make(tcp::socket&& s, bool is_server)
{
    return tls_above(
        tcp_stream(std::move(s)), is_server ? contexts().server : contexts().client);
}

template <class Stream>
void handshake(Stream& s, bool is_server)
{
    if constexpr (requires { s.handshake(ssl::stream_base::server); })
        s.handshake(is_server ? ssl::stream_base::server : ssl::stream_base::client);
}

template <>
void handshake(tcp_stream&, bool)
{
}

template <>
void handshake(timed_stream&, bool)
{
}

// Runs server(stream) and client(stream) in fibers, in host and in guest mode, several
// pairs at a time. Each ends by returning.
template <class Stream, class Server, class Client>
void between(Server server, Client client)
{
    auto const pairs = [&](auto const& ex, tally& t) {
        for (int i = 0; i != 3; ++i) {
            auto both = connected(ex);
            auto const start = [&](tcp::socket&& s, bool is_server) {
                spindle::spawn(
                    ex,
                    [&, is_server, stream = make<Stream>(std::move(s), is_server)]() mutable {
                        try {
                            handshake(stream, is_server);
                            if (is_server)
                                server(stream);
                            else
                                client(stream, t);
                            t.count();
                        } catch (std::exception const& e) {
                            std::fprintf(
                                stderr, "%s: %s\n", is_server ? "server" : "client", e.what());
                            t.check(false);
                        }
                    },
                    asio::detached);
            };
            start(std::move(both.first), true);
            start(std::move(both.second), false);
        }
    };
    over_threads([&](asio::io_context& ioc, unsigned threads) {
        tally t;
        pairs(ioc.get_executor(), t);
        pairs(asio::make_strand(ioc), t);
        run_on(ioc, threads);
        BOOST_TEST(t.good() > 12u);
        BOOST_TEST(t.bad() == 0u);
    });
    for (auto const n : processor_counts)
        BOOST_TEST_CONTEXT(n << " processors")
        {
            tally t;
            on_scheduler s(n);
            pairs(s->get_executor(), t);
            s->join();
            BOOST_TEST(t.good() > 6u);
            BOOST_TEST(t.bad() == 0u);
        }
}

// --- bytes --------------------------------------------------------------------------

template <class Stream>
void echo_of_bytes()
{
    between<Stream>(
        [](Stream& s) {
            std::string text(5000, ' ');
            for (error_code ec;;) {
                auto const n = s.read_some(asio::buffer(text), ec);
                if (ec)
                    return;
                asio::write(s, asio::buffer(text.data(), n));
            }
        },
        [](Stream& s, tally& t) {
            for (std::size_t const size : {1u, 100u, 20'000u}) {
                std::string const sent(size, 'z');
                std::string back(size, ' ');
                asio::write(s, asio::buffer(sent));
                asio::read(s, asio::buffer(back));
                t.check(back == sent);
            }
        });
}

// --- HTTP ---------------------------------------------------------------------------

template <class Stream>
void answer_requests(Stream& s)
{
    beast::flat_buffer buffer;
    for (;;) {
        http::request_parser<http::string_body> parser;
        parser.body_limit(1000);
        error_code ec;
        http::read(s, buffer, parser, ec);
        if (ec == http::error::end_of_stream || ec == asio::error::eof)
            return;
        http::response<http::string_body> answer(http::status::ok, 11);
        if (ec == http::error::body_limit)
            answer.result(http::status::payload_too_large);
        else if (ec)
            throw system_error(ec);
        else
            answer.body() = "you said " + parser.get().body();
        answer.keep_alive(!ec);
        answer.prepare_payload();
        http::write(s, answer);
        if (ec)
            return;
    }
}

template <class Stream>
void make_requests(Stream& s, tally& t)
{
    beast::flat_buffer buffer;
    auto const ask = [&](std::string const& body) {
        http::request<http::string_body> request(http::verb::post, "/", 11);
        request.body() = body;
        request.prepare_payload();
        http::write(s, request);
        http::response<http::string_body> answer;
        http::read(s, buffer, answer);
        return answer;
    };
    for (int i = 0; i != 5; ++i)
        t.check(ask(std::to_string(i)).body() == "you said " + std::to_string(i));
    t.check(ask(std::string(2000, 'x')).result() == http::status::payload_too_large);
}

// --- WebSocket ----------------------------------------------------------------------

template <class Stream>
void websocket_conversation()
{
    between<Stream>(
        [](Stream& below) {
            websocket::stream<Stream&> ws(below);
            ws.accept();
            beast::flat_buffer message;
            for (;;) {
                error_code ec;
                ws.read(message, ec);
                if (ec == websocket::error::closed)
                    return;
                if (ec)
                    throw system_error(ec);
                ws.text(ws.got_text());
                ws.write(message.data());
                message.clear();
            }
        },
        [](Stream& below, tally& t) {
            websocket::stream<Stream&> ws(below);
            ws.handshake("localhost", "/");
            for (std::size_t const size : {1u, 300u, 100'000u}) {
                std::string const sent(size, 'w');
                ws.write(asio::buffer(sent));
                beast::flat_buffer message;
                ws.read(message);
                t.check(beast::buffers_to_string(message.data()) == sent);
            }
            ws.close(websocket::close_code::normal);
            t.check(!below.lowest_layer().is_open());
        });
}

} // namespace

BOOST_AUTO_TEST_CASE(bytes_over_beasts_tcp_stream) { echo_of_bytes<timed_stream>(); }
BOOST_AUTO_TEST_CASE(bytes_over_tls_that_calls_us) { echo_of_bytes<tls_above>(); }
BOOST_AUTO_TEST_CASE(bytes_over_tls_that_we_call) { echo_of_bytes<tls_below>(); }

BOOST_AUTO_TEST_CASE(http_over_each_of_them)
{
    between<tcp_stream>(&answer_requests<tcp_stream>, &make_requests<tcp_stream>);
    between<timed_stream>(&answer_requests<timed_stream>, &make_requests<timed_stream>);
    between<tls_above>(&answer_requests<tls_above>, &make_requests<tls_above>);
    between<tls_below>(&answer_requests<tls_below>, &make_requests<tls_below>);
}

BOOST_AUTO_TEST_CASE(a_websocket_over_each_of_them)
{
    websocket_conversation<tcp_stream>();
    websocket_conversation<timed_stream>();
    websocket_conversation<tls_above>();
    websocket_conversation<tls_below>();
}

BOOST_AUTO_TEST_CASE(a_timeout_of_a_tcp_stream_is_its_own_error_and_a_deadline_is_a_deadline)
{
    over_processors([] {
        auto [a, b] = connected(this_fiber::get_executor());
        timed_stream s(std::move(a));
        char text[10];
        error_code ec;
        spindle::within(
            2ms, [&] { s.read_some(asio::buffer(text)); }, ec);
        BOOST_TEST(ec == asio::error::timed_out);
        s.next_layer().expires_after(2ms);
        s.read_some(asio::buffer(text), ec);
        BOOST_TEST((ec == beast::error::timeout));
    });
}

BOOST_AUTO_TEST_CASE(a_slow_request_ends_by_its_deadline)
{
    over_processors([] {
        auto [a, b] = connected(this_fiber::get_executor());
        tcp_stream s(std::move(a)), slow(std::move(b));
        auto writer = spindle::spawn([&] {
            slow.write_some(asio::buffer("GET / HTTP/1.1\r\nX: ", 19));
            for (error_code ec; !ec;) {
                this_fiber::sleep_for(200us);
                slow.write_some(asio::buffer("x", 1), ec);
            }
        });
        beast::flat_buffer buffer;
        http::request_parser<http::empty_body> parser;
        error_code ec;
        spindle::within(
            10ms, [&] { http::read_header(s, buffer, parser); }, ec);
        BOOST_TEST(ec == asio::error::timed_out);
        writer.request_stop();
        (void)error_of([&] { writer.join(); }); // it slept, or it wrote
    });
}

BOOST_AUTO_TEST_CASE(tls_ends_with_its_farewell)
{
    between<tls_below>(
        [](tls_below& s) {
            char text[8];
            if (error_of([&] { s.read_some(asio::buffer(text)); }) != asio::error::eof)
                throw std::runtime_error("no farewell");
            s.shutdown();
            s.close();
        },
        [](tls_below& s, tally& t) {
            s.shutdown();
            s.close();
            t.check(!s.is_open());
        });
}
