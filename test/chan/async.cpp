//
// chan/async.cpp
// ~~~~~~~~~~~~~~
// A channel from handlers, coroutines and futures.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE chan.async
#include <spindle/asio/use_fiber.hpp>
#include <spindle/chan/channel.hpp>
#include <spindle/spawn.hpp>
#include <spindle/this_fiber.hpp>

#include <support/asio_fixture.hpp>
#include <support/channel_fixture.hpp>
#include <support/handlers.hpp>

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
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/test/unit_test.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>
#include <future>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <thread>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

using namespace spindle_test;
using namespace spindle_test::outcomes;
using namespace std::chrono_literals;
namespace this_fiber = spindle::this_fiber;
using asio::use_awaitable;
using spindle::channel;
using spindle::receive_channel;
using spindle::send_channel;
using spindle::use_fiber;

BOOST_AUTO_TEST_SUITE(async)

namespace {

error_code const none{};

// What a handler was told.
struct outcome {
    int calls = 0;
    error_code ec = asio::error::eof;
    std::optional<int> value;

    // void(error_code, std::optional<boxed>)
    auto of_receive()
    {
        return [this](error_code e, std::optional<boxed> v) {
            ++calls;
            ec = e;
            if (v)
                value = **v;
        };
    }

    // void(error_code)
    auto of_send()
    {
        return [this](error_code e) {
            ++calls;
            ec = e;
        };
    }

    bool is(error_code e, std::optional<int> v = {}) const
    {
        return calls == 1 && ec == e && value == v;
    }
};

} // namespace

// --- handlers -------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(what_can_be_done_at_once_completes_later)
{
    asio::io_context ioc;
    channel<boxed> ch(1);
    outcome sent, received, at_end, refused;
    ch.async_send(box(1), on(ioc.get_executor(), sent.of_send()));
    BOOST_TEST(ch.size() == 1u); // it is in; the handler hears of it later
    BOOST_TEST(sent.calls == 0);
    ch.async_receive(on(ioc.get_executor(), received.of_receive()));
    BOOST_TEST(ch.size() == 0u);
    BOOST_TEST(received.calls == 0);
    ch.close();
    ch.async_receive(on(ioc.get_executor(), at_end.of_receive()));
    ch.async_send(box(2), on(ioc.get_executor(), refused.of_send()));
    BOOST_TEST(at_end.calls + refused.calls == 0);
    ioc.run();
    BOOST_TEST(sent.is(none));
    BOOST_TEST(received.is(none, 1));
    BOOST_TEST(at_end.is(none));
    BOOST_TEST(refused.is(closed));
}

BOOST_AUTO_TEST_CASE(no_handler_runs_inside_a_call_not_even_on_its_own_executor)
{
    asio::io_context ioc;
    auto const strand = asio::make_strand(ioc);
    channel<boxed> ch(1), waits, ends;
    tally t;
    bool inside = false; // of the one thread
    asio::cancellation_signal signals[2];
    auto const sent = [&](error_code) { t.check(!inside); };
    auto const received = [&](error_code, std::optional<boxed>) { t.check(!inside); };
    auto const all = [&](auto const& ex, asio::cancellation_signal& signal) {
        inside = true;
        error_code ec;
        ch.async_send(box(1), on(ex, sent));
        ch.async_receive(on(ex, received));
        waits.async_receive(on(ex, received));
        t.check(waits.try_send(box(2), ec));
        waits.async_send(box(3), on(ex, sent));
        t.check(waits.try_receive(ec).has_value());
        waits.async_send(box(4), on(ex, sent));
        waits.async_receive(on(ex, received));
        {
            channel<boxed> closes;
            closes.async_receive(on(ex, received));
            closes.close();
            closes.async_receive(on(ex, received));
            closes.async_send(box(5), on(ex, sent));
        }
        {
            channel<boxed> dropped;
            dropped.async_receive(on(ex, received));
        }
        ends.async_receive(asio::bind_cancellation_slot(signal.slot(), on(ex, received)));
        signal.emit(asio::cancellation_type::terminal);
        inside = false;
    };
    asio::post(ioc, [&] { all(ioc.get_executor(), signals[0]); });
    asio::post(strand, [&] { all(strand, signals[1]); });
    ioc.run();
    BOOST_TEST(t.bad() == 0u);
    BOOST_TEST(t.good() == 2u * (2 + 11));
}

BOOST_AUTO_TEST_CASE(a_handler_runs_on_its_executor)
{
    asio::io_context ioc;
    asio::thread_pool pool(2);
    auto const strand = asio::make_strand(ioc);
    auto const pool_strand = asio::make_strand(pool);
    channel<boxed> ch;
    tally t;
    auto const all = [&](auto const& ex) {
        auto const here = [&t, ex](auto const&...) { t.check(ex.running_in_this_thread()); };
        ch.async_receive(on(ex, [here](error_code, std::optional<boxed>) { here(); }));
        ch.async_send(box(1), on(ex, [here](error_code) { here(); }));
    };
    all(ioc.get_executor());
    all(strand);
    all(pool.get_executor());
    all(pool_strand);
    // By way of a type-erased one.
    asio::any_io_executor const any = strand;
    ch.async_receive(on(any, [&](error_code, std::optional<boxed>) {
        t.check(strand.running_in_this_thread());
    }));
    ch.async_send(box(2), on(any, [&](error_code) {
        t.check(strand.running_in_this_thread());
    }));
    BOOST_TEST(t.good() <= 4u); // on the pool
    ioc.run();
    pool.join();
    BOOST_TEST(t.good() == 10u);
    BOOST_TEST(t.bad() == 0u);
}

BOOST_AUTO_TEST_CASE(a_handler_without_an_executor_runs_on_the_systems)
{
    channel<boxed> ch;
    std::promise<int> received;
    std::promise<error_code> sent;
    auto const here = std::this_thread::get_id();
    std::atomic<bool> elsewhere{false};
    ch.async_receive([&](error_code, std::optional<boxed> v) {
        elsewhere = std::this_thread::get_id() != here;
        received.set_value(**v);
    });
    ch.async_send(box(6), [&](error_code ec) { sent.set_value(ec); });
    BOOST_TEST(received.get_future().get() == 6);
    BOOST_TEST(!sent.get_future().get());
    BOOST_TEST(elsewhere);
}

BOOST_AUTO_TEST_CASE(operations_are_served_in_the_order_in_which_they_came)
{
    asio::io_context ioc;
    auto const ex = ioc.get_executor();
    for (auto const n : {0u, 3u}) {
        channel<boxed> ch(n);
        std::vector<int> order;
        for (int i = 0; i != 5; ++i)
            ch.async_receive(on(ex, [&, i](error_code, std::optional<boxed> v) {
                BOOST_TEST(**v == i);
                order.push_back(i);
            }));
        BOOST_TEST(receivers_of(ch) == 5u);
        error_code ec;
        for (int i = 0; i != 5; ++i)
            BOOST_TEST(ch.try_send(box(i), ec));
        for (int i = 5; i != 10; ++i)
            ch.async_send(box(i), on(ex, [&, i](error_code) { order.push_back(i); }));
        BOOST_TEST(senders_of(ch) == 5u - n);
        for (int i = 5; i != 10; ++i)
            BOOST_TEST(**ch.try_receive(ec) == i);
        ioc.restart();
        ioc.run();
        std::vector<int> const expected{0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
        BOOST_TEST(order == expected, boost::test_tools::per_element());
    }
}

BOOST_AUTO_TEST_CASE(close_completes_all)
{
    asio::io_context ioc;
    auto const ex = ioc.get_executor();
    channel<boxed> in, out(1);
    outcome received[5], sent[5], first;
    for (auto& o : received)
        in.async_receive(on(ex, o.of_receive()));
    out.async_send(box(1), on(ex, first.of_send()));
    for (auto& o : sent)
        out.async_send(box(2), on(ex, o.of_send()));
    in.close();
    out.close();
    BOOST_TEST(receivers_of(in) == 0u);
    BOOST_TEST(senders_of(out) == 0u);
    ioc.run();
    for (auto& o : received)
        BOOST_TEST(o.is(none));
    for (auto& o : sent)
        BOOST_TEST(o.is(closed));
    BOOST_TEST(first.is(none));
    BOOST_TEST(**out.receive() == 1);
    BOOST_TEST(!out.receive());
}

BOOST_AUTO_TEST_CASE(what_waits_is_outstanding_work)
{
    asio::io_context ioc, bystander;
    auto const ex = ioc.get_executor();
    channel<boxed> ch;
    outcome received, sent;
    error_code ec;
    ch.async_receive(on(ex, received.of_receive()));
    BOOST_TEST(ioc.poll() == 0u);
    BOOST_TEST(!ioc.stopped());
    BOOST_TEST(ch.try_send(box(1), ec));
    BOOST_TEST(ioc.poll() == 1u);
    BOOST_TEST(ioc.stopped()); // and no longer
    BOOST_TEST(received.is(none, 1));
    ioc.restart();
    ch.async_send(box(2), on(asio::make_strand(ioc), sent.of_send()));
    BOOST_TEST(ioc.poll() == 0u);
    BOOST_TEST(!ioc.stopped());
    std::thread runs([&] { ioc.run(); });
    BOOST_TEST(**ch.receive() == 2);
    runs.join();
    BOOST_TEST(sent.is(none));
    BOOST_TEST(bystander.poll() == 0u);
}

BOOST_AUTO_TEST_CASE(a_handler_may_start_the_next_operation_and_drop_the_channel)
{
    asio::io_context ioc;
    auto const ex = ioc.get_executor();
    std::vector<int> got;
    struct loop {
        channel<boxed> ch;
        asio::io_context::executor_type ex;
        std::vector<int>* got;

        void next()
        {
            auto const in = ch;
            in.async_receive(
                on(ex, [self = std::move(*this)](error_code, std::optional<boxed> v) mutable {
                    if (!v)
                        return;
                    self.got->push_back(**v);
                    self.next();
                }));
        }
    };
    channel<boxed> ch(2);
    loop{ch, ex, &got}.next();
    std::thread sends([ch] {
        spindle::close_guard const closing(ch);
        for (int i = 0; i != 10; ++i)
            ch.send(box(i));
    });
    ch = channel<boxed>();
    ioc.run();
    sends.join();
    BOOST_TEST(got.size() == 10u);
}

BOOST_AUTO_TEST_CASE(of_void_the_signatures_are_of_bool)
{
    asio::io_context ioc;
    auto const ex = ioc.get_executor();
    channel<void> ch;
    tally t;
    auto const expect = [&](bool there) {
        return on(ex, [&t, there](error_code ec, bool v) { t.check(!ec && v == there); });
    };
    ch.async_receive(expect(true));
    ch.async_send(on(ex, [&](error_code ec) { t.check(!ec); }));
    ch.async_send(on(ex, [&](error_code ec) { t.check(!ec); }));
    ch.async_receive(expect(true));
    ch.async_receive(expect(false));
    ch.close();
    ch.async_receive(expect(false));
    ch.async_send(on(ex, [&](error_code ec) { t.check(ec == closed); }));
    auto const at_end = ch.async_receive(asio::use_future);
    static_assert(std::is_same_v<decltype(at_end), std::future<bool> const>);
    asio::cancellation_signal signal;
    channel<void> other;
    other.async_receive(asio::bind_cancellation_slot(
        signal.slot(), on(ex, [&](error_code ec, bool v) { t.check(ec == aborted && !v); })));
    signal.emit(asio::cancellation_type::total);
    ioc.run();
    BOOST_TEST(t.good() == 8u);
    BOOST_TEST(t.bad() == 0u);
}

// --- moves that throw -------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(one_that_is_refused_and_cancelled_makes_way_for_the_next)
{
    moody::behave();
    {
        asio::io_context ioc;
        channel<moody> ch(1);
        ch.send(moody(0));
        asio::cancellation_signal signal;
        outcome first, second;
        ch.async_send(
            moody(1),
            asio::bind_cancellation_slot(signal.slot(), asio::bind_executor(ioc, first.of_send())));
        ch.async_send(moody(2), asio::bind_executor(ioc, second.of_send()));
        error_code ec;
        moody::throw_at(2); // not the move of what is received, but that of what follows
        BOOST_TEST(ch.try_receive(ec)->value == 0);
        moody::behave();
        ioc.poll();
        BOOST_TEST(senders_of(ch) == 2u);
        signal.emit(asio::cancellation_type::terminal);
        ioc.run_for(20s);
        BOOST_TEST(first.is(aborted));
        BOOST_TEST(second.is(none));
        BOOST_TEST(senders_of(ch) == 0u);
        BOOST_TEST(ch.try_receive(ec)->value == 2);
    }
    BOOST_TEST(moody::live == 0);
}

// --- other tokens -----------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(futures)
{
    channel<boxed> ch;
    std::future<std::optional<boxed>> received = ch.async_receive(asio::use_future);
    std::future<void> sent = ch.async_send(box(1), asio::use_future);
    BOOST_TEST(**received.get() == 1);
    sent.get();
    received = ch.async_receive(asio::use_future);
    ch.close();
    BOOST_TEST(!received.get());
    sent = ch.async_send(box(3), asio::use_future);
    BOOST_TEST((error_of([&] { sent.get(); }) == closed));
}

BOOST_AUTO_TEST_CASE(a_deferred_operation_starts_when_it_is_called)
{
    asio::io_context ioc;
    auto const ex = ioc.get_executor();
    channel<boxed> ch;
    outcome received, sent;
    auto receive = ch.async_receive(asio::deferred);
    auto send = ch.async_send(box(4), asio::deferred);
    BOOST_TEST(receivers_of(ch) == 0u);
    BOOST_TEST(senders_of(ch) == 0u);
    std::move(send)(on(ex, sent.of_send()));
    BOOST_TEST(senders_of(ch) == 1u);
    std::move(receive)(on(ex, received.of_receive()));
    ioc.run();
    BOOST_TEST(received.is(none, 4));
    BOOST_TEST(sent.is(none));
}

BOOST_AUTO_TEST_CASE(a_deferred_operation_keeps_the_channel_and_may_start_more_than_once)
{
    asio::io_context ioc;
    auto const ex = ioc.get_executor();
    channel<int> ch(3);
    auto const receive = ch.async_receive(asio::deferred);
    auto const send = ch.async_send(7, asio::deferred);
    ch = channel<int>();
    int sum = 0;
    for (int i = 0; i != 2; ++i) {
        send(on(ex, [](error_code) {}));
        receive(on(ex, [&](error_code, std::optional<int> v) { sum += *v; }));
    }
    ioc.run();
    BOOST_TEST(sum == 14);
}

BOOST_AUTO_TEST_CASE(coroutines_receive_until_the_channel_is_closed)
{
    over_threads([](asio::io_context& ioc, unsigned threads) {
        constexpr int each = static_cast<int>(scaled(1'000));
        auto const jobs = std::make_shared<channel<boxed>>(3);
        auto const sum = std::make_shared<std::atomic<long>>(0);
        auto const senders = std::make_shared<std::atomic<int>>(3);
        auto const consume = [](channel<boxed> ch, auto total) -> asio::awaitable<void> {
            while (auto v = co_await ch.async_receive(use_awaitable))
                *total += **v;
        };
        auto const produce = [](channel<boxed> ch, auto left) -> asio::awaitable<void> {
            for (int i = 1; i <= each; ++i)
                co_await ch.async_send(box(i), use_awaitable);
            if (--*left == 0)
                ch.close();
        };
        for (int i = 0; i != 2; ++i) {
            asio::co_spawn(ioc, consume(*jobs, sum), asio::detached);
            asio::co_spawn(ioc, produce(*jobs, senders), asio::detached);
        }
        // A fiber on each side, too.
        spindle::spawn(
            ioc,
            [jobs, senders] {
                for (int i = 1; i <= each; ++i)
                    jobs->async_send(box(i), use_fiber);
                if (--*senders == 0)
                    jobs->close();
            },
            asio::detached);
        spindle::spawn(
            ioc,
            [jobs, sum] {
                while (auto const v = jobs->receive())
                    *sum += **v;
            },
            asio::detached);
        run_on(ioc, threads);
        BOOST_TEST(*sum == 3L * each * (each + 1) / 2);
    });
}

BOOST_AUTO_TEST_CASE(coroutines_see_errors)
{
    asio::io_context ioc;
    tally t;
    asio::co_spawn(
        ioc,
        [&]() -> asio::awaitable<void> {
            channel<boxed> ch(1);
            co_await ch.async_send(box(1), use_awaitable);
            auto const [ec, v] = co_await ch.async_receive(asio::as_tuple(use_awaitable));
            t.check(!ec && v && **v == 1);
            ch.close();
            error_code sent;
            co_await ch.async_send(box(2), asio::redirect_error(use_awaitable, sent));
            t.check(sent == closed);
            try {
                co_await ch.async_send(box(2), use_awaitable);
                t.check(false);
            } catch (system_error const& e) {
                t.check(e.code() == closed);
            }
            channel<void> signals(2);
            co_await signals.async_send(use_awaitable);
            t.check(co_await signals.async_receive(use_awaitable));
            signals.close();
            t.check(!co_await signals.async_receive(use_awaitable));
        },
        asio::detached);
    ioc.run();
    BOOST_TEST(t.good() == 5u);
    BOOST_TEST(t.bad() == 0u);
}

BOOST_AUTO_TEST_CASE(a_coroutine_can_be_cancelled_while_it_waits)
{
    for (auto const type : {asio::cancellation_type::terminal, asio::cancellation_type::all}) {
        asio::io_context ioc;
        channel<boxed> ch;
        asio::cancellation_signal signal;
        std::exception_ptr left;
        asio::co_spawn(
            ioc,
            [](channel<boxed> c) -> asio::awaitable<void> {
                (void)co_await c.async_receive(use_awaitable);
            }(ch),
            asio::bind_cancellation_slot(
                signal.slot(), [&](std::exception_ptr e) { left = e; }));
        ioc.poll();
        BOOST_TEST(receivers_of(ch) == 1u);
        signal.emit(type); // co_spawn posts it
        ioc.run();
        BOOST_TEST(receivers_of(ch) == 0u);
        BOOST_TEST((error_in(left) == aborted));
    }
}

BOOST_AUTO_TEST_CASE(a_fiber_may_wait_for_them)
{
    over_processors([] {
        for (auto const n : {0u, 3u}) {
            channel<boxed> ch(n);
            auto other = spindle::spawn([&] {
                for (int i = 0; i != 50; ++i)
                    ch.async_send(box(i), use_fiber);
                ch.close();
                error_code ec;
                ch.async_send(box(0), use_fiber[ec]);
                return ec;
            });
            for (int i = 0; i != 50; ++i) {
                std::optional<boxed> const v = ch.async_receive(use_fiber);
                BOOST_REQUIRE(v);
                BOOST_REQUIRE(**v == i);
            }
            BOOST_TEST(!ch.async_receive(use_fiber));
            BOOST_TEST((other.join() == closed));
            auto const [ec, v] = ch.async_receive(asio::as_tuple(use_fiber));
            BOOST_TEST(!ec);
            BOOST_TEST(!v);
        }
    });
}

BOOST_AUTO_TEST_CASE(a_stop_ends_what_a_fiber_waits_for)
{
    over_processors([] {
        channel<boxed> in, out;
        auto receiver
            = spindle::spawn([&] { return error_of([&] { (void)in.async_receive(use_fiber); }); });
        auto sender
            = spindle::spawn([&] { return error_of([&] { out.async_send(box(1), use_fiber); }); });
        BOOST_REQUIRE(until([&] { return receivers_of(in) == 1 && senders_of(out) == 1; }));
        receiver.request_stop();
        sender.request_stop();
        BOOST_TEST((receiver.join() == aborted));
        BOOST_TEST((sender.join() == aborted));
        BOOST_TEST(receivers_of(in) == 0u);
        BOOST_TEST(senders_of(out) == 0u);
    });
}

// --- memory -----------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(the_handlers_allocator_is_used_and_gets_everything_back)
{
    account all;
    {
        asio::io_context ioc;
        auto const ex = ioc.get_executor();
        channel<boxed> ch(1);
        int done = 0;
        auto const of = [&](auto handler) {
            return asio::bind_allocator(counting_allocator<void>(all), on(ex, std::move(handler)));
        };
        auto const sent = [&](error_code) {
            ++done;
            BOOST_TEST(all.bytes == 0); // given back before the handler is called
        };
        auto const received = [&](error_code, std::optional<boxed>) {
            ++done;
            BOOST_TEST(all.bytes == 0);
        };
        auto const each = [&](auto start) {
            auto const before = all.calls.load();
            start();
            ioc.restart();
            ioc.run();
            BOOST_TEST(all.calls > before);
            BOOST_TEST(all.bytes == 0);
        };
        error_code ec;
        each([&] { ch.async_send(box(1), of(sent)); });
        each([&] {
            ch.async_send(box(2), of(sent));
            BOOST_TEST(all.bytes > 0);
            (void)ch.try_receive(ec);
        });
        each([&] { ch.async_receive(of(received)); });
        each([&] {
            ch.async_receive(of(received));
            BOOST_TEST(all.bytes > 0);
            (void)ch.try_send(box(1), ec);
        });
        asio::cancellation_signal signal;
        each([&] {
            ch.async_receive(asio::bind_cancellation_slot(signal.slot(), of(received)));
            signal.emit(asio::cancellation_type::terminal);
        });
        BOOST_TEST(done == 5);
        ch.async_receive(of(received)); // left pending
        BOOST_TEST(all.bytes > 0);
    }
    BOOST_TEST(all.bytes == 0);
}

namespace {

// A handler that owns the memory that its allocator gives out.
struct owner {
    using allocator_type = counting_allocator<void>;
    using executor_type = asio::io_context::executor_type;

    explicit owner(executor_type e, std::shared_ptr<int> t)
        : ex(e), token(std::move(t)), memory(std::make_unique<account>())
    {
    }

    allocator_type get_allocator() const noexcept { return allocator_type(*memory); }
    executor_type get_executor() const noexcept { return ex; }

    template <class... Args>
    void operator()(error_code, Args const&...)
    {
        BOOST_TEST(memory->bytes == 0);
        BOOST_TEST(memory->calls > 0);
        ++*token;
    }

    executor_type ex;
    std::shared_ptr<int> token;
    std::unique_ptr<account> memory;
};

} // namespace

BOOST_AUTO_TEST_CASE(a_handler_may_own_what_its_allocator_points_into)
{
    auto const token = std::make_shared<int>(0);
    {
        asio::io_context ioc;
        auto const ex = ioc.get_executor();
        channel<boxed> ch(1);
        ch.async_send(box(1), owner(ex, token));
        ch.async_send(box(2), owner(ex, token));
        ch.async_receive(owner(ex, token));
        ch.async_receive(owner(ex, token));
        ch.async_receive(owner(ex, token));
        ch.close();
        ioc.run();
        BOOST_TEST(*token == 5);
        BOOST_TEST(token.use_count() == 1);
        channel<boxed>().async_receive(owner(ex, token));
        channel<boxed> other;
        other.async_receive(owner(ex, token));
    }
    BOOST_TEST(token.use_count() == 1);
    BOOST_TEST(*token == 5);
}

// --- values whose moves throw -------------------------------------------------------------

BOOST_AUTO_TEST_CASE(an_initiation_that_throws_starts_nothing)
{
    moody::behave();
    {
        asio::io_context ioc;
        auto const token = std::make_shared<int>(0);
        // Each of the moves, until there are no more of them.
        int throws = 0;
        for (int n = 1;; ++n) {
            channel<moody> ch(1);
            moody v(1);
            try {
                moody::throw_at(n);
                ch.async_send(
                    std::move(v), on(ioc.get_executor(), [token](error_code) { ++*token; }));
                moody::behave();
                BOOST_TEST(ch.size() == 1u);
                break;
            } catch (moody::refusal) {
                moody::behave();
                ++throws;
                BOOST_TEST(ch.size() == 0u);
                BOOST_TEST(senders_of(ch) == 0u);
                BOOST_TEST(token.use_count() == 1);
                BOOST_TEST(ioc.poll() == 0u);
                BOOST_TEST(ioc.stopped());
                ioc.restart();
            }
            BOOST_REQUIRE(n < 20);
        }
        BOOST_TEST(throws >= 3); // into the call, into the operation, into the channel
        ioc.run();
        BOOST_TEST(*token == 1);

        // A receiver that finds a value: it stays.
        channel<moody> ch(1);
        ch.send(moody(4));
        moody::throw_at(1);
        BOOST_CHECK_THROW(
            ch.async_receive(
                on(ioc.get_executor(), [token](error_code, std::optional<moody>) { ++*token; })),
            moody::refusal);
        BOOST_TEST(ch.size() == 1u);
        BOOST_TEST(token.use_count() == 1);
        BOOST_TEST(ch.receive()->value == 4);
    }
    moody::behave();
    BOOST_TEST(moody::live == 0);
}

BOOST_AUTO_TEST_CASE(a_transfer_that_throws_leaves_the_operation_where_it_was)
{
    {
        asio::io_context ioc;
        auto const ex = ioc.get_executor();
        channel<moody> ch;
        int received = 0;
        error_code ec;
        ch.async_receive(on(ex, [&](error_code, std::optional<moody> v) { received = v->value; }));
        moody v(3);
        moody::throw_at(1);
        BOOST_CHECK_THROW(ch.try_send(std::move(v), ec), moody::refusal);
        BOOST_TEST(receivers_of(ch) == 1u);
        BOOST_TEST(ch.try_send(std::move(v), ec));
        ioc.run();
        BOOST_TEST(received == 3);
        ioc.restart();
        bool sent = false;
        ch.async_send(moody(5), on(ex, [&](error_code) { sent = true; }));
        moody::throw_at(1);
        BOOST_CHECK_THROW((void)ch.try_receive(ec), moody::refusal);
        BOOST_TEST(senders_of(ch) == 1u);
        BOOST_TEST(ch.try_receive(ec)->value == 5);
        ioc.run();
        BOOST_TEST(sent);
    }
    moody::behave();
    BOOST_TEST(moody::live == 0);
}

BOOST_AUTO_TEST_CASE(a_move_that_throws_on_the_way_to_the_handler_leaves_run_and_nothing_behind)
{
    auto const token = std::make_shared<int>(0);
    {
        asio::io_context ioc;
        auto const ex = ioc.get_executor();
        channel<moody> ch;
        error_code ec;
        ch.async_receive(on(ex, [token](error_code, std::optional<moody>) { ++*token; }));
        BOOST_TEST(ch.try_send(moody(3), ec));
        moody::throw_at(1);
        BOOST_CHECK_THROW(ioc.run(), moody::refusal);
        moody::behave();
        BOOST_TEST(token.use_count() == 1);
        BOOST_TEST(ioc.poll() == 0u);
        BOOST_TEST(ioc.stopped()); // it is no work any more
    }
    BOOST_TEST(token.use_count() == 1);
    BOOST_TEST(moody::live == 0);
}

BOOST_AUTO_TEST_CASE(over_aligned_values_lie_where_they_must_in_an_operation_too)
{
    asio::io_context ioc;
    auto const ex = ioc.get_executor();
    channel<wide> ch;
    tally t;
    for (int i = 0; i != 5; ++i) {
        ch.async_receive(
            on(ex, [&](error_code, std::optional<wide> const& v) { t.check(v && v->in_place()); }));
        ch.async_send(wide(i), on(ex, [&](error_code ec) { t.check(!ec); }));
        ch.async_send(wide(i), on(ex, [&](error_code ec) { t.check(!ec); }));
        ch.async_receive(
            on(ex, [&](error_code, std::optional<wide> const& v) { t.check(v && v->in_place()); }));
    }
    ioc.run();
    BOOST_TEST(t.good() == 20u);
    BOOST_TEST(t.bad() == 0u);
}

// --- cancellation -------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(each_type_of_cancellation_ends_an_operation_and_it_leaves_no_trace)
{
    for (auto const type : types) {
        asio::io_context ioc;
        auto const ex = ioc.get_executor();
        asio::cancellation_signal receiving, sending;
        channel<boxed> in, out;
        outcome gone, next, unsent, sent;
        in.async_receive(asio::bind_cancellation_slot(
            receiving.slot(), on(ex, gone.of_receive())));
        in.async_receive(on(ex, next.of_receive()));
        out.async_send(
            box(1), asio::bind_cancellation_slot(sending.slot(), on(ex, unsent.of_send())));
        out.async_send(box(2), on(ex, sent.of_send()));
        receiving.emit(type);
        sending.emit(type);
        receiving.emit(type); // once more
        BOOST_TEST(receivers_of(in) == 1u);
        BOOST_TEST(senders_of(out) == 1u);
        error_code ec;
        BOOST_TEST(in.try_send(box(3), ec));
        BOOST_TEST(**out.try_receive(ec) == 2);
        BOOST_TEST(!out.try_receive(ec));
        ioc.run();
        BOOST_TEST(gone.is(aborted));
        BOOST_TEST(next.is(none, 3));
        BOOST_TEST(unsent.is(aborted));
        BOOST_TEST(sent.is(none));
        receiving.emit(type); // nobody is there any more
    }
}

BOOST_AUTO_TEST_CASE(a_cancellation_that_is_none_or_too_late_does_nothing)
{
    asio::io_context ioc;
    auto const ex = ioc.get_executor();
    asio::cancellation_signal signal;
    channel<boxed> ch(1);
    outcome o, at_once;
    error_code ec;
    ch.async_receive(asio::bind_cancellation_slot(signal.slot(), on(ex, o.of_receive())));
    signal.emit(asio::cancellation_type::none);
    BOOST_TEST(receivers_of(ch) == 1u);
    BOOST_TEST(ch.try_send(box(1), ec));
    signal.emit(asio::cancellation_type::all); // it has its value
    ioc.run();
    BOOST_TEST(o.is(none, 1));
    signal.emit(asio::cancellation_type::all); // it is over
    ioc.restart();
    ch.async_send(
        box(2), asio::bind_cancellation_slot(signal.slot(), on(ex, at_once.of_send())));
    signal.emit(asio::cancellation_type::all);
    ioc.run();
    BOOST_TEST(at_once.is(none));
    BOOST_TEST(ch.size() == 1u);
}

BOOST_AUTO_TEST_CASE(the_slot_is_free_when_the_handler_runs)
{
    asio::io_context ioc;
    asio::cancellation_signal signal;
    auto const slot = signal.slot();
    channel<boxed> ch(1);
    int calls = 0;
    ch.async_send(
        box(1),
        asio::bind_cancellation_slot(slot, on(ioc.get_executor(), [&](error_code) {
            BOOST_TEST(!slot.has_handler());
            ch.async_send(
                box(2),
                asio::bind_cancellation_slot(
                    slot, on(ioc.get_executor(), [&](error_code ec) {
                        BOOST_TEST((ec == aborted));
                        ++calls;
                    })));
            BOOST_TEST(slot.has_handler());
            signal.emit(asio::cancellation_type::partial);
            ++calls;
        })));
    ioc.run();
    BOOST_TEST(calls == 2);
}

BOOST_AUTO_TEST_CASE(cancellations_that_race_with_the_other_side_lose_nothing)
{
    asio::io_context ioc;
    auto const strand = asio::make_strand(ioc);
    channel<boxed> ch;
    auto const rounds = static_cast<int>(scaled(3'000));
    asio::cancellation_signal signal;
    int received = 0, cancelled = 0; // of the strand
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
        asio::cancellation_signal& signal;
        int &received, &cancelled;

        void next(int left)
        {
            if (left == 0)
                return;
            ch.async_receive(asio::bind_cancellation_slot(
                signal.slot(), on(s, [this, left](error_code ec, std::optional<boxed> v) {
                    ++(v ? received : cancelled);
                    if (v.has_value() == (ec == aborted))
                        throw std::logic_error("neither or both");
                    next(left - 1);
                })));
            asio::post(s, [this] { signal.emit(asio::cancellation_type::total); });
        }
    };
    loop l{strand, ch, signal, received, cancelled};
    asio::post(strand, [&] { l.next(rounds); });
    run_on(ioc, 2);
    over = true;
    sender.join();
    BOOST_TEST(received + cancelled == rounds);
    BOOST_TEST(received == sent);
}

// --- ends ---------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(when_the_last_handle_is_dropped_what_waits_is_aborted)
{
    asio::io_context ioc;
    auto const ex = ioc.get_executor();
    outcome received[3], sent[3], at_once;
    {
        channel<boxed> in, out(1);
        for (auto& o : received)
            in.async_receive(on(ex, o.of_receive()));
        out.async_send(box(0), on(ex, at_once.of_send()));
        for (auto& o : sent)
            out.async_send(box(1), on(ex, o.of_send()));
        receive_channel<boxed> const in2 = in;
        send_channel<boxed> const out2 = out;
        in = channel<boxed>();
        out = channel<boxed>();
        BOOST_TEST(ioc.poll() == 1u); // there are handles
        BOOST_TEST(at_once.is(none));
    }
    ioc.run();
    for (auto& o : received)
        BOOST_TEST(o.is(aborted));
    for (auto& o : sent)
        BOOST_TEST(o.is(aborted));
}

BOOST_AUTO_TEST_CASE(a_future_hears_that_the_last_handle_was_dropped)
{
    auto received = channel<boxed>().async_receive(asio::use_future);
    BOOST_TEST((error_of([&] { (void)received.get(); }) == aborted));
    auto sent = channel<boxed>().async_send(box(1), asio::use_future);
    BOOST_TEST((error_of([&] { sent.get(); }) == aborted));
}

BOOST_AUTO_TEST_CASE(a_coroutine_hears_that_the_last_handle_was_dropped)
{
    asio::io_context ioc;
    std::exception_ptr received, sent;
    auto in = std::make_unique<channel<boxed>>();
    auto out = std::make_unique<channel<boxed>>();
    asio::co_spawn(
        ioc,
        [](channel<boxed>& ch) -> asio::awaitable<void> {
            (void)co_await ch.async_receive(use_awaitable);
        }(*in),
        [&](std::exception_ptr e) { received = e; });
    asio::co_spawn(
        ioc,
        [](channel<boxed>& ch) -> asio::awaitable<void> {
            co_await ch.async_send(box(1), use_awaitable);
        }(*out),
        [&](std::exception_ptr e) { sent = e; });
    ioc.poll();
    BOOST_TEST(receivers_of(*in) == 1u);
    BOOST_TEST(senders_of(*out) == 1u);
    in.reset();
    out.reset();
    ioc.poll(); // not run(): it would wait for ever if they did not
    BOOST_TEST(ioc.stopped());
    BOOST_TEST((error_in(received) == aborted));
    BOOST_TEST((error_in(sent) == aborted));
}

BOOST_AUTO_TEST_CASE(a_fiber_hears_that_the_last_handle_was_dropped)
{
    over_processors([] {
        auto ch = std::make_unique<channel<boxed>>();
        auto f = spindle::spawn(
            [c = ch.get()] { return error_of([&] { (void)c->async_receive(use_fiber); }); });
        BOOST_REQUIRE(until([&] { return receivers_of(*ch) == 1; }));
        ch.reset();
        BOOST_TEST((f.join() == aborted));
    });
}

BOOST_AUTO_TEST_CASE(a_handler_that_is_the_last_owner_is_no_trouble)
{
    asio::io_context ioc;
    auto const ex = ioc.get_executor();
    int calls = 0;
    {
        channel<boxed> ch(1);
        auto const in = receive_channel<boxed>(ch);
        in.async_receive(on(ex, [ch, &calls](error_code, std::optional<boxed>) { ++calls; }));
        ch.async_send(box(1), on(ex, [ch, &calls](error_code) { ++calls; }));
        ch.async_send(box(2), on(ex, [ch, &calls](error_code) { ++calls; }));
    }
    ioc.run();
    BOOST_TEST(calls == 3);
}

BOOST_AUTO_TEST_CASE(an_io_context_that_goes_takes_its_handlers_along)
{
    auto const token = std::make_shared<int>(0);
    channel<counted> in, out(1), own;
    {
        asio::io_context ioc;
        auto const ex = ioc.get_executor();
        auto const strand = asio::make_strand(ioc);
        auto const received = [token](error_code, std::optional<counted>) { ++*token; };
        auto const sent = [token](error_code) { ++*token; };
        in.async_receive(on(ex, received));
        in.async_receive(on(strand, received));
        in.async_receive(on(asio::any_io_executor(ex), received));
        out.async_send(counted(1), on(ex, sent)); // posted, and never run
        out.async_send(counted(2), on(ex, sent));
        out.async_send(counted(3), on(strand, sent));
        // Those that own the channel which they wait in.
        channel<counted> cycle;
        cycle.async_receive(on(ex, [token, cycle](error_code, std::optional<counted>) {}));
        // A receiver that has its value, and never hears of it.
        channel<counted> served;
        served.async_receive(on(ex, received));
        error_code ec;
        BOOST_TEST(served.try_send(counted(4), ec));
        BOOST_TEST(token.use_count() == 1 + 2 + 8);
    }
    BOOST_TEST(token.use_count() == 1);
    BOOST_TEST(*token == 0);
    BOOST_TEST(receivers_of(in) == 0u);
    BOOST_TEST(senders_of(out) == 0u);
    BOOST_TEST(counted::live == 1); // it lies in `out`
    error_code ec;
    BOOST_TEST(!in.try_send(counted(5), ec));
    BOOST_TEST((ec == asio::error::would_block));
    BOOST_TEST(out.try_receive(ec)->value == 1);
    BOOST_TEST(!out.try_receive(ec));
    BOOST_TEST(counted::live == 0);
}

BOOST_AUTO_TEST_CASE(an_io_context_that_goes_takes_its_coroutines_along)
{
    channel<boxed> shared;
    {
        asio::io_context ioc;
        for (int i = 0; i != 3; ++i) {
            asio::co_spawn(
                ioc,
                [](channel<boxed> ch) -> asio::awaitable<void> { // the frame owns a handle
                    counted const in_frame(1);
                    while (auto v = co_await ch.async_receive(use_awaitable))
                        (void)v;
                }(i == 0 ? shared : channel<boxed>()),
                asio::detached);
            asio::co_spawn(
                ioc,
                [](channel<boxed> ch) -> asio::awaitable<void> {
                    counted const in_frame(1);
                    co_await ch.async_send(box(1), use_awaitable);
                    co_await ch.async_send(box(2), use_awaitable);
                }(channel<boxed>(static_cast<std::size_t>(i / 2))),
                asio::detached);
        }
        ioc.poll();
        BOOST_TEST(counted::live == 6);
        BOOST_TEST(receivers_of(shared) == 1u);
    }
    BOOST_TEST(counted::live == 0);
    BOOST_TEST(receivers_of(shared) == 0u);
}

BOOST_AUTO_TEST_CASE(a_thread_pool_that_goes_takes_its_handlers_along)
{
    auto const token = std::make_shared<int>(0);
    channel<boxed> ch;
    {
        asio::thread_pool pool(2);
        for (int i = 0; i != 3; ++i)
            ch.async_receive(on(pool.get_executor(), [token](error_code, std::optional<boxed>) {
            }));
        pool.stop();
    }
    BOOST_TEST(token.use_count() == 1);
    BOOST_TEST(receivers_of(ch) == 0u);
}

BOOST_AUTO_TEST_CASE(one_io_context_goes_and_the_other_is_served)
{
    channel<boxed> ch;
    asio::io_context stays;
    outcome o;
    auto const token = std::make_shared<int>(0);
    {
        asio::io_context goes;
        ch.async_receive(on(goes.get_executor(), [token](error_code, std::optional<boxed>) {}));
        ch.async_receive(on(stays.get_executor(), o.of_receive()));
    }
    BOOST_TEST(token.use_count() == 1);
    error_code ec;
    BOOST_TEST(ch.try_send(box(1), ec));
    stays.run();
    BOOST_TEST(o.is(none, 1));
}

// --- nil channels -------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(on_a_nil_channel_an_operation_waits_until_it_is_cancelled)
{
    for (auto const type : types) {
        asio::io_context ioc;
        auto const ex = ioc.get_executor();
        asio::cancellation_signal receiving, sending, waiting;
        outcome received, sent;
        bool signalled = false;
        receive_channel<boxed>().async_receive(asio::bind_cancellation_slot(
            receiving.slot(), on(ex, received.of_receive())));
        send_channel<boxed>().async_send(
            box(1), asio::bind_cancellation_slot(sending.slot(), on(ex, sent.of_send())));
        receive_channel<void>().async_receive(asio::bind_cancellation_slot(
            waiting.slot(),
            on(ex, [&](error_code ec, bool v) { signalled = ec == aborted && !v; })));
        BOOST_TEST(ioc.poll() == 0u);
        BOOST_TEST(!ioc.stopped());
        receiving.emit(type);
        sending.emit(type);
        waiting.emit(type);
        ioc.run();
        BOOST_TEST(received.is(aborted));
        BOOST_TEST(sent.is(aborted));
        BOOST_TEST(signalled);
    }
}

BOOST_AUTO_TEST_CASE(an_io_context_takes_what_waits_on_a_nil_channel_along)
{
    auto const token = std::make_shared<int>(0);
    {
        asio::io_context ioc;
        send_channel<counted>().async_send(
            counted(1), on(ioc.get_executor(), [token](error_code) { ++*token; }));
        BOOST_TEST(counted::live == 1);
    }
    BOOST_TEST(token.use_count() == 1);
    BOOST_TEST(*token == 0);
    BOOST_TEST(counted::live == 0);
}

// --- all at once --------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(handlers_coroutines_fibers_and_threads_share_a_channel)
{
    constexpr int each = static_cast<int>(scaled(1'000));
    for (auto const n : {0u, 3u}) {
        {
            on_scheduler s(2);
            asio::io_context ioc;
            auto const strand = asio::make_strand(ioc);
            channel<boxed> ch(n);
            std::atomic<long> sum{0};
            std::atomic<int> senders{4};
            auto const sent_all = [&] {
                if (--senders == 0)
                    ch.close();
            };
            // Coroutines.
            asio::co_spawn(
                ioc,
                [&]() -> asio::awaitable<void> {
                    for (int i = 1; i <= each; ++i)
                        co_await ch.async_send(box(i), use_awaitable);
                    sent_all();
                },
                asio::detached);
            asio::co_spawn(
                ioc,
                [&]() -> asio::awaitable<void> {
                    while (auto v = co_await ch.async_receive(use_awaitable))
                        sum += **v;
                },
                asio::detached);
            // Handlers.
            struct sender {
                channel<boxed>& ch;
                decltype(strand) const& s;
                std::function<void()> done;
                void next(int i)
                {
                    ch.async_send(box(i), on(s, [this, i](error_code) {
                        if (i == each)
                            done();
                        else
                            next(i + 1);
                    }));
                }
            } sends{ch, strand, sent_all};
            sends.next(1);
            struct receiver {
                channel<boxed>& ch;
                decltype(strand) const& s;
                std::atomic<long>& sum;
                void next()
                {
                    ch.async_receive(on(s, [this](error_code, std::optional<boxed> v) {
                        if (!v)
                            return;
                        sum += **v;
                        next();
                    }));
                }
            } receives{ch, strand, sum};
            receives.next();
            // Fibers.
            auto sending = spindle::spawn(
                *s,
                [&] {
                    for (int i = 1; i <= each; ++i)
                        ch.send(box(i));
                    sent_all();
                },
                asio::use_future);
            auto receiving = spindle::spawn(
                *s,
                [&] {
                    for (auto& v : ch)
                        sum += *v;
                },
                asio::use_future);
            // Threads.
            std::thread sends_too([&] {
                for (int i = 1; i <= each; ++i)
                    ch.send(box(i));
                sent_all();
            });
            std::thread receives_too([&] {
                while (auto const v = ch.receive())
                    sum += **v;
            });
            run_on(ioc, 2);
            sending.get();
            receiving.get();
            sends_too.join();
            receives_too.join();
            BOOST_TEST(sum == 4L * each * (each + 1) / 2);
        }
        check_nothing_left();
    }
}

BOOST_AUTO_TEST_SUITE_END()
