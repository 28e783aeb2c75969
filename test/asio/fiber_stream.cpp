//
// asio/fiber_stream.cpp
// ~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE asio.fiber_stream
#include <spindle/asio/fiber_stream.hpp>
#include <spindle/cancel/within.hpp>
#include <spindle/chan/channel.hpp>
#include <spindle/spawn.hpp>
#include <spindle/this_fiber.hpp>

#include <support/asio_fixture.hpp>
#include <support/every_step.hpp>
#include <support/waiting.hpp>

#include <boost/asio/connect_pipe.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/readable_pipe.hpp>
#include <boost/asio/serial_port.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/writable_pipe.hpp>
#include <boost/asio/write.hpp>
#include <boost/test/unit_test.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

using namespace spindle_test;
using namespace std::chrono_literals;
using spindle::fiber_stream;
using spindle::errc;
namespace this_fiber = spindle::this_fiber;

// Counts the calls that read from sockets, Asio's among them. A sanitizer has a recv of
// its own.
#if !defined(SPINDLE_TEST_SANITIZED)
namespace {
std::atomic<std::size_t> receives{0};
}
extern "C" ssize_t recv(int fd, void* data, size_t size, int flags)
{
    receives.fetch_add(1, std::memory_order_relaxed);
    return ::syscall(SYS_recvfrom, fd, data, size, flags, nullptr, nullptr);
}
#endif

namespace {

using tcp_stream = fiber_stream<tcp::socket>;
using local_stream = fiber_stream<local_socket>;
using descriptor = asio::posix::stream_descriptor;

// Two streams of that type with a connection between them, on that executor.
template <class Stream>
struct ends;

template <>
struct ends<tcp::socket> {
    template <class Executor>
    static auto make(Executor const& ex)
    {
        return connected(ex);
    }
};

template <>
struct ends<local_socket> {
    template <class Executor>
    static auto make(Executor const& ex)
    {
        return connected_locally(ex);
    }
};

// A pair of descriptors that are no sockets as far as Asio knows.
template <>
struct ends<descriptor> {
    template <class Executor>
    static std::pair<descriptor, descriptor> make(Executor const& ex)
    {
        int fd[2];
        BOOST_TEST_REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM, 0, fd) == 0);
        return {descriptor(ex, fd[0]), descriptor(ex, fd[1])};
    }
};

// What a line comes back as.
template <class Stream>
error_code echo_lines(Stream& s)
{
    std::string line;
    error_code ec;
    for (;;) {
        auto const n = asio::read_until(s, asio::dynamic_buffer(line), '\n', ec);
        if (ec)
            return ec;
        asio::write(s, asio::buffer(line, n), ec);
        if (ec)
            return ec;
        line.erase(0, n);
    }
}

template <class Stream>
void ask_lines(Stream& s, tally& t)
{
    for (std::size_t i = 0; i != 60; ++i) {
        std::string const sent = std::string(i * i * (i % 10 == 9 ? 30 : 1), 'x') + '\n';
        std::string back(sent.size(), ' ');
        // The answer may come before all is sent.
        auto writer = spindle::spawn([&] { asio::write(s, asio::buffer(sent)); });
        asio::read(s, asio::buffer(back));
        writer.join();
        t.check(back == sent);
    }
}

// Connections of that type between fibers on that executor.
template <class Stream, class Executor>
void echoes(Executor const& ex, tally& t)
{
    for (int i = 0; i != 4; ++i) {
        auto [a, b] = ends<Stream>::make(ex);
        spindle::spawn(
            ex,
            [&t, s = fiber_stream(std::move(a))]() mutable {
                t.check(echo_lines(s) == asio::error::eof);
            },
            asio::detached);
        spindle::spawn(
            ex,
            [&t, s = fiber_stream(std::move(b))]() mutable { ask_lines(s, t); },
            asio::detached);
    }
}

constexpr std::size_t echo_checks = 4 * 61;

template <class Stream>
void echoes_everywhere()
{
    over_threads([](asio::io_context& ioc, unsigned threads) {
        tally t;
        echoes<Stream>(ioc.get_executor(), t);
        echoes<Stream>(asio::make_strand(ioc), t);
        run_on(ioc, threads);
        BOOST_TEST(t.good() == 2 * echo_checks);
        BOOST_TEST(t.bad() == 0u);
    });
    for (auto const n : processor_counts)
        BOOST_TEST_CONTEXT(n << " processors")
        {
            tally t;
            {
                on_scheduler s(n);
                echoes<Stream>(s->get_executor(), t);
                echoes<Stream>(s->next_executor(), t);
                s->join();
            }
            BOOST_TEST(t.good() == 2 * echo_checks);
            BOOST_TEST(t.bad() == 0u);
        }
    tally t;
    {
        asio::thread_pool pool(4);
        echoes<Stream>(pool.get_executor(), t);
        pool.join();
    }
    BOOST_TEST(t.good() == echo_checks);
    BOOST_TEST(t.bad() == 0u);
    check_nothing_left();
}

// Runs fn(here, there) in a fiber: a stream, and the other end of it.
template <class Stream, class Function>
void with_ends(Function fn)
{
    over_processors([&] {
        auto [a, b] = ends<Stream>::make(this_fiber::get_executor());
        fiber_stream<Stream> here(std::move(a)), there(std::move(b));
        fn(here, there);
    });
}

template <class Stream>
void fill(Stream& s)
{
    std::vector<char> const block(1 << 16);
    spindle::error_code ec;
    spindle::within(
        20ms, [&] { for (;;) s.write_some(asio::buffer(block)); }, ec);
    BOOST_TEST(ec == asio::error::timed_out);
}

} // namespace

// --- echoes -------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(over_tcp) { echoes_everywhere<tcp::socket>(); }
BOOST_AUTO_TEST_CASE(over_local_sockets) { echoes_everywhere<local_socket>(); }
BOOST_AUTO_TEST_CASE(over_descriptors) { echoes_everywhere<descriptor>(); }

BOOST_AUTO_TEST_CASE(over_a_reference_the_stream_stays_where_it_is)
{
    over_processors([] {
        auto [a, b] = connected(this_fiber::get_executor());
        fiber_stream<tcp::socket&> here(a), there(b);
        BOOST_TEST(&here.next_layer() == &a);
        BOOST_TEST(here.write_some(asio::buffer("abc", 3)) == 3u);
        char text[8];
        BOOST_TEST(there.read_some(asio::buffer(text)) == 3u);
        BOOST_TEST(b.is_open());
    });
}

BOOST_AUTO_TEST_CASE(over_the_two_ends_of_a_pipe)
{
    over_processors([] {
        auto const ex = this_fiber::get_executor();
        asio::readable_pipe out(ex);
        asio::writable_pipe in(ex);
        asio::connect_pipe(out, in);
        fiber_stream<asio::readable_pipe> reading(std::move(out));
        auto writer = spindle::spawn([s = fiber_stream(std::move(in))]() mutable {
            std::string const much(300'000, 'p'); // more than a pipe holds
            asio::write(s, asio::buffer(much));
        });
        std::string all;
        error_code ec;
        asio::read(reading, asio::dynamic_buffer(all), ec);
        BOOST_TEST(ec == asio::error::eof);
        BOOST_TEST(all == std::string(300'000, 'p'));
        writer.join();
    });
}

BOOST_AUTO_TEST_CASE(over_a_serial_port)
{
    over_processors([] {
        auto const ex = this_fiber::get_executor();
        int const terminal = ::posix_openpt(O_RDWR | O_NOCTTY);
        BOOST_TEST_REQUIRE(terminal >= 0);
        BOOST_TEST_REQUIRE((::grantpt(terminal) == 0 && ::unlockpt(terminal) == 0));
        char name[64];
        BOOST_TEST_REQUIRE(::ptsname_r(terminal, name, sizeof name) == 0);
        fiber_stream<asio::serial_port> port(ex, std::string(name));
        fiber_stream<descriptor> other(ex, terminal);
        auto answer = spindle::spawn([&] { return echo_lines(other); });
        asio::write(port, asio::buffer("over the wire\n", 14));
        std::string back;
        asio::read_until(port, asio::dynamic_buffer(back), '\n');
        BOOST_TEST(back == "over the wire\n");
        answer.request_stop();
        BOOST_TEST(answer.join() == aborted);
    });
}

// --- at once ------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(what_is_there_is_taken_without_parking)
{
    on_scheduler s(without_rescue(1));
    s.run([&] {
        auto [a, b] = connected_locally(this_fiber::get_executor());
        local_stream here(std::move(a)), there(std::move(b));
        auto const before = s->stats().parks;
        std::array<char, 4> some;
        for (int i = 0; i != 50; ++i)
            BOOST_TEST(here.write_some(asio::buffer("1234", 4)) == 4u);
        for (int i = 0; i != 50; ++i)
            BOOST_TEST(there.read_some(asio::buffer(some)) == 4u);
        BOOST_TEST(s->stats().parks == before);
        // Nothing is there, and the last read has not shown it: it waits.
        auto later = spindle::spawn([&] { here.write_some(asio::buffer("56", 2)); });
        BOOST_TEST(there.read_some(asio::buffer(some)) == 2u);
        BOOST_TEST(s->stats().parks > before);
        later.join();
    });
}

#if !defined(SPINDLE_TEST_SANITIZED)
namespace {

// The calls that read while questions are asked and answered by those functions.
template <class Stream>
std::size_t receives_of_a_conversation()
{
    asio::io_context ioc;
    auto [a, b] = connected_locally(ioc.get_executor());
    auto const talk = [](Stream& s, bool asks) {
        std::array<char, 64> text;
        for (int i = 0; i != 300; ++i) {
            if (i == 10)
                receives = 0; // what there is to be found out is found out
            if (asks)
                s.write_some(asio::buffer("question", 8));
            if (s.read_some(asio::buffer(text)) != 8)
                throw std::runtime_error("not a question");
            if (!asks)
                s.write_some(asio::buffer("an answer", 8));
        }
    };
    tally t;
    spindle::spawn(
        ioc,
        [&, s = Stream(std::move(a))]() mutable {
            talk(s, false);
            t.count();
        },
        asio::detached);
    spindle::spawn(
        ioc,
        [&, s = Stream(std::move(b))]() mutable {
            talk(s, true);
            t.count();
        },
        asio::detached);
    ioc.run();
    BOOST_TEST(t.good() == 2u);
    return receives;
}

// Asio's operations, and nothing else.
struct plain_stream {
    explicit plain_stream(local_socket&& s) : socket(std::move(s)) {}

    template <class Buffers>
    std::size_t read_some(Buffers const& b)
    {
        return socket.async_read_some(b, spindle::use_fiber);
    }

    template <class Buffers>
    std::size_t write_some(Buffers const& b)
    {
        return socket.async_write_some(b, spindle::use_fiber);
    }

    local_socket socket;
};

} // namespace

// How many those are is up to Boost: 1.81 looks once more before it asks the reactor.
BOOST_AUTO_TEST_CASE(a_request_costs_no_call_that_reads_beyond_those_of_asio)
{
    BOOST_TEST(
        receives_of_a_conversation<local_stream>()
        <= receives_of_a_conversation<plain_stream>());
}

BOOST_AUTO_TEST_CASE(behind_a_read_that_was_filled_there_is_one_call_that_reads)
{
    asio::io_context ioc;
    auto [a, b] = connected_locally(ioc.get_executor());
    spindle::spawn(
        ioc,
        [here = local_stream(std::move(a)), there = local_stream(std::move(b))]() mutable {
            std::array<char, 4> some;
            there.write_some(asio::buffer("123456", 6));
            receives = 0;
            BOOST_TEST(here.read_some(asio::buffer(some)) == 4u);
            BOOST_TEST(receives == 1u);
            BOOST_TEST(here.read_some(asio::buffer(some)) == 2u);
            BOOST_TEST(receives == 2u);
        },
        asio::detached);
    ioc.run();
}
#endif

BOOST_AUTO_TEST_CASE(who_never_has_to_wait_lets_others_run_all_the_same)
{
    asio::io_context ioc;
    auto [a, b] = connected_locally(ioc.get_executor());
    bool done = false;
    int turns = 0;
    spindle::spawn(
        ioc,
        [&done, here = local_stream(std::move(a)), there = local_stream(std::move(b))]() mutable {
            std::string const text(1000, 'x');
            asio::write(here, asio::buffer(text));
            for (std::size_t i = 0; i != text.size(); ++i) {
                char c;
                there.read_some(asio::buffer(&c, 1));
            }
            done = true;
        },
        asio::detached);
    spindle::spawn(
        ioc,
        [&] {
            while (!done) {
                ++turns;
                this_fiber::yield();
            }
        },
        asio::detached);
    ioc.run();
    BOOST_TEST(turns >= 1000 / 128);
}

BOOST_AUTO_TEST_CASE(nothing_is_read_into_nothing_and_many_buffers_are_filled)
{
    with_ends<tcp::socket>([](auto& here, auto& there) {
        BOOST_TEST(here.read_some(asio::mutable_buffer()) == 0u);
        BOOST_TEST(here.write_some(asio::const_buffer()) == 0u);
        std::string const text(100, 't');
        std::vector<asio::const_buffer> pieces; // more than the system takes at once
        for (std::size_t i = 0; i != text.size(); ++i) {
            pieces.push_back(asio::buffer(&text[i], 1));
            pieces.push_back(asio::const_buffer());
        }
        BOOST_TEST(asio::write(here, pieces) == 100u);
        std::string back(100, ' ');
        std::vector<asio::mutable_buffer> parts;
        for (auto& c : back)
            parts.push_back(asio::buffer(&c, 1));
        BOOST_TEST(asio::read(there, parts) == 100u);
        BOOST_TEST(back == text);
    });
}

BOOST_AUTO_TEST_CASE(one_fiber_reads_while_another_one_writes)
{
    over_processors([] {
        auto [a, b] = connected(this_fiber::get_executor());
        tcp_stream here(std::move(a)), there(std::move(b));
        constexpr std::size_t size = scaled(4'000'000);
        auto const send = [](tcp_stream& s) {
            std::vector<unsigned char> data(size);
            std::iota(data.begin(), data.end(), static_cast<unsigned char>(0));
            asio::write(s, asio::buffer(data));
        };
        auto const check = [](tcp_stream& s) {
            std::vector<unsigned char> data(size), expected(size);
            std::iota(expected.begin(), expected.end(), static_cast<unsigned char>(0));
            asio::read(s, asio::buffer(data));
            return data == expected;
        };
        auto w1 = spindle::spawn([&] { send(here); });
        auto w2 = spindle::spawn([&] { send(there); });
        auto r1 = spindle::spawn([&] { return check(here); });
        BOOST_TEST(check(there));
        BOOST_TEST(r1.join());
        w1.join();
        w2.join();
    });
}

// --- errors -------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(the_end_is_an_error_with_its_own_name)
{
    auto const at_the_end = [](auto& here, auto& there) {
        there.close();
        char text[8];
        error_code ec;
        BOOST_TEST(here.read_some(asio::buffer(text), ec) == 0u);
        BOOST_TEST(ec == asio::error::eof);
        BOOST_TEST(error_of([&] { here.read_some(asio::buffer(text)); }) == asio::error::eof);
    };
    with_ends<tcp::socket>(at_the_end);
    with_ends<local_socket>(at_the_end);
    with_ends<descriptor>(at_the_end);
    // Seen by the operation, and not by the call before it.
    with_ends<tcp::socket>([](auto& here, auto& there) {
        auto later = spindle::spawn([&] {
            (void)until([] { return fibers_in(spindle::detail::wait_reason::operation) == 1; });
            there.close();
        });
        char text[8];
        BOOST_TEST(error_of([&] { here.read_some(asio::buffer(text)); }) == asio::error::eof);
        later.join();
    });
}

BOOST_AUTO_TEST_CASE(a_write_to_nobody_is_a_broken_pipe)
{
    auto const to_nobody = [](auto& here, auto& there) {
        there.close();
        error_code ec;
        BOOST_TEST(here.write_some(asio::buffer("text", 4), ec) == 0u);
        BOOST_TEST(ec == asio::error::broken_pipe);
        BOOST_TEST(
            error_of([&] { here.write_some(asio::buffer("text", 4)); })
            == asio::error::broken_pipe);
    };
    with_ends<local_socket>(to_nobody);
    auto* const before = ::signal(SIGPIPE, SIG_IGN); // for descriptors, as with Asio
    with_ends<descriptor>(to_nobody);
    ::signal(SIGPIPE, before);
}

BOOST_AUTO_TEST_CASE(a_reset_and_a_closed_socket_are_reported)
{
    with_ends<tcp::socket>([](auto& here, auto& there) {
        there.lowest_layer().set_option(asio::socket_base::linger(true, 0));
        there.close();
        char text[8];
        error_code ec;
        here.read_some(asio::buffer(text), ec);
        BOOST_TEST(ec == asio::error::connection_reset);
        there.read_some(asio::buffer(text), ec);
        BOOST_TEST(ec == asio::error::bad_descriptor);
        there.write_some(asio::buffer(text), ec);
        BOOST_TEST(ec == asio::error::bad_descriptor);
    });
}

BOOST_AUTO_TEST_CASE(only_a_fiber_may_read)
{
    asio::io_context ioc;
    auto [a, b] = connected_locally(ioc.get_executor());
    local_stream s(std::move(a)), there(std::move(b));
    char text[8];
    error_code ec;
    auto const refused = [&] {
        return error_of([&] { s.read_some(asio::buffer(text)); }) == errc::not_in_fiber
            && error_of([&] { s.read_some(asio::buffer(text), ec); }) == errc::not_in_fiber
            && error_of([&] { s.write_some(asio::buffer(text)); }) == errc::not_in_fiber
            && error_of([&] { s.write_some(asio::buffer(text), ec); }) == errc::not_in_fiber;
    };
    there.next_layer().write_some(asio::buffer("text", 4)); // also where it need not wait
    BOOST_TEST(refused()); // on a plain thread
    bool in_handler = false, under_a_fiber = false;
    asio::post(ioc, [&] { in_handler = refused(); });
    auto const strand = asio::make_strand(ioc);
    spindle::spawn(
        ioc,
        [&] { asio::dispatch(strand, [&] { under_a_fiber = refused(); }); }, asio::detached);
    ioc.run();
    BOOST_TEST(in_handler);
    BOOST_TEST(under_a_fiber);
    BOOST_TEST(s.lowest_layer().available() == 4u);
}

// --- stops and deadlines ------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_stop_ends_a_read_and_a_write_that_wait)
{
    with_ends<local_socket>([](auto& here, auto& there) {
        char text[8];
        error_code read, written;
        auto reader = spindle::spawn([&] { here.read_some(asio::buffer(text), read); });
        auto writer = spindle::spawn([&] {
            std::vector<char> const block(1 << 16);
            while (!written)
                there.write_some(asio::buffer(block), written);
        });
        reader.request_stop(); // before it waits, or while it does
        reader.join();
        BOOST_TEST(read == aborted);
        (void)until([] { return fibers_in(spindle::detail::wait_reason::operation) == 1; });
        writer.request_stop();
        writer.join();
        BOOST_TEST(written == aborted);
    });
}

BOOST_AUTO_TEST_CASE(who_was_asked_to_stop_takes_nothing_that_is_there)
{
    with_ends<local_socket>([](auto& here, auto& there) {
        there.write_some(asio::buffer("text", 4));
        char text[8];
        error_code ec;
        {
            spindle::cancel_scope scope;
            scope.cancel();
            BOOST_TEST(here.read_some(asio::buffer(text), ec) == 0u);
            BOOST_TEST(ec == aborted);
            BOOST_TEST(here.write_some(asio::buffer("text", 4), ec) == 0u);
            BOOST_TEST(ec == aborted);
        }
        BOOST_TEST(here.read_some(asio::buffer(text)) == 4u);
        BOOST_TEST(here.lowest_layer().available() == 0u);
        BOOST_TEST(there.lowest_layer().available() == 0u);
    });
}

BOOST_AUTO_TEST_CASE(a_deadline_is_for_the_whole_of_a_composed_read)
{
    with_ends<tcp::socket>([](auto& here, auto& there) {
        auto writer = spindle::spawn([&] {
            for (error_code ec; !ec;) { // slower than it has to be, as a slow loris
                this_fiber::sleep_for(500us);
                there.write_some(asio::buffer("x", 1), ec);
            }
        });
        std::string head;
        BOOST_TEST(
            error_of([&] {
                spindle::within(
                    10ms, [&] { asio::read_until(here, asio::dynamic_buffer(head), '\n'); });
            })
            == asio::error::timed_out);
        writer.request_stop();
        (void)error_of([&] { writer.join(); }); // it slept, or it wrote
        // The stream is as it was.
        BOOST_TEST(there.write_some(asio::buffer("\n", 1)) == 1u);
        asio::read_until(here, asio::dynamic_buffer(head), '\n');
        BOOST_TEST(head.find_first_not_of('x') == head.size() - 1);
    });
}

BOOST_AUTO_TEST_CASE(a_full_stream_is_written_to_again_once_there_is_room)
{
    with_ends<tcp::socket>([](auto& here, auto& there) {
        fill(here);
        std::atomic<std::size_t> more{0};
        auto writer = spindle::spawn([&] { more = here.write_some(asio::buffer("more", 4)); });
        std::vector<char> block(1 << 16);
        while (more == 0)
            there.read_some(asio::buffer(block));
        writer.join();
        BOOST_TEST(more == 4u);
    });
}

BOOST_AUTO_TEST_CASE(every_step_of_a_conversation_can_be_the_last)
{
    over_every_step([] {
        auto [a, b] = connected_locally(this_fiber::get_executor());
        local_stream here(std::move(a)), there(std::move(b));
        auto peer = spindle::spawn([&] { echo_lines(there); });
        for (int i = 0; i != 3; ++i) {
            std::string line;
            asio::write(here, asio::buffer("line\n", 5));
            asio::read_until(here, asio::dynamic_buffer(line), '\n');
            if (line != "line\n")
                throw system_error(asio::error::invalid_argument);
        }
    });
}

BOOST_AUTO_TEST_CASE(fibers_that_read_end_with_their_io_context)
{
    tally t;
    {
        asio::io_context ioc;
        for (int i = 0; i != 10; ++i) {
            auto [a, b] = connected_locally(ioc.get_executor());
            spindle::spawn(
                ioc,
                [&t, s = local_stream(std::move(a)), peer = std::move(b), i]() mutable {
                    error_code ec;
                    std::array<char, 4> some;
                    peer.write_some(asio::buffer("12345678", 8));
                    s.read_some(asio::buffer(some));
                    if (i % 2 == 0)
                        s.read_some(asio::buffer(some)); // nothing is left; else something is
                    do
                        s.read_some(asio::buffer(some), ec);
                    while (!ec && i % 2 == 0);
                    if (i % 2 != 0)
                        s.read_some(asio::buffer(some), ec);
                    t.check(ec == aborted);
                },
                asio::detached);
        }
        ioc.poll();
    }
    BOOST_TEST(t.good() == 10u);
    BOOST_TEST(t.bad() == 0u);
    check_nothing_left();
}

// --- before and after ---------------------------------------------------------------

BOOST_AUTO_TEST_CASE(it_connects_shuts_down_and_closes)
{
    over_processors([] {
        auto const ex = this_fiber::get_executor();
        tcp::acceptor acceptor(ex, {asio::ip::address_v4::loopback(), 0});
        auto server = spindle::spawn([&] {
            tcp_stream s(acceptor.async_accept(spindle::use_fiber));
            std::string all;
            error_code ec;
            asio::read(s, asio::dynamic_buffer(all), ec);
            asio::write(s, asio::buffer(all));
            return ec;
        });
        tcp_stream s(ex);
        BOOST_TEST(!s.is_open());
        s.connect(acceptor.local_endpoint());
        BOOST_TEST(s.is_open());
        s.write_some(asio::buffer("all of it", 9));
        s.shutdown(asio::socket_base::shutdown_send);
        std::string back;
        error_code ec;
        asio::read(s, asio::dynamic_buffer(back), ec);
        BOOST_TEST(ec == asio::error::eof);
        BOOST_TEST(back == "all of it");
        BOOST_TEST(server.join() == asio::error::eof);
        s.close();
        BOOST_TEST(!s.is_open());

        acceptor.close();
        auto const nobody = connected(ex).first.local_endpoint();
        s.connect(nobody, ec);
        BOOST_TEST(ec == asio::error::connection_refused);
        s.close();
        BOOST_TEST(error_of([&] { s.connect(nobody); }) == asio::error::connection_refused);
    });
}
