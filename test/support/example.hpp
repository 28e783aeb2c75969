//
// support/example.hpp
// ~~~~~~~~~~~~~~~~~~~
// What an example needs that runs in a test: its output goes nowhere, and a SIGINT that
// comes late does not end the process.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_TEST_SUPPORT_EXAMPLE_HPP
#define SPINDLE_TEST_SUPPORT_EXAMPLE_HPP

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>

#include <atomic>
#include <csignal>
#include <cstdint>
#include <iostream>
#include <sstream>
#include <string>
#include <string_view>

namespace spindle_test {

// As long as it lives it takes what goes to std::cout, and finds the port where a
// server says that it listens.
class printed : std::stringbuf {
public:
    printed() : before_(std::cout.rdbuf(this)) {}
    printed(printed const&) = delete;
    printed& operator=(printed const&) = delete;
    ~printed() { std::cout.rdbuf(before_); }

    std::atomic<std::uint16_t> port{0};

private:
    int sync() override
    {
        static constexpr std::string_view says = "listening on ";
        auto const text = str();
        if (auto const at = text.find(says); at != text.npos)
            port = static_cast<std::uint16_t>(std::stoul(text.substr(at + says.size())));
        str("");
        return 0;
    }

    std::streambuf* const before_;
    // Asio handles a signal for as long as somebody has asked for it.
    boost::asio::io_context nobody_runs_it_;
    boost::asio::signal_set signals_{nobody_runs_it_, SIGINT};
};

} // namespace spindle_test

#endif // SPINDLE_TEST_SUPPORT_EXAMPLE_HPP
