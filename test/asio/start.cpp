//
// asio/start.cpp
// ~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE asio.start
#include <spindle/asio/start.hpp>
#include <spindle/asio/use_fiber.hpp>
#include <spindle/chan/select.hpp>
#include <spindle/fiber.hpp>
#include <spindle/sync/wait_group.hpp>
#include <spindle/this_fiber.hpp>

#include <support/asio_fixture.hpp>
#include <support/fixture.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/write.hpp>
#include <boost/test/unit_test.hpp>

#include <array>
#include <chrono>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

using namespace std::chrono_literals;
using namespace spindle_test;
using asio::deferred;
namespace this_fiber = spindle::this_fiber;

namespace {

struct pair_of_sockets {
    std::pair<local_socket, local_socket> both = connected_locally(this_fiber::get_executor());
    local_socket& here = both.first;
    local_socket& there = both.second;
    std::array<char, 64> data{};

    auto read() { return here.async_read_some(asio::buffer(data), deferred); }
    void write(std::string const& text)
    {
        asio::async_write(there, asio::buffer(text), spindle::use_fiber);
    }
};

} // namespace

BOOST_AUTO_TEST_CASE(outside_a_fiber_nothing_is_started)
{
    asio::io_context ioc;
    asio::steady_timer timer(ioc, 1h);
    auto const ec = error_of([&] { auto op = spindle::start(timer.async_wait(deferred)); });
    BOOST_TEST(ec == make_error_code(spindle::errc::not_in_fiber));
    BOOST_TEST(ioc.poll() == 0u);
}

BOOST_AUTO_TEST_CASE(get_gives_what_use_fiber_gives)
{
    over_processors([] {
        pair_of_sockets s;
        auto reading = spindle::start(s.read());
        BOOST_TEST(!reading.ready());
        s.write("hello");
        BOOST_TEST(reading.get() == 5u);
        BOOST_TEST(reading.empty());

        reading.start(s.read());
        s.there.close();
        spindle::error_code ec;
        reading.get(ec);
        BOOST_TEST(ec == asio::error::eof);

        pair_of_sockets t; // of one socket Asio reports the end once
        t.there.close();
        reading.start(t.read());
        BOOST_TEST(error_of([&] { reading.get(); }) == asio::error::eof);
    });
}

BOOST_AUTO_TEST_CASE(get_of_nothing_is_an_error)
{
    over_processors([] {
        asio::steady_timer timer(this_fiber::get_executor(), 0s);
        auto op = spindle::start(timer.async_wait(deferred));
        op.get();
        BOOST_TEST((error_of([&] { op.get(); }) == boost::system::errc::invalid_argument));
    });
}

// What waits for a started operation goes on, and who drops one waits for that.
BOOST_AUTO_TEST_CASE(a_context_goes_while_some_are_in_flight)
{
    using spindle::use_fiber;
    spindle::channel<int> never;
    std::function<void(asio::steady_timer&)> const waits[] = {
        [&](auto&) { never.receive(); },
        [&](auto&) { spindle::select(spindle::on_receive(never)); },
        [&](auto&) { never.async_receive(use_fiber); },
        [](auto& timer) { timer.async_wait(use_fiber); },
        [](auto& timer) { spindle::start(timer.async_wait(deferred)).get(); },
        [](auto& timer) {
            auto op = spindle::start(timer.async_wait(deferred));
            spindle::select(spindle::on_completion(op, [](error_code) {}));
        },
    };
    for (auto const& wait : waits)
        for (auto const bound : {false, true}) {
            {
                asio::io_context ioc;
                asio::steady_timer const reactor_first(ioc);
                auto const body = [&] {
                    asio::steady_timer timer(ioc, 1h);
                    auto op = spindle::start(timer.async_wait(deferred));
                    wait(timer);
                };
                if (bound)
                    spindle::spawn(asio::make_strand(ioc), body, asio::detached);
                else
                    spindle::spawn(ioc, body, asio::detached);
                ioc.poll();
            }
            check_nothing_left();
        }
}

BOOST_AUTO_TEST_CASE(as_cases_known_only_at_run_time)
{
    over_processors([] {
        pair_of_sockets s;
        std::size_t read = 0;
        auto reading = spindle::start(s.read());
        asio::steady_timer timer(this_fiber::get_executor(), 1ms);
        std::vector<spindle::select_case> cases;
        cases.emplace_back(spindle::on_completion(
            reading, [&](error_code ec, std::size_t n) { read = ec ? 0 : n; }));
        cases.emplace_back(
            spindle::on_completion(timer.async_wait(deferred), [](error_code) {}));
        BOOST_TEST(spindle::select(cases) == 1u);
        s.write("hello");
        BOOST_TEST(spindle::select(std::span(cases).first(1)) == 0u);
        BOOST_TEST(read == 5u);
        BOOST_TEST(reading.empty());
        BOOST_TEST(spindle::select(cases) == 1u); // an empty one is never ready
    });
}

BOOST_AUTO_TEST_CASE(several_are_in_flight_at_once)
{
    over_processors([] {
        pair_of_sockets s;
        asio::steady_timer timer(this_fiber::get_executor(), 1ms);
        auto reading = spindle::start(s.read());
        auto waiting = spindle::start(timer.async_wait(deferred));
        std::array<char, 64> other{};
        auto back = spindle::start(s.there.async_read_some(asio::buffer(other), deferred));
        asio::async_write(s.here, asio::buffer("ab", 2), spindle::use_fiber); // and one more
        waiting.get();
        BOOST_TEST(back.get() == 2u);
        s.write("xyz");
        BOOST_TEST(reading.get() == 3u);
    });
}

BOOST_AUTO_TEST_CASE(composed_operations_and_adapters)
{
    over_processors([] {
        pair_of_sockets s;
        std::string all(100'000, 'x'), got(all.size(), 0);
        auto writing = spindle::start(asio::async_write(s.there, asio::buffer(all), deferred));
        auto reading = spindle::start(asio::async_read(s.here, asio::buffer(got), deferred));
        BOOST_TEST(writing.get() == all.size());
        BOOST_TEST(reading.get() == all.size());
        BOOST_TEST(all == got);

        auto strand = asio::make_strand(this_fiber::get_executor());
        asio::steady_timer timer(strand, 1ms);
        auto on_strand = spindle::start(timer.async_wait(deferred));
        on_strand.get();
    });
}

BOOST_AUTO_TEST_CASE(the_destructor_cancels_and_waits)
{
    over_processors([] {
        for (int i = 0; i != 200; ++i) {
            pair_of_sockets s;
            auto const reading = spindle::start(s.read());
            if (i % 2)
                s.write("x"); // it may be over just now
        }
    });
}

BOOST_AUTO_TEST_CASE(cancel_is_answered_by_the_operation)
{
    over_processors([] {
        pair_of_sockets s;
        auto reading = spindle::start(s.read());
        reading.cancel();
        spindle::error_code ec;
        reading.get(ec);
        BOOST_TEST(ec == aborted);
    });
}

BOOST_AUTO_TEST_CASE(a_stop_cancels_what_get_waits_for)
{
    over_processors([] {
        error_code seen;
        auto f = spindle::spawn([&] {
            pair_of_sockets s;
            auto reading = spindle::start(s.read());
            seen = error_of([&] { reading.get(); });
        });
        for (int i = 0; i != 10; ++i)
            this_fiber::yield();
        f.request_stop();
        f.join();
        BOOST_TEST(seen == aborted);
    });
}

BOOST_AUTO_TEST_CASE(after_a_stop_nothing_is_started)
{
    over_processors([] {
        error_code seen;
        auto f = spindle::spawn([&] {
            while (!this_fiber::stop_requested())
                this_fiber::yield();
            asio::steady_timer timer(this_fiber::get_executor(), 1h);
            auto waiting = spindle::start(timer.async_wait(deferred));
            waiting.get(seen);
        });
        f.request_stop();
        f.join();
        BOOST_TEST(seen == aborted);
    });
}

BOOST_AUTO_TEST_CASE(select_leaves_it_in_flight_and_keeps_its_result)
{
    over_processors([] {
        pair_of_sockets s;
        spindle::channel<int> ch(1);
        auto reading = spindle::start(s.read());
        std::optional<std::size_t> got;
        auto const done = [&](error_code ec, std::size_t n) {
            BOOST_TEST(!ec);
            got = n;
        };
        ch.send(1);
        BOOST_TEST(
            spindle::select(spindle::on_completion(reading, done), spindle::on_receive(ch))
            == 1u);
        BOOST_TEST(
            spindle::select(spindle::on_completion(reading, done), spindle::on_timeout(1ms))
            == 1u);
        s.write("data");
        BOOST_TEST(
            spindle::select(spindle::on_completion(reading, done), spindle::on_receive(ch))
            == 0u);
        BOOST_TEST(got.value() == 4u);
        // Taken: not ready any more.
        BOOST_TEST(
            spindle::select(spindle::on_completion(reading, done), spindle::otherwise()) == 1u);
    });
}

BOOST_AUTO_TEST_CASE(a_direct_operation_starts_only_where_nothing_is_ready)
{
    over_processors([] {
        spindle::channel<int> ch(1);
        ch.send(1);
        pair_of_sockets s;
        auto const never = [](auto&&...) { BOOST_ERROR("was started"); };
        s.write("x");
        BOOST_TEST(
            spindle::select(
                spindle::on_completion(s.here.async_wait(local_socket::wait_read, deferred), never),
                spindle::on_receive(ch))
            == 1u);
        BOOST_TEST(s.here.available() == 1u);
        error_code ec = asio::error::fault;
        BOOST_TEST(
            spindle::select(
                spindle::on_completion(
                    s.here.async_wait(local_socket::wait_read, deferred),
                    [&](error_code e) { ec = e; }),
                spindle::on_receive(ch))
            == 0u);
        BOOST_TEST(!ec);
    });
}

BOOST_AUTO_TEST_CASE(a_direct_operation_that_loses_is_cancelled_and_waited_for)
{
    over_processors([] {
        spindle::channel<int> ch;
        for (int i = 0; i != 50; ++i) {
            auto sender = spindle::spawn([&] { ch.send(1); });
            asio::steady_timer timer(this_fiber::get_executor(), 1h);
            std::size_t const chosen = spindle::select(
                spindle::on_completion(timer.async_wait(deferred), [](error_code) {}),
                spindle::on_receive(ch));
            BOOST_TEST(chosen == 1u);
            BOOST_TEST(timer.cancel() == 0u); // nobody waits on it any more
            sender.join();
        }
    });
}

BOOST_AUTO_TEST_CASE(both_at_once_lose_nothing)
{
    over_processors([] {
        // A read and a channel become ready together, again and again: each byte
        // and each value is seen once.
        pair_of_sockets s;
        spindle::channel<int> ch;
        auto const rounds = static_cast<int>(scaled(2000));
        spindle::wait_group group;
        group.go([&] {
            for (int i = 0; i != rounds; ++i)
                ch.send(i);
        });
        group.go([&] {
            for (int i = 0; i != rounds; ++i)
                s.write("x");
        });
        auto reading = spindle::start(s.read());
        int values = 0;
        std::size_t bytes = 0;
        while (values != rounds || bytes != static_cast<std::size_t>(rounds))
            spindle::select(
                spindle::on_completion(
                    reading,
                    [&](error_code, std::size_t n) {
                        bytes += n;
                        reading.start(s.read());
                    }),
                spindle::on_receive(ch, [&] { ++values; }));
        group.wait();
    });
}

BOOST_AUTO_TEST_CASE(on_an_io_context_that_several_threads_run)
{
    over_threads([](asio::io_context& ioc, unsigned threads) {
        tally done;
        for (int f = 0; f != 8; ++f)
            spindle::spawn(
                ioc.get_executor(),
                [&] {
                    for (int i = 0; i != 100; ++i) {
                        pair_of_sockets s;
                        auto reading = spindle::start(s.read());
                        auto const n = spindle::select(
                            spindle::on_completion(reading, [](error_code, std::size_t) {}),
                            spindle::on_timeout(std::chrono::microseconds(i)));
                        done.check(n == 1);
                    }
                },
                asio::detached);
        run_on(ioc, threads);
        BOOST_TEST(done.good() == 800u);
    });
}

BOOST_AUTO_TEST_CASE(an_io_context_destroyed_with_operations_in_flight)
{
    for (int i = 0; i != 20; ++i) {
        {
            asio::io_context ioc;
            spindle::spawn(
                ioc.get_executor(),
                [&] {
                    asio::steady_timer timer(ioc, 1h);
                    auto waiting = spindle::start(timer.async_wait(deferred));
                    spindle::channel<int> never;
                    if (i % 2)
                        waiting.get();
                    else
                        spindle::select(
                            spindle::on_completion(waiting, [](error_code) {}),
                            spindle::on_receive(never));
                },
                asio::detached);
            ioc.poll();
        }
        check_nothing_left();
    }
}
