//
// cancel/operations.cpp
// ~~~~~~~~~~~~~~~~~~~~~
// Scopes around Asio's operations, on io_contexts of the user's, too.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE cancel.operations
#include <spindle/asio/use_fiber.hpp>
#include <spindle/cancel/within.hpp>
#include <spindle/spawn.hpp>
#include <spindle/this_fiber.hpp>

#include <support/asio_fixture.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/write.hpp>
#include <boost/test/unit_test.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <random>
#include <string>

using namespace spindle_test;
using namespace std::chrono_literals;
namespace this_fiber = spindle::this_fiber;

namespace {

// Reads, of two parts each, that are cut short by deadlines at random moments; then
// the whole stream has come, in order, and nothing was read twice.
void race(asio::any_io_executor const& ex, unsigned seed, tally& result)
{
    spindle::spawn(
        ex,
        [&result, seed] {
            std::minstd_rand random(seed);
            auto sockets = connected_locally(this_fiber::get_executor());
            auto& a = sockets.first;
            auto& b = sockets.second;
            std::string sent(scaled(600), 'x'), received;
            for (auto& c : sent)
                c = static_cast<char>('a' + random() % 26);
            auto writer = spindle::spawn([&] {
                for (std::size_t i = 0; i != sent.size(); ++i) {
                    b.async_write_some(asio::buffer(&sent[i], 1), spindle::use_fiber);
                    if (i % 7 == 0)
                        this_fiber::sleep_for(10us);
                    else
                        this_fiber::yield();
                }
                b.close();
            });
            for (;;) {
                std::array<char, 3> part{};
                auto const limit = std::chrono::microseconds(random() % 60);
                error_code ec;
                std::size_t n = 0;
                spindle::within(
                    limit,
                    [&] {
                        n = asio::async_read(a, asio::buffer(part), spindle::use_fiber[ec]);
                    });
                received.append(part.data(), n);
                if (ec == asio::error::eof)
                    break;
                result.check(!ec || ec == aborted);
            }
            writer.join();
            result.check(received == sent);
        },
        asio::detached);
}

} // namespace

BOOST_AUTO_TEST_CASE(deadlines_lose_no_bytes_on_a_users_io_context)
{
    over_threads([](asio::io_context& ioc, unsigned threads) {
        tally result;
        for (unsigned i = 0; i != 8; ++i)
            race(ioc.get_executor(), i + 1, result);
        run_on(ioc, threads);
        BOOST_TEST(result.bad() == 0u);
        BOOST_TEST(result.good() >= 8u);
    });
}

BOOST_AUTO_TEST_CASE(nor_in_a_strand)
{
    over_threads([](asio::io_context& ioc, unsigned threads) {
        tally result;
        for (unsigned i = 0; i != 4; ++i)
            race(asio::make_strand(ioc), i + 1, result);
        run_on(ioc, threads);
        BOOST_TEST(result.bad() == 0u);
        BOOST_TEST(result.good() >= 4u);
    });
}

BOOST_AUTO_TEST_CASE(nor_on_processors)
{
    for (auto const n : processor_counts) {
        tally result;
        {
            on_scheduler s(n);
            s.run([&] {
                for (unsigned i = 0; i != 8; ++i)
                    race(this_fiber::get_executor(), i + 1, result);
            });
        }
        BOOST_TEST(result.bad() == 0u);
        BOOST_TEST(result.good() >= 8u);
    }
}

BOOST_AUTO_TEST_CASE(a_scope_that_is_open_when_the_io_context_goes)
{
    tally result;
    {
        asio::io_context ioc;
        spindle::spawn(
            ioc,
            [&] {
                spindle::cancel_scope const outer(1h);
                auto child = spindle::spawn([&] {
                    spindle::cancel_scope const inner(1h);
                    result.check(error_of([] { this_fiber::sleep_for(1h); }) == aborted);
                });
                result.check(error_of([] { this_fiber::sleep_for(1h); }) == aborted);
            },
            asio::detached);
        ioc.poll();
        ioc.run_for(1ms);
    }
    BOOST_TEST(result.bad() == 0u);
    BOOST_TEST(result.good() == 2u);
    check_nothing_left();
}
