//
// cancel/every_step.cpp
// ~~~~~~~~~~~~~~~~~~~~~
// Whatever waits is cancelled at each of its steps: nothing hangs, nothing leaks,
// nothing ends in another way than by returning or by operation_aborted.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE cancel.every_step
#include <spindle/asio/start.hpp>
#include <spindle/asio/use_fiber.hpp>
#include <spindle/cancel/within.hpp>
#include <spindle/chan/channel.hpp>
#include <spindle/chan/select.hpp>
#include <spindle/go.hpp>

#include <support/channel_fixture.hpp>
#include <support/every_step.hpp>

#include <boost/asio/buffer.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <boost/test/unit_test.hpp>

#include <array>
#include <chrono>
#include <optional>
#include <string>

using namespace spindle_test;
using namespace std::chrono_literals;
namespace this_fiber = spindle::this_fiber;

BOOST_AUTO_TEST_CASE(a_sleep)
{
    over_every_step([] {
        for (int i = 0; i != 3; ++i)
            this_fiber::sleep_for(20us);
    });
}

BOOST_AUTO_TEST_CASE(a_timer)
{
    over_every_step([] {
        asio::steady_timer timer(this_fiber::get_executor());
        for (int i = 0; i != 3; ++i) {
            timer.expires_after(20us);
            timer.async_wait(spindle::use_fiber);
        }
    });
}

BOOST_AUTO_TEST_CASE(receive_and_send)
{
    counted::live = 0;
    over_every_step([] {
        spindle::channel<counted> ping, pong;
        auto peer = spindle::spawn([&] {
            while (auto v = ping.receive())
                pong.send(std::move(*v));
        });
        for (int i = 0; i != 3; ++i) {
            ping.send(counted(i));
            if (pong.receive()->value != i)
                throw "another value";
        }
        ping.close();
        peer.join();
    });
    BOOST_TEST(counted::live == 0);
}

BOOST_AUTO_TEST_CASE(a_select)
{
    over_every_step([] {
        spindle::channel<int> a, b;
        auto peer = spindle::spawn([&] {
            for (int i = 0; i != 3; ++i)
                (i % 2 == 0 ? a : b).send(int(i));
        });
        std::optional<int> v;
        for (int i = 0; i != 3; ++i)
            spindle::select(spindle::on_receive(a, v), spindle::on_receive(b, v));
        spindle::select(spindle::on_receive(a, v), spindle::on_timeout(20us));
        peer.join();
    });
}

BOOST_AUTO_TEST_CASE(joins)
{
    over_every_step([] {
        for (int i = 0; i != 3; ++i) {
            auto child = spindle::spawn([] { this_fiber::sleep_for(20us); });
            child.join();
        }
    });
}

BOOST_AUTO_TEST_CASE(read_and_write)
{
    over_every_step([] {
        auto sockets = connected_locally(this_fiber::get_executor());
        auto& a = sockets.first;
        auto& b = sockets.second;
        std::array<char, 4> in{};
        auto peer = spindle::spawn([&] {
            std::array<char, 2> data{};
            for (int i = 0; i != 2; ++i) {
                auto const n = b.async_read_some(asio::buffer(data), spindle::use_fiber);
                asio::async_write(b, asio::buffer(data, n), spindle::use_fiber);
            }
        });
        asio::async_write(a, asio::buffer("abcd", 4), spindle::use_fiber);
        asio::async_read(a, asio::buffer(in), spindle::use_fiber); // of two parts
        peer.join();
    });
}

BOOST_AUTO_TEST_CASE(started_operations)
{
    over_every_step([] {
        auto sockets = connected_locally(this_fiber::get_executor());
        auto& a = sockets.first;
        auto& b = sockets.second;
        std::array<char, 4> in{};
        auto reading = spindle::start(a.async_read_some(asio::buffer(in), asio::deferred));
        this_fiber::sleep_for(20us);
        b.async_write_some(asio::buffer("abcd", 4), spindle::use_fiber);
        spindle::select(
            spindle::on_completion(
                reading,
                [](error_code ec, std::size_t) {
                    if (ec)
                        throw system_error(ec);
                }),
            spindle::on_timeout(1h));
    });
}

BOOST_AUTO_TEST_CASE(connect_and_accept)
{
    over_every_step([] {
        auto const ex = this_fiber::get_executor();
        tcp::acceptor acceptor(ex, {asio::ip::address_v4::loopback(), 0});
        auto peer = spindle::spawn([&] {
            tcp::socket s(ex);
            s.async_connect(acceptor.local_endpoint(), spindle::use_fiber);
            s.set_option(asio::socket_base::linger(true, 0)); // the port is free at once
        });
        auto const s = acceptor.async_accept(spindle::use_fiber);
        peer.join();
    });
}

BOOST_AUTO_TEST_CASE(within_and_nested_scopes)
{
    over_every_step([] {
        spindle::within(1h, [] {
            error_code ec;
            spindle::within(20us, [] { this_fiber::sleep_for(1h); }, ec);
            auto child = spindle::spawn([] {
                spindle::cancel_scope const scope(1h);
                this_fiber::sleep_for(20us);
            });
            child.join();
        });
    });
}
