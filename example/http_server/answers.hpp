//
// http_server/answers.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~
// What http_server.cpp answers to which request. Plain functions: they wait where
// they must, and know nothing of connections.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_EXAMPLE_HTTP_SERVER_ANSWERS_HPP
#define SPINDLE_EXAMPLE_HTTP_SERVER_ANSWERS_HPP

#include <spindle.hpp>
#include <spindle/observe.hpp>

#include <boost/beast/http.hpp>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>

#include "files.hpp"
#include "service.hpp"

namespace http_server {

namespace beast = boost::beast;
namespace http = beast::http;

using request = http::request<http::string_body>;

struct answer {
    http::response<http::string_body> message;
    std::optional<file> content = {}; // what is sent in place of the message's body
};

// Files up to this size, and parts of larger ones, are read at once.
inline constexpr std::size_t part_size = 64 * 1024;

inline answer make_answer(http::status status, std::string_view type, std::string text)
{
    answer a{{status, 11}};
    a.message.set(http::field::server, "spindle");
    a.message.set(http::field::date, http_date(std::time(nullptr)));
    a.message.set(http::field::content_type, type);
    a.message.body() = std::move(text);
    a.message.content_length(a.message.body().size());
    return a;
}

inline answer make_text(std::string text)
{
    return make_answer(http::status::ok, "text/plain; charset=utf-8", std::move(text));
}

// The status is all there is to say.
inline answer make_status(http::status status)
{
    return make_answer(
        status,
        "text/plain; charset=utf-8",
        std::to_string(static_cast<unsigned>(status)) + ' ' +
            std::string(http::obsolete_reason(status)) + '\n');
}

// --- files ---------------------------------------------------------------------------

inline http::status status_of_errno(int error)
{
    switch (error) {
    case ENOENT:
    case ENOTDIR:
    case ELOOP:
    case ENAMETOOLONG:
        return http::status::not_found;
    case EACCES:
    case EPERM:
        return http::status::forbidden;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
        return http::status::service_unavailable;
    default:
        return http::status::internal_server_error;
    }
}

// Whether the client says that it has this version already.
inline bool is_known(request const& r, file const& f)
{
    if (auto const tags = r.find(http::field::if_none_match); tags != r.end())
        return tags->value() == "*" || tags->value().find(f.tag()) != tags->value().npos;
    if (auto const since = r.find(http::field::if_modified_since); since != r.end())
        if (auto const t = from_http_date(std::string(since->value())))
            return f.modified() <= *t;
    return false;
}

inline answer file_answer(service& s, request const& r, std::string_view path)
{
    answer a = make_answer(http::status::ok, {}, {});
    // What the disk is asked for. Meanwhile the processor is another thread's.
    auto const status = spindle::blocking([&] {
        auto f = file::open(s.root(), path);
        if (!f)
            return status_of_errno(errno);
        a.message.set(http::field::etag, f->tag());
        a.message.set(http::field::last_modified, http_date(f->modified()));
        if (is_known(r, *f))
            return http::status::not_modified;
        a.message.set(http::field::content_type, f->type());
        a.message.set("X-Content-Type-Options", "nosniff");
        a.message.content_length(f->size());
        if (f->size() > part_size || r.method() == http::verb::head) {
            a.content = std::move(f);
            return http::status::ok;
        }
        a.message.body().resize(static_cast<std::size_t>(f->size()));
        if (!f->read(0, a.message.body().data(), a.message.body().size()))
            return http::status::internal_server_error;
        return http::status::ok;
    });
    if (status == http::status::not_modified) {
        a.message.result(status);
        a.message.erase(http::field::content_type);
        a.message.erase(http::field::content_length);
    } else if (status != http::status::ok) {
        return make_status(status);
    }
    return a;
}

// --- the rest --------------------------------------------------------------------------

inline answer hello(service&, request const&, std::string_view) { return make_text("hello\n"); }

inline answer status_as_json(service& s, request const&, std::string_view)
{
    auto const& c = s.counts();
    auto const scheduler = spindle::this_fiber::get_scheduler().stats();
    std::string text;
    auto const number = [&](char const* name, std::uint64_t n) {
        text += (text.empty() ? "{\"" : ",\"") + std::string(name) + "\":" + std::to_string(n);
    };
    number("uptime_ms", static_cast<std::uint64_t>(s.uptime() / milliseconds(1)));
    number("open", c.open);
    number("reading", c.reading);
    number("answering", c.answering);
    number("accepted", c.accepted);
    number("turned_away", c.turned_away);
    number("requests", c.requests);
    number("refused", c.refused);
    number("fibers", scheduler.fibers);
    number("threads", scheduler.threads);
    return make_answer(http::status::ok, "application/json", text + "}\n");
}

inline answer echo(service&, request const& r, std::string_view)
{
    auto const type = r[http::field::content_type];
    return make_answer(
        http::status::ok, type.empty() ? "application/octet-stream" : type, r.body());
}

// What a real service would wait for: a database, another server, ...
inline answer sleep(service&, request const&, std::string_view ms)
{
    unsigned n = 0;
    auto const [end, error] = std::from_chars(ms.data(), ms.data() + ms.size(), n);
    if (error != std::errc() || end != ms.data() + ms.size() || n > 60'000)
        return make_status(http::status::bad_request);
    spindle::this_fiber::sleep_for(milliseconds(n));
    return make_text("slept\n");
}

// --- for those who look after it -----------------------------------------------------------

// What Prometheus reads.
inline answer metrics(service& s, request const&, std::string_view)
{
    std::ostringstream text;
    auto const metric = [&](std::string const& name, char const* type, std::uint64_t value) {
        text << "# TYPE http_" << name << ' ' << type << "\nhttp_" << name << ' ' << value << '\n';
    };
    auto const& c = s.counts();
    metric("connections", "gauge", c.open);
    metric("requests_being_read", "gauge", c.reading);
    metric("requests_being_answered", "gauge", c.answering);
    metric("connections_total", "counter", c.accepted);
    metric("connections_turned_away_total", "counter", c.turned_away);
    metric("requests_total", "counter", c.requests);
    metric("requests_refused_total", "counter", c.refused);
    metric("answers_cut_total", "counter", c.cut);
    spindle::write_prometheus(text, spindle::this_fiber::get_scheduler().stats());
    return make_answer(http::status::ok, spindle::prometheus_content_type, text.str());
}

// Every fiber, what it waits for, and where. Reads the program's symbols, so it may block.
inline answer fibers(service&, request const&, std::string_view)
{
    return make_text(spindle::blocking([] { return spindle::dump_string(); }));
}

struct route {
    std::string_view path; // one that ends in '/' stands for all below it
    bool post;             // else GET and HEAD
    bool debug;            // it tells much, and costs much: only where that is wanted
    answer (*handle)(service&, request const&, std::string_view rest);
};

inline constexpr route routes[] = {
    {"/hello", false, false, hello},
    {"/api/status", false, false, status_as_json},
    {"/api/sleep/", false, false, sleep},
    {"/api/echo", true, false, echo},
    {"/metrics", false, true, metrics},
    {"/debug/fibers", false, true, fibers},
};

// The path of "/a?b", and of "http://host/a?b", which is for proxies, but to be
// understood.
inline std::string_view path_of(std::string_view target)
{
    if (!target.starts_with('/'))
        if (auto const scheme = target.find("://"); scheme != target.npos) {
            auto const path = target.find('/', scheme + 3);
            target = path == target.npos ? "/" : target.substr(path);
        }
    return target.substr(0, target.find('?'));
}

inline answer not_allowed(std::string_view but)
{
    auto a = make_status(http::status::method_not_allowed);
    a.message.set(http::field::allow, but);
    return a;
}

inline answer answer_to(service& s, request const& r)
{
    auto const method = r.method();
    auto const get = method == http::verb::get || method == http::verb::head;
    auto const path = path_of(r.target());
    if (method == http::verb::unknown)
        return make_status(http::status::not_implemented);
    // Who has no name for us may have been sent here by a trick.
    if (r.version() >= 11 && r.count(http::field::host) != 1)
        return make_status(http::status::bad_request);
    if (!path.starts_with('/'))
        return make_status(http::status::bad_request);
    for (auto const& route : routes) {
        auto const below = route.path.ends_with('/');
        if (route.debug && !s.settings().debug)
            continue;
        if (below ? !path.starts_with(route.path) : path != route.path)
            continue;
        if (route.post ? method != http::verb::post && method != http::verb::put : !get)
            return not_allowed(route.post ? "POST, PUT" : "GET, HEAD");
        return route.handle(s, r, path.substr(route.path.size()));
    }
    if (!get)
        return not_allowed("GET, HEAD");
    return file_answer(s, r, path);
}

} // namespace http_server

#endif // SPINDLE_EXAMPLE_HTTP_SERVER_ANSWERS_HPP
