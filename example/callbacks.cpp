//
// callbacks.cpp
// ~~~~~~~~~~~~~
// A server that was written with callbacks, as Asio's tutorials do it. One of them has
// come to need an answer from elsewhere before it can go on: it waits for it, where it
// stands, since bind_executor(fiber_executor(...)) has put it into a fiber.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle.hpp>

#include <boost/asio.hpp>

#include <chrono>
#include <cstdio>
#include <exception>
#include <memory>
#include <string>
#include <utility>

namespace asio = boost::asio;
using asio::ip::tcp;
using spindle::error_code;
using namespace std::chrono_literals;

namespace {

// Somebody else's answer takes its time. Waits, and holds no thread meanwhile.
std::string look_up(std::string const& word)
{
    spindle::this_fiber::sleep_for(5ms);
    return word + " is a word of " + std::to_string(word.size()) + " letters\n";
}

class session : public std::enable_shared_from_this<session> {
public:
    explicit session(tcp::socket s) : socket_(std::move(s)) {}

    void read()
    {
        asio::async_read_until(
            socket_, asio::dynamic_buffer(line_), '\n',
            asio::bind_executor( // the change: this callback may wait
                spindle::fiber_executor(socket_.get_executor()),
                [self = shared_from_this()](error_code ec, std::size_t n) {
                    if (ec)
                        return;
                    self->answer_ = look_up(self->line_.substr(0, n - 1));
                    self->line_.erase(0, n);
                    self->write();
                }));
    }

private:
    void write()
    {
        asio::async_write(
            socket_, asio::buffer(answer_),
            [self = shared_from_this()](error_code ec, std::size_t) {
                if (!ec)
                    self->read();
            });
    }

    tcp::socket socket_;
    std::string line_, answer_;
};

void accept(tcp::acceptor& acceptor)
{
    acceptor.async_accept([&acceptor](error_code ec, tcp::socket s) {
        if (ec)
            return;
        std::make_shared<session>(std::move(s))->read();
        accept(acceptor);
    });
}

// A client that looks as if it blocked.
void ask(asio::io_context& ioc, tcp::endpoint const& server)
{
    spindle::fiber_stream<tcp::socket> stream(ioc);
    stream.connect(server);
    for (std::string const word : {"fiber", "thread", "io_context"}) {
        asio::write(stream, asio::buffer(word + '\n'));
        std::string answer;
        asio::read_until(stream, asio::dynamic_buffer(answer), '\n');
        std::printf("%s", answer.c_str());
    }
}

} // namespace

int main()
{
    asio::io_context ioc;
    tcp::acceptor acceptor(ioc, {asio::ip::address_v4::loopback(), 0});
    accept(acceptor);
    spindle::spawn(
        ioc, [&] { ask(ioc, acceptor.local_endpoint()); },
        [&](std::exception_ptr failed) {
            acceptor.close();
            if (failed)
                std::rethrow_exception(failed); // leaves run(), as from any handler
        });
    ioc.run();
    return 0;
}
