//
// chan/allocations.cpp
// ~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE chan.allocations
#include <spindle/chan/channel.hpp>
#include <spindle/chan/select.hpp>
#include <spindle/sync/wait_group.hpp>

#include <support/allocations.hpp>
#include <support/fixture.hpp>

#include <boost/test/unit_test.hpp>

#include <chrono>
#include <cstddef>
#include <optional>

// Once a channel's operations have run for a while, none of them allocates.

namespace {

using spindle_test::allocations;
using namespace std::chrono_literals;

constexpr int rounds = 200;

// How many allocations the second half of what fn does makes. fn(rounds) is
// called by one fiber, while `other(rounds)` runs in another one.
template <class Function, class Other>
std::size_t allocations_of(Function fn, Other other)
{
    std::size_t made = 0;
    spindle_test::on_scheduler s(spindle_test::without_rescue(1));
    s.run([&] {
        spindle::wait_group group;
        group.go([&] { other(2 * rounds); });
        fn(rounds);
        auto const before = allocations.load();
        fn(rounds);
        made = allocations.load() - before;
        group.wait();
    });
    return made;
}

} // namespace

BOOST_AUTO_TEST_CASE(the_count_counts)
{
    auto const before = allocations.load();
    ::operator delete(::operator new(1)); // of an expression the compiler may leave both out
    BOOST_TEST(allocations.load() - before == (spindle_test::sanitized ? 0u : 1u));
}

BOOST_AUTO_TEST_CASE(unbuffered)
{
    spindle::channel<int> ping, pong;
    BOOST_TEST(
        allocations_of(
            [&](int n) {
                for (int i = 0; i != n; ++i) {
                    ping.send(i);
                    pong.receive();
                }
            },
            [&](int n) {
                for (int i = 0; i != n; ++i)
                    pong.send(*ping.receive());
            })
        == 0u);
}

BOOST_AUTO_TEST_CASE(buffered)
{
    spindle::channel<int> ch(16);
    BOOST_TEST(
        allocations_of(
            [&](int n) {
                for (int i = 0; i != n; ++i)
                    ch.send(i);
            },
            [&](int n) {
                for (int i = 0; i != n; ++i)
                    ch.receive();
            })
        == 0u);
}

BOOST_AUTO_TEST_CASE(with_a_limit)
{
    spindle::channel<int> ch;
    BOOST_TEST(
        allocations_of(
            [&](int n) {
                spindle::error_code ec;
                for (int i = 0; i != n; ++i)
                    ch.send_for(i, 1h, ec);
            },
            [&](int n) {
                spindle::error_code ec;
                for (int i = 0; i != n; ++i)
                    ch.receive_for(1h, ec);
            })
        == 0u);
}

BOOST_AUTO_TEST_CASE(selects)
{
    spindle::channel<int> a, b(1), c;
    spindle::channel<void> back;
    BOOST_TEST(
        allocations_of(
            [&](int n) {
                std::optional<int> v;
                for (int i = 0; i != n; ++i)
                    spindle::select(
                        spindle::on_receive(a, v), spindle::on_receive(b, [](auto) {}),
                        spindle::on_send(back), spindle::on_send(c, i), spindle::on_timeout(1h));
            },
            [&](int n) {
                for (int i = 0; i != n; ++i)
                    switch (i % 4) {
                    case 0: a.send(i); break;
                    case 1: b.send(i); break;
                    case 2: back.receive(); break;
                    case 3: c.receive(); break;
                    }
            })
        == 0u);
}
