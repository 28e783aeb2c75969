//
// migrate/own/websocketpp/server.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// Echoes messages; one that begins with @ names a file that is wanted. As such a
// program is written before it is changed: C++17, no fibers. websocketpp's package
// has no examples, and its headers are no C++20 to g++ 11 to 13.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <websocketpp/config/asio_no_tls.hpp>
#include <websocketpp/server.hpp>

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>

using server = websocketpp::server<websocketpp::config::asio>;
using websocketpp::connection_hdl;

std::string answer(const std::string& message)
{
    if (message.empty() || message[0] != '@')
        return message;
    std::ifstream file(message.substr(1));
    return {std::istreambuf_iterator<char>(file), {}};
}

int main(int argc, char* argv[])
{
    if (argc != 2) {
        std::cerr << "Usage: server <port>\n";
        return 1;
    }
    try {
        server s;
        s.clear_access_channels(websocketpp::log::alevel::all);
        s.init_asio();
        s.set_reuse_addr(true);

        s.set_message_handler([&s](connection_hdl client, server::message_ptr message) {
            s.send(client, answer(message->get_payload()), message->get_opcode());
        });

        s.listen(boost::asio::ip::tcp::v4(), static_cast<unsigned short>(std::atoi(argv[1])));
        s.start_accept();
        s.run();
    } catch (const std::exception& e) {
        std::cerr << e.what() << '\n';
        return 1;
    }
}
