//
// chan/select_async.cpp
// ~~~~~~~~~~~~~~~~~~~~~
// A select from handlers, coroutines and futures.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE chan.select_async
#include <spindle/asio/start.hpp>
#include <spindle/asio/use_fiber.hpp>
#include <spindle/cancel/cancel_scope.hpp>
#include <spindle/cancel/shielded.hpp>
#include <spindle/chan/channel.hpp>
#include <spindle/chan/select.hpp>
#include <spindle/go.hpp>
#include <spindle/spawn.hpp>
#include <spindle/sync/wait_group.hpp>
#include <spindle/this_fiber.hpp>

#include <support/asio_fixture.hpp>
#include <support/channel_fixture.hpp>
#include <support/child.hpp>
#include <support/handlers.hpp>
#include <support/waiting.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_allocator.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/asio/write.hpp>
#include <boost/system/errc.hpp>
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <exception>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

using namespace spindle_test;
using namespace spindle_test::outcomes;
using namespace std::chrono_literals;
namespace this_fiber = spindle::this_fiber;
using asio::deferred;
using asio::use_awaitable;
using spindle::channel;
using spindle::make_select;
using spindle::on_completion;
using spindle::on_receive;
using spindle::on_send;
using spindle::on_stop;
using spindle::on_timeout;
using spindle::otherwise;
using spindle::receive_channel;
using spindle::send_channel;
using spindle::use_fiber;
using std::chrono::steady_clock;

BOOST_AUTO_TEST_SUITE(select_async)

namespace {

// What a handler was told.
struct outcome {
    int calls = 0;
    error_code ec = asio::error::eof;
    std::size_t index = 99;

    auto handler()
    {
        return [this](error_code e, std::size_t i) {
            ++calls;
            ec = e;
            index = i;
        };
    }

    bool is(std::size_t i, error_code e = {}) const
    {
        return calls == 1 && ec == e && index == i;
    }
    bool is_aborted() const { return calls == 1 && ec == aborted; }
};

// Asio's adapters are rvalues, as tokens.
template <class Handler>
Handler copy(Handler const& h)
{
    return h;
}

// An operation of void(error_code) whose initiation is `start`.
template <class Start>
auto operation_that(Start start)
{
    return asio::async_initiate<decltype(deferred) const, void(error_code)>(
        [start](auto&& handler) mutable { start(std::move(handler)); }, deferred);
}

auto const ignore = [](auto&&...) {};

} // namespace

// The first: TSan takes a child's use of fibers that rest since before the fork for
// a race.
BOOST_AUTO_TEST_CASE(an_operation_that_ends_before_its_select_ends_the_process)
{
    auto const end = in_child([] {
        asio::io_context ioc;
        channel<int> never;
        spindle::spawn(
            ioc,
            [&] {
                asio::steady_timer timer(ioc, 1h);
                auto op = spindle::start(timer.async_wait(deferred));
                make_select(on_receive(never), on_completion(op, ignore))
                    .async_wait(asio::bind_executor(ioc, [](error_code, std::size_t) {}));
            },
            asio::detached);
        ioc.run();
    });
    BOOST_TEST(end.by_signal(SIGABRT));
    BOOST_TEST(end.says("a spindle::operation was destroyed, and is in a case of make_select"));
}

// --- which case runs ----------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(what_is_ready_at_once_completes_later)
{
    asio::io_context ioc;
    auto const ex = ioc.get_executor();
    channel<boxed> full(1), room(1), never;
    channel<void> signals(1);
    full.send(box(1));
    signals.send();
    std::stop_source stopped;
    stopped.request_stop();
    std::optional<boxed> sink;
    bool signalled = false;
    int sent = 0, timed = 0, stops = 0, defaults = 0;
    outcome o[6];
    make_select(on_receive(never), on_receive(full, sink)).async_wait(on(ex, o[0].handler()));
    BOOST_TEST(full.size() == 0u); // it is out; the handler hears of it later
    make_select(on_receive(never), on_receive(signals, signalled))
        .async_wait(on(ex, o[1].handler()));
    make_select(on_send(never, box(7)), on_receive(never), on_send(room, box(2), [&] { ++sent; }))
        .async_wait(on(ex, o[2].handler()));
    BOOST_TEST(room.size() == 1u);
    make_select(on_timeout(0s, [&] { ++timed; }), on_receive(never))
        .async_wait(on(ex, o[3].handler()));
    make_select(on_receive(never), on_stop(stopped.get_token(), [&] { ++stops; }))
        .async_wait(on(ex, o[4].handler()));
    make_select(on_receive(never), otherwise([&] { ++defaults; }), on_timeout(1h))
        .async_wait(on(ex, o[5].handler()));
    for (auto const& each : o)
        BOOST_TEST(each.calls == 0);
    BOOST_TEST(!sink);
    BOOST_TEST(sent + timed + stops + defaults == 0);
    ioc.run();
    std::size_t const expected[] = {1, 1, 2, 0, 1, 1};
    for (std::size_t i = 0; i != 6; ++i)
        BOOST_TEST(o[i].is(expected[i]), "select " << i);
    BOOST_TEST(*sink.value() == 1);
    BOOST_TEST(signalled);
    BOOST_TEST((sent == 1 && timed == 1 && stops == 1 && defaults == 1));
    BOOST_TEST(**room.receive() == 2);
    BOOST_TEST(nobody_waits(never));
}

BOOST_AUTO_TEST_CASE(the_first_case_that_becomes_ready_runs_and_the_others_leave_no_trace)
{
    for (std::size_t which = 0; which != 6; ++which) {
        asio::io_context ioc;
        channel<boxed> in1, in2, out1, out2;
        std::stop_source source;
        std::optional<boxed> got1, got2;
        asio::steady_timer timer(ioc, 1h);
        outcome o;
        std::size_t ran = 99;
        auto const note = [&](std::size_t i) { return [&ran, i](auto&&...) { ran = i; }; };
        make_select(
            on_receive(in1, got1), on_receive(in2, got2), on_send(out1, box(11), note(2)),
            on_send(out2, box(12), note(3)), on_stop(source.get_token(), note(4)),
            on_timeout(which == 5 ? 200us : std::chrono::microseconds(1h), note(5)))
            .async_wait(on(ioc.get_executor(), o.handler()));
        if (which != 5)
            BOOST_TEST(ioc.poll() == 0u);
        error_code ec;
        std::optional<boxed> got;
        switch (which) {
        case 0:
            BOOST_TEST(in1.try_send(box(1), ec));
            break;
        case 1:
            BOOST_TEST(in2.try_send(box(2), ec));
            break;
        case 2:
            got = out1.try_receive(ec);
            break;
        case 3:
            got = out2.try_receive(ec);
            break;
        case 4:
            source.request_stop();
            break;
        default:
            break;
        }
        ioc.run();
        BOOST_TEST(o.is(which));
        BOOST_TEST(got1.has_value() == (which == 0));
        BOOST_TEST(got2.has_value() == (which == 1));
        BOOST_TEST((which < 2 ? ran == 99 : ran == which));
        if (which == 2 || which == 3)
            BOOST_TEST(**got == static_cast<int>(9 + which));
        for (auto const& ch : {in1, in2, out1, out2})
            BOOST_TEST(nobody_waits(ch));
        source.request_stop(); // nobody is there any more
    }
}

BOOST_AUTO_TEST_CASE(a_closed_channel_is_ready)
{
    asio::io_context ioc;
    auto const ex = ioc.get_executor();
    channel<boxed> in, out, never;
    std::optional<boxed> got = box(1), late = box(1);
    bool ran = false;
    outcome received, sent, at_once[2];
    make_select(on_receive(never), on_receive(in, got)).async_wait(on(ex, received.handler()));
    make_select(on_receive(never), on_send(out, box(1), [&] { ran = true; }))
        .async_wait(on(ex, sent.handler()));
    in.close();
    out.close();
    make_select(on_receive(in, late), on_receive(never)).async_wait(on(ex, at_once[0].handler()));
    make_select(on_receive(never), on_send(out, box(1), [&] { ran = true; }))
        .async_wait(on(ex, at_once[1].handler()));
    ioc.run();
    BOOST_TEST(received.is(1));
    BOOST_TEST(!got);
    BOOST_TEST(sent.is(1, closed));
    BOOST_TEST(at_once[0].is(0));
    BOOST_TEST(!late);
    BOOST_TEST(at_once[1].is(1, closed));
    BOOST_TEST(!ran);
    BOOST_TEST(nobody_waits(never));
}

BOOST_AUTO_TEST_CASE(nil_channels_are_never_ready)
{
    asio::io_context ioc;
    auto const ex = ioc.get_executor();
    send_channel<boxed> const out;
    receive_channel<boxed> const in;
    channel<void> gone(1);
    auto const heir = std::move(gone);
    outcome o[5];
    asio::cancellation_signal none_at_all, only_nil;
    make_select(on_send(out, box(1)), on_receive(in), on_send(gone), otherwise())
        .async_wait(on(ex, o[0].handler()));
    make_select(on_send(out, box(1)), on_receive(in), on_send(heir))
        .async_wait(on(ex, o[1].handler()));
    make_select(on_send(out, box(1)), on_timeout(100us), on_receive(in))
        .async_wait(on(ex, o[2].handler()));
    make_select().async_wait(
        asio::bind_cancellation_slot(none_at_all.slot(), on(ex, o[3].handler())));
    make_select(on_send(out, box(1)), on_receive(in), on_stop(std::stop_token()))
        .async_wait(asio::bind_cancellation_slot(only_nil.slot(), on(ex, o[4].handler())));
    ioc.poll();
    BOOST_TEST(!ioc.stopped());
    BOOST_TEST(o[3].calls + o[4].calls == 0);
    none_at_all.emit(asio::cancellation_type::total);
    only_nil.emit(asio::cancellation_type::total);
    ioc.run();
    BOOST_TEST(o[0].is(3));
    BOOST_TEST(o[1].is(2));
    BOOST_TEST(o[2].is(1));
    BOOST_TEST(o[3].is_aborted());
    BOOST_TEST(o[4].is_aborted());
}

BOOST_AUTO_TEST_CASE(each_of_the_ready_cases_is_as_likely)
{
    asio::io_context ioc;
    channel<int> in1(1), in2(1), shut;
    shut.close();
    std::array<std::size_t, 3> count{};
    constexpr auto trials = scaled(6'000);
    error_code ec;
    for (std::size_t i = 0; i != trials; ++i) {
        (void)in1.try_send(1, ec);
        (void)in2.try_send(1, ec);
        make_select(on_receive(in1), on_receive(shut), on_receive(in2))
            .async_wait(on(ioc.get_executor(), [&](error_code, std::size_t n) { ++count.at(n); }));
    }
    ioc.run();
    // Chi-square of two degrees of freedom: above 60 once in 10^13.
    auto const expected = static_cast<double>(trials) / 3;
    double chi = 0;
    for (auto const n : count) {
        auto const d = static_cast<double>(n) - expected;
        chi += d * d / expected;
    }
    BOOST_TEST(chi < 60);
}

BOOST_AUTO_TEST_CASE(of_several_timeouts_the_nearest_runs)
{
    asio::io_context ioc;
    channel<int> never;
    for (int i = 0; i != 10; ++i) {
        outcome o;
        auto const soon = steady_clock::now() + 300us;
        make_select(
            on_timeout(1h), on_timeout(soon), on_receive(never),
            on_timeout(steady_clock::time_point::max()))
            .async_wait(on(ioc.get_executor(), o.handler()));
        ioc.restart();
        ioc.run();
        BOOST_TEST(o.is(1));
        BOOST_TEST((steady_clock::now() >= soon));
        BOOST_TEST(nobody_waits(never));
    }
}

BOOST_AUTO_TEST_CASE(the_cases_keep_their_channels_and_values)
{
    asio::io_context ioc;
    outcome sent, received;
    receive_channel<std::string> in;
    send_channel<std::string> out;
    std::optional<std::string> got;
    {
        channel<std::string> first, second;
        in = first;
        out = second;
        std::string text = "a text that is too long for the object itself";
        make_select(on_send(first, text)).async_wait(on(ioc.get_executor(), sent.handler()));
        text = "another";
        make_select(on_receive(second, got)).async_wait(on(ioc.get_executor(), received.handler()));
    }
    error_code ec;
    BOOST_TEST(in.try_receive(ec)->size() == 45u);
    BOOST_TEST(out.try_send("word", ec));
    ioc.run();
    BOOST_TEST(sent.is(0));
    BOOST_TEST(received.is(0));
    BOOST_TEST(got.value() == "word");
}

// --- where the functions and the handler run ----------------------------------------------

BOOST_AUTO_TEST_CASE(no_handler_runs_inside_a_call_not_even_on_its_own_executor)
{
    asio::io_context ioc;
    auto const strand = asio::make_strand(ioc);
    tally t;
    bool inside = false; // of the one thread
    asio::cancellation_signal signals[2];
    asio::steady_timer timer(ioc, 1h);
    auto const all = [&](auto const& ex, asio::cancellation_signal& signal) {
        inside = true;
        auto const done = on(ex, [&](error_code, std::size_t) { t.check(!inside); });
        auto const ran = [&] { t.check(!inside); };
        error_code ec;
        channel<boxed> ready(1), waits, ends;
        std::stop_source source;
        make_select(on_send(ready, box(1), ran), on_receive(waits)).async_wait(copy(done));
        make_select(on_receive(waits), otherwise(ran)).async_wait(copy(done));
        make_select(on_receive(waits, ran), on_timeout(1h)).async_wait(copy(done));
        t.check(waits.try_send(box(2), ec));
        make_select(on_send(waits, box(3), ran)).async_wait(copy(done));
        t.check(waits.try_receive(ec).has_value());
        make_select(on_stop(source.get_token(), ran), on_receive(waits)).async_wait(copy(done));
        source.request_stop();
        make_select(on_receive(ends, ran)).async_wait(copy(done));
        ends.close();
        make_select(on_receive(waits), on_completion(timer.async_wait(deferred), ignore))
            .async_wait(asio::bind_cancellation_slot(signal.slot(), done));
        signal.emit(asio::cancellation_type::terminal);
        inside = false;
    };
    asio::post(ioc, [&] { all(ioc.get_executor(), signals[0]); });
    asio::post(strand, [&] { all(strand, signals[1]); });
    ioc.run();
    BOOST_TEST(t.bad() == 0u);
    BOOST_TEST(t.good() == 2u * (7 + 6 + 2));
}

BOOST_AUTO_TEST_CASE(functions_run_on_the_executor_just_before_the_completion)
{
    asio::io_context ioc;
    asio::thread_pool pool(2);
    auto const strand = asio::make_strand(ioc);
    auto const pool_strand = asio::make_strand(pool);
    tally t;
    std::atomic<int> done{0};
    channel<boxed> const ch;
    auto const all = [&](auto const& ex) {
        auto const order = std::make_shared<int>(0); // of one strand at a time
        auto const function = [&t, ex, order](auto&&...) {
            t.check(ex.running_in_this_thread());
            t.check(++*order == 1);
        };
        auto const handler = on(ex, [&t, &done, ex, order](error_code ec, std::size_t) {
            t.check(!ec && ex.running_in_this_thread());
            t.check(++*order == 2);
            ++done;
        });
        make_select(on_receive(ch, function), on_timeout(1h)).async_wait(copy(handler));
        BOOST_REQUIRE(eventually([&] { return receivers_of(ch) == 1; }));
        error_code ec;
        BOOST_TEST(ch.try_send(box(1), ec));
    };
    all(ioc.get_executor());
    all(strand);
    all(pool_strand);
    all(pool.get_executor());
    ioc.run();
    BOOST_TEST(eventually([&] { return done == 4; }));
    pool.join();
    BOOST_TEST(t.good() == 16u);
    BOOST_TEST(t.bad() == 0u);
}

BOOST_AUTO_TEST_CASE(what_waits_is_outstanding_work)
{
    asio::io_context ioc;
    channel<boxed> a, b;
    outcome o, next;
    error_code ec;
    make_select(on_receive(a), on_receive(b)).async_wait(on(ioc.get_executor(), o.handler()));
    BOOST_TEST(ioc.poll() == 0u);
    BOOST_TEST(!ioc.stopped());
    BOOST_TEST(a.try_send(box(1), ec));
    BOOST_TEST(ioc.poll() == 1u);
    BOOST_TEST(ioc.stopped());
    BOOST_TEST(o.is(0));
    ioc.restart();
    make_select(on_send(a, box(2)), on_receive(b))
        .async_wait(on(asio::make_strand(ioc), next.handler()));
    std::thread runs([&] { ioc.run(); });
    BOOST_TEST(**a.receive() == 2);
    runs.join();
    BOOST_TEST(next.is(0));
}

// --- other tokens -----------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(futures)
{
    channel<boxed> ch, never;
    std::optional<boxed> got;
    std::future<std::size_t> received
        = make_select(on_receive(never), on_receive(ch, got)).async_wait(asio::use_future);
    ch.send(box(1));
    BOOST_TEST(received.get() == 1u);
    BOOST_TEST(**got == 1);
    auto timed = make_select(on_receive(never), on_timeout(100us)).async_wait(asio::use_future);
    BOOST_TEST(timed.get() == 1u);
    ch.close();
    auto refused = make_select(on_send(ch, box(1))).async_wait(asio::use_future);
    BOOST_TEST((error_of([&] { (void)refused.get(); }) == closed));
}

BOOST_AUTO_TEST_CASE(a_deferred_select_starts_when_it_is_called)
{
    asio::io_context ioc;
    channel<boxed> in, out;
    outcome o;
    auto later = make_select(on_receive(in), on_send(out, box(4))).async_wait(deferred);
    BOOST_TEST(nobody_waits(in));
    std::move(later)(on(ioc.get_executor(), o.handler()));
    BOOST_TEST(receivers_of(in) == 1u);
    error_code ec;
    BOOST_TEST(**out.try_receive(ec) == 4);
    ioc.run();
    BOOST_TEST(o.is(1));
    BOOST_TEST(nobody_waits(in));
}

BOOST_AUTO_TEST_CASE(coroutines)
{
    over_threads([](asio::io_context& ioc, unsigned threads) {
        constexpr int each = static_cast<int>(scaled(500));
        auto const sum = std::make_shared<std::atomic<long>>(0);
        channel<boxed> const a, b(1);
        channel<void> const quit;
        auto const left = std::make_shared<std::atomic<int>>(2);
        for (int p = 0; p != 2; ++p)
            asio::co_spawn(
                ioc,
                [](channel<boxed> x, channel<boxed> y, channel<void> q,
                   auto l) -> asio::awaitable<void> {
                    for (int i = 1; i <= each; ++i)
                        co_await make_select(on_send(x, box(i)), on_send(y, box(i)))
                            .async_wait(use_awaitable);
                    if (--*l == 0)
                        q.close();
                }(a, b, quit, left),
                asio::detached);
        for (int p = 0; p != 2; ++p)
            asio::co_spawn(
                ioc,
                [](channel<boxed> x, channel<boxed> y, channel<void> q,
                   auto total) -> asio::awaitable<void> {
                    for (;;) {
                        std::optional<boxed> v;
                        auto const i
                            = co_await make_select(
                                  on_receive(x, v), on_receive(y, v), on_receive(q))
                                  .async_wait(use_awaitable);
                        if (i == 2)
                            break;
                        *total += **v;
                    }
                    error_code ec;
                    while (auto v = y.try_receive(ec))
                        *total += **v;
                }(a, b, quit, sum),
                asio::detached);
        run_on(ioc, threads);
        BOOST_TEST(*sum == 2L * each * (each + 1) / 2);
    });
}

BOOST_AUTO_TEST_CASE(coroutines_see_errors_and_cancellation)
{
    asio::io_context ioc;
    tally t;
    channel<boxed> const never;
    asio::cancellation_signal signal;
    std::exception_ptr left;
    asio::co_spawn(
        ioc,
        [&]() -> asio::awaitable<void> {
            channel<boxed> ch;
            ch.close();
            auto const [ec, i] = co_await make_select(on_receive(never), on_send(ch, box(1)))
                                     .async_wait(asio::as_tuple(use_awaitable));
            t.check(ec == closed && i == 1);
            co_await make_select(on_receive(never), on_timeout(1h)).async_wait(use_awaitable);
            t.check(false);
        },
        asio::bind_cancellation_slot(signal.slot(), [&](std::exception_ptr e) { left = e; }));
    ioc.poll();
    BOOST_TEST(receivers_of(never) == 1u);
    signal.emit(asio::cancellation_type::terminal);
    ioc.run();
    BOOST_TEST((error_in(left) == aborted));
    BOOST_TEST(t.good() == 1u);
    BOOST_TEST(t.bad() == 0u);
    BOOST_TEST(nobody_waits(never));
}

BOOST_AUTO_TEST_CASE(a_fiber_may_wait_for_it)
{
    over_processors([] {
        channel<boxed> ch, never;
        asio::steady_timer timer(this_fiber::get_executor(), 1h);
        for (int i = 0; i != 20; ++i) {
            auto sender = spindle::spawn([&] { ch.send(box(i)); });
            std::optional<boxed> got;
            BOOST_TEST(
                make_select(
                    on_receive(never), on_receive(ch, got),
                    on_completion(timer.async_wait(deferred), ignore))
                    .async_wait(use_fiber)
                == 1u);
            BOOST_TEST(**got == i);
            BOOST_TEST(timer.cancel() == 0u);
            sender.join();
        }
        auto stopped = spindle::spawn([&] {
            return error_of([&] {
                make_select(on_receive(never), on_completion(timer.async_wait(deferred), ignore))
                    .async_wait(use_fiber);
            });
        });
        BOOST_REQUIRE(until([&] { return receivers_of(never) == 1; }));
        stopped.request_stop();
        BOOST_TEST((stopped.join() == aborted));
        BOOST_TEST(nobody_waits(never));
        BOOST_TEST(timer.cancel() == 0u);
    });
}

// --- on_completion ------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(an_operation_that_wins_gives_its_results)
{
    asio::io_context ioc;
    auto sockets = connected_locally(ioc.get_executor());
    channel<int> never;
    std::array<char, 8> data{};
    error_code read_ec = asio::error::fault, timer_ec = asio::error::fault;
    std::size_t read = 0;
    outcome o, p;
    make_select(
        on_receive(never),
        on_completion(
            sockets.first.async_read_some(asio::buffer(data), deferred),
            [&](error_code ec, std::size_t n) {
                read_ec = ec;
                read = n;
                BOOST_TEST(o.calls == 0);
            }))
        .async_wait(on(ioc.get_executor(), o.handler()));
    asio::write(sockets.second, asio::buffer("abc", 3));
    asio::steady_timer timer(ioc, 100us);
    make_select(
        on_receive(never),
        on_completion(timer.async_wait(deferred), [&](error_code ec) { timer_ec = ec; }))
        .async_wait(on(asio::make_strand(ioc), p.handler()));
    ioc.run();
    BOOST_TEST(o.is(1));
    BOOST_TEST(!read_ec);
    BOOST_TEST(read == 3u);
    BOOST_TEST(p.is(1));
    BOOST_TEST(!timer_ec);
    BOOST_TEST(nobody_waits(never));
}

BOOST_AUTO_TEST_CASE(an_operation_starts_only_where_nothing_is_ready)
{
    asio::io_context ioc;
    channel<int> ready(1), never;
    ready.send(1);
    int started = 0;
    auto const op = [&] { return operation_that([&](auto) { ++started; }); };
    outcome o[4];
    auto const ex = ioc.get_executor();
    make_select(on_completion(op(), ignore), on_receive(ready)).async_wait(on(ex, o[0].handler()));
    make_select(on_completion(op(), ignore), otherwise()).async_wait(on(ex, o[1].handler()));
    make_select(on_completion(op(), ignore), on_receive(never), on_receive(ready), otherwise())
        .async_wait(on(ex, o[2].handler()));
    make_select(on_timeout(0s), on_completion(op(), ignore)).async_wait(on(ex, o[3].handler()));
    ioc.run();
    BOOST_TEST((o[0].is(1) && o[1].is(1) && o[2].is(3) && o[3].is(0)));
    BOOST_TEST(started == 0);
}

BOOST_AUTO_TEST_CASE(an_operation_that_loses_is_cancelled_and_waited_for)
{
    for (std::size_t n : {1u, 2u}) {
        asio::io_context ioc;
        auto const ex = ioc.get_executor();
        asio::steady_timer timer(ioc, 1h), other(ioc, 1h);
        auto sockets = connected_locally(ex);
        channel<int> ch;
        error_code ec;
        for (int i = 0; i != 10; ++i) {
            tally t;
            outcome o;
            make_select(
                on_completion(timer.async_wait(deferred), [&](error_code) { t.check(false); }),
                on_receive(ch), on_completion(other.async_wait(deferred), ignore),
                on_completion(
                    sockets.first.async_wait(local_socket::wait_read, deferred),
                    [&](error_code) { t.check(false); }))
                .async_wait(on(ex, [&, h = o.handler()](error_code e, std::size_t k) mutable {
                    t.check(timer.cancel() == 0); // nobody is left on it
                    t.check(other.cancel() == 0);
                    h(e, k);
                }));
            ioc.poll();
            BOOST_TEST(o.calls == 0);
            BOOST_TEST(ch.try_send(i, ec));
            run_on(ioc, static_cast<unsigned>(n));
            ioc.restart();
            BOOST_TEST(o.is(1));
            BOOST_TEST(t.bad() == 0u);
            BOOST_TEST(nobody_waits(ch));
        }
    }
}

BOOST_AUTO_TEST_CASE(of_several_operations_one_wins_and_the_others_are_over_before_the_completion)
{
    over_threads([](asio::io_context& ioc, unsigned threads) {
        constexpr auto rounds = scaled(200);
        struct state {
            explicit state(asio::io_context& io) : strand(asio::make_strand(io)) {}
            asio::strand<asio::io_context::executor_type> strand;
            std::vector<asio::steady_timer> timers;
            tally t;
            int functions = 0;
            void next(std::size_t left)
            {
                if (left == 0)
                    return;
                functions = 0;
                timers.clear();
                for (int i = 0; i != 3; ++i)
                    timers.emplace_back(
                        strand, std::chrono::microseconds(20 + (static_cast<int>(left) + i) % 3));
                auto const f = [this](error_code ec) { functions += ec ? 100 : 1; };
                make_select(
                    on_completion(timers[0].async_wait(deferred), f),
                    on_completion(timers[1].async_wait(deferred), f),
                    on_completion(timers[2].async_wait(deferred), f))
                    .async_wait(on(strand, [this, left](error_code ec, std::size_t i) {
                        t.check(!ec && i < 3 && functions == 1);
                        for (auto& timer : timers)
                            t.check(timer.cancel() == 0);
                        next(left - 1);
                    }));
            }
        } s(ioc);
        asio::post(s.strand, [&] { s.next(rounds); });
        run_on(ioc, threads);
        BOOST_TEST(s.t.bad() == 0u);
        BOOST_TEST(s.t.good() == 4 * rounds);
    });
}

BOOST_AUTO_TEST_CASE(a_composed_operation_on_a_strand)
{
    over_threads([](asio::io_context& ioc, unsigned threads) {
        auto const strand = asio::make_strand(ioc);
        auto sockets = connected_locally(asio::any_io_executor(strand));
        channel<int> const ch;
        std::array<char, 64> data{};
        tally t;
        std::optional<std::size_t> read;
        // It loses, in the middle.
        asio::post(strand, [&] {
            make_select(
                on_completion(
                    asio::async_read(sockets.first, asio::buffer(data), deferred),
                    [&](error_code, std::size_t) { t.check(false); }),
                on_receive(ch))
                .async_wait(on(strand, [&](error_code ec, std::size_t i) {
                    t.check(!ec && i == 1);
                    // Nobody reads any more: what comes now is the next one's.
                    asio::write(sockets.second, asio::buffer("xyz", 3));
                    make_select(
                        on_completion(
                            asio::async_read(sockets.first, asio::buffer(data, 3), deferred),
                            [&](error_code e, std::size_t n) {
                                t.check(!e);
                                read = n;
                            }),
                        on_receive(ch))
                        .async_wait(on(strand, [&](error_code e, std::size_t k) {
                            t.check(!e && k == 0 && read == 3u);
                        }));
                }));
        });
        asio::write(sockets.second, asio::buffer("ab", 2));
        std::thread sender([&] {
            (void)eventually([&] { return receivers_of(ch) == 1; });
            ch.send(1);
        });
        run_on(ioc, threads);
        sender.join();
        BOOST_TEST(t.bad() == 0u);
        BOOST_TEST(t.good() == 3u);
    });
}

BOOST_AUTO_TEST_CASE(a_select_is_an_operation_too)
{
    asio::io_context ioc;
    channel<int> const inner, outer;
    outcome o;
    std::size_t inside = 99;
    make_select(
        on_receive(outer),
        on_completion(
            operation_that([&](auto handler) {
                make_select(on_receive(inner), on_timeout(1h))
                    .async_wait(asio::bind_executor(
                        ioc.get_executor(),
                        [&, h = std::move(handler)](error_code ec, std::size_t i) mutable {
                            inside = i;
                            std::move(h)(ec);
                        }));
            }),
            ignore))
        .async_wait(on(ioc.get_executor(), o.handler()));
    error_code ec;
    BOOST_TEST(inner.try_send(1, ec));
    ioc.run();
    BOOST_TEST(inside == 0u);
    BOOST_TEST(o.is(1));
    BOOST_TEST(nobody_waits(outer));
}

// --- cancellation -------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(each_type_of_cancellation_ends_a_select_and_no_case_runs)
{
    for (auto const type : types) {
        asio::io_context ioc;
        asio::cancellation_signal signal;
        channel<boxed> in, out;
        asio::steady_timer timer(ioc, 1h);
        std::stop_source source;
        int ran = 0;
        auto const run = [&](auto&&...) { ++ran; };
        outcome o;
        make_select(
            on_receive(in, run), on_send(out, box(1), run), on_timeout(1h, run),
            on_stop(source.get_token(), run), on_completion(timer.async_wait(deferred), run))
            .async_wait(asio::bind_cancellation_slot(
                signal.slot(), on(ioc.get_executor(), [&, h = o.handler()](auto... all) mutable {
                    BOOST_TEST(timer.cancel() == 0u);
                    BOOST_TEST(!signal.slot().has_handler());
                    h(all...);
                })));
        signal.emit(asio::cancellation_type::none);
        BOOST_TEST(ioc.poll() == 0u);
        signal.emit(type);
        signal.emit(type); // once more
        error_code ec;
        BOOST_TEST(!in.try_send(box(1), ec)); // it is no receiver any more
        ioc.run();
        BOOST_TEST(o.is_aborted());
        BOOST_TEST(ran == 0);
        BOOST_TEST(nobody_waits(in));
        BOOST_TEST(nobody_waits(out));
        signal.emit(type); // nobody is there any more
        source.request_stop();
    }
}

BOOST_AUTO_TEST_CASE(a_cancellation_that_is_too_late_does_nothing)
{
    asio::io_context ioc;
    auto const ex = ioc.get_executor();
    asio::cancellation_signal first, second;
    channel<boxed> ch, room(1);
    std::optional<boxed> got;
    outcome o, at_once;
    error_code ec;
    make_select(on_receive(ch, got), on_timeout(1h))
        .async_wait(asio::bind_cancellation_slot(first.slot(), on(ex, o.handler())));
    make_select(on_send(room, box(2)), on_timeout(1h))
        .async_wait(asio::bind_cancellation_slot(second.slot(), on(ex, at_once.handler())));
    BOOST_TEST(ch.try_send(box(1), ec));
    first.emit(asio::cancellation_type::all);
    second.emit(asio::cancellation_type::all);
    ioc.run();
    BOOST_TEST(o.is(0));
    BOOST_TEST(**got == 1);
    BOOST_TEST(at_once.is(0));
    BOOST_TEST(room.size() == 1u);
}

// --- memory -----------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(the_handlers_allocator_is_used_and_gets_everything_back)
{
    account all;
    {
        asio::io_context ioc;
        asio::steady_timer timer(ioc, 1h);
        channel<boxed> ch, room(1);
        int done = 0;
        auto const handler = asio::bind_allocator(
            counting_allocator<void>(all), on(ioc.get_executor(), [&](error_code, std::size_t) {
                ++done;
                BOOST_TEST(all.bytes == 0); // given back before the handler is called
            }));
        auto const each = [&](auto start) {
            auto const before = all.calls.load();
            start();
            BOOST_TEST(all.bytes > 0);
            ioc.restart();
            ioc.run();
            BOOST_TEST(all.calls > before);
            BOOST_TEST(all.bytes == 0);
        };
        error_code ec;
        asio::cancellation_signal signal;
        each([&] {
            make_select(on_send(room, box(1)), on_receive(ch)).async_wait(copy(handler));
        });
        each([&] {
            make_select(on_receive(ch), on_timeout(1h)).async_wait(copy(handler));
            (void)ch.try_send(box(1), ec);
        });
        each([&] {
            make_select(on_receive(ch), on_completion(timer.async_wait(deferred), ignore))
                .async_wait(asio::bind_cancellation_slot(signal.slot(), handler));
            signal.emit(asio::cancellation_type::partial);
        });
        BOOST_TEST(done == 3);
        make_select(on_receive(ch), on_timeout(1h)).async_wait(copy(handler)); // left pending
        BOOST_TEST(all.bytes > 0);
    }
    BOOST_TEST(all.bytes == 0);
}

// --- ends ---------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(an_io_context_that_goes_takes_what_waits_along)
{
    auto const token = std::make_shared<int>(0);
    channel<counted> in, out;
    std::stop_source source;
    {
        asio::io_context ioc, other;
        auto const strand = asio::make_strand(ioc);
        asio::steady_timer timer(ioc, 1h), elsewhere(other, 1h);
        auto const handler = [token](error_code, std::size_t) { ++*token; };
        auto const f = [token](auto&&...) { ++*token; };
        for (int i = 0; i != 2; ++i) {
            make_select(
                on_receive(in, f), on_send(out, counted(1), f), on_timeout(1h, f),
                on_stop(source.get_token(), f), on_completion(timer.async_wait(deferred), f),
                on_completion(elsewhere.async_wait(deferred), f))
                .async_wait(on(ioc.get_executor(), handler));
            make_select(on_receive(in, f), on_completion(timer.async_wait(deferred), f))
                .async_wait(on(strand, handler));
        }
        BOOST_TEST(receivers_of(in) == 4u);
    }
    BOOST_TEST(token.use_count() == 1);
    BOOST_TEST(*token == 0);
    BOOST_TEST(nobody_waits(in));
    BOOST_TEST(nobody_waits(out));
    BOOST_TEST(counted::live == 0);
    source.request_stop();
}

BOOST_AUTO_TEST_CASE(an_io_context_that_goes_takes_what_was_chosen_along)
{
    auto const token = std::make_shared<int>(0);
    channel<counted> in, other;
    channel<void> out;
    std::stop_source source;
    {
        asio::io_context ioc;
        asio::steady_timer timer(ioc, 1h);
        auto const handler = on(ioc.get_executor(), [token](error_code, std::size_t) { ++*token; });
        auto const f = [token](auto&&...) { ++*token; };
        error_code ec;
        make_select(
            on_receive(other, f), on_receive(in, f), on_send(out, f), on_timeout(1h, f),
            on_stop(source.get_token(), f), on_completion(timer.async_wait(deferred), f))
            .async_wait(copy(handler));
        BOOST_TEST(in.try_send(counted(1), ec)); // chosen; finish() never runs
        asio::cancellation_signal signal;
        make_select(on_receive(other, f), on_timeout(1h, f))
            .async_wait(asio::bind_cancellation_slot(signal.slot(), handler));
        signal.emit(asio::cancellation_type::all);
        // One that waits for a loser to be over.
        channel<int> ch;
        make_select(on_receive(ch, f), on_completion(operation_that([&](auto h) {
                                                         asio::post(ioc, [] {});
                                                         timer.async_wait(std::move(h));
                                                     }), f))
            .async_wait(copy(handler));
        BOOST_TEST(ch.try_send(1, ec));
    }
    BOOST_TEST(token.use_count() == 1);
    BOOST_TEST(*token == 0);
    BOOST_TEST(nobody_waits(in));
    BOOST_TEST(nobody_waits(other));
    BOOST_TEST(nobody_waits(out));
    BOOST_TEST(counted::live == 0);
    source.request_stop();
}

BOOST_AUTO_TEST_CASE(an_io_context_that_goes_takes_a_select_with_its_time_along)
{
    // Its time comes after the context has gone.
    channel<int> never;
    {
        asio::io_context ioc;
        for (int i = 0; i != 10; ++i) {
            make_select(on_receive(never), on_timeout(1ms * (i + 1)))
                .async_wait(on(ioc.get_executor(), ignore));
            if (i % 2) {
                error_code ec;
                (void)never.try_send(1, ec);
            }
        }
    }
    BOOST_TEST(
        make_select(on_receive(never), on_timeout(20ms)).async_wait(asio::use_future).get() == 1u);
    BOOST_TEST(nobody_waits(never));
}

BOOST_AUTO_TEST_CASE(an_io_context_that_goes_takes_its_coroutines_along)
{
    channel<boxed> shared;
    {
        asio::io_context ioc;
        for (int i = 0; i != 3; ++i)
            asio::co_spawn(
                ioc,
                [](channel<boxed> a, channel<boxed> b) -> asio::awaitable<void> {
                    counted const in_frame(1);
                    asio::steady_timer timer(co_await asio::this_coro::executor, 1h);
                    for (;;)
                        co_await make_select(
                            on_receive(a), on_send(b, box(1)), on_timeout(1h),
                            on_completion(timer.async_wait(deferred), ignore))
                            .async_wait(use_awaitable);
                }(i == 0 ? shared : channel<boxed>(), channel<boxed>()),
                asio::detached);
        ioc.poll();
        BOOST_TEST(counted::live == 3);
        BOOST_TEST(receivers_of(shared) == 1u);
        error_code ec;
        BOOST_TEST(shared.try_send(box(1), ec)); // about to go on
    }
    BOOST_TEST(counted::live == 0);
    BOOST_TEST(nobody_waits(shared));
}

BOOST_AUTO_TEST_CASE(a_strand_that_goes_before_its_operations_do)
{
    // An io_context ends its services from the newest to the oldest: here the
    // strand's, then the timer's, then ours.
    auto const token = std::make_shared<int>(0);
    channel<int> a;
    {
        asio::io_context ioc;
        a.async_receive(on(ioc.get_executor(), ignore));
        auto timer = std::make_unique<asio::steady_timer>(ioc, 1h);
        auto const strand = asio::make_strand(ioc);
        auto const initiate
            = [&, t = timer.get()](auto handler) { t->async_wait(std::move(handler)); };
        make_select(on_receive(a), on_timeout(1h), on_completion(operation_that(initiate), ignore))
            .async_wait(on(strand, [token, t = std::move(timer)](error_code, std::size_t) {}));
    }
    BOOST_TEST(token.use_count() == 1);
    BOOST_TEST(nobody_waits(a));
}

BOOST_AUTO_TEST_CASE(a_bound_fiber_whose_context_goes_while_operations_are_in_flight)
{
    for (int i = 0; i != 6; ++i) {
        {
            channel<int> never;
            asio::io_context ioc;
            asio::steady_timer const reactor_first(ioc);
            spindle::spawn(
                asio::make_strand(ioc),
                [&] {
                    asio::steady_timer timer(ioc, 1h);
                    if (i % 3 == 0) {
                        spindle::select(
                            on_receive(never), on_timeout(1h),
                            on_completion(timer.async_wait(deferred), ignore));
                        return;
                    }
                    auto waiting = spindle::start(timer.async_wait(deferred));
                    if (i % 3 == 1)
                        spindle::select(on_receive(never), on_completion(waiting, ignore));
                    else
                        waiting.get();
                },
                asio::detached);
            ioc.poll();
        }
        check_nothing_left();
    }
}

// --- operations that a fiber has started --------------------------------------------------

namespace {

// An operation that completes when the test says so.
struct manual_operation {
    std::function<void(error_code)> complete;

    auto begin()
    {
        return operation_that([this](auto handler) {
            complete = [h = std::make_shared<decltype(handler)>(std::move(handler))](
                           error_code ec) { std::move (*h)(ec); };
        });
    }
};

} // namespace

BOOST_AUTO_TEST_CASE(a_started_operation_completes_as_a_case_and_stays_if_it_loses)
{
    over_processors([] {
        manual_operation by_hand;
        auto op = spindle::start(by_hand.begin());
        channel<int> ch(1);
        asio::thread_pool pool(1);
        std::thread::id ran_on;
        error_code seen = aborted;
        auto const wait = [&] {
            return make_select(
                       on_receive(ch),
                       on_completion(
                           op,
                           [&](error_code ec) {
                               seen = ec;
                               ran_on = std::this_thread::get_id();
                           }),
                       on_timeout(1h))
                .async_wait(asio::bind_executor(pool.get_executor(), use_fiber));
        };
        ch.send(1);
        BOOST_TEST(wait() == 0u);
        BOOST_TEST(!op.ready());
        BOOST_TEST(!op.empty());

        spindle::go([&] { by_hand.complete(asio::error::eof); });
        BOOST_TEST(wait() == 1u);
        BOOST_TEST(seen == asio::error::eof);
        BOOST_TEST(op.empty());
        BOOST_TEST((ran_on == asio::post(pool, asio::use_future([] {
                        return std::this_thread::get_id();
                    })).get()));

        // Over before the select begins; and in the end left to get().
        op.start(by_hand.begin());
        by_hand.complete({});
        BOOST_TEST(wait() == 1u);
        BOOST_TEST(!seen);
        op.start(by_hand.begin());
        ch.send(2);
        BOOST_TEST(wait() == 0u);
        by_hand.complete(asio::error::eof);
        BOOST_TEST(error_of([&] { op.get(); }) == asio::error::eof);
    });
}

BOOST_AUTO_TEST_CASE(who_started_it_may_cancel_it_and_nothing_else_meanwhile)
{
    over_processors([] {
        asio::steady_timer timer(this_fiber::get_executor(), 1h);
        auto op = spindle::start(timer.async_wait(deferred));
        error_code seen;
        spindle::wait_group over(1);
        auto other = make_select(on_completion(op, ignore));
        make_select(on_completion(op, [&](error_code ec) { seen = ec; }))
            .async_wait([&](error_code, std::size_t) { over.done(); });

        auto const lent = make_error_code(boost::system::errc::invalid_argument);
        BOOST_TEST(error_of([&] { op.get(); }) == lent);
        BOOST_TEST(error_of([&] { op.start(timer.async_wait(deferred)); }) == lent);
        BOOST_TEST(error_of([&] { spindle::select(on_completion(op, ignore)); }) == lent);
        BOOST_TEST(error_of([&] {
                       spindle::select(on_completion(op, ignore), otherwise());
                   }) == lent);
        BOOST_TEST(error_of([&] { other.async_wait(use_fiber); }) == lent);
        BOOST_TEST(error_of([&] {
                       make_select(on_completion(op, ignore), on_completion(op, ignore))
                           .async_wait(use_fiber);
                   }) == lent);

        op.cancel();
        over.wait();
        BOOST_TEST(seen == aborted);
        BOOST_TEST(op.empty());
        op.start(timer.async_wait(deferred)); // its own again; and it is dropped in flight
    });
}

BOOST_AUTO_TEST_CASE(the_scope_of_an_operation_or_the_select_it_is_in_is_cancelled)
{
    for (auto const by_scope : {true, false}) {
        over_processors([&] {
            asio::steady_timer timer(this_fiber::get_executor(), 1h);
            asio::cancellation_signal signal;
            error_code seen, told = asio::error::eof;
            spindle::wait_group over(1);
            {
                spindle::cancel_scope scope;
                auto op = spindle::start(timer.async_wait(deferred));
                make_select(on_completion(op, [&](error_code ec) { seen = ec; }))
                    .async_wait(asio::bind_cancellation_slot(
                        signal.slot(), [&](error_code ec, std::size_t) {
                            told = ec;
                            over.done();
                        }));
                if (by_scope)
                    scope.cancel();
                else
                    signal.emit(asio::cancellation_type::all);
                spindle::shielded([&] { over.wait(); });
                BOOST_TEST(op.empty() == by_scope);
            }
            BOOST_TEST(seen == (by_scope ? aborted : error_code()));
            BOOST_TEST(told == (by_scope ? error_code() : aborted));
        });
    }
}

BOOST_AUTO_TEST_CASE(a_context_goes_with_a_select_that_has_an_operation)
{
    channel<int> never;
    {
        asio::io_context ioc;
        asio::steady_timer const reactor_first(ioc);
        spindle::spawn(
            ioc,
            [&] {
                asio::steady_timer timer(ioc, 1h);
                auto op = spindle::start(timer.async_wait(deferred));
                make_select(on_receive(never), on_completion(op, ignore)).async_wait(use_fiber);
            },
            asio::detached);
        ioc.poll();
    }
    BOOST_TEST(nobody_waits(never));
    check_nothing_left();
}

BOOST_AUTO_TEST_CASE(the_context_of_a_losing_operation_goes_first)
{
    asio::io_context mine;
    channel<int> ch;
    outcome o, won;
    std::optional<int> got;
    error_code seen;
    {
        asio::io_context other;
        asio::steady_timer timer(other, 1h);
        auto const later = [&] {
            return operation_that([&](auto handler) { timer.async_wait(std::move(handler)); });
        };
        make_select(on_receive(ch, got), on_completion(later(), ignore))
            .async_wait(on(mine.get_executor(), o.handler()));
        error_code ec;
        BOOST_TEST(ch.try_send(1, ec));
        mine.poll();
        BOOST_TEST(o.calls == 0); // `other` does not run
        make_select(on_receive(ch), on_completion(later(), [&](error_code e) { seen = e; }))
            .async_wait(on(mine.get_executor(), won.handler()));
    }
    BOOST_TEST(o.calls == 0); // not on this thread, and not inside
    mine.run();
    BOOST_TEST(o.is(0));
    BOOST_TEST(got.value_or(0) == 1);
    BOOST_TEST(won.is(1));
    BOOST_TEST((seen == aborted));
    BOOST_TEST(nobody_waits(ch));
}

BOOST_AUTO_TEST_CASE(a_thread_pool_that_goes_takes_its_handlers_along)
{
    auto const token = std::make_shared<int>(0);
    channel<boxed> ch;
    {
        asio::thread_pool pool(2);
        for (int i = 0; i != 3; ++i)
            make_select(on_receive(ch), on_timeout(1h))
                .async_wait(on(pool.get_executor(), [token](error_code, std::size_t) {}));
        pool.stop();
    }
    BOOST_TEST(token.use_count() == 1);
    BOOST_TEST(nobody_waits(ch));
}

// --- exceptions ---------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(what_a_function_throws_leaves_the_executor_and_nothing_is_left)
{
    auto const token = std::make_shared<int>(0);
    channel<int> ch, never;
    std::stop_source source;
    asio::io_context ioc;
    asio::steady_timer timer(ioc, 1h), soon(ioc, 100us);
    auto const fail = [token](auto&&...) { throw std::runtime_error("no"); };
    auto const handler = on(ioc.get_executor(), [token](error_code, std::size_t) { ++*token; });
    error_code ec;
    auto const each = [&](auto start) {
        start();
        ioc.restart();
        BOOST_CHECK_THROW(ioc.run(), std::runtime_error);
        BOOST_TEST(token.use_count() == 3); // `fail`, `handler` and ours
        BOOST_TEST(ioc.poll() == 0u);
        BOOST_TEST(ioc.stopped());
        BOOST_TEST(nobody_waits(ch));
        BOOST_TEST(nobody_waits(never));
        BOOST_TEST(timer.cancel() == 0u);
    };
    each([&] {
        make_select(on_receive(ch, fail), on_receive(never)).async_wait(copy(handler));
        BOOST_TEST(ch.try_send(1, ec));
    });
    each([&] { make_select(on_receive(never), otherwise(fail)).async_wait(copy(handler)); });
    each([&] {
        make_select(on_receive(never), on_timeout(100us, fail)).async_wait(copy(handler));
    });
    each([&] {
        make_select(on_receive(never), on_completion(soon.async_wait(deferred), fail))
            .async_wait(copy(handler));
    });
    each([&] { // also where a loser must be waited for
        make_select(
            on_receive(ch, fail), on_receive(never),
            on_completion(timer.async_wait(deferred), ignore))
            .async_wait(copy(handler));
        BOOST_TEST(ch.try_send(1, ec));
    });
    each([&] {
        make_select(
            on_stop(source.get_token(), fail), on_receive(never),
            on_completion(timer.async_wait(deferred), ignore))
            .async_wait(copy(handler));
        source.request_stop();
    });
    BOOST_TEST(*token == 0);
}

BOOST_AUTO_TEST_CASE(what_the_handler_throws_leaves_the_executor)
{
    asio::io_context ioc;
    asio::steady_timer timer(ioc, 1h);
    channel<int> ch;
    make_select(on_receive(ch), on_completion(timer.async_wait(deferred), ignore))
        .async_wait(on(ioc.get_executor(), [](error_code, std::size_t) {
            throw std::runtime_error("no");
        }));
    error_code ec;
    BOOST_TEST(ch.try_send(1, ec));
    BOOST_CHECK_THROW(ioc.run(), std::runtime_error);
    BOOST_TEST(ioc.poll() == 0u);
    BOOST_TEST(timer.cancel() == 0u);
}

BOOST_AUTO_TEST_CASE(an_initiation_that_throws_leaves_the_call_and_nothing_is_left)
{
    auto const token = std::make_shared<int>(0);
    asio::io_context ioc;
    asio::steady_timer timer(ioc, 1h);
    asio::cancellation_signal signal;
    channel<int> never;
    for (int i = 0; i != 20; ++i) { // they are started in random order
        BOOST_CHECK_THROW(
            make_select(
                on_receive(never), on_completion(timer.async_wait(deferred), ignore),
                on_completion(
                    operation_that([](auto) { throw std::runtime_error("no"); }), ignore),
                on_timeout(1h))
                .async_wait(asio::bind_cancellation_slot(
                    signal.slot(), on(ioc.get_executor(), [token](error_code, std::size_t) {}))),
            std::runtime_error);
        BOOST_TEST(token.use_count() == 1);
        BOOST_TEST(!signal.slot().has_handler());
        BOOST_TEST(nobody_waits(never));
        ioc.restart();
        ioc.poll();
        BOOST_TEST(ioc.stopped()); // no work is left
        BOOST_TEST(timer.cancel() == 0u);
    }
}

BOOST_AUTO_TEST_CASE(a_move_that_throws_in_a_peers_hands_begins_the_select_anew)
{
    {
        asio::io_context ioc;
        asio::steady_timer timer(ioc, 1h);
        auto const ex = ioc.get_executor();
        channel<moody> ch, never;
        error_code ec;
        // It sends; its peer's receive throws.
        outcome sent;
        make_select(
            on_receive(never), on_send(ch, moody(1)),
            on_completion(timer.async_wait(deferred), ignore), on_timeout(1h))
            .async_wait(on(ex, sent.handler()));
        moody::throw_at(1);
        BOOST_CHECK_THROW((void)ch.try_receive(ec), moody::refusal);
        ioc.poll();
        BOOST_TEST(sent.calls == 0);
        BOOST_TEST(senders_of(ch) == 1u); // again
        BOOST_TEST(ch.try_receive(ec)->value == 1); // the value is not lost
        ioc.run();
        BOOST_TEST(sent.is(1));
        BOOST_TEST(timer.cancel() == 0u);
        // It receives; its peer's send throws.
        outcome received;
        std::optional<moody> got;
        make_select(on_receive(never), on_receive(ch, got)).async_wait(on(ex, received.handler()));
        moody v(2);
        moody::throw_at(1);
        BOOST_CHECK_THROW((void)ch.try_send(std::move(v), ec), moody::refusal);
        BOOST_TEST(v.value == 2);
        ioc.restart();
        ioc.poll();
        BOOST_TEST(receivers_of(ch) == 1u);
        BOOST_TEST(ch.try_send(std::move(v), ec));
        ioc.run();
        BOOST_TEST(received.is(1));
        BOOST_TEST(got->value == 2);
        BOOST_TEST(nobody_waits(never));
        // Anew, and then it throws in ours: that leaves the executor.
        auto const token = std::make_shared<int>(0);
        make_select(
            on_receive(never), on_send(ch, moody(3)),
            on_completion(timer.async_wait(deferred), ignore))
            .async_wait(on(ex, [token](error_code, std::size_t) { ++*token; }));
        moody::throw_at(1);
        BOOST_CHECK_THROW((void)ch.try_receive(ec), moody::refusal);
        ch.async_receive(on(ex, ignore)); // finds the select gone for now, and waits
        moody::throw_at(1);
        ioc.restart();
        BOOST_CHECK_THROW(ioc.run(), moody::refusal);
        moody::behave();
        BOOST_TEST(token.use_count() == 1);
        BOOST_TEST(*token == 0);
        BOOST_TEST(receivers_of(ch) == 1u);
        BOOST_TEST(senders_of(ch) == 0u);
        ioc.poll();
        BOOST_TEST(timer.cancel() == 0u);
    }
    moody::behave();
    BOOST_TEST(moody::live == 0);
}

// --- all at once --------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(cancellations_and_stops_that_race_with_the_other_side_lose_nothing)
{
    asio::io_context ioc;
    auto const strand = asio::make_strand(ioc);
    channel<boxed> const ch;
    auto const rounds = static_cast<int>(scaled(2'000));
    std::atomic<int> sent{0};
    std::atomic<bool> over{false};
    std::thread sender([&] {
        while (!over) {
            error_code ec;
            if (ch.try_send(box(1), ec))
                ++sent;
            else
                std::this_thread::yield();
        }
    });
    struct loop {
        decltype(strand) const& s;
        channel<boxed> const& ch;
        asio::cancellation_signal signal;
        std::stop_source source;
        int received = 0, cancelled = 0, stopped = 0, timed = 0, wrong = 0; // of the strand

        void next(int left)
        {
            if (left == 0)
                return;
            source = {};
            auto const before = received;
            make_select(
                on_receive(ch, [this] { ++received; }), on_stop(source.get_token()),
                on_timeout(left % 4 == 3 ? 0us + std::chrono::microseconds(left % 16) : 1h))
                .async_wait(asio::bind_cancellation_slot(
                    signal.slot(),
                    asio::bind_executor(s, [=, this](error_code ec, std::size_t i) {
                        cancelled += ec == aborted;
                        stopped += !ec && i == 1;
                        timed += !ec && i == 2;
                        wrong += (received - before) != (!ec && i == 0);
                        next(left - 1);
                    })));
            if (left % 4 < 2)
                asio::post(s, [this] { signal.emit(asio::cancellation_type::total); });
            else if (left % 4 == 2)
                asio::post(s.get_inner_executor(), [stop = source]() mutable {
                    stop.request_stop();
                });
        }
    };
    loop l{strand, ch, {}, {}};
    asio::post(strand, [&] { l.next(rounds); });
    run_on(ioc, 2);
    over = true;
    sender.join();
    BOOST_TEST(l.wrong == 0);
    BOOST_TEST(l.received + l.cancelled + l.stopped + l.timed == rounds);
    BOOST_TEST(l.received == sent);
    BOOST_TEST(nobody_waits(ch));
}

BOOST_AUTO_TEST_CASE(selects_of_handlers_coroutines_fibers_and_threads_share_channels)
{
    constexpr std::size_t each = scaled(1'000);
    constexpr std::size_t peers = 4;
    {
        on_scheduler s(2);
        asio::io_context ioc;
        channel<std::size_t> const a, b(1);
        channel<void> const quit;
        std::vector<std::atomic<int>> seen(peers * each);
        std::atomic<std::size_t> left{peers * each};
        tally t;
        auto const got = [&](std::size_t v) {
            ++seen[v];
            if (--left == 0)
                quit.close();
        };
        // Handlers, each loop on a strand of its own, with a timer that always loses.
        struct sends {
            asio::strand<asio::io_context::executor_type> strand;
            channel<std::size_t> const &a, &b;
            asio::steady_timer timer;
            tally& t;
            void next(std::size_t v, std::size_t end)
            {
                if (v == end)
                    return;
                make_select(
                    on_send(a, v), on_send(b, v),
                    on_completion(timer.async_wait(deferred), ignore))
                    .async_wait(on(strand, [=, this](error_code ec, std::size_t i) {
                        t.check(!ec && i < 2);
                        next(v + 1, end);
                    }));
            }
        } sender{asio::make_strand(ioc), a, b, asio::steady_timer(ioc, 1h), t};
        asio::post(sender.strand, [&] { sender.next(0, each); });
        struct receives {
            asio::strand<asio::io_context::executor_type> strand;
            channel<std::size_t> const &a, &b;
            channel<void> const& quit;
            asio::steady_timer timer;
            std::function<void(std::size_t)> got;
            void next()
            {
                auto const f = [this](std::optional<std::size_t> v) { got(*v); };
                make_select(
                    on_receive(a, f), on_receive(b, f), on_receive(quit),
                    on_completion(timer.async_wait(deferred), ignore), on_timeout(1h))
                    .async_wait(on(strand, [this](error_code, std::size_t i) {
                        if (i != 2)
                            next();
                    }));
            }
        } receiver{asio::make_strand(ioc), a, b, quit, asio::steady_timer(ioc, 1h), got};
        asio::post(receiver.strand, [&] { receiver.next(); });
        // Coroutines.
        asio::co_spawn(
            ioc,
            [&]() -> asio::awaitable<void> {
                for (std::size_t v = each; v != 2 * each; ++v)
                    co_await make_select(on_send(b, v), on_timeout(1h), on_send(a, v))
                        .async_wait(use_awaitable);
            },
            asio::detached);
        asio::co_spawn(
            ioc,
            [&]() -> asio::awaitable<void> {
                for (;;) {
                    std::optional<std::size_t> v;
                    if (co_await make_select(on_receive(quit), on_receive(a, v), on_receive(b, v))
                            .async_wait(use_awaitable)
                        == 0)
                        break;
                    got(*v);
                }
            },
            asio::detached);
        // Fibers and threads.
        auto const send_all = [&](std::size_t from) {
            for (std::size_t v = from; v != from + each; ++v)
                spindle::select(on_send(a, v), on_send(b, v), on_timeout(1h));
        };
        auto const receive_all = [&] {
            for (;;) {
                std::optional<std::size_t> v;
                if (spindle::select(on_receive(a, v), on_receive(quit), on_receive(b, v)) == 1)
                    break;
                got(*v);
            }
        };
        auto sending = spindle::spawn(*s, [&] { send_all(2 * each); }, asio::use_future);
        auto receiving = spindle::spawn(*s, [&] { receive_all(); }, asio::use_future);
        std::thread sends_too([&] { send_all(3 * each); });
        std::thread receives_too([&] { receive_all(); });
        run_on(ioc, 2);
        sending.get();
        receiving.get();
        sends_too.join();
        receives_too.join();
        BOOST_TEST(std::count(seen.begin(), seen.end(), 1) == static_cast<long>(seen.size()));
        BOOST_TEST(t.bad() == 0u);
        BOOST_TEST(nobody_waits(a));
        BOOST_TEST(nobody_waits(b));
        BOOST_TEST(nobody_waits(quit));
    }
    check_nothing_left();
}

BOOST_AUTO_TEST_SUITE_END()
