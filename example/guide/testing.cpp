//
// guide/testing.cpp
// ~~~~~~~~~~~~~~~~~
// The code of doc/guide/testing.adoc: a test program.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE guide
#include <spindle.hpp>
#include <spindle/algo/deterministic.hpp>

#include <boost/test/included/unit_test.hpp> // before Spindle's: nothing to link
// tag::include[]
#include <spindle/testing/boost_test.hpp>
// end::include[]
#include <spindle/testing.hpp>

#include <boost/asio.hpp>
#include <boost/fiber/fiber.hpp>
#include <boost/fiber/operations.hpp>

#include <chrono>
#include <string>
#include <thread>

namespace asio = boost::asio;
using asio::ip::tcp;
using namespace std::chrono_literals;
using namespace spindle::testing;

namespace {

std::string ask(tcp::socket& s)
{
    asio::async_write(s, asio::buffer("?", 1), spindle::use_fiber);
    std::string text(3, ' ');
    asio::async_read(s, asio::buffer(text), spindle::use_fiber);
    return text;
}

// Says yes to one question.
class server {
public:
    tcp::endpoint endpoint() const { return acceptor_.local_endpoint(); }

private:
    tcp::acceptor acceptor_{
        spindle::this_fiber::get_executor(), {asio::ip::address_v4::loopback(), 0}};
    spindle::fiber<void> answering_ = spindle::spawn([this] {
        auto s = acceptor_.async_accept(spindle::use_fiber);
        char question;
        asio::async_read(s, asio::buffer(&question, 1), spindle::use_fiber);
        asio::async_write(s, asio::buffer("yes", 3), spindle::use_fiber);
    });
};

} // namespace

// tag::suite[]
BOOST_AUTO_TEST_SUITE(answers, *spindle::testing::in_fibers())

BOOST_AUTO_TEST_CASE(yes)
{
    server const asked; // made in the fiber that the case is
    tcp::socket s(spindle::this_fiber::get_executor());
    s.async_connect(asked.endpoint(), spindle::use_fiber);
    BOOST_TEST(ask(s) == "yes");
}

BOOST_AUTO_TEST_SUITE_END()
// end::suite[]

namespace {

int work(int i)
{
    spindle::this_fiber::yield();
    return i * i;
}

} // namespace

// tag::explore[]
BOOST_AUTO_TEST_CASE(in_a_thousand_orders)
{
    spindle::testing::explore([] {
        spindle::channel<int> results;
        spindle::task_group group;
        for (int i = 0; i != 3; ++i)
            group.spawn([&, i] { results.send(work(i)); });
        int sum = 0;
        for (int i = 0; i != 3; ++i)
            sum += results.receive().value();
        group.wait();
        if (sum != 0 + 1 + 4)
            throw std::logic_error("lost a result");
    });
}
// end::explore[]

// tag::both[]
void pipeline()
{
    spindle::channel<int> numbers, squares;
    spindle::task_group group;
    group.spawn([&] {
        spindle::close_guard const closing(numbers);
        for (int i = 1; i <= 3; ++i)
            numbers.send(i);
    });
    group.spawn([&] {
        spindle::close_guard const closing(squares);
        for (int n : numbers)
            squares.send(n * n);
    });
    int sum = 0;
    for (int s : squares)
        sum += s;
    group.wait();
    BOOST_TEST(sum == 1 + 4 + 9);
}

BOOST_AUTO_TEST_CASE(on_threads, *spindle::testing::in_fibers()) { pipeline(); }
BOOST_AUTO_TEST_CASE(in_all_orders, *spindle::testing::explored()) { pipeline(); }
// end::both[]

// tag::clock[]
BOOST_AUTO_TEST_CASE(an_hour_takes_no_time, *spindle::testing::explored({.seeds = 10}))
{
    using spindle::testing::clock;
    auto const start = clock::now();
    spindle::this_fiber::sleep_for(1h);
    BOOST_TEST((clock::now() - start == 1h));
}
// end::clock[]

BOOST_AUTO_TEST_CASE(with_faults)
{
    auto const test = [] {
        spindle::channel<int> ch;
        auto sending = spindle::spawn([ch] {
            spindle::close_guard const closing(ch); // else a stop before `send` is a deadlock
            ch.send(1);
        });
        (void)ch.receive();
    };
    // tag::faults[]
    explore(test, {.faults = {.cancel = 0.01, .delay = 0.05}});
    // end::faults[]
}

BOOST_AUTO_TEST_CASE(fibers_of_boost)
{
    int steps = 0;
    std::thread([&] {
        // tag::algo[]
        boost::fibers::use_scheduling_algorithm<spindle::algo::deterministic>(
            spindle::algo::deterministic_options{.seed = 42});
        // end::algo[]
        boost::fibers::fiber f([&] { ++steps; });
        f.join();
    }).join();
    BOOST_TEST(steps == 1);
}
