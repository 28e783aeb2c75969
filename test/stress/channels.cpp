//
// stress/channels.cpp
// ~~~~~~~~~~~~~~~~~~~
// Everybody at once on the same channels: fibers that are stopped, plain threads,
// handlers and coroutines whose operations are cancelled by every type, by every kind
// of send, receive and select; and several who close them. Each value has a number; at
// the end each was received exactly once or reported as not sent, and each channel was
// closed by one.
//
// SPINDLE_TEST_SEED=n makes everybody decide as in the run that printed n.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE stress.channels
#include <spindle/chan/channel.hpp>
#include <spindle/chan/select.hpp>
#include <spindle/spawn.hpp>
#include <spindle/this_fiber.hpp>

#include <support/asio_fixture.hpp>
#include <support/async_parcels.hpp>
#include <support/channel_fixture.hpp>
#include <support/parcels.hpp>
#include <support/waiting.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/test/unit_test.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

using namespace spindle_test;
using spindle::channel;
using spindle::on_receive;
using spindle::on_send;
using spindle::on_stop;
using spindle::on_timeout;
using spindle::otherwise;
using spindle::receive_channel;
using spindle::select;
using spindle::select_case;
using spindle::send_channel;
namespace this_fiber = spindle::this_fiber;

namespace {

// Sends p, in one of the ways there are.
outcome send_somehow(world& w, parcel& p, random_engine& random)
{
    auto const side = random() % 2;
    auto const& here = w.channels[side];
    auto const& there = w.channels[1 - side];
    auto& a = w.book();
    spindle::error_code ec;
    auto const take = [&a](std::optional<parcel> v) {
        if (v)
            a.received(*v);
    };
    try {
        switch (random() % 11) {
        case 0:
            here.send(std::move(p));
            return outcome::sent;
        case 1:
            here.send(std::move(p), ec);
            if (ec == aborted)
                throw system_error(ec);
            return outcome_of(ec, a);
        case 2:
            a.check(here.try_send(std::move(p), ec) == !ec);
            return outcome_of(ec, a);
        case 3:
            a.check(here.send_for(std::move(p), some_time(random), ec) == !ec);
            if (ec == aborted)
                throw system_error(ec);
            return outcome_of(ec, a);
        case 4:
            // Whichever of the two it is: p is there once.
            select(on_send(here, std::move(p)), on_send(there, std::move(p)));
            return outcome::sent;
        case 5:
            return select(on_send(here, std::move(p)), on_timeout(some_time(random))) == 0
                ? outcome::sent
                : outcome::not_sent;
        case 6:
            return select(
                       on_receive(there, take), on_send(here, std::move(p)),
                       on_timeout(some_time(random)))
                    == 1
                ? outcome::sent
                : outcome::not_sent;
        case 7:
            return select(on_send(here, std::move(p)), on_send(there, std::move(p)), otherwise())
                    < 2
                ? outcome::sent
                : outcome::not_sent;
        case 8:
            return select(on_stop(w.clock.token()), on_send(here, std::move(p))) == 1
                ? outcome::sent
                : outcome::not_sent;
        case 9: {
            auto q = std::make_unique<parcel>(p.number);
            // Both ways at once; it does not receive what it sends itself.
            auto const ran = select(
                on_send(here, std::move(*q)), on_receive(here, take), on_receive(there, take),
                on_stop(w.clock.token()), on_timeout(some_time(random)));
            a.check((q->number == parcel::none) == (ran == 0));
            if (ran == 0)
                p.number = parcel::none;
            return ran == 0 ? outcome::sent : outcome::not_sent;
        }
        default: {
            std::vector<select_case> cases;
            cases.emplace_back(on_send(here, parcel(p.number)));
            for (auto n = random() % 3; n != 0; --n)
                cases.emplace_back(on_receive(there, take));
            cases.emplace_back(on_timeout(some_time(random)));
            if (select(cases) != 0)
                return outcome::not_sent;
            p.number = parcel::none;
            return outcome::sent;
        }
        }
    } catch (system_error const& e) {
        if (e.code() == spindle::errc::channel_closed)
            return outcome::closed;
        a.check(e.code() == aborted && p.number != parcel::none);
        throw;
    }
}

// Sends what there is to send; leaves by its fiber's stop. `held` is what a
// life before this one has not sent.
void produce(world& w, std::optional<std::size_t>& held, random_engine& random)
{
    for (;;) {
        if (!held)
            held = w.next();
        if (!held)
            return;
        parcel p(*held);
        auto const how = send_somehow(w, p, random);
        if (how == outcome::sent) {
            w.book().sent(*held);
            w.book().check(p.number == parcel::none);
        } else {
            w.book().check(p.number == *held);
        }
        if (how == outcome::closed)
            return; // of what it has to send, everything is not sent
        if (how == outcome::sent || random() % 4 == 0)
            held.reset();
    }
}

// Receives until both channels are closed and empty.
void consume(world& w, receive_channel<parcel> (&in)[2], std::size_t mine, random_engine& random)
{
    auto& a = w.book();
    spindle::error_code ec;
    while (in[0] || in[1]) {
        // Somebody stays with each channel.
        auto const side = in[mine] ? mine : 1 - mine;
        std::optional<parcel> got;
        auto const also = [&](std::size_t from) {
            return [&, from](std::optional<parcel> v) {
                if (v)
                    a.received(*v);
                else
                    in[from] = {};
            };
        };
        switch (random() % 8) {
        case 0:
            got = in[side].receive();
            if (!got)
                in[side] = {};
            break;
        case 1:
            got = in[side].try_receive(ec);
            if (ec == spindle::errc::channel_closed)
                in[side] = {};
            break;
        case 2:
            got = in[side].receive_for(some_time(random), ec);
            if (ec == spindle::errc::channel_closed)
                in[side] = {};
            else if (ec == aborted)
                throw system_error(ec);
            a.check(got.has_value() == !ec);
            break;
        case 3:
            select(on_receive(in[0], also(0)), on_receive(in[1], also(1)));
            break;
        case 4:
            select(on_receive(in[0], also(0)), on_receive(in[1], also(1)), otherwise());
            break;
        case 5:
            select(
                on_receive(in[side], also(side)), on_receive(in[side], also(side)),
                on_timeout(some_time(random)), on_timeout(std::chrono::hours(1)));
            break;
        case 6:
            select(
                on_stop(w.clock.token()), on_receive(in[0], also(0)), on_receive(in[1], also(1)));
            break;
        default: {
            std::vector<select_case> cases;
            cases.emplace_back(on_receive(in[1], also(1)));
            cases.emplace_back(on_timeout(some_time(random)));
            cases.emplace_back(on_receive(in[0], also(0)));
            select(cases);
            break;
        }
        }
        if (got)
            a.received(*got);
    }
}

// Runs piece() in fibers, one after another, each of which is stopped some time;
// until one returns.
template <class Piece>
void in_fibers_that_are_stopped(ledger& a, random_engine& random, Piece piece)
{
    for (;;) {
        auto f = spindle::spawn([&] {
            piece();
            return true;
        });
        auto const patience = 1 + random() % 64;
        for (std::size_t i = 0; i != patience; ++i)
            this_fiber::yield();
        if (random() % 2 == 0)
            this_fiber::sleep_for(some_time(random));
        f.request_stop();
        auto const code = error_of([&] { f.join(); });
        if (!code)
            return;
        a.check(code == aborted);
    }
}

// Everybody closes both channels at the same time: plain threads, fibers, a handler and a
// coroutine; and some time a guard, which does not say whether it came first.
class closers {
public:
    closers(world& w, on_scheduler& sched, asio::io_context& ioc, std::uint64_t s)
        : world_(w), guarded_(s % 2 != 0)
    {
        random_engine seeds(s);
        for (int i = 0; i != 2; ++i)
            threads_.emplace_back([this, mine = seeds()] { when_all_are_here(mine); });
        for (int i = 0; i != 2; ++i)
            threads_.emplace_back([this, &sched, mine = seeds()] {
                sched.run([&] { when_all_are_here(mine); });
            });
        threads_.emplace_back([this] { guard_when_all_are_here(); });
        ++here_;
        call_when_all_are_here(ioc, seeds());
        asio::co_spawn(ioc, await_all_being_here(ioc, seeds()), asio::detached);
    }

    // Nobody has closed them before.
    void join()
    {
        for (auto& t : threads_)
            t.join();
        BOOST_TEST(eventually([&] { return gone_ == everybody; }));
        for (auto const& each : closed_) {
            int const n = each;
            BOOST_TEST((n == 1 || (n == 0 && guarded_)), n << " have closed one channel");
        }
    }

private:
    static constexpr int everybody = 7;

    void when_all_are_here(std::uint64_t mine)
    {
        ++here_;
        world_.book().check(until([this] { return here_ == everybody; }));
        close(mine);
    }

    void guard_when_all_are_here()
    {
        ++here_;
        world_.book().check(until([this] { return here_ == everybody; }));
        if (guarded_) {
            spindle::close_guard const first(world_.channels[0]), second(world_.channels[1]);
        }
        ++gone_;
    }

    void call_when_all_are_here(asio::io_context& ioc, std::uint64_t mine)
    {
        asio::post(ioc, [this, &ioc, mine] {
            if (here_ == everybody)
                close(mine);
            else
                call_when_all_are_here(ioc, mine);
        });
    }

    asio::awaitable<void> await_all_being_here(asio::io_context& ioc, std::uint64_t mine)
    {
        ++here_;
        while (here_ != everybody)
            co_await asio::post(ioc, asio::use_awaitable);
        close(mine);
    }

    void close(std::uint64_t mine)
    {
        auto& a = world_.book();
        for (auto const side : {mine % 2, 1 - mine % 2}) {
            auto const& ch = world_.channels[side];
            auto const ec = error_of([&] { ch.close(); });
            a.check(!ec || ec == spindle::errc::channel_closed);
            closed_[side] += !ec;
            // First or not: it is closed for everybody.
            spindle::error_code why;
            a.check(ch.is_closed());
            a.check(!ch.try_send(parcel(parcel::none), why) && why == spindle::errc::channel_closed);
        }
        ++gone_;
    }

    world& world_;
    bool const guarded_;
    std::atomic<int> here_{0}, gone_{0};
    std::array<std::atomic<int>, 2> closed_{};
    std::vector<std::thread> threads_;
};

// Producers and consumers of all kinds, until everything was sent, or until
// somebody has closed the channels meanwhile.
void everybody(
    unsigned processors, std::size_t capacity, bool early, cancellations& cancelled,
    std::uint64_t s)
{
    random_engine seeds(s);
    world w(capacity, scaled(50'000), seeds());
    {
        on_scheduler sched(processors);
        asio::io_context ioc;
        auto guard = asio::make_work_guard(ioc);
        std::vector<std::thread> runners, senders, receivers;
        for (int i = 0; i != 2; ++i)
            runners.emplace_back([&] { ioc.run(); });

        for (std::size_t side = 0; side != 2; ++side) {
            std::make_shared<async_actor>(w, cancelled, ioc, seeds())->consume_by_handlers(side);
            std::make_shared<async_actor>(w, cancelled, ioc, seeds())
                ->consume_by_a_coroutine(side);
        }
        for (std::size_t i = 0; i != 2; ++i)
            receivers.emplace_back([&, i, random = random_engine(seeds())]() mutable {
                receive_channel<parcel> in[2] = {w.channels[0], w.channels[1]};
                consume(w, in, i, random);
            });
        for (std::size_t i = 0; i != 4; ++i)
            receivers.emplace_back([&, i, s1 = seeds(), s2 = seeds()] {
                sched.run([&] {
                    random_engine random(s1), stops(s2);
                    receive_channel<parcel> in[2] = {w.channels[0], w.channels[1]};
                    in_fibers_that_are_stopped(
                        w.book(), stops, [&] { consume(w, in, i % 2, random); });
                });
            });

        std::atomic<int> producing{4};
        for (int i = 0; i != 4; ++i) {
            // Its last reference goes with its last operation.
            std::shared_ptr<async_actor> const actor(
                new async_actor(w, cancelled, ioc, seeds()), [&producing](async_actor* p) {
                    delete p;
                    --producing;
                });
            if (i % 2 == 0)
                actor->produce_by_handlers();
            else
                actor->produce_by_a_coroutine();
        }
        senders.emplace_back([&, random = random_engine(seeds())]() mutable {
            std::optional<std::size_t> held;
            produce(w, held, random);
        });
        for (int i = 0; i != 4; ++i)
            senders.emplace_back([&, s1 = seeds(), s2 = seeds()] {
                sched.run([&] {
                    random_engine random(s1), stops(s2);
                    std::optional<std::size_t> held;
                    in_fibers_that_are_stopped(
                        w.book(), stops, [&] { produce(w, held, random); });
                });
            });

        auto const when = seeds() % w.values;
        auto const how = seeds();
        if (early) {
            BOOST_TEST(eventually([&] { return w.given >= when; }));
            closers(w, sched, ioc, how).join();
        }
        for (auto& t : senders)
            t.join();
        BOOST_TEST(eventually([&] { return producing == 0; }));
        if (!early)
            closers(w, sched, ioc, how).join();
        for (auto& t : receivers)
            t.join();
        guard.reset();
        for (auto& t : runners)
            t.join();
    }
    for (auto const& ch : w.channels) {
        BOOST_TEST(ch.size() == 0u);
        BOOST_TEST(receivers_of(ch) == 0u);
        BOOST_TEST(senders_of(ch) == 0u);
    }
    w.book().settle(early);
}

constexpr std::size_t capacities[] = {0, 1, 3, 64};

template <class Function>
void over_shapes(Function fn)
{
    auto const s = seed();
    BOOST_TEST_MESSAGE("SPINDLE_TEST_SEED=" << s);
    for (auto const processors : processor_counts)
        for (auto const capacity : capacities)
            BOOST_TEST_CONTEXT(
                "SPINDLE_TEST_SEED=" << s << ", " << processors << " processors, capacity "
                                     << capacity)
            fn(processors, capacity, s + processors * 100 + capacity);
}

} // namespace

BOOST_AUTO_TEST_CASE(each_value_is_received_once_or_was_not_sent)
{
    cancellations cancelled;
    over_shapes([&](unsigned processors, std::size_t capacity, std::uint64_t s) {
        everybody(processors, capacity, false, cancelled, s);
    });
    cancelled.settle();
}

BOOST_AUTO_TEST_CASE(also_where_somebody_closes_the_channels_early)
{
    cancellations cancelled;
    over_shapes([&](unsigned processors, std::size_t capacity, std::uint64_t s) {
        everybody(processors, capacity, true, cancelled, s);
    });
}

// One consumer sees what each producer has sent in the order in which it did.
BOOST_AUTO_TEST_CASE(a_single_consumer_sees_each_producers_order)
{
    over_shapes([](unsigned processors, std::size_t capacity, std::uint64_t s) {
        constexpr std::size_t producers = 6, each = scaled(1'000);
        struct item {
            std::size_t producer, number;
        };
        random_engine seeds(s);
        on_scheduler sched(processors);
        channel<item> ch(capacity);
        alarm_clock clock(seeds());
        std::vector<std::size_t> sent(producers);
        auto const produce = [&](std::size_t me, std::uint64_t mine) {
            random_engine random(mine);
            spindle::error_code ec;
            for (std::size_t i = 0; i != each; ++i) {
                item const v{me, i};
                bool done = true;
                switch (random() % 6) {
                case 0:
                    ch.send(v);
                    break;
                case 1:
                    done = ch.try_send(v, ec);
                    break;
                case 2:
                    done = ch.send_for(v, some_time(random), ec);
                    break;
                case 3:
                    done = select(on_timeout(some_time(random)), on_send(ch, v)) == 1;
                    break;
                case 4:
                    done = select(on_stop(clock.token()), on_send(ch, v)) == 1;
                    break;
                default:
                    // Two cases, one value.
                    select(on_send(ch, v), on_send(ch, v));
                    break;
                }
                sent[me] += done;
            }
        };
        std::vector<std::thread> threads;
        for (std::size_t me = 0; me != producers; ++me)
            threads.emplace_back([&, me, mine = seeds()] {
                if (me == 0)
                    produce(me, mine);
                else
                    sched.run([&] { produce(me, mine); });
            });
        std::thread closer([&] {
            for (auto& t : threads)
                t.join();
            ch.close();
        });

        random_engine random(seeds());
        std::vector<std::size_t> next(producers), count(producers);
        std::size_t disorder = 0;
        auto const receive_all = [&] {
            spindle::error_code ec;
            for (bool open = true; open;) {
                std::optional<item> v;
                switch (random() % 4) {
                case 0:
                    v = ch.receive();
                    open = v.has_value();
                    break;
                case 1:
                    v = ch.receive_for(some_time(random), ec);
                    open = ec != spindle::errc::channel_closed;
                    break;
                case 2:
                    if (select(on_receive(ch, v), on_receive(ch, v), on_timeout(some_time(random)))
                        != 2)
                        open = v.has_value();
                    break;
                default:
                    if (select(on_stop(clock.token()), on_receive(ch, v)) == 1)
                        open = v.has_value();
                    break;
                }
                if (v) {
                    disorder += v->number < next[v->producer];
                    next[v->producer] = v->number + 1;
                    ++count[v->producer];
                }
            }
        };
        if (s % 2 == 0)
            receive_all();
        else
            sched.run(receive_all);
        closer.join();
        BOOST_TEST(disorder == 0u);
        for (std::size_t i = 0; i != producers; ++i)
            BOOST_TEST(count[i] == sent[i]);
    });
}
