//
// chan/channel_moves.cpp
// ~~~~~~~~~~~~~~~~~~~~~~
// Values whose moves throw: who has the value then, and who comes next.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE chan.channel_moves
#include <spindle/chan/channel.hpp>
#include <spindle/spawn.hpp>
#include <spindle/sync/wait_group.hpp>

#include <support/asio_fixture.hpp>
#include <support/channel_fixture.hpp>

#include <boost/test/unit_test.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <utility>
#include <vector>

using namespace spindle_test;
using namespace spindle_test::outcomes;
using namespace std::chrono_literals;
using spindle::channel;

BOOST_AUTO_TEST_SUITE(channel_moves)

namespace {

struct no_moody_left {
    no_moody_left() { moody::behave(); }
    ~no_moody_left()
    {
        moody::behave();
        BOOST_TEST(moody::live == 0);
    }
};

} // namespace

BOOST_FIXTURE_TEST_CASE(a_send_into_the_ring_throws_what_the_move_does, no_moody_left)
{
    for (int how = 0; how != 4; ++how) {
        channel<moody> ch(3);
        moody v(5);
        error_code ec = stale;
        moody::throw_at(1);
        BOOST_CHECK_THROW(
            how == 0       ? ch.send(std::move(v))
                : how == 1 ? ch.send(std::move(v), ec)
                : how == 2 ? void(ch.try_send(std::move(v), ec))
                           : void(ch.send_for(std::move(v), 1h, ec)),
            moody::refusal);
        BOOST_TEST(v.value == 5);
        BOOST_TEST(ch.size() == 0u);
        ch.send(std::move(v));
        BOOST_TEST(v.value == moody::moved);
        BOOST_TEST(ch.receive()->value == 5);
    }
}

BOOST_FIXTURE_TEST_CASE(a_copy_that_throws_leaves_the_channel_alone, no_moody_left)
{
    channel<moody> ch(3);
    moody const v(5);
    moody::throw_at(1);
    BOOST_CHECK_THROW(ch.send(v), moody::refusal);
    moody::throw_at(2); // the copy's move
    BOOST_CHECK_THROW(ch.send(v), moody::refusal);
    BOOST_TEST(ch.size() == 0u);
    ch.send(v);
    BOOST_TEST(v.value == 5);
    BOOST_TEST(ch.receive()->value == 5);
}

BOOST_FIXTURE_TEST_CASE(a_receive_from_the_ring_throws_and_the_value_stays, no_moody_left)
{
    for (int how = 0; how != 4; ++how) {
        channel<moody> ch(3);
        ch.send(moody(1));
        ch.send(moody(2));
        error_code ec = stale;
        moody::throw_at(1);
        BOOST_CHECK_THROW(
            how == 0       ? (void)ch.receive()
                : how == 1 ? (void)ch.try_receive(ec)
                : how == 2 ? (void)ch.receive_for(1h, ec)
                           : (void)ch.begin(),
            moody::refusal);
        BOOST_TEST(ch.size() == 2u);
        BOOST_TEST(ch.receive()->value == 1);
        BOOST_TEST(ch.receive()->value == 2);
    }
}

BOOST_FIXTURE_TEST_CASE(a_send_to_one_who_waits_throws_and_he_keeps_his_place, no_moody_left)
{
    over_processors([] {
        for (auto const n : {0u, 3u}) {
            channel<moody> ch(n);
            auto first = spindle::spawn([&] { return ch.receive()->value; });
            BOOST_REQUIRE(until([&] { return receivers_of(ch) == 1; }));
            auto second = spindle::spawn([&] { return ch.receive()->value; });
            BOOST_REQUIRE(until([&] { return receivers_of(ch) == 2; }));
            moody v(1);
            moody::throw_at(1);
            BOOST_CHECK_THROW(ch.send(std::move(v)), moody::refusal);
            BOOST_TEST(v.value == 1);
            BOOST_TEST(receivers_of(ch) == 2u);
            ch.send(std::move(v));
            BOOST_TEST(first.join() == 1);
            ch.send(moody(2));
            BOOST_TEST(second.join() == 2);
        }
    });
}

BOOST_FIXTURE_TEST_CASE(a_receive_from_one_who_waits_throws_and_he_keeps_his_place, no_moody_left)
{
    over_processors([] {
        channel<moody> ch;
        std::vector<spindle::fiber<bool>> senders;
        for (int i = 1; i != 3; ++i) {
            senders.push_back(spindle::spawn([&, i] {
                moody v(i);
                ch.send(std::move(v));
                return v.value == moody::moved;
            }));
            BOOST_REQUIRE(
                until([&] { return senders_of(ch) == static_cast<std::size_t>(i); }));
        }
        error_code ec;
        moody::throw_at(1);
        BOOST_CHECK_THROW((void)ch.receive(), moody::refusal);
        moody::throw_at(1);
        BOOST_CHECK_THROW((void)ch.try_receive(ec), moody::refusal);
        BOOST_TEST(senders_of(ch) == 2u);
        BOOST_TEST(ch.receive()->value == 1);
        BOOST_TEST(ch.receive()->value == 2);
        for (auto& s : senders)
            BOOST_TEST(s.join());
    });
}

BOOST_FIXTURE_TEST_CASE(a_value_that_refuses_to_move_up_is_received_in_its_turn, no_moody_left)
{
    over_processors([] {
        for (auto const n : {1u, 3u}) {
            channel<moody> ch(n);
            int next = 0;
            while (next != static_cast<int>(n))
                ch.send(moody(next++));
            auto sender = spindle::spawn([&, next] {
                moody v(next);
                ch.send(std::move(v));
                return v.value == moody::moved;
            });
            BOOST_REQUIRE(until([&] { return senders_of(ch) == 1; }));
            error_code ec;
            moody::throw_at(2); // not the move of what is received, but that of what follows
            BOOST_TEST(ch.try_receive(ec)->value == 0);
            moody::behave();
            BOOST_TEST(senders_of(ch) == 1u);
            for (int i = 1; i <= next; ++i)
                BOOST_TEST(ch.try_receive(ec)->value == i);
            BOOST_TEST(sender.join());
        }
    });
}

BOOST_FIXTURE_TEST_CASE(nobody_overtakes_a_value_that_refused_to_move_up, no_moody_left)
{
    over_processors([] {
        for (auto const n : {1u, 3u}) {
            channel<moody> ch(n);
            int next = 0;
            while (next != static_cast<int>(n))
                ch.send(moody(next++));
            auto const first = next++;
            auto sender = spindle::spawn([&] { ch.send(moody(first)); });
            BOOST_REQUIRE(until([&] { return senders_of(ch) == 1; }));
            error_code ec;
            moody::throw_at(2);
            BOOST_TEST(ch.try_receive(ec)->value == 0);
            moody::behave();
            // It may be refused; it must not be first.
            (void)ch.try_send(moody(next), ec);
            for (int i = 1; i <= first; ++i)
                BOOST_TEST(ch.try_receive(ec)->value == i);
            sender.join();
        }
    });
}

// Where the first in line leaves, those behind it get the room at once: nobody receives,
// and nobody sends, until they have returned.
BOOST_FIXTURE_TEST_CASE(who_is_refused_and_leaves_makes_way_for_the_next, no_moody_left)
{
    over_processors([] {
        for (int how = 0; how != 3; ++how) {
            channel<moody> ch(2);
            ch.send(moody(0));
            ch.send(moody(1));
            auto first = spindle::spawn([&] {
                moody v(2);
                error_code ec;
                if (how == 0)
                    ch.send(std::move(v), ec);
                else
                    ch.send_for(std::move(v), how == 1 ? 500ms : 1h, ec);
                return ec;
            });
            BOOST_REQUIRE(until([&] { return senders_of(ch) == 1; }));
            auto second = spindle::spawn([&] { ch.send(moody(3)); });
            BOOST_REQUIRE(until([&] { return senders_of(ch) == 2; }));
            error_code ec;
            moody::throw_at(2);
            BOOST_TEST(ch.try_receive(ec)->value == 0);
            moody::behave();
            if (how != 1)
                first.request_stop();
            second.join();
            BOOST_TEST((first.join() == (how == 1 ? error_code(timed_out) : error_code(aborted))));
            BOOST_TEST(nobody_waits(ch));
            BOOST_TEST(ch.size() == 2u);
            BOOST_TEST(ch.receive()->value == 1);
            BOOST_TEST(ch.receive()->value == 3);
        }
    });
}

BOOST_FIXTURE_TEST_CASE(once_a_refused_value_is_received_all_move_up, no_moody_left)
{
    over_processors([] {
        for (auto const drained : {false, true}) {
            channel<moody> ch(3);
            for (int i = 0; i != 3; ++i)
                ch.send(moody(i));
            std::vector<spindle::fiber<>> senders;
            for (int i = 3; i != 6; ++i) {
                senders.push_back(spindle::spawn([&, i] { ch.send(moody(i)); }));
                BOOST_REQUIRE(
                    until([&] { return senders_of(ch) == static_cast<std::size_t>(i) - 2; }));
            }
            error_code ec;
            int next = 0;
            // The first sender's move throws each time.
            for (int n = drained ? 3 : 1; n != 0; --n) {
                moody::throw_at(2);
                BOOST_TEST(ch.try_receive(ec)->value == next++);
            }
            moody::behave();
            BOOST_TEST(senders_of(ch) == 3u);
            BOOST_TEST(ch.try_receive(ec)->value == next++);
            if (drained) // it has gone from hand to hand
                for (auto& s : senders)
                    s.join();
            else
                BOOST_REQUIRE(until([&] { return senders_of(ch) == 1; }));
            while (next != 6)
                BOOST_TEST(ch.receive()->value == next++);
            if (!drained)
                for (auto& s : senders)
                    s.join();
        }
    });
}

BOOST_FIXTURE_TEST_CASE(a_close_gives_back_what_refused_to_move, no_moody_left)
{
    over_processors([] {
        channel<moody> ch(1);
        ch.send(moody(0));
        auto sender = spindle::spawn([&] {
            moody v(1);
            error_code ec;
            ch.send(std::move(v), ec);
            return ec == closed && v.value == 1;
        });
        BOOST_REQUIRE(until([&] { return senders_of(ch) == 1; }));
        moody::throw_at(2);
        BOOST_TEST(ch.receive()->value == 0);
        moody::behave();
        ch.close();
        BOOST_TEST(sender.join());
        BOOST_TEST(!ch.receive());
    });
}

BOOST_FIXTURE_TEST_CASE(moves_that_throw_now_and_then_lose_nothing, no_moody_left)
{
    over_processors([] {
        constexpr int each = static_cast<int>(scaled(1'000));
        for (auto const n : {0u, 2u}) {
            channel<moody> ch(n);
            std::atomic<long> sum{0};
            std::atomic<int> refused{0};
            spindle::wait_group sending, receiving;
            for (int s = 0; s != 3; ++s)
                sending.go([&] {
                    for (int i = 1; i <= each; ++i) {
                        moody v(i);
                        while (v.value == i)
                            try {
                                if (i % 7 == 0)
                                    moody::throw_at(2);
                                ch.send(std::move(v));
                            } catch (moody::refusal) {
                                ++refused;
                            }
                    }
                });
            for (int r = 0; r != 3; ++r)
                receiving.go([&] {
                    for (;;)
                        try {
                            auto const v = ch.receive();
                            if (!v)
                                return;
                            sum += v->value;
                        } catch (moody::refusal) {
                            ++refused;
                        }
                });
            sending.wait();
            ch.close();
            receiving.wait();
            BOOST_TEST(sum == 3L * each * (each + 1) / 2);
        }
    });
}

BOOST_AUTO_TEST_SUITE_END()
