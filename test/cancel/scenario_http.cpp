// build: options openssl
//
// cancel/scenario_http.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~~
// The HTTP server among the examples, told to end at each of its steps. Its source is
// taken in as it is.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE cancel.scenario_http
#include <spindle.hpp>
#include <support/example.hpp>

#include <boost/asio.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/program_options.hpp>
#include <boost/test/unit_test.hpp>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>

#include "../../example/http_server/connection.hpp"
#include "../../example/http_server/service.hpp"

// All that it includes is above.
namespace example {
#include "../../example/http_server.cpp"
}

using namespace spindle_test;
using namespace std::chrono_literals;

namespace {

// A folder with one file, of more than one part.
class folder {
public:
    folder()
    {
        std::string name = (std::filesystem::temp_directory_path() / "spindle-XXXXXX").string();
        BOOST_REQUIRE(::mkdtemp(name.data()) != nullptr);
        path_ = name;
        std::ofstream(path_ / "file.txt") << std::string(http_server::part_size + 1, 'x') << "end";
    }
    folder(folder const&) = delete;
    folder& operator=(folder const&) = delete;
    ~folder() { std::filesystem::remove_all(path_); }

    std::string path() const { return path_.string(); }

private:
    std::filesystem::path path_;
};

} // namespace

// A file, a greeting and an echo for one, all on one connection; the other one asks for
// what takes too long, and is cut.
BOOST_AUTO_TEST_CASE(an_http_server)
{
    printed out;
    folder const root;
    http_server::options o;
    o.root = root.path();
    o.grace = 3ms;
    o.linger = 3ms;
    serve_at_every_step(
        out,
        [&] { example::run_server(o); },
        {[](tcp::socket& s, std::atomic<bool>&) {
             say(s, "GET /file.txt HTTP/1.1\r\nHost: h\r\n\r\n");
             if (!hears(s, "xend"))
                 return;
             say(s, "GET /hello HTTP/1.1\r\nHost: h\r\n\r\n");
             if (!hears(s, "hello\n"))
                 return;
             say(s, "POST /api/echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n");
             say(s, "again");
             (void)hears(s, "again");
         },
         [](tcp::socket& s, std::atomic<bool>& enough) {
             say(s, "GET /api/sleep/60000 HTTP/1.1\r\nHost: h\r\n\r\n");
             enough = true;
             (void)hears(s, "slept\n");
         }});
}
