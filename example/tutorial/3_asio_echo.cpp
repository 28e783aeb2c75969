//
// tutorial/3_asio_echo.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~~
// doc/tutorial/3_asio_echo.adoc
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle.hpp>

#include <boost/asio.hpp>

#include <array>
#include <cstdio>
#include <exception>
#include <string>
#include <thread>
#include <utility>

namespace asio = boost::asio;
using asio::ip::tcp;
using spindle::error_code;
using spindle::use_fiber;

namespace {

// tag::server[]
class server {
public:
    explicit server(asio::io_context& ioc) : acceptor_(ioc, {asio::ip::address_v4::loopback(), 0})
    {
        do_accept();
    }

    tcp::endpoint endpoint() const { return acceptor_.local_endpoint(); }

private:
    void do_accept()
    {
        acceptor_.async_accept([this](error_code ec, tcp::socket socket) {
            if (ec)
                return;
            auto const ex = socket.get_executor(); // <1>
            spindle::spawn(
                ex,
                [socket = std::move(socket)]() mutable { // <2>
                    std::array<char, 4096> data;
                    for (;;) {
                        auto const n = socket.async_read_some(asio::buffer(data), use_fiber); // <3>
                        asio::async_write(socket, asio::buffer(data, n), use_fiber);
                    }
                },
                asio::detached); // <4>
            do_accept();
        });
    }

    tcp::acceptor acceptor_;
};
// end::server[]

// tag::client[]
std::string ask(tcp::endpoint where, std::string question)
{
    tcp::socket socket(spindle::this_fiber::get_executor()); // <1>
    socket.async_connect(where, use_fiber);
    asio::async_write(socket, asio::buffer(question), use_fiber);
    socket.shutdown(tcp::socket::shutdown_send);

    std::string answer;
    error_code ec;
    asio::async_read(socket, asio::dynamic_buffer(answer), use_fiber[ec]); // <2>
    if (ec != asio::error::eof)
        throw spindle::system_error(ec);
    return answer;
}
// end::client[]

} // namespace

// tag::main[]
int main()
{
    asio::io_context ioc;
    server s(ioc);
    spindle::spawn(
        ioc,
        [&] { return ask(s.endpoint(), "hello, echo"); }, // <1>
        [&](std::exception_ptr e, std::string answer) {   // <2>
            std::printf("%s\n", e ? "failed" : answer.c_str());
            ioc.stop();
        });
    std::thread second([&] { ioc.run(); }); // <3>
    ioc.run();
    second.join();
    return 0;
}
// end::main[]
