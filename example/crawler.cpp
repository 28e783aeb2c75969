// build: options
//
// crawler.cpp
// ~~~~~~~~~~~
// Fetches pages over HTTP, so many at a time and each within its time, and tries
// again where that may help. The sites are here, too: some of them do not answer,
// some break off, some need a second try.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle.hpp>

#include <boost/asio.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/program_options.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
namespace this_fiber = spindle::this_fiber;
using asio::ip::tcp;
using spindle::error_code;
using spindle::system_error;
using spindle::use_fiber;
using namespace std::chrono_literals;

namespace {

struct options {
    long limit = 4;
    long deadline = 500;
    long threads = std::max(1u, std::thread::hardware_concurrency());
};

constexpr std::size_t largest_page = 100'000;
constexpr unsigned most_tries = 3;
constexpr auto first_pause = 10ms;

// --- the crawler --------------------------------------------------------------------

struct page {
    std::string host, path;
    std::string outcome = {};
    std::size_t size = 0;
    unsigned tries = 0;
};

struct answer {
    http::status status;
    std::size_t size;
};

// One try.
answer get(page const& p, tcp::endpoint const& site)
{
    tcp::socket socket(this_fiber::get_scheduler().next_executor());
    socket.async_connect(site, use_fiber);

    http::request<http::empty_body> request(http::verb::get, p.path, 11);
    request.set(http::field::host, p.host);
    request.keep_alive(false);
    http::async_write(socket, request, use_fiber);

    beast::flat_buffer buffer;
    http::response_parser<http::string_body> response;
    response.body_limit(largest_page);
    // Each of them hears of a deadline. The reads inside of one http::async_read would
    // not do: what comes between two of these is lost, and a site that drips goes on.
    while (!response.is_done())
        http::async_read_some(socket, buffer, response, use_fiber);
    return {response.get().result(), response.get().body().size()};
}

// Whether the next try may do better.
bool may_pass(error_code const& ec)
{
    return ec == asio::error::connection_refused || ec == asio::error::connection_reset;
}

// As many tries as it takes, and a longer pause after each. It knows nothing of its
// limit: whatever it waits for, a pause or a site, ends when the time is up.
answer fetch(page& p, tcp::endpoint const& site)
{
    for (auto pause = first_pause;; pause *= 2) {
        bool const last = ++p.tries == most_tries;
        try {
            auto const a = get(p, site);
            if (last || a.status != http::status::service_unavailable)
                return a;
        } catch (system_error const& e) {
            if (last || !may_pass(e.code()))
                throw;
        }
        this_fiber::sleep_for(pause);
    }
}

std::string describe(error_code const& ec)
{
    if (ec == asio::error::timed_out)
        return "timed out";
    if (ec == asio::error::connection_refused)
        return "refused";
    if (ec == asio::error::connection_reset)
        return "reset";
    if (ec == http::error::body_limit)
        return "too large";
    return ec.message();
}

void visit(page& p, tcp::endpoint const& site, std::chrono::milliseconds deadline)
{
    try {
        auto const a = spindle::within(deadline, [&] { return fetch(p, site); });
        p.outcome = a.status == http::status::ok ? "ok" : http::obsolete_reason(a.status);
        p.size = a.size;
    } catch (system_error const& e) {
        if (e.code() == asio::error::operation_aborted)
            throw; // it is not the page: the crawl is to end
        p.outcome = describe(e.code());
    }
}

// A site's address for each name.
using name_table = std::map<std::string, tcp::endpoint>;

void crawl(std::vector<page>& pages, name_table const& names, options const& o)
{
    spindle::task_group visits;
    visits.set_limit(static_cast<std::size_t>(o.limit));
    for (auto& p : pages) // waits for its turn
        visits.spawn([&] { visit(p, names.at(p.host), std::chrono::milliseconds(o.deadline)); });
    visits.wait();
}

// --- the sites ----------------------------------------------------------------------

// What a site does to its visitor, the first, the second, ...
using behaviour = void (*)(tcp::socket& visitor, std::string const& path, unsigned visit);

void reply(tcp::socket& visitor, http::status status, std::size_t size)
{
    http::response<http::string_body> response(status, 11);
    response.body().assign(size, 'x');
    response.keep_alive(false);
    response.prepare_payload();
    http::async_write(visitor, response, use_fiber);
}

void reply_half(tcp::socket& visitor)
{
    static constexpr std::string_view half = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nxxxxx";
    asio::async_write(visitor, asio::buffer(half), use_fiber);
}

void reset(tcp::socket& visitor)
{
    visitor.set_option(asio::socket_base::linger(true, 0));
    visitor.close();
}

// Until the visitor has gone.
void stall(tcp::socket& visitor)
{
    char nobody_reads_it;
    visitor.async_read_some(asio::buffer(&nobody_reads_it, 1), use_fiber);
}

// There is a page of n bytes at /n.
void quick(tcp::socket& visitor, std::string const& path, unsigned)
{
    auto const size = std::strtoul(path.c_str() + 1, nullptr, 10);
    reply(visitor, size == 0 ? http::status::not_found : http::status::ok, size);
}

void slow(tcp::socket& visitor, std::string const& path, unsigned visit)
{
    this_fiber::sleep_for(100ms);
    quick(visitor, path, visit);
}

void busy(tcp::socket& visitor, std::string const& path, unsigned visit)
{
    if (visit == 1)
        return reply(visitor, http::status::service_unavailable, 0);
    quick(visitor, path, visit);
}

void shaky(tcp::socket& visitor, std::string const& path, unsigned visit)
{
    if (visit < most_tries)
        return reset(visitor);
    quick(visitor, path, visit);
}

void full(tcp::socket& visitor, std::string const&, unsigned)
{
    reply(visitor, http::status::service_unavailable, 0);
}

void broken(tcp::socket& visitor, std::string const&, unsigned)
{
    reply_half(visitor);
    reset(visitor);
}

void silent(tcp::socket& visitor, std::string const&, unsigned) { stall(visitor); }

void stuck(tcp::socket& visitor, std::string const&, unsigned)
{
    reply_half(visitor);
    stall(visitor);
}

void drip(tcp::socket& visitor, std::string const&, unsigned)
{
    static constexpr std::string_view head = "HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n";
    asio::async_write(visitor, asio::buffer(head), use_fiber);
    for (;;) {
        this_fiber::sleep_for(1ms);
        asio::async_write(visitor, asio::buffer("x", 1), use_fiber);
    }
}

void serve(tcp::socket visitor, behaviour does, unsigned visit)
{
    try {
        beast::flat_buffer buffer;
        http::request<http::empty_body> request;
        http::async_read(visitor, buffer, request, use_fiber);
        does(visitor, request.target(), visit);
    } catch (system_error const&) {
        // The visitor has gone, or the sites are closed. It ends either way.
    }
}

tcp::acceptor a_door()
{
    tcp::acceptor door(this_fiber::get_executor(), tcp::v4());
    door.bind({asio::ip::address_v4::loopback(), 0});
    return door;
}

// Opens a site, which is there until the group is cancelled.
tcp::endpoint open(spindle::task_group& sites, behaviour does)
{
    auto door = a_door();
    door.listen();
    auto const where = door.local_endpoint();
    sites.spawn([door = std::move(door), does, &sites]() mutable {
        for (unsigned visit = 1;; ++visit) {
            tcp::socket visitor =
                door.async_accept(this_fiber::get_scheduler().next_executor(), use_fiber);
            sites.spawn([v = std::move(visitor), does, visit]() mutable {
                serve(std::move(v), does, visit);
            });
        }
    });
    return where;
}

// --- both ---------------------------------------------------------------------------

std::string line_of(page const& p)
{
    auto line = "http://" + p.host + p.path + ": " + p.outcome;
    if (p.outcome == "ok")
        line += ", " + std::to_string(p.size) + " bytes";
    if (p.tries > 1)
        line += ", " + std::to_string(p.tries) + " tries";
    return line;
}

void print(std::vector<page> const& pages)
{
    std::set<std::string> lines;
    std::map<std::string, unsigned> counts;
    for (auto const& p : pages) {
        lines.insert(line_of(p));
        ++counts[p.outcome];
    }
    for (auto const& line : lines)
        std::cout << line << '\n';
    std::cout << pages.size() << " pages";
    char const* before = ": ";
    for (auto const& [outcome, n] : counts)
        std::cout << std::exchange(before, ", ") << n << ' ' << outcome;
    std::cout << std::endl;
}

void run_crawler(options const& o)
{
    auto const nobody = a_door(); // and there is nobody behind it
    spindle::task_group sites;    // its destructor closes them
    name_table const names{
        {"broken", open(sites, broken)},
        {"busy", open(sites, busy)},
        {"drip", open(sites, drip)},
        {"full", open(sites, full)},
        {"nobody", nobody.local_endpoint()},
        {"quick", open(sites, quick)},
        {"shaky", open(sites, shaky)},
        {"silent", open(sites, silent)},
        {"slow", open(sites, slow)},
        {"stuck", open(sites, stuck)},
    };
    std::vector<page> pages{
        {"broken", "/10"},
        {"busy", "/20"},
        {"drip", "/120"},
        {"full", "/30"},
        {"nobody", "/40"},
        {"quick", "/50"},
        {"quick", "/60"},
        {"quick", "/1000000"},
        {"quick", "/70000"},
        {"quick", "/none"},
        {"shaky", "/80"},
        {"silent", "/90"},
        {"silent", "/91"},
        {"slow", "/100"},
        {"slow", "/101"},
        {"stuck", "/110"},
    };
    crawl(pages, names, o);
    print(pages);
}

options parse(int argc, char** argv)
{
    namespace po = boost::program_options;
    options o;
    po::options_description known("Fetches pages from its own sites on 127.0.0.1. Options");
    auto number = [&](char const* name, long& to, long most, char const* what) {
        auto const check = [=](long v) {
            if (v < 1 || v > most)
                throw po::error("--" + std::string(name) + " is 1 to " + std::to_string(most));
        };
        known.add_options()(name, po::value(&to)->default_value(to)->notifier(check), what);
    };
    number("limit", o.limit, 1'000'000, "pages at a time");
    number("deadline-ms", o.deadline, 3'600'000, "for a page, all its tries and pauses");
    number("threads", o.threads, 1024, "how many");
    known.add_options()("help", "print this");
    po::variables_map values;
    po::store(po::parse_command_line(argc, argv, known), values);
    if (values.count("help") != 0) {
        std::cout << known;
        std::exit(0);
    }
    po::notify(values);
    return o;
}

} // namespace

int main(int argc, char** argv)
{
    try {
        auto const o = parse(argc, argv);
        spindle::run([&] { run_crawler(o); }, {.processors = static_cast<unsigned>(o.threads)});
        return 0;
    } catch (std::exception const& e) {
        std::cerr << "crawler: " << e.what() << '\n';
        return 1;
    }
}
