//
// stress/channels.cpp
// ~~~~~~~~~~~~~~~~~~~
// Everybody at once on the same channels: fibers that are stopped, plain threads
// and asynchronous operations that are cancelled, by every kind of send, receive
// and select. Each value has a number; at the end each was received exactly once
// or reported as not sent.
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
#include <support/channel_fixture.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <stop_token>
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

using random_engine = std::mt19937_64;

// A value with a number, of which there is one at a time.
struct parcel {
    static constexpr std::size_t none = ~std::size_t{0};

    explicit parcel(std::size_t n) noexcept : number(n) {}
    parcel(parcel&& other) noexcept : number(std::exchange(other.number, none)) {}
    parcel& operator=(parcel&& other) noexcept
    {
        number = std::exchange(other.number, none);
        return *this;
    }

    std::size_t number;
};

// What became of each value.
class account {
public:
    explicit account(std::size_t values) : sent_(values), received_(values) {}

    void sent(std::size_t n) { ++sent_[n]; }
    void received(parcel const& p)
    {
        if (p.number < received_.size())
            ++received_[p.number];
        else
            wrong();
    }
    void check(bool ok)
    {
        if (!ok)
            wrong();
    }
    void wrong() { ++wrong_; }

    // With nobody else at it.
    void settle(bool closed_early) const
    {
        std::size_t lost = 0, twice = 0, unsent = 0, carried = 0;
        for (std::size_t i = 0; i != sent_.size(); ++i) {
            auto const s = sent_[i].load(), r = received_[i].load();
            lost += s == 1 && r == 0;
            twice += s > 1 || r > 1;
            unsent += s == 0 && r != 0;
            carried += s == 1 && r == 1;
        }
        BOOST_TEST(lost == 0u, lost << " values were sent and not received");
        BOOST_TEST(twice == 0u, twice << " values went twice");
        BOOST_TEST(unsent == 0u, unsent << " values were received and reported as not sent");
        BOOST_TEST(wrong_ == 0u);
        BOOST_TEST((closed_early || carried > 0u));
    }

private:
    std::vector<std::atomic<int>> sent_, received_;
    std::atomic<std::size_t> wrong_{0};
};

// A token whose stop is requested soon, whoever takes it.
class alarm_clock {
public:
    explicit alarm_clock(std::uint64_t s)
        : thread_([this, s](std::stop_token over) {
              random_engine random(s);
              while (!over.stop_requested()) {
                  std::this_thread::sleep_for(std::chrono::microseconds(random() % 200));
                  std::stop_source next;
                  {
                      std::lock_guard guard(mutex_);
                      std::swap(source_, next);
                  }
                  next.request_stop();
              }
              std::lock_guard guard(mutex_);
              source_.request_stop();
          })
    {
    }

    std::stop_token token()
    {
        std::lock_guard guard(mutex_);
        return source_.get_token();
    }

private:
    std::mutex mutex_;
    std::stop_source source_;
    std::jthread thread_;
};

struct world {
    world(std::size_t capacity, std::size_t n, std::uint64_t s)
        : channels{channel<parcel>(capacity), channel<parcel>(capacity)}, values(n), clock(s),
          book_(n)
    {
    }

    // A number that nobody has sent, or nothing.
    std::optional<std::size_t> next()
    {
        auto const n = given.fetch_add(1);
        return n < values ? std::optional(n) : std::nullopt;
    }

    account& book() { return book_; }

    channel<parcel> const channels[2];
    std::size_t const values;
    std::atomic<std::size_t> given{0};
    alarm_clock clock;

private:
    account book_;
};

std::chrono::microseconds some_time(random_engine& random)
{
    return std::chrono::microseconds(random() % 100);
}

enum class outcome { sent, not_sent, closed };

outcome outcome_of(spindle::error_code ec, account& a)
{
    if (!ec)
        return outcome::sent;
    if (ec == spindle::errc::channel_closed)
        return outcome::closed;
    a.check(
        ec == asio::error::would_block || ec == asio::error::timed_out || ec == aborted);
    return outcome::not_sent;
}

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
void in_fibers_that_are_stopped(account& a, random_engine& random, Piece piece)
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

using strand = asio::strand<asio::io_context::executor_type>;

// One asynchronous operation at a time, cancelled now and then. Goes once there is
// nothing to do any more.
class async_actor : public std::enable_shared_from_this<async_actor> {
public:
    async_actor(world& w, asio::io_context& ioc, std::uint64_t s)
        : world_(w), strand_(asio::make_strand(ioc)), random_(s)
    {
    }

private:
    template <class Handler>
    auto token(Handler handler)
    {
        return asio::bind_cancellation_slot(
            signal_.slot(), asio::bind_executor(strand_, std::move(handler)));
    }

public:
    void produce()
    {
        if (!held_)
            held_ = world_.next();
        if (!held_)
            return;
        world_.channels[random_() % 2].async_send(
            parcel(*held_), token([self = shared_from_this()](spindle::error_code ec) {
                auto& a = self->world_.book();
                auto const how = outcome_of(ec, a);
                if (how == outcome::sent)
                    a.sent(*self->held_);
                if (how == outcome::closed)
                    return;
                self->held_.reset(); // lost, if it was not sent
                self->produce();
            }));
        maybe_cancel();
    }

    void consume(std::size_t side)
    {
        world_.channels[side].async_receive(token(
            [self = shared_from_this(), side](spindle::error_code ec, std::optional<parcel> v) {
                auto& a = self->world_.book();
                a.check(!ec || (ec == aborted && !v));
                if (v)
                    a.received(*v);
                if (v || ec)
                    self->consume(side);
            }));
        maybe_cancel();
    }

    strand const& executor() const { return strand_; }

private:
    void maybe_cancel()
    {
        if (random_() % 3 == 0)
            asio::post(strand_, [self = shared_from_this()] {
                self->signal_.emit(asio::cancellation_type::total);
            });
    }

    world& world_;
    strand strand_;
    random_engine random_;
    asio::cancellation_signal signal_;
    std::optional<std::size_t> held_;
};

// Producers and consumers of all kinds, until everything was sent, or until
// somebody has closed the channels meanwhile.
void everybody(unsigned processors, std::size_t capacity, bool early, std::uint64_t s)
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
            auto const actor = std::make_shared<async_actor>(w, ioc, seeds());
            asio::post(actor->executor(), [actor, side] { actor->consume(side); });
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

        std::atomic<int> producing{2};
        for (int i = 0; i != 2; ++i) {
            // Its last reference goes with its last operation.
            std::shared_ptr<async_actor> actor(
                new async_actor(w, ioc, seeds()), [&producing](async_actor* p) {
                    delete p;
                    --producing;
                });
            asio::post(actor->executor(), [actor] { actor->produce(); });
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

        if (early) {
            auto const when = seeds() % w.values;
            BOOST_TEST(eventually([&] { return w.given >= when; }));
            for (auto const& ch : w.channels)
                ch.close();
        }
        for (auto& t : senders)
            t.join();
        BOOST_TEST(eventually([&] { return producing == 0; }));
        if (!early)
            for (auto const& ch : w.channels)
                ch.close();
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
    over_shapes([](unsigned processors, std::size_t capacity, std::uint64_t s) {
        everybody(processors, capacity, false, s);
    });
}

BOOST_AUTO_TEST_CASE(also_where_somebody_closes_the_channels_early)
{
    over_shapes([](unsigned processors, std::size_t capacity, std::uint64_t s) {
        everybody(processors, capacity, true, s);
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
