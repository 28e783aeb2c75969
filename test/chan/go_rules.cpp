//
// chan/go_rules.cpp
// ~~~~~~~~~~~~~~~~~
// What Go's own tests of channels and select expect, of ours. Named after them:
// test/chan/*.go, and the tests of runtime/chan_test.go.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE chan.go_rules
#include <spindle/chan/channel.hpp>
#include <spindle/chan/select.hpp>
#include <spindle/go.hpp>
#include <spindle/spawn.hpp>
#include <spindle/sync/wait_group.hpp>
#include <spindle/this_fiber.hpp>

#include <support/asio_fixture.hpp>
#include <support/channel_fixture.hpp>

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <any>
#include <array>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <queue>
#include <string>
#include <utility>
#include <vector>

using namespace spindle_test;
using spindle::channel;
using spindle::close_guard;
using spindle::go;
using spindle::on_receive;
using spindle::on_send;
using spindle::otherwise;
using spindle::receive_channel;
using spindle::select;
using spindle::select_case;
using spindle::send_channel;
using spindle::wait_group;
namespace this_fiber = spindle::this_fiber;

namespace {

// Fibers without an end: stopped when the test has seen enough of them. They may
// start others.
class endless {
public:
    ~endless()
    {
        for (;;) {
            std::vector<spindle::fiber<>> stopped;
            {
                std::lock_guard guard(mutex_);
                stopped.swap(fibers_);
            }
            if (stopped.empty())
                return;
            for (auto& f : stopped)
                f.request_stop();
        }
    }

    template <class Function>
    void start(Function fn)
    {
        auto f = spindle::spawn(std::move(fn));
        std::lock_guard guard(mutex_);
        fibers_.push_back(std::move(f));
    }

private:
    std::mutex mutex_;
    std::vector<spindle::fiber<>> fibers_;
};

void yield_often()
{
    for (int i = 0; i != 20; ++i)
        this_fiber::yield();
}

// Whether f never ends by itself.
template <class Function>
bool blocks(Function f)
{
    std::atomic<bool> ended{false};
    auto fiber = spindle::spawn([&] {
        f();
        ended = true;
    });
    yield_often();
    if (ended)
        return false;
    fiber.request_stop();
    return error_of([&] { fiber.join(); }) == aborted && !ended;
}

} // namespace

// --- test/chan ----------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(doubleselect)
{
    constexpr auto n = scaled(10'000);
    over_processors([] {
        channel<std::size_t> ways[4] = {
            channel<std::size_t>(), channel<std::size_t>(), channel<std::size_t>(),
            channel<std::size_t>()};
        channel<std::size_t> all;
        go([ways] {
            close_guard const c0(ways[0]), c1(ways[1]), c2(ways[2]), c3(ways[3]);
            for (auto const& way : ways) // so that each is ready until it is chosen
                (void)until([&] { return receivers_of(way) == 1; });
            for (std::size_t i = 0; i != n; ++i)
                select(
                    on_send(ways[0], i), on_send(ways[1], i), on_send(ways[2], i),
                    on_send(ways[3], i));
        });
        wait_group forwarders;
        std::array<std::size_t, 4> forwarded{};
        for (std::size_t w = 0; w != 4; ++w)
            forwarders.go([in = ways[w], all, &count = forwarded[w]] {
                for (auto v : in) {
                    all.send(v);
                    ++count;
                }
            });
        go([&forwarders, all] {
            forwarders.wait();
            all.close();
        });
        std::vector<int> seen(n);
        for (auto v : all)
            ++seen.at(v);
        BOOST_TEST(std::count(seen.begin(), seen.end(), 1) == static_cast<std::ptrdiff_t>(n));
        for (auto const count : forwarded)
            BOOST_TEST(count > 0u);
    });
}

BOOST_AUTO_TEST_CASE(fifo)
{
    over_processors([] {
        channel<int> buffered(10);
        for (int i = 0; i != 10; ++i)
            buffered.send(i);
        for (int i = 0; i != 10; ++i)
            BOOST_TEST(buffered.receive().value() == i);

        // A chain in which each receives when the one before it has.
        channel<int> values;
        channel<void> first;
        auto turn = first;
        tally right;
        for (int i = 0; i != 10; ++i) {
            channel<void> next;
            go([&right, values, turn, next, i] {
                turn.receive();
                right.check(values.receive() == i);
                next.send();
            });
            turn = next;
        }
        first.send();
        for (int i = 0; i != 10; ++i)
            values.send(i);
        turn.receive();
        BOOST_TEST(right.good() == 10u);
        BOOST_TEST(right.bad() == 0u);
    });
}

namespace {

template <class T>
void nonblock_of(std::size_t capacity, T const& there, T const& back)
{
    channel<T> ch(capacity);
    channel<bool> strobe;
    std::optional<T> got;
    BOOST_TEST(select(on_receive(ch, got), otherwise()) == 1u);
    BOOST_TEST(!got);

    go([&] { strobe.send(ch.receive() == there); });
    BOOST_TEST(until([&] { return select(on_send(ch, there), otherwise()) == 0; }));
    BOOST_TEST(strobe.receive().value());

    go([&] {
        ch.send(back);
        strobe.send(true);
    });
    BOOST_TEST(until([&] { return select(on_receive(ch, got), otherwise()) == 0; }));
    BOOST_TEST((got == back));
    BOOST_TEST(strobe.receive().value());

    for (std::size_t i = 0; i != capacity; ++i)
        BOOST_TEST(select(on_send(ch, there), otherwise()) == 0u);
    BOOST_TEST(select(on_send(ch, there), otherwise()) == 1u);
}

} // namespace

BOOST_AUTO_TEST_CASE(nonblock)
{
    over_processors([] {
        for (std::size_t capacity : {0u, 1u, 2u}) {
            nonblock_of<std::int32_t>(capacity, 123, 234);
            nonblock_of<std::int64_t>(capacity, 123456, 234567);
            nonblock_of<bool>(capacity, true, true);
            nonblock_of<std::string>(capacity, "hello", "hello again, and long enough to own");
            nonblock_of<std::array<int, 64>>(capacity, {1, 2}, {3, 4});
        }
    });
}

namespace {

// A number of the field of the integers modulo a prime: what a power series needs.
class number {
public:
    static constexpr std::int64_t prime = 1'000'000'007;

    number(std::int64_t v = 0) : v_((v % prime + prime) % prime) {}

    friend number operator+(number a, number b) { return a.v_ + b.v_; }
    friend number operator*(number a, number b) { return a.v_ * b.v_; }
    friend number operator/(number a, number b)
    {
        number inverse = 1;
        for (auto e = prime - 2; e != 0; e /= 2, b = b * b)
            if (e % 2 != 0)
                inverse = inverse * b;
        return a * inverse;
    }
    friend bool operator==(number a, number b) = default;

private:
    std::int64_t v_;
};

// A power series: tells its next coefficient whenever it is asked.
struct series {
    channel<void> ask;
    channel<number> tell;

    number get() const
    {
        ask.send();
        return tell.receive().value();
    }
    void put(number v) const
    {
        ask.receive();
        tell.send(v);
    }
};

class algebra {
public:
    series constant_ones()
    {
        series out;
        world_.start([out] {
            for (;;)
                out.put(1);
        });
        return out;
    }

    series sum(series f, series g)
    {
        series out;
        world_.start([=] {
            for (;;)
                out.put(f.get() + g.get());
        });
        return out;
    }

    series product(series f, series g)
    {
        series out;
        world_.start([=] {
            std::vector<number> fs, gs;
            for (;;) {
                fs.push_back(f.get());
                gs.push_back(g.get());
                number c = 0;
                for (std::size_t i = 0; i != fs.size(); ++i)
                    c = c + fs[i] * gs[fs.size() - 1 - i];
                out.put(c);
            }
        });
        return out;
    }

    // The integral, with that constant, into a series that may be part of f.
    void integral(series f, number constant, series out)
    {
        world_.start([=] {
            out.put(constant);
            for (int n = 1;; ++n)
                out.put(f.get() / n);
        });
    }

    // Two series that are f, each read as fast as it likes.
    std::pair<series, series> split(series f)
    {
        std::pair<series, series> out;
        world_.start([=] {
            // Serves one side from what it has while the other waits for f.
            series const sides[2] = {out.first, out.second};
            std::deque<number> ahead[2]; // what the other side has seen already
            bool waits[2] = {false, false};
            for (bool asked = false;;) {
                auto const ask_of = [&](int side) {
                    return waits[side] ? receive_channel<void>() : sides[side].ask;
                };
                auto const hungry = (waits[0] || waits[1]) && !asked;
                std::optional<number> v;
                auto const ran = select(
                    on_receive(ask_of(0)), on_receive(ask_of(1)),
                    on_send(hungry ? send_channel<void>(f.ask) : send_channel<void>()),
                    on_receive(
                        asked ? receive_channel<number>(f.tell) : receive_channel<number>(), v));
                if (ran == 2)
                    asked = true;
                if (ran < 2)
                    waits[ran] = true;
                if (ran == 3) {
                    asked = false;
                    ahead[0].push_back(*v);
                    ahead[1].push_back(*v);
                }
                for (int side = 0; side != 2; ++side)
                    if (waits[side] && !ahead[side].empty()) {
                        waits[side] = false;
                        sides[side].tell.send(ahead[side].front());
                        ahead[side].pop_front();
                    }
            }
        });
        return out;
    }

    series exponential()
    {
        series e;
        auto [back, out] = split(e);
        integral(back, 1, e);
        return out;
    }

private:
    endless world_;
};

} // namespace

BOOST_AUTO_TEST_CASE(powser1)
{
    over_processors([] {
        algebra a;
        auto const twice = a.sum(a.constant_ones(), a.constant_ones());
        auto const squared = a.product(a.constant_ones(), a.constant_ones());
        for (int n = 0; n != 20; ++n) {
            BOOST_TEST((twice.get() == 2));
            BOOST_TEST((squared.get() == n + 1));
        }
        auto [e, f] = a.split(a.exponential());
        auto const e2 = a.product(f, a.exponential()); // e^x e^x = e^2x
        number factorial = 1, power = 1;
        for (int n = 0; n != 20; ++n) {
            BOOST_TEST((e.get() * factorial == 1));
            BOOST_TEST((e2.get() * factorial == power));
            factorial = factorial * (n + 1);
            power = power * 2;
        }
    });
}

// `select` itself, the file select.go.
BOOST_AUTO_TEST_CASE(select1)
{
    over_processors([] {
        unsigned evaluated = 0, shift = 0;
        auto const value = [&] {
            ++evaluated;
            return 1u << shift;
        };
        auto const send_all = [&](send_channel<unsigned> a, send_channel<unsigned> b) {
            for (int sent = 0;; ++sent, ++shift) {
                switch (select(on_send(a, value()), on_send(b, value()), otherwise())) {
                case 0:
                    a = {};
                    break;
                case 1:
                    b = {};
                    break;
                default:
                    return sent;
                }
            }
        };
        channel<unsigned> a(1), b(1);
        BOOST_TEST(send_all(a, b) == 2);
        auto const first = a.receive().value();
        BOOST_TEST((first | b.receive().value()) == 3u);
        BOOST_TEST(send_all(a, {}) == 1);
        BOOST_TEST(evaluated == 10u);
    });
}

BOOST_AUTO_TEST_CASE(select2)
{
    over_processors([] {
        channel<int> ch, dummy;
        constexpr auto n = scaled(20'000);
        for (int round = 0; round != 2; ++round) {
            go([ch] {
                for (std::size_t i = 0; i != n; ++i)
                    ch.send(1);
            });
            for (std::size_t i = 0; i != n; ++i)
                BOOST_REQUIRE(select(on_receive(ch), on_receive(dummy)) == 0u);
            BOOST_TEST(receivers_of(dummy) == 0u); // nothing was left behind
        }
    });
}

BOOST_AUTO_TEST_CASE(select3)
{
    over_processors([] {
        send_channel<int> const nil_out;
        receive_channel<int> const nil_in;
        channel<int> closed;
        closed.close();

        BOOST_TEST(blocks([&] { nil_out.send(7); }));
        BOOST_TEST(blocks([&] { nil_in.receive(); }));
        BOOST_TEST(select(on_send(nil_out, 7), otherwise()) == 1u);
        BOOST_TEST(select(on_receive(nil_in), otherwise()) == 1u);

        channel<int>(1).send(7);
        for (int i = 0; i != 10; ++i)
            BOOST_TEST(!closed.receive());
        BOOST_TEST((error_of([&] { closed.send(7); }) == spindle::errc::channel_closed));

        BOOST_TEST(blocks([] { channel<int>().receive(); }));
        BOOST_TEST(blocks([] { channel<int>().send(7); }));
        BOOST_TEST(blocks([] {
            channel<int> full(1);
            full.send(7);
            full.send(7);
        }));

        BOOST_TEST(blocks([] { select(); }));
        BOOST_TEST(select(otherwise()) == 0u);
        BOOST_TEST(select(otherwise(), on_receive(nil_in)) == 0u);
        BOOST_TEST(blocks([&] { select(on_send(nil_out, 7)); }));
        BOOST_TEST(blocks([&] { select(on_receive(nil_in)); }));
        BOOST_TEST(blocks([&] { select(on_receive(nil_in), on_send(nil_out, 7)); }));
        BOOST_TEST(blocks([&] {
            channel<int> ch;
            select(on_receive(ch));
        }));
        BOOST_TEST(blocks([&] {
            channel<int> ch;
            select(on_send(ch, 7));
        }));
        BOOST_TEST(blocks([&] {
            channel<int> ch, full(1);
            full.send(1);
            select(on_receive(ch), on_send(full, 7));
        }));

        channel<int> one(1);
        BOOST_TEST(select(on_send(one, 7)) == 0u);
        BOOST_TEST(select(on_receive(one)) == 0u);
        BOOST_TEST(select(on_receive(closed)) == 0u);
        BOOST_TEST(
            (error_of([&] { select(on_send(closed, 7)); }) == spindle::errc::channel_closed));
        BOOST_TEST(
            (error_of([&] { select(on_send(closed, 7), otherwise()); })
             == spindle::errc::channel_closed));
    });
}

BOOST_AUTO_TEST_CASE(select4)
{
    over_processors([] {
        channel<int> full(1), empty;
        full.send(42);
        std::optional<int> untouched = 7, got;
        BOOST_TEST(select(on_receive(empty, untouched), on_receive(full, got)) == 1u);
        BOOST_TEST(untouched.value() == 7);
        BOOST_TEST(got.value() == 42);
    });
}

// Every select of three cases, each ready or not.
BOOST_AUTO_TEST_CASE(select5)
{
    enum kind { receives, receives_nothing, receives_nil, sends, sends_nowhere, sends_nil, kinds };
    over_processors([] {
        for (int shape = 0; shape != kinds * kinds * kinds * 2; ++shape) {
            int const of[3] = {
                shape % kinds, shape / kinds % kinds, shape / (kinds * kinds) % kinds};
            bool const has_default = shape >= kinds * kinds * kinds;
            std::vector<channel<int>> channels;
            std::vector<bool> ready;
            std::optional<int> got[3];
            std::vector<select_case> cases;
            int ran = -1;
            for (int i = 0; i != 3; ++i) {
                channel<int> ch(1);
                if (of[i] == receives || of[i] == sends_nowhere)
                    ch.send(i);
                channels.push_back(ch);
                ready.push_back(of[i] == receives || of[i] == sends);
                receive_channel<int> in(ch);
                send_channel<int> out(ch);
                if (of[i] == receives_nil)
                    in = {};
                if (of[i] == sends_nil)
                    out = {};
                if (of[i] <= receives_nil)
                    cases.emplace_back(on_receive(in, [&, i](std::optional<int> v) {
                        ran = i;
                        got[i] = v;
                    }));
                else
                    cases.emplace_back(on_send(out, 10 + i, [&, i] { ran = i; }));
            }
            bool const any = ready[0] || ready[1] || ready[2];
            if (!any && !has_default)
                continue; // would block
            if (has_default)
                cases.emplace_back(otherwise([&] { ran = 3; }));
            auto const chosen = select(cases);
            BOOST_REQUIRE(static_cast<int>(chosen) == ran);
            BOOST_REQUIRE((any ? chosen < 3 && ready[chosen] : chosen == 3));
            for (std::size_t i = 0; i != 3; ++i) {
                bool const did = i == chosen;
                auto const size = channels[i].size();
                switch (of[i]) {
                case receives:
                    BOOST_REQUIRE(size == (did ? 0u : 1u));
                    BOOST_REQUIRE((did ? got[i] == static_cast<int>(i) : !got[i]));
                    break;
                case sends:
                    BOOST_REQUIRE(size == (did ? 1u : 0u));
                    if (did)
                        BOOST_REQUIRE(channels[i].receive().value() == 10 + static_cast<int>(i));
                    break;
                case sends_nowhere:
                    BOOST_REQUIRE(channels[i].receive().value() == static_cast<int>(i));
                    break;
                default:
                    BOOST_REQUIRE(size == 0u);
                }
            }
        }
    });
}

// A losing case that was the last in its queue leaves the queue as it was.
BOOST_AUTO_TEST_CASE(select6)
{
    over_processors([] {
        channel<bool> c1, c2, c3;
        tally wrong;
        wait_group group;
        group.go([&] { c1.receive(); });
        BOOST_TEST(until([&] { return receivers_of(c1) == 1; }));
        group.go([&] {
            if (select(on_receive(c1), on_receive(c2)) == 0)
                wrong.count();
            else
                c3.send(true);
            c1.receive();
        });
        BOOST_TEST(until([&] { return receivers_of(c1) == 2; }));
        group.go([&] { c2.send(true); });
        c3.receive();
        c1.send(true);
        c1.send(true);
        group.wait();
        BOOST_TEST(wrong.good() == 0u);
    });
}

BOOST_AUTO_TEST_CASE(select7)
{
    over_processors([] {
        std::function<void(channel<int>)> const receivers[] = {
            [](channel<int> c) { c.receive(); },
            [](channel<int> c) { select(on_receive(c)); },
            [](channel<int> c) {
                channel<int> other;
                select(on_receive(c), on_receive(other));
            },
        };
        std::function<void(channel<int>)> const senders[] = {
            [](channel<int> c) { c.send(1); },
            [](channel<int> c) { select(on_send(c, 1)); },
            [](channel<int> c) {
                channel<int> other;
                select(on_send(c, 1), on_send(other, 1));
            },
        };
        for (auto const& receive : receivers)
            for (auto const& send : senders)
                for (int i = 0; i != 20; ++i) {
                    channel<int> c;
                    wait_group group;
                    group.go([&] { receive(c); });
                    if (i % 2 != 0)
                        BOOST_TEST(until([&] { return receivers_of(c) == 1; }));
                    send(c);
                    group.wait();
                }
    });
}

namespace {

std::vector<int> primes_below(int n)
{
    std::vector<int> primes;
    for (int i = 2; i < n; ++i)
        if (std::none_of(primes.begin(), primes.end(), [i](int p) { return i % p == 0; }))
            primes.push_back(i);
    return primes;
}

} // namespace

BOOST_AUTO_TEST_CASE(sieve1)
{
    over_processors([] {
        channel<int> primes;
        endless world;
        world.start([&world, primes] {
            channel<int> in;
            world.start([in] {
                for (int i = 2;; ++i)
                    in.send(i);
            });
            for (;;) {
                auto const prime = in.receive().value();
                primes.send(prime);
                channel<int> out;
                world.start([in, out, prime] {
                    for (int i : in)
                        if (i % prime != 0)
                            out.send(i);
                });
                in = out;
            }
        });
        for (int p : primes_below(300))
            BOOST_TEST(primes.receive().value() == p);
    });
}

// The primes are what the merged multiples of the primes leave out.
BOOST_AUTO_TEST_CASE(sieve2)
{
    over_processors([] {
        channel<int> primes(4), known(4), composites(4);
        endless world;
        world.start([&world, known, composites] {
            using stream = std::pair<int, channel<int>>;
            auto const later = [](stream const& a, stream const& b) { return a.first > b.first; };
            std::priority_queue<stream, std::vector<stream>, decltype(later)> heads(later);
            auto next = known.receive().value();
            for (;;) {
                // A prime matters from its square on.
                while (heads.empty() || next * next <= heads.top().first) {
                    channel<int> multiples(4);
                    world.start([multiples, p = next] {
                        for (int m = p * p;; m += p)
                            multiples.send(m);
                    });
                    heads.emplace(multiples.receive().value(), multiples);
                    next = known.receive().value();
                }
                auto [least, from] = heads.top();
                heads.pop();
                composites.send(least);
                heads.emplace(from.receive().value(), from);
            }
        });
        world.start([primes, known, composites] {
            // The first are needed before any composite is.
            for (int p : {2, 3}) {
                primes.send(p);
                known.send(p);
            }
            auto composite = composites.receive().value();
            std::deque<int> waiting; // known primes that nobody has asked for
            for (int i = 4;; ++i) {
                while (composite < i)
                    composite = composites.receive().value();
                if (composite == i)
                    continue;
                waiting.push_back(i);
                for (bool told = false; !told || waiting.size() > 100;) {
                    send_channel<int> const to_known
                        = waiting.empty() ? send_channel<int>() : send_channel<int>(known);
                    auto const front = waiting.empty() ? 0 : waiting.front();
                    send_channel<int> const to_user = told ? send_channel<int>() : primes;
                    if (select(on_send(to_user, i), on_send(to_known, front)) == 0)
                        told = true;
                    else
                        waiting.pop_front();
                }
                while (!waiting.empty()
                       && select(on_send(known, waiting.front()), otherwise()) == 0)
                    waiting.pop_front();
            }
        });
        for (int p : primes_below(300))
            BOOST_TEST(primes.receive().value() == p);
    });
}

BOOST_AUTO_TEST_CASE(zerosize)
{
    over_processors([] {
        struct empty {};
        auto const round = [](auto ch, auto... value) {
            spindle::error_code ec;
            for (int i = 0; i != 3; ++i) {
                auto const there = ch.try_send(value..., ec);
                BOOST_TEST(there == (ch.capacity() != 0));
                BOOST_TEST((ch.try_receive(ec) ? true : false) == there);
            }
            go([=] { ch.send(value...); });
            BOOST_TEST((ch.receive() ? true : false));
            ch.close();
            BOOST_TEST((ch.receive() ? true : false) == false);
        };
        for (std::size_t capacity : {std::size_t{0}, std::size_t{1}, std::size_t{2}}) {
            round(channel<void>(capacity));
            round(channel<empty>(capacity), empty());
            round(channel<std::array<char, 0>>(capacity), std::array<char, 0>());
        }
        channel<void> large(std::numeric_limits<std::size_t>::max());
        for (int i = 0; i != 1000; ++i)
            large.send();
        BOOST_TEST(large.size() == 1000u);
    });
}

BOOST_AUTO_TEST_CASE(sendstmt)
{
    over_processors([] {
        channel<channel<int>> channels(1);
        channel<int> ch(1);
        channels.send(ch);
        BOOST_TEST(select(on_send(channels.receive().value(), 2), otherwise()) == 0u);
        BOOST_TEST(ch.receive().value() == 2);
    });
}

BOOST_AUTO_TEST_CASE(goroutines)
{
    over_processors([] {
        channel<int> const leftmost;
        auto right = leftmost;
        for (std::size_t i = 0; i != scaled(5'000); ++i) {
            channel<int> next;
            go([left = right, next] { left.send(next.receive().value() + 1); });
            right = next;
        }
        go([right] { right.send(0); });
        BOOST_TEST(leftmost.receive().value() == static_cast<int>(scaled(5'000)));
    });
}

// --- runtime/chan_test.go -----------------------------------------------------------------

BOOST_AUTO_TEST_CASE(Chan)
{
    over_processors([] {
        for (std::size_t const capacity : {0u, 1u, 2u, 3u, 5u, 8u, 64u, 200u})
            BOOST_TEST_CONTEXT("capacity " << capacity)
            {
                auto const n = static_cast<int>(capacity);
                spindle::error_code ec;
                {
                    // Receiving from an empty one waits; trying to does not.
                    channel<int> c(capacity);
                    wait_group group;
                    std::atomic<int> received{0};
                    for (int i = 0; i != 2; ++i)
                        group.go([&] { received += c.receive().has_value(); });
                    BOOST_TEST(until([&] { return receivers_of(c) == 2; }));
                    BOOST_TEST(received == 0);
                    BOOST_TEST(select(on_receive(c), otherwise()) == 1u);
                    BOOST_TEST(!c.try_receive(ec));
                    c.send(0);
                    c.send(0);
                    group.wait();
                    BOOST_TEST(received == 2);
                }
                {
                    // Sending to a full one waits; trying to does not.
                    channel<int> c(capacity);
                    for (int i = 0; i != n; ++i)
                        c.send(i);
                    std::atomic<bool> sent{false};
                    wait_group group;
                    group.go([&] {
                        c.send(n);
                        sent = true;
                    });
                    BOOST_TEST(until([&] { return senders_of(c) == 1; }));
                    BOOST_TEST(!sent);
                    BOOST_TEST(select(on_send(c, 0), otherwise()) == 1u);
                    BOOST_TEST(c.receive().value() == 0);
                    group.wait();
                    for (int i = 1; i <= n; ++i)
                        BOOST_TEST(c.receive().value() == i);
                }
                {
                    // What lies in a closed one is received first.
                    channel<int> c(capacity);
                    for (int i = 0; i != n; ++i)
                        c.send(i);
                    c.close();
                    for (int i = 0; i != n; ++i)
                        BOOST_TEST(c.receive().value() == i);
                    BOOST_TEST(!c.receive());
                    BOOST_TEST(!c.receive());
                }
                {
                    // Closing wakes who receives.
                    channel<int> c(capacity);
                    channel<bool> done;
                    go([=] { done.send(!c.receive()); });
                    BOOST_TEST(until([&] { return receivers_of(c) == 1; }));
                    c.close();
                    BOOST_TEST(done.receive().value());
                }
                {
                    channel<int> c(capacity);
                    for (int round = 0; round != 2; ++round) {
                        go([c] {
                            for (int i = 0; i != 100; ++i)
                                c.send(i);
                        });
                        for (int i = 0; i != 100; ++i)
                            BOOST_REQUIRE(c.receive().value() == i);
                    }
                    constexpr int peers = 4;
                    constexpr auto each = scaled(1000);
                    channel<std::vector<int>> done;
                    for (int p = 0; p != peers; ++p) {
                        go([c] {
                            for (std::size_t i = 0; i != each; ++i)
                                c.send(static_cast<int>(i));
                        });
                        go([c, done] {
                            std::vector<int> seen(each);
                            for (std::size_t i = 0; i != each; ++i)
                                ++seen[static_cast<std::size_t>(c.receive().value())];
                            done.send(std::move(seen));
                        });
                    }
                    std::vector<int> seen(each);
                    for (int p = 0; p != peers; ++p) {
                        auto const part = done.receive().value();
                        std::transform(
                            seen.begin(), seen.end(), part.begin(), seen.begin(), std::plus<>());
                    }
                    BOOST_TEST(
                        std::count(seen.begin(), seen.end(), peers)
                        == static_cast<std::ptrdiff_t>(each));
                }
                {
                    channel<int> c(capacity);
                    BOOST_TEST(c.size() == 0u);
                    BOOST_TEST(c.capacity() == capacity);
                    for (int i = 0; i != n; ++i)
                        c.send(i);
                    BOOST_TEST(c.size() == capacity);
                    BOOST_TEST(c.capacity() == capacity);
                }
            }
    });
}

BOOST_AUTO_TEST_CASE(NonblockRecvRace)
{
    over_processors([] {
        tally ready;
        for (std::size_t i = 0; i != scaled(5'000); ++i) {
            channel<int> c(1);
            c.send(1);
            wait_group group;
            group.go([&] { ready.check(select(on_receive(c), otherwise()) == 0); });
            c.close();
            c.receive();
            group.wait();
        }
        BOOST_TEST(ready.bad() == 0u);
    });
}

namespace {

// A select with `otherwise` looks at one moment: of two channels one is always
// ready, though not the same.
template <class MakeReady>
void nonblock_select_race(std::size_t second_capacity, MakeReady make_ready)
{
    over_processors([=] {
        channel<bool> done(1);
        std::size_t missed = 0;
        for (std::size_t i = 0; i != scaled(20'000); ++i) {
            channel<int> c1(1), c2(second_capacity);
            c1.send(1);
            go([=] { done.send(select(on_receive(c1), on_receive(c2), otherwise()) != 2); });
            make_ready(c2);
            select(on_receive(c1), otherwise());
            missed += !done.receive().value();
        }
        BOOST_TEST(missed == 0u);
    });
}

} // namespace

BOOST_AUTO_TEST_CASE(NonblockSelectRace)
{
    nonblock_select_race(1, [](channel<int> c) { c.send(1); });
}

BOOST_AUTO_TEST_CASE(NonblockSelectRace2)
{
    nonblock_select_race(0, [](channel<int> c) { c.close(); });
}

BOOST_AUTO_TEST_CASE(SelfSelect)
{
    over_processors([] {
        for (std::size_t const capacity : {0u, 10u}) {
            channel<int> c(capacity);
            tally to_others;
            wait_group group;
            for (int p = 0; p != 2; ++p)
                group.go([&, p] {
                    for (std::size_t i = 0; i != scaled(2'000); ++i) {
                        auto const receive = on_receive(c, [&](std::optional<int> v) {
                            to_others.check(capacity != 0 || *v != p);
                        });
                        auto r = receive;
                        if (p == 0 || i % 2 == 0)
                            select(on_send(c, p), r);
                        else
                            select(r, on_send(c, p));
                    }
                });
            group.wait();
            BOOST_TEST(to_others.bad() == 0u);
        }
    });
}

BOOST_AUTO_TEST_CASE(SelectStress)
{
    over_processors([] {
        constexpr auto n = scaled(5'000);
        std::array<channel<int>, 4> const c{
            channel<int>(0), channel<int>(0), channel<int>(2), channel<int>(3)};
        wait_group group;
        for (auto const& ch : c) {
            group.go([&] {
                for (std::size_t i = 0; i != n; ++i)
                    ch.send(0);
            });
            group.go([&] {
                for (std::size_t i = 0; i != n; ++i)
                    ch.receive();
            });
        }
        group.go([&] {
            std::array<send_channel<int>, 4> out{c[0], c[1], c[2], c[3]};
            std::array<std::size_t, 4> count{};
            for (std::size_t i = 0; i != 4 * n; ++i) {
                auto const k = 3
                    - select(on_send(out[3], 0), on_send(out[2], 0), on_send(out[1], 0),
                             on_send(out[0], 0));
                if (++count[k] == n)
                    out[k] = {};
            }
        });
        group.go([&] {
            std::array<receive_channel<int>, 4> in{c[0], c[1], c[2], c[3]};
            std::array<std::size_t, 4> count{};
            for (std::size_t i = 0; i != 4 * n; ++i) {
                auto const k = select(
                    on_receive(in[0]), on_receive(in[1]), on_receive(in[2]), on_receive(in[3]));
                if (++count[k] == n)
                    in[k] = {};
            }
        });
        group.wait();
        for (auto const& ch : c) {
            BOOST_TEST(ch.size() == 0u);
            BOOST_TEST(receivers_of(ch) == 0u);
            BOOST_TEST(senders_of(ch) == 0u);
        }
    });
}

BOOST_AUTO_TEST_CASE(SelectFairness)
{
    over_processors([] {
        constexpr auto trials = scaled(10'000);
        channel<int> c1(trials + 1), c2(trials + 1), c3, c4, out;
        channel<void> done;
        for (std::size_t i = 0; i != trials + 1; ++i) {
            c1.send(1);
            c2.send(2);
        }
        wait_group group;
        group.go([&] {
            for (;;) {
                std::optional<int> v;
                select(on_receive(c3, v), on_receive(c4, v), on_receive(c1, v), on_receive(c2, v));
                if (select(on_send(out, v.value()), on_receive(done)) == 1)
                    return;
            }
        });
        std::array<std::size_t, 3> count{};
        for (std::size_t i = 0; i != trials; ++i)
            ++count.at(static_cast<std::size_t>(out.receive().value()));
        done.close();
        group.wait();
        BOOST_TEST(count[0] == 0u);
        // Seven sigmas of a fair coin.
        auto const n = static_cast<double>(trials);
        BOOST_TEST(std::abs(static_cast<double>(count[1]) - n / 2) < 7 * std::sqrt(n) / 2);
    });
}

BOOST_AUTO_TEST_CASE(ChanSendInterface)
{
    over_processors([] {
        struct thing {};
        auto const one = std::make_shared<thing>();
        channel<std::any> c(1);
        c.send(one);
        BOOST_TEST(select(on_send(c, one), otherwise()) == 1u);
        BOOST_TEST(select(on_send(c, one), on_send(c, thing()), otherwise()) == 2u);
        BOOST_TEST(one.use_count() == 2);
        BOOST_TEST((std::any_cast<std::shared_ptr<thing>>(c.receive().value()) == one));
        BOOST_TEST(select(on_send(c, one), on_send(c, one), otherwise()) < 2u);
        BOOST_TEST(one.use_count() == 2);
    });
}

BOOST_AUTO_TEST_CASE(PseudoRandomSend)
{
    over_processors([] {
        constexpr std::size_t n = 200;
        for (std::size_t const capacity : {std::size_t{0}, n}) {
            channel<int> c(capacity);
            std::vector<int> got(n);
            wait_group group;
            group.go([&] {
                for (auto& v : got) {
                    this_fiber::yield();
                    v = c.receive().value();
                }
            });
            for (std::size_t i = 0; i != n; ++i)
                select(on_send(c, 1), on_send(c, 0));
            group.wait();
            // Which of two cases a receiver takes from the queue is chance, too.
            auto const ones = std::accumulate(got.begin(), got.end(), 0);
            BOOST_TEST(ones > static_cast<int>(n / 10));
            BOOST_TEST(ones < static_cast<int>(n - n / 10));
        }
    });
}

BOOST_AUTO_TEST_CASE(MultiConsumer)
{
    over_processors([] {
        constexpr std::size_t workers = 23, values = scaled(20'000);
        constexpr std::array primes{2, 3, 7, 11, 13, 17, 19, 23, 27, 31};
        channel<int> in(workers * 3), out(workers * 3);
        wait_group group;
        for (std::size_t w = 0; w != workers; ++w)
            group.go([&, w] {
                for (int v : in) {
                    if (primes[w % primes.size()] == v)
                        this_fiber::yield();
                    out.send(v);
                }
            });
        long expected = 0;
        for (std::size_t i = 0; i != values; ++i)
            expected += primes[i % primes.size()];
        go([&] {
            for (std::size_t i = 0; i != values; ++i)
                in.send(primes[i % primes.size()]);
            in.close();
            group.wait();
            out.close();
        });
        std::size_t count = 0;
        long sum = 0;
        for (int v : out) {
            ++count;
            sum += v;
        }
        BOOST_TEST(count == values);
        BOOST_TEST(sum == expected);
    });
}

BOOST_AUTO_TEST_CASE(SelectDuplicateChannel)
{
    over_processors([] {
        channel<int> c, d, e;
        wait_group group;
        group.go([&] {
            select(on_receive(c), on_receive(c), on_receive(d));
            e.send(9);
        });
        BOOST_TEST(until([&] { return receivers_of(c) == 2; }));
        std::atomic<int> got{0};
        group.go([&] { got = c.receive().value(); });
        BOOST_TEST(until([&] { return receivers_of(c) == 3; }));
        BOOST_TEST(until([&] { return receivers_of(d) == 1; }));
        d.send(7); // the first goes on, and leaves c's queue twice
        e.receive();
        BOOST_TEST(receivers_of(c) == 1u);
        c.send(8);
        group.wait();
        BOOST_TEST(got == 8);
    });
}

namespace {

// Calls fn from that deep.
template <class Function>
SPINDLE_NOINLINE void deeper(int depth, Function& fn)
{
    volatile char frame[512];
    frame[0] = 1;
    if (depth == 0)
        fn();
    else
        deeper(depth - 1, fn);
    frame[511] = frame[0];
}

} // namespace

// What a parked select points to stays as it is until its case commits.
BOOST_AUTO_TEST_CASE(SelectStackAdjust)
{
    over_processors([] {
        channel<int*> c, d;
        tally right;
        wait_group group;
        for (bool const twice : {false, true})
            group.go([&, twice] {
                auto receive = [&] {
                    int mine = 42;
                    std::optional<int*> from_c(&mine);
                    receive_channel<int*> c2, d2;
                    if (twice) {
                        c2 = c;
                        d2 = d;
                    }
                    auto const which = select(
                        on_receive(c, from_c), on_receive(c2), on_receive(d), on_receive(d2));
                    right.check(which >= 2);
                    right.check(from_c == &mine && **from_c == 42);
                };
                deeper(8, receive);
            });
        BOOST_TEST(until([&] { return receivers_of(d) == 3; }));
        d.close();
        group.wait();
        BOOST_TEST(right.good() == 4u);
        BOOST_TEST(receivers_of(c) == 0u);
    });
}

// --- runtime/chanbarrier_test.go ----------------------------------------------------------

namespace {

struct response {
    std::shared_ptr<int> value;
    std::unique_ptr<std::string> error;
};

bool request(bool with_select)
{
    channel<response> answers;
    channel<void> done;
    go([=] {
        response r{nullptr, std::make_unique<std::string>("an error, somewhere on the heap")};
        if (with_select)
            select(on_send(answers, std::move(r)), on_receive(done));
        else
            answers.send(std::move(r));
    });
    auto const r = answers.receive();
    this_fiber::yield();
    return r && !r->value && r->error && r->error->size() == 31;
}

void barrier(bool with_select)
{
    over_processors([=] {
        tally right;
        wait_group group;
        for (int i = 0; i != 50; ++i)
            group.go([&] {
                for (std::size_t n = 0; n != scaled(100); ++n) {
                    right.check(request(with_select));
                    this_fiber::yield();
                }
            });
        group.wait();
        BOOST_TEST(right.bad() == 0u);
        BOOST_TEST(right.good() == 50 * scaled(100));
    });
}

} // namespace

BOOST_AUTO_TEST_CASE(ChanSendSelectBarrier) { barrier(true); }
BOOST_AUTO_TEST_CASE(ChanSendBarrier) { barrier(false); }
