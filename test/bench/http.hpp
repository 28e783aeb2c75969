//
// test/bench/http.hpp
// ~~~~~~~~~~~~~~~~~~~
// What the C++ servers of `http` have in common: Boost.Beast's parser and its messages.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_TEST_BENCH_HTTP_HPP
#define SPINDLE_TEST_BENCH_HTTP_HPP

#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

namespace bench {

namespace http = boost::beast::http;

using boost::beast::flat_buffer;
using request_parser = http::request_parser<http::empty_body>;
using hello_response = http::response<http::string_body>;

/// The answer to each request; Go's has the same fields.
inline hello_response hello(http::request<http::empty_body> const& request)
{
    hello_response r(http::status::ok, request.version());
    r.set(http::field::server, "bench");
    r.set(http::field::content_type, "text/plain");
    r.keep_alive(request.keep_alive());
    r.body() = "hello\n";
    r.prepare_payload();
    return r;
}

} // namespace bench

#endif // SPINDLE_TEST_BENCH_HTTP_HPP
