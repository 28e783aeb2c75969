//
// test/bench/peers/asio_callback.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// The workloads that callbacks can do, in Asio.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <memory>
#include <optional>

#include "../http.hpp"
#include "asio.hpp"

namespace {

namespace asio = boost::asio;
using bench::error_code;
using bench::options;
using bench::result;

class session : public std::enable_shared_from_this<session> {
public:
    explicit session(bench::tcp_socket socket) : socket_(std::move(socket)) {}

    void read()
    {
        socket_.async_read_some(
            asio::buffer(buffer_), [self = shared_from_this()](error_code ec, std::size_t n) {
                if (!ec)
                    self->write(n);
            });
    }

private:
    void write(std::size_t n)
    {
        asio::async_write(
            socket_,
            asio::buffer(buffer_, n),
            [self = shared_from_this()](error_code ec, std::size_t) {
                if (!ec)
                    self->read();
            });
    }

    bench::tcp_socket socket_;
    bench::echo_buffer buffer_;
};

class http_session : public std::enable_shared_from_this<http_session> {
public:
    explicit http_session(bench::tcp_socket socket) : socket_(std::move(socket)) {}

    void read()
    {
        parser_.emplace();
        bench::http::async_read(
            socket_, buffer_, *parser_, [self = shared_from_this()](error_code ec, std::size_t) {
                if (!ec)
                    self->write();
            });
    }

private:
    void write()
    {
        response_ = bench::hello(parser_->get());
        bench::http::async_write(
            socket_, response_, [self = shared_from_this()](error_code ec, std::size_t) {
                if (!ec && self->response_.keep_alive())
                    self->read();
            });
    }

    bench::tcp_socket socket_;
    bench::flat_buffer buffer_;
    std::optional<bench::request_parser> parser_;
    bench::hello_response response_;
};

template <class Session>
void accept(bench::tcp_acceptor& acceptor)
{
    acceptor.async_accept([&](error_code ec, bench::tcp_socket socket) {
        if (ec)
            return;
        socket.set_option(asio::ip::tcp::no_delay(true));
        std::make_shared<Session>(std::move(socket))->read();
        accept<Session>(acceptor);
    });
}

template <class Session>
result serve(options const& o)
{
    bench::context ctx(o);
    auto acceptor = bench::listen(ctx, o);
    accept<Session>(acceptor);
    ctx.run();
    return {};
}

result timers(options const& o)
{
    bench::context ctx(o);
    bench::stopwatch watch;
    for (std::size_t i = 0; i < o.count; ++i) {
        auto timer = std::make_unique<bench::timer>(ctx.get_executor(), bench::nap(i));
        auto& armed = *timer;
        armed.async_wait([timer = std::move(timer)](error_code) {});
    }
    ctx.run();
    return {watch.ms()};
}

} // namespace

int main(int argc, char** argv)
{
    return bench::run(
        argc,
        argv,
        "asio_callback",
        {
            {"echo", serve<session>},
            {"http", serve<http_session>},
            {"timers", timers},
        });
}
