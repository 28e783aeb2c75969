//
// asio/resolve.cpp
// ~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE asio.resolve
#include <spindle/asio/resolve.hpp>
#include <spindle/asio/use_fiber.hpp>
#include <spindle/cancel/cancel_scope.hpp>
#include <spindle/cancel/within.hpp>
#include <spindle/spawn.hpp>
#include <spindle/this_fiber.hpp>

#include <support/asio_fixture.hpp>
#include <support/every_step.hpp>
#include <support/waiting.hpp>

#include <boost/asio/connect.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/udp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <string_view>
#include <utility>

#include <netdb.h>
#include <netinet/in.h>

using namespace spindle_test;
using namespace std::chrono_literals;
using asio::ip::udp;
using spindle::errc;
using spindle::resolve;
namespace this_fiber = spindle::this_fiber;

// --- a system's resolver that we can do with as we like -------------------------------

namespace {

// "slow" has no answer before it is released; each answer is counted until it is freed.
struct name_server {
    std::mutex mutex;
    std::condition_variable released;
    bool open = false;
    std::atomic<int> asked{0}, answered{0}, answers{0};
    std::atomic<int> asked_for_others{0}; // than "slow"

    void release(bool o)
    {
        std::lock_guard guard(mutex);
        open = o;
        released.notify_all();
    }
} server;

struct answer {
    ::addrinfo info{};
    ::sockaddr_in address{};

    answer(char const* service, ::addrinfo const* hints)
    {
        address.sin_family = AF_INET;
        address.sin_port = htons(static_cast<std::uint16_t>(service ? std::atoi(service) : 0));
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        info.ai_family = AF_INET;
        info.ai_socktype = hints->ai_socktype;
        info.ai_addr = reinterpret_cast<::sockaddr*>(&address);
        info.ai_addrlen = sizeof address;
        ++server.answers;
    }
    ~answer() { --server.answers; }
};

} // namespace

extern "C" int getaddrinfo(
    char const* host, char const* service, ::addrinfo const* hints, ::addrinfo** found)
{
    struct counted {
        counted() { ++server.asked; }
        ~counted() { ++server.answered; }
    } const here;
    std::string_view const name = host ? host : "";
    server.asked_for_others += name != "slow";
    if (name == "slow") {
        std::unique_lock guard(server.mutex);
        server.released.wait(guard, [] { return server.open; });
    }
    if (name == "nowhere")
        return EAI_NONAME;
    if (name == "later")
        return EAI_AGAIN;
    if (name == "broken") {
        errno = ENFILE;
        return EAI_SYSTEM;
    }
    if (service && std::string_view(service) == "noservice")
        return EAI_SERVICE;
    *found = &(new answer(service, hints))->info;
    return 0;
}

extern "C" void freeaddrinfo(::addrinfo* a) { delete reinterpret_cast<answer*>(a); }

namespace {

// Between two tests: everybody that was asked has answered, and the answers are gone.
void check_nobody_asks()
{
    server.release(true);
    BOOST_TEST(eventually([] { return server.asked == server.answered; }));
    BOOST_TEST(eventually([] { return server.answers == 0; }), "an answer is still there");
    server.release(false);
}

} // namespace

// --- what it finds ------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_name_and_a_port_become_endpoints)
{
    over_processors([] {
        auto const results = resolve("server", "80");
        BOOST_TEST_REQUIRE(results.size() == 1u);
        BOOST_TEST((results.begin()->endpoint() == tcp::endpoint(asio::ip::address_v4::loopback(), 80)));
        BOOST_TEST(results.begin()->host_name() == "server");
        BOOST_TEST(results.begin()->service_name() == "80");
        asio::ip::udp::resolver::results_type const datagrams = resolve<udp>("server", "53");
        BOOST_TEST((datagrams.begin()->endpoint().port() == 53));
        BOOST_TEST(
            (resolve(udp::v4(), "server", "53").begin()->endpoint()
             == datagrams.begin()->endpoint()));
    });
    check_nobody_asks();
}

BOOST_AUTO_TEST_CASE(a_connection_is_made_to_what_was_resolved)
{
    over_threads([](asio::io_context& ioc, unsigned threads) {
        tcp::acceptor acceptor(ioc, {asio::ip::address_v4::loopback(), 0});
        auto const port = std::to_string(acceptor.local_endpoint().port());
        tally t;
        auto const connect = [&] {
            tcp::socket s(ioc);
            auto const to = asio::async_connect(s, resolve("server", port), spindle::use_fiber);
            t.check(to == acceptor.local_endpoint());
        };
        spindle::spawn(ioc, connect, asio::detached);
        spindle::spawn(asio::make_strand(ioc), connect, asio::detached);
        run_on(ioc, threads);
        BOOST_TEST(t.good() == 2u);
        BOOST_TEST(t.bad() == 0u);
    });
    check_nobody_asks();
}

BOOST_AUTO_TEST_CASE(numbers_are_not_asked_about)
{
    int const before = server.asked;
    over_processors([] {
        auto const four = resolve("127.0.0.1", "443"), six = resolve("::1", "443");
        BOOST_TEST((four.begin()->endpoint() == tcp::endpoint(asio::ip::make_address("127.0.0.1"), 443)));
        BOOST_TEST((six.begin()->endpoint() == tcp::endpoint(asio::ip::make_address("::1"), 443)));
        BOOST_TEST(
            (resolve(tcp::v4(), "127.0.0.1", "443").begin()->endpoint()
             == four.begin()->endpoint()));
    });
    BOOST_TEST(server.asked == before);
    over_processors([] {
        // What looks like numbers and is not, what may mean another family.
        BOOST_TEST(resolve("127.0.0.1", "65536").size() == 1u);
        BOOST_TEST(resolve("127.0.0.1", "").size() == 1u);
        BOOST_TEST(resolve(tcp::v6(), "127.0.0.1", "1").size() == 1u);
    });
    BOOST_TEST(server.asked == before + 3 * static_cast<int>(std::size(processor_counts)));
    check_nobody_asks();
}

BOOST_AUTO_TEST_CASE(an_error_is_the_one_that_asios_resolver_has)
{
    over_processors([] {
        auto const error = [](char const* host, char const* service) {
            error_code ec;
            BOOST_TEST(resolve(host, service, ec).empty());
            BOOST_TEST(error_of([&] { (void)resolve(host, service); }) == ec);
            return ec;
        };
        BOOST_TEST((error("nowhere", "80") == asio::error::host_not_found));
        BOOST_TEST((error("later", "80") == asio::error::host_not_found_try_again));
        BOOST_TEST((error("server", "noservice") == asio::error::service_not_found));
        BOOST_TEST((error("broken", "80") == boost::system::errc::too_many_files_open_in_system));
        error_code ec = asio::error::eof;
        BOOST_TEST(resolve("server", "80", ec).size() == 1u);
        BOOST_TEST(!ec);
        ec = asio::error::eof;
        BOOST_TEST(resolve("127.0.0.1", "80", ec).size() == 1u);
        BOOST_TEST(!ec);
    });
    check_nobody_asks();
}

// --- who waits for it ---------------------------------------------------------------

BOOST_AUTO_TEST_CASE(the_fiber_waits_and_its_thread_does_not)
{
    asio::io_context ioc;
    bool resolved = false;
    spindle::spawn(ioc, [&] { resolved = resolve("slow", "80").size() == 1; }, asio::detached);
    spindle::spawn(
        ioc,
        [&] {
            (void)until([] { return fibers_in(spindle::detail::wait_reason::resolve) == 1; });
            BOOST_TEST(!resolved);
            server.release(true);
        },
        asio::detached);
    ioc.run();
    BOOST_TEST(resolved);
    check_nobody_asks();
}

BOOST_AUTO_TEST_CASE(one_that_takes_long_does_not_hold_up_the_others)
{
    over_processors([] {
        spindle::cancel_scope const scope;
        for (int i = 0; i != 10; ++i)
            spindle::spawn([] { (void)resolve("slow", "80"); }).detach();
        BOOST_TEST(resolve("server", "80").size() == 1u);
        scope.cancel();
    });
    check_nobody_asks();
}

BOOST_AUTO_TEST_CASE(more_questions_than_threads_are_all_answered)
{
    tally t;
    {
        on_scheduler s(4);
        for (int i = 0; i != 200; ++i)
            spindle::spawn(
                *s, [&] { t.check(resolve("slow", "80").size() == 1); }, asio::detached);
        BOOST_TEST(eventually([] {
            return fibers_in(spindle::detail::wait_reason::resolve) == 200;
        }));
        server.release(true);
        s->join();
    }
    BOOST_TEST(t.good() == 200u);
    BOOST_TEST(t.bad() == 0u);
    check_nobody_asks();
}

BOOST_AUTO_TEST_CASE(a_plain_thread_waits_and_a_handler_does_not)
{
    BOOST_TEST(resolve("server", "80").size() == 1u);
    BOOST_TEST(error_of([] { (void)resolve("nowhere", "80"); }) == asio::error::host_not_found);
    asio::io_context ioc;
    error_code name, numbers, ec;
    asio::post(ioc, [&] {
        name = error_of([&] { (void)resolve("server", "80", ec); });
        numbers = error_of([&] { (void)resolve("127.0.0.1", "80", ec); });
    });
    ioc.run();
    BOOST_TEST((name == errc::not_in_fiber));
    BOOST_TEST((numbers == errc::not_in_fiber));
    check_nobody_asks();
}

// --- who does not -------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_stop_and_a_deadline_abandon_it)
{
    over_processors([] {
        BOOST_TEST(
            error_of([] { spindle::within(2ms, [] { return resolve("slow", "80"); }); })
            == asio::error::timed_out);
        error_code ec;
        auto asker = spindle::spawn([&] { (void)resolve("slow", "80", ec); });
        (void)until([] { return fibers_in(spindle::detail::wait_reason::resolve) == 1; });
        asker.request_stop();
        asker.join();
        BOOST_TEST(ec == aborted);
        // Once asked to stop it does not begin, numbers or not.
        spindle::cancel_scope const scope;
        scope.cancel();
        int const before = server.asked_for_others;
        BOOST_TEST(error_of([] { (void)resolve("server", "80"); }) == aborted);
        BOOST_TEST(error_of([] { (void)resolve("127.0.0.1", "80"); }) == aborted);
        BOOST_TEST(server.asked_for_others == before);
    });
    check_nobody_asks();
}

BOOST_AUTO_TEST_CASE(nobody_waits_for_a_server_that_does_not_answer)
{
    for (auto const n : processor_counts) {
        on_scheduler s(n);
        for (int i = 0; i != 20; ++i)
            spindle::spawn(*s, [] { (void)resolve("slow", "80"); }, asio::detached);
        BOOST_TEST(
            eventually([] { return fibers_in(spindle::detail::wait_reason::resolve) == 20; }));
        BOOST_TEST(eventually([] { return server.answered < server.asked; }));
        s->stop();
        s->join();
    }
    {
        asio::io_context ioc;
        for (int i = 0; i != 20; ++i)
            spindle::spawn(ioc, [] { (void)resolve("slow", "80"); }, asio::detached);
        ioc.poll();
    }
    check_nothing_left();
    BOOST_TEST(server.answered < server.asked); // they are still at it
    check_nobody_asks();
}

BOOST_AUTO_TEST_CASE(stops_meet_answers)
{
    server.release(true);
    tally t;
    {
        on_scheduler s(4);
        s.run([&] {
            for (std::size_t i = 0; i != scaled(3'000); ++i) {
                error_code ec;
                auto asker = spindle::spawn([&] { (void)resolve("slow", "80", ec); });
                for (auto k = i % 20; k-- > 0;)
                    this_fiber::yield();
                asker.request_stop();
                asker.join();
                t.check(!ec || ec == aborted);
            }
        });
    }
    BOOST_TEST(t.bad() == 0u);
    check_nobody_asks();
}

BOOST_AUTO_TEST_CASE(every_step_can_be_the_last)
{
    server.release(true);
    over_every_step([] {
        (void)resolve("server", "80");
        (void)resolve("slow", "80");
    });
    check_nobody_asks();
}
