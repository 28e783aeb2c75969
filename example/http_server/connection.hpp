//
// http_server/connection.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~
// One connection of http_server.cpp: its requests, one after the other.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_EXAMPLE_HTTP_SERVER_CONNECTION_HPP
#define SPINDLE_EXAMPLE_HTTP_SERVER_CONNECTION_HPP

#include <spindle.hpp>
#include <spindle/asio/fiber_stream.hpp>

#include <boost/asio.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <iostream>
#include <string>
#include <vector>

#include "answers.hpp"
#include "service.hpp"

namespace http_server {

namespace asio = boost::asio;
using asio::ip::tcp;
using spindle::error_code;

// Beast's synchronous functions work over these, and what would block the thread parks
// the fiber.
//
// Why not http::async_read(socket, buffer, parser, use_fiber)? Because of deadlines. One
// such call is many reads, and is asked but once to cancel itself. Beast's operations (of
// Boost 1.81) do not look whether they were asked: a deadline that falls between two of
// the reads is lost, and a client that sends a byte now and then would be read for ever.
// Here each read is an operation of its own, and one that begins after the deadline fails.
// tag::streams[]
using plain_stream = spindle::fiber_stream<tcp::socket>;
using tls_stream = asio::ssl::stream<plain_stream>;
// end::streams[]

template <class Stream>
class connection {
public:
    // Not `welcome`: there are too many already, and it is told so.
    connection(Stream& stream, service& s, bool welcome)
        : stream_(stream), service_(s), welcome_(welcome)
    {
    }

    // Until the client is done, or gone, or the service goes down. Throws
    // operation_aborted if its group is stopped before.
    void run()
    {
        while (serve_request())
            ;
    }

private:
    using request_parser = http::request_parser<http::string_body>;

    // False: it was the last one.
    bool serve_request()
    {
        request_parser parser;
        parser.header_limit(limits().header_limit);
        parser.body_limit(limits().body_limit);
        auto const status = read(parser);
        if (status == nobody)
            return false;
        auto& counts = service_.counts();
        counted const answering(counts.answering);
        if (status != http::status::ok) {
            ++counts.refused;
            auto refusal = make_status(status);
            refusal.message.keep_alive(false);
            return send(refusal, false) && say_goodbye();
        }
        ++counts.requests;
        auto const& r = parser.get();
        auto a = make(r);
        auto const stays = r.keep_alive() && welcome_ && !service_.going_down();
        a.message.version(r.version());
        a.message.keep_alive(stays);
        if (!send(a, r.method() == http::verb::head))
            return false;
        return stays || say_goodbye();
    }

    answer make(request const& r)
    {
        if (!welcome_) {
            auto a = make_status(http::status::service_unavailable);
            a.message.set(http::field::retry_after, "1");
            return a;
        }
        try {
            return answer_to(service_, r);
        } catch (std::exception const& e) {
            if (spindle::this_fiber::stop_requested())
                throw;
            std::cerr << "cannot answer: " << e.what() << '\n';
            return make_status(http::status::internal_server_error);
        }
    }

    // --- reading -----------------------------------------------------------------------

    // ok: there is a request. nobody: nobody is there who wants to know. Else why it is
    // none; what comes after it cannot be understood any more.
    static constexpr auto nobody = http::status::unknown;

    // tag::read[]
    http::status read(request_parser& parser)
    {
        if (buffer_.size() == 0 && !wait_for_client())
            return nobody;
        counted const reading(service_.counts().reading);
        // As a rule this was all of it, and no more time is needed.
        error_code ec;
        buffer_.consume(parser.put(buffer_.data(), ec)); // <1>
        if (ec == http::error::need_more) {
            spindle::cancel_scope const limit(limits().header_timeout); // <2>
            http::read_header(stream_, buffer_, parser, ec);
            if (is_late(ec, limit)) // <3>
                return http::status::request_timeout;
        }
        if (!ec && !is_understood(parser.get()))
            return http::status::not_implemented; // <4>
        if (!ec && !parser.is_done()) {
            spindle::cancel_scope const limit(limits().body_timeout);
            ask_for_body(parser.get(), ec);
            if (!ec)
                http::read(stream_, buffer_, parser, ec);
            if (is_late(ec, limit))
                return http::status::request_timeout;
        }
        return status_of(ec);
    }
    // end::read[]

    // tag::idle[]
    // For the first bytes of a request: as long as a client may be idle, and as long as
    // the service is up.
    bool wait_for_client()
    {
        spindle::cancel_scope const up(service_.end());
        spindle::cancel_scope const limit(welcome_ ? limits().idle_timeout : limits().linger);
        error_code ec;
        buffer_.commit(stream_.read_some(buffer_.prepare(read_size), ec));
        return !ec;
    }
    // end::idle[]

    // Beast takes a request for one without a body where it does not know the coding. What
    // is left would be the next request: one that somebody else may have written.
    static bool is_understood(request const& r)
    {
        auto const coding = r.find(http::field::transfer_encoding);
        return coding == r.end() ||
               (r.version() >= 11 && beast::iequals(coding->value(), "chunked"));
    }

    // A client with a large body may wait to be asked for it.
    void ask_for_body(request const& r, error_code& ec)
    {
        if (r.version() < 11 || !beast::iequals(r[http::field::expect], "100-continue"))
            return;
        http::response<http::empty_body> go_on(http::status::continue_, 11);
        http::write(stream_, go_on, ec);
    }

    static bool is_late(error_code const& ec, spindle::cancel_scope const& limit)
    {
        return ec == asio::error::operation_aborted &&
               limit.reason() == spindle::cancel_reason::deadline;
    }

    static http::status status_of(error_code const& ec)
    {
        if (!ec)
            return http::status::ok;
        if (ec == http::error::end_of_stream)
            return nobody;
        if (ec == http::error::header_limit || ec == http::error::buffer_overflow)
            return http::status::request_header_fields_too_large;
        if (ec == http::error::body_limit)
            return http::status::payload_too_large;
        if (ec == http::error::bad_alloc)
            return http::status::service_unavailable;
        if (ec.category() == http::make_error_code(http::error::bad_field).category())
            return http::status::bad_request;
        return nobody; // the connection has failed
    }

    // --- writing -----------------------------------------------------------------------

    // False: it did not get there.
    bool send(answer& a, bool header_only)
    {
        error_code ec;
        {
            spindle::cancel_scope const limit(limits().write_timeout);
            http::response_serializer<http::string_body> writer(a.message);
            if (header_only || a.content)
                http::write_header(stream_, writer, ec);
            else
                http::write(stream_, writer, ec);
        }
        auto const sent = !ec && (header_only || !a.content || send(*a.content));
        if (!sent)
            ++service_.counts().cut;
        return sent;
    }

    bool send(file const& f)
    {
        std::vector<char> part(part_size);
        for (std::uint64_t at = 0; at != f.size();) {
            auto const n =
                static_cast<std::size_t>(std::min<std::uint64_t>(part.size(), f.size() - at));
            // A file that has shrunk: the client sees that there is less than was promised.
            if (!spindle::blocking([&] { return f.read(at, part.data(), n); }))
                return false;
            spindle::cancel_scope const limit(limits().write_timeout);
            error_code ec;
            asio::write(stream_, asio::buffer(part.data(), n), ec);
            if (ec)
                return false;
            at += n;
        }
        return true;
    }

    // --- the end -----------------------------------------------------------------------

    // Returns false, for its callers. A close with something unread in it resets the
    // connection, and what was just sent may never be read. So: say that this was all,
    // and hear the client out, for a while.
    // tag::goodbye[]
    bool say_goodbye()
    {
        spindle::cancel_scope const limit(limits().linger);
        error_code ec;
        auto& socket = end_tls(stream_);
        socket.shutdown(tcp::socket::shutdown_send, ec);
        for (std::size_t heard = 0; !ec && heard < 16 * part_size;) {
            buffer_.clear();
            heard += socket.read_some(buffer_.prepare(read_size), ec);
        }
        return false;
    }
    // end::goodbye[]

    static plain_stream& end_tls(plain_stream& socket) { return socket; }
    static plain_stream& end_tls(tls_stream& tls)
    {
        error_code ec;
        tls.shutdown(ec);
        return tls.next_layer();
    }

    static constexpr std::size_t read_size = 8 * 1024;

    options const& limits() const noexcept { return service_.settings(); }

    Stream& stream_;
    service& service_;
    bool const welcome_;
    beast::flat_buffer buffer_{part_size};
};

} // namespace http_server

#endif // SPINDLE_EXAMPLE_HTTP_SERVER_CONNECTION_HPP
