//
// sync/everybody.cpp
// ~~~~~~~~~~~~~~~~~~
// Each primitive, and a channel, contended for by everybody who may: fibers of two
// schedulers, fibers on a user's io_context that his threads run, plain threads, handlers
// and coroutines. What it protects is plain data, and each of them must get to its end.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE sync.everybody
#include <spindle/chan/channel.hpp>
#include <spindle/scheduler.hpp>
#include <spindle/spawn.hpp>
#include <spindle/sync/barrier.hpp>
#include <spindle/sync/condition_variable.hpp>
#include <spindle/sync/latch.hpp>
#include <spindle/sync/mutex.hpp>
#include <spindle/sync/once.hpp>
#include <spindle/sync/semaphore.hpp>
#include <spindle/sync/shared_mutex.hpp>
#include <spindle/sync/singleflight.hpp>
#include <spindle/sync/wait_group.hpp>
#include <spindle/this_fiber.hpp>

#include <support/asio_fixture.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <future>
#include <iterator>
#include <mutex>
#include <numeric>
#include <optional>
#include <shared_mutex>
#include <thread>
#include <utility>
#include <vector>

using namespace spindle_test;
using namespace std::chrono_literals;
namespace this_fiber = spindle::this_fiber;
using asio::use_awaitable;

namespace {

using strand = asio::strand<asio::io_context::executor_type>;
using continuation = std::function<void()>;

constexpr char const* kinds[] = {
    "a fiber of one scheduler",
    "a fiber of another scheduler",
    "a fiber on the user's io_context",
    "a plain thread",
    "a chain of handlers",
    "a coroutine",
};
constexpr std::size_t of_each = 2;
constexpr std::size_t everybody = of_each * std::size(kinds);

// Somebody's n-th time at it.
struct turn {
    std::size_t who, n;

    bool first_of_its_kind() const { return who < std::size(kinds); }
};

// What each of them does in its turn.
struct deed {
    // In a fiber, or on a plain thread: waits.
    std::function<void(turn)> wait;
    // In a handler: by the async_ form, or by forms that never wait; `then` is called on
    // the strand. Empty: there is none, and a fiber does it, bound to the strand.
    std::function<void(turn, strand const&, continuation then)> call = {};
    // In a coroutine, likewise.
    std::function<asio::awaitable<void>(turn)> await = {};
};

void give_way()
{
    if (this_fiber::is_fiber())
        this_fiber::yield();
    else
        std::this_thread::yield();
}

// In a handler's turn: until f() says that it is done.
void poll(strand const& ex, std::function<bool()> f, continuation then)
{
    asio::post(ex, [ex, f = std::move(f), then = std::move(then)]() mutable {
        if (f())
            then();
        else
            poll(ex, std::move(f), std::move(then));
    });
}

class crowd {
public:
    explicit crowd(std::size_t turns) : turns_(turns), taken_(everybody) {}

    std::size_t turns() const { return turns_; }
    std::size_t turns_of_all() const { return turns_ * everybody; }

    void check(bool ok) { checks_.check(ok); }

    // Everybody takes his turns. Nobody is left behind, and nothing is left over.
    void at(deed const& d)
    {
        {
            spindle::scheduler one({.processors = 2}), other({.processors = 1});
            asio::io_context ioc;
            auto work = std::optional(asio::make_work_guard(ioc));
            std::vector<std::future<void>> fibers;
            std::vector<std::thread> threads, runners;
            auto const ended = [this](std::exception_ptr e) { check(!e); };
            for (std::size_t i = 0, who = 0; i != of_each; ++i) {
                fibers.push_back(spindle::spawn(one, waits(d, who++), asio::use_future));
                fibers.push_back(spindle::spawn(other, waits(d, who++), asio::use_future));
                spindle::spawn(ioc, waits(d, who++), ended);
                threads.emplace_back(waits(d, who++));
                call_next(d, {who++, 0}, asio::make_strand(ioc));
                asio::co_spawn(asio::make_strand(ioc), awaits(d, who++), ended);
            }
            work.reset();
            for (int i = 0; i != 2; ++i)
                runners.emplace_back([&] { ioc.run(); });
            for (auto& f : fibers)
                f.get();
            for (auto* const some : {&threads, &runners})
                for (auto& t : *some)
                    t.join();
        }
        check_nothing_left();
        for (std::size_t who = 0; who != everybody; ++who)
            BOOST_TEST(taken_[who] == turns_, kinds[who % std::size(kinds)]);
        BOOST_TEST(checks_.bad() == 0u);
    }

private:
    std::function<void()> waits(deed const& d, std::size_t who)
    {
        return [this, &d, who] {
            for (std::size_t n = 0; n != turns_; ++n) {
                d.wait({who, n});
                ++taken_[who];
            }
        };
    }

    void call_next(deed const& d, turn t, strand const& ex)
    {
        if (t.n == turns_)
            return;
        auto const then = [this, &d, t, ex] {
            ++taken_[t.who];
            call_next(d, {t.who, t.n + 1}, ex);
        };
        if (d.call)
            d.call(t, ex, then);
        else
            spindle::spawn(
                ex, [&d, t] { d.wait(t); },
                asio::bind_executor(ex, [this, then](std::exception_ptr e) {
                    check(!e);
                    then();
                }));
    }

    asio::awaitable<void> awaits(deed const& d, std::size_t who)
    {
        auto const ex = co_await asio::this_coro::executor;
        for (std::size_t n = 0; n != turns_; ++n) {
            turn const t{who, n};
            if (d.await)
                co_await d.await(t);
            else
                co_await spindle::spawn(ex, [&d, t] { d.wait(t); }, use_awaitable);
            ++taken_[who];
        }
    }

    std::size_t const turns_;
    std::vector<std::atomic<std::size_t>> taken_;
    tally checks_;
};

// Plain data for one at a time.
class guarded {
public:
    explicit guarded(crowd& c) : crowd_(c) {}

    // Where it may, others run meanwhile.
    void section(bool pauses)
    {
        crowd_.check(!std::exchange(inside_, true));
        ++count_;
        if (pauses)
            give_way();
        inside_ = false;
    }

    std::size_t count() const { return count_; }

private:
    crowd& crowd_;
    bool inside_ = false;
    std::size_t count_ = 0;
};

// One at a time; the async_ form gives a lock.
template <class Mutex, class Lock>
void one_at_a_time(Lock lock)
{
    crowd all(scaled(500));
    Mutex m;
    guarded data(all);
    all.at({
        .wait =
            [&](turn t) {
                lock(m, t.n);
                data.section(t.n % 8 == 0);
                m.unlock();
            },
        .call =
            [&](turn, strand const& ex, continuation then) {
                m.async_lock(asio::bind_executor(
                    ex, [&, then = std::move(then)](error_code ec, std::unique_lock<Mutex> held) {
                        all.check(!ec && held.owns_lock());
                        data.section(false);
                        held.unlock();
                        then();
                    }));
            },
        .await = [&](turn) -> asio::awaitable<void> {
            auto const held = co_await m.async_lock(use_awaitable);
            data.section(false);
        },
    });
    BOOST_TEST(data.count() == all.turns_of_all());
}

// As many at a time as there are permits.
template <class Semaphore>
void share_permits(std::ptrdiff_t n)
{
    crowd all(scaled(500));
    Semaphore permits(n);
    std::atomic<std::ptrdiff_t> inside{0}, sections{0};
    guarded data(all); // where there is one permit
    auto const section = [&](bool pauses) {
        all.check(++inside <= n);
        ++sections;
        if (n == 1)
            data.section(pauses);
        else if (pauses)
            give_way();
        --inside;
        permits.release();
    };
    all.at({
        .wait =
            [&](turn t) {
                if (t.n % 2 == 0)
                    permits.acquire();
                else
                    all.check(permits.try_acquire_for(1h));
                section(t.n % 8 == 0);
            },
        .call =
            [&](turn, strand const& ex, continuation then) {
                permits.async_acquire(
                    asio::bind_executor(ex, [&, then = std::move(then)](error_code ec) {
                        all.check(!ec);
                        section(false);
                        then();
                    }));
            },
        .await = [&](turn) -> asio::awaitable<void> {
            co_await permits.async_acquire(use_awaitable);
            section(false);
        },
    });
    BOOST_TEST(static_cast<std::size_t>(sections) == all.turns_of_all());
    for (std::ptrdiff_t i = 0; i != n; ++i)
        BOOST_TEST(permits.try_acquire());
    BOOST_TEST(!permits.try_acquire());
}

// A counter for each turn, that all count down and wait for: then they see what each
// of them has written before.
template <class Counter, class CountDown>
void meet_at_a_counter(CountDown count_down)
{
    crowd all(scaled(300));
    std::deque<Counter> counters;
    std::vector<std::vector<int>> written(all.turns(), std::vector<int>(everybody));
    for (std::size_t n = 0; n != all.turns(); ++n)
        counters.emplace_back(everybody);
    auto const arrive = [&](turn t) {
        written[t.n][t.who] = 1;
        count_down(counters[t.n]);
    };
    auto const look = [&](turn t) {
        auto const& w = written[t.n];
        all.check(std::accumulate(w.begin(), w.end(), std::size_t{0}) == everybody);
    };
    all.at({
        .wait =
            [&](turn t) {
                arrive(t);
                counters[t.n].wait();
                look(t);
            },
        .call =
            [&](turn t, strand const& ex, continuation then) {
                arrive(t);
                counters[t.n].async_wait(
                    asio::bind_executor(ex, [&, t, then = std::move(then)](error_code ec) {
                        all.check(!ec);
                        look(t);
                        then();
                    }));
            },
        .await = [&](turn t) -> asio::awaitable<void> {
            arrive(t);
            co_await counters[t.n].async_wait(use_awaitable);
            look(t);
        },
    });
}

} // namespace

BOOST_AUTO_TEST_CASE(a_mutex)
{
    one_at_a_time<spindle::mutex>([](auto& m, std::size_t) { m.lock(); });
}

BOOST_AUTO_TEST_CASE(a_timed_mutex)
{
    one_at_a_time<spindle::timed_mutex>([](auto& m, std::size_t n) {
        if (n % 3 == 0)
            m.lock();
        else
            while (!m.try_lock_for(n % 3 == 1 ? 1h : std::chrono::nanoseconds(1us)))
                ;
    });
}

BOOST_AUTO_TEST_CASE(a_recursive_mutex)
{
    crowd all(scaled(500));
    spindle::recursive_mutex m;
    guarded data(all);
    all.at({
        .wait =
            [&](turn t) {
                std::lock_guard const outer(m);
                std::lock_guard const inner(m);
                data.section(t.n % 8 == 0);
            },
        .call =
            [&](turn, strand const& ex, continuation then) {
                poll(
                    ex,
                    [&] {
                        std::unique_lock const outer(m, std::try_to_lock);
                        if (!outer)
                            return false;
                        std::unique_lock const inner(m, std::try_to_lock);
                        all.check(inner.owns_lock());
                        data.section(false);
                        return true;
                    },
                    std::move(then));
            },
    });
    BOOST_TEST(data.count() == all.turns_of_all());
}

BOOST_AUTO_TEST_CASE(a_shared_mutex)
{
    crowd all(scaled(500));
    spindle::shared_mutex m;
    std::size_t a = 0, b = 0; // under m
    auto const writes = [](turn t) { return (t.who + t.n) % 4 == 0; };
    auto const write = [&](bool pauses) {
        ++a;
        if (pauses)
            give_way();
        ++b;
    };
    auto const read = [&](bool pauses) {
        auto const before = a;
        if (pauses)
            give_way();
        all.check(a == before && b == before);
    };
    all.at({
        .wait =
            [&](turn t) {
                if (writes(t)) {
                    std::unique_lock const held(m);
                    write(t.n % 8 == 0);
                } else {
                    std::shared_lock const held(m);
                    read(t.n % 2 == 0);
                }
            },
        .call =
            [&](turn t, strand const& ex, continuation then) {
                auto const after = [&, then = std::move(then)](auto use) {
                    return [&, then, use](error_code ec, auto held) {
                        all.check(!ec && held.owns_lock());
                        use();
                        held.unlock();
                        then();
                    };
                };
                if (writes(t))
                    m.async_lock(asio::bind_executor(ex, after([&] { write(false); })));
                else
                    m.async_lock_shared(asio::bind_executor(ex, after([&] { read(false); })));
            },
        .await = [&](turn t) -> asio::awaitable<void> {
            if (writes(t)) {
                auto const held = co_await m.async_lock(use_awaitable);
                write(false);
            } else {
                auto const held = co_await m.async_lock_shared(use_awaitable);
                read(false);
            }
        },
    });
    std::size_t expected = 0;
    for (std::size_t who = 0; who != everybody; ++who)
        for (std::size_t n = 0; n != all.turns(); ++n)
            expected += writes({who, n});
    BOOST_TEST(a == expected);
    BOOST_TEST(b == expected);
}

// They take turns: each waits until the one before it says that it has been.
BOOST_AUTO_TEST_CASE(a_condition_variable)
{
    crowd all(scaled(300));
    spindle::mutex m;
    spindle::condition_variable changed;
    std::size_t next = 0; // under m
    auto const is_next = [&](turn t) { return next == t.n * everybody + t.who; };
    all.at({
        .wait =
            [&](turn t) {
                std::unique_lock held(m);
                changed.wait(held, [&] { return is_next(t); });
                ++next;
                changed.notify_all();
            },
        .call =
            [&](turn t, strand const& ex, continuation then) {
                poll(
                    ex,
                    [&, t] {
                        std::unique_lock const held(m, std::try_to_lock);
                        if (!held || !is_next(t))
                            return false;
                        ++next;
                        changed.notify_all();
                        return true;
                    },
                    std::move(then));
            },
    });
    BOOST_TEST(next == all.turns_of_all());
}

BOOST_AUTO_TEST_CASE(a_counting_semaphore)
{
    share_permits<spindle::counting_semaphore<>>(3);
}

BOOST_AUTO_TEST_CASE(a_binary_semaphore)
{
    share_permits<spindle::binary_semaphore>(1);
}

BOOST_AUTO_TEST_CASE(a_latch)
{
    meet_at_a_counter<spindle::latch>([](auto& l) { l.count_down(); });
}

BOOST_AUTO_TEST_CASE(a_wait_group)
{
    meet_at_a_counter<spindle::wait_group>([](auto& g) { g.done(); });
}

// A handler arrives, and hears of the end of the phase from those who may wait for it.
BOOST_AUTO_TEST_CASE(a_barrier)
{
    crowd all(scaled(300));
    std::vector<std::size_t> here(everybody);
    std::size_t phase = 0; // of the completion function
    std::atomic<std::size_t> over{0};
    spindle::barrier step(everybody, [&]() noexcept {
        ++phase;
        all.check(std::count(here.begin(), here.end(), phase) == std::ptrdiff_t{everybody});
    });
    all.at({
        .wait =
            [&](turn t) {
                here[t.who] = t.n + 1;
                step.arrive_and_wait();
                all.check(phase == t.n + 1);
                over = t.n + 1;
            },
        .call =
            [&](turn t, strand const& ex, continuation then) {
                here[t.who] = t.n + 1;
                (void)step.arrive();
                poll(ex, [&, t] { return over > t.n; }, std::move(then));
            },
    });
    BOOST_TEST(phase == all.turns());
}

// One of those who may wait calls, and goes on once another one has come; all see what it
// did.
BOOST_AUTO_TEST_CASE(a_once_flag)
{
    crowd all(scaled(300));
    std::deque<spindle::once_flag> flags(all.turns());
    std::vector<int> calls(all.turns());
    std::deque<std::atomic<int>> here(all.turns());
    auto const once = [&](turn t) {
        ++here[t.n];
        spindle::call_once(flags[t.n], [&] {
            while (here[t.n] < 2)
                give_way();
            for (int i = 0; i != 5; ++i)
                give_way();
            ++calls[t.n];
        });
        all.check(calls[t.n] == 1);
    };
    all.at({
        .wait = once,
        .call =
            [&](turn t, strand const& ex, continuation then) {
                poll(
                    ex,
                    [&, t] {
                        auto const ec = error_of([&] { once(t); });
                        all.check(!ec || ec == spindle::errc::not_in_fiber);
                        return !ec;
                    },
                    std::move(then));
            },
    });
    BOOST_TEST(std::count(calls.begin(), calls.end(), 1) == std::ssize(calls));
}

// One call for a key at a time, which goes on once another one has come; all get a result.
BOOST_AUTO_TEST_CASE(a_singleflight)
{
    crowd all(scaled(300));
    spindle::singleflight<std::size_t, std::vector<std::size_t>> flights;
    std::vector<std::size_t> called(all.turns()); // by one at a time
    std::deque<std::atomic<bool>> under_way(all.turns());
    std::deque<std::atomic<int>> here(all.turns());
    std::atomic<std::size_t> led{0}, followed{0};
    all.at({
        .wait =
            [&](turn t) {
                bool leads = false;
                ++here[t.n];
                auto const r = flights.call(t.n, [&] {
                    leads = true;
                    all.check(!under_way[t.n].exchange(true));
                    ++called[t.n];
                    while (here[t.n] < 2)
                        give_way();
                    for (int i = 0; i != 5; ++i)
                        give_way();
                    under_way[t.n] = false;
                    return std::vector<std::size_t>{t.n, called[t.n]};
                });
                all.check(r.value[0] == t.n && r.value[1] >= 1 && (leads || r.shared));
                ++(leads ? led : followed);
            },
    });
    BOOST_TEST(led == std::accumulate(called.begin(), called.end(), std::size_t{0}));
    BOOST_TEST(led + followed == all.turns_of_all());
}

// The first of each kind sends, the second receives.
BOOST_AUTO_TEST_CASE(a_channel)
{
    for (std::size_t const capacity : {0u, 3u}) {
        crowd all(scaled(500));
        spindle::channel<std::size_t> ch(capacity);
        std::vector<int> received(everybody * all.turns());
        auto const number = [&](turn t) { return t.who * all.turns() + t.n; };
        auto const take = [&](std::optional<std::size_t> v) {
            all.check(v.has_value());
            if (v)
                ++received[*v]; // by nobody else, if each goes once
        };
        all.at({
            .wait =
                [&](turn t) {
                    if (t.first_of_its_kind())
                        ch.send(number(t));
                    else
                        take(ch.receive());
                },
            .call =
                [&](turn t, strand const& ex, continuation then) {
                    if (t.first_of_its_kind())
                        ch.async_send(
                            number(t),
                            asio::bind_executor(ex, [&, then = std::move(then)](error_code ec) {
                                all.check(!ec);
                                then();
                            }));
                    else
                        ch.async_receive(asio::bind_executor(
                            ex, [&, then = std::move(then)](
                                    error_code ec, std::optional<std::size_t> v) {
                                all.check(!ec);
                                take(v);
                                then();
                            }));
                },
            .await = [&](turn t) -> asio::awaitable<void> {
                if (t.first_of_its_kind())
                    co_await ch.async_send(number(t), use_awaitable);
                else
                    take(co_await ch.async_receive(use_awaitable));
            },
        });
        BOOST_TEST(std::count(received.begin(), received.end(), 1)
                   == static_cast<std::ptrdiff_t>(all.turns_of_all() / 2));
        BOOST_TEST(ch.size() == 0u);
    }
}
