//
// cancel/shielded.cpp
// ~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE cancel.shielded
#include <spindle/cancel/shielded.hpp>

#include <spindle/cancel/cancel_scope.hpp>
#include <spindle/cancel/within.hpp>
#include <spindle/chan/channel.hpp>
#include <spindle/spawn.hpp>
#include <spindle/this_fiber.hpp>

#include <support/channel_fixture.hpp>
#include <support/expect.hpp>

#include <boost/test/unit_test.hpp>

#include <atomic>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <vector>

using namespace spindle_test;
using namespace std::chrono_literals;
using spindle::cancel_scope;
namespace this_fiber = spindle::this_fiber;

namespace {

error_code sleep_for_ever()
{
    return error_of([] { this_fiber::sleep_for(1h); });
}

} // namespace

BOOST_AUTO_TEST_CASE(a_stop_is_seen_after_it)
{
    over_processors([] {
        spindle::channel<int> ch;
        auto child = spindle::spawn([&] {
            auto const v = spindle::shielded([&] { return ch.receive(); });
            expect(v.value() == 7);
            expect(sleep_for_ever() == aborted);
        });
        BOOST_TEST(until([&] { return receivers_of(ch) == 1; }));
        child.request_stop();
        ch.send(7);
        child.join();
    });
}

BOOST_AUTO_TEST_CASE(a_cancellation_is_seen_after_it)
{
    over_processors([] {
        spindle::channel<int> ch;
        spindle::cancel_handle handle;
        auto child = spindle::spawn([&] {
            cancel_scope const scope;
            handle = scope.handle();
            auto const v = spindle::shielded([&] { return ch.receive(); });
            expect(v.value() == 7);
            expect(sleep_for_ever() == aborted);
        });
        BOOST_TEST(until([&] { return receivers_of(ch) == 1; }));
        handle.cancel();
        ch.send(7);
        child.join();
    });
}

BOOST_AUTO_TEST_CASE(one_that_came_before_is_not_seen_in_it)
{
    over_processors([] {
        cancel_scope const scope;
        scope.cancel();
        spindle::shielded([] {
            BOOST_CHECK_NO_THROW(this_fiber::sleep_for(10us));
            spindle::shielded([] { BOOST_CHECK_NO_THROW(this_fiber::sleep_for(10us)); });
            BOOST_CHECK_NO_THROW(this_fiber::sleep_for(10us));
        });
        BOOST_TEST(sleep_for_ever() == aborted);
    });
}

namespace {

template <class Function>
void in_shields(int n, Function& fn)
{
    if (n == 0)
        fn();
    else
        spindle::shielded([&] { in_shields(n - 1, fn); });
}

} // namespace

BOOST_AUTO_TEST_CASE(as_many_as_you_like_nest)
{
    over_processors([] {
        spindle::channel<int> ready(1);
        ready.send(1);
        auto f = spindle::spawn([&] {
            auto& self = *spindle::detail::current_fiber();
            spindle::detail::request_stop(self, spindle::detail::life_of(self));
            auto waits = [&] { expect(ready.receive().has_value()); };
            in_shields(256, waits); // as many as a byte does not count
            expect(error_of([&] { (void)ready.receive(); }) == aborted);
        });
        f.join();
    });
}

BOOST_AUTO_TEST_CASE(a_scope_inside_works)
{
    over_processors([] {
        cancel_scope const outer;
        outer.cancel();
        spindle::shielded([] {
            error_code ec;
            spindle::within(1ms, [] { this_fiber::sleep_for(1h); }, ec);
            BOOST_TEST(ec == error_code(asio::error::timed_out));
            cancel_scope const inner;
            BOOST_TEST((inner.reason() == spindle::cancel_reason::none));
            inner.cancel();
            BOOST_TEST(sleep_for_ever() == aborted);
        });
    });
}

BOOST_AUTO_TEST_CASE(children_are_shielded_until_it_returns)
{
    over_processors([] {
        spindle::channel<int> ch;
        spindle::fiber<error_code> late;
        cancel_scope const scope;
        spindle::shielded([&] {
            auto child = spindle::spawn([&] { return ch.receive(); });
            late = spindle::spawn([] { return sleep_for_ever(); });
            BOOST_TEST(until([&] { return receivers_of(ch) == 1; }));
            scope.cancel();
            ch.send(7);
            BOOST_TEST(child.join().value() == 7);
        });
        spindle::shielded([&] { BOOST_TEST(late.join() == aborted); });
    });
}

BOOST_AUTO_TEST_CASE(what_leaves_it_passes)
{
    over_processors([] {
        BOOST_CHECK_THROW(
            spindle::shielded([] { throw std::runtime_error("x"); }), std::runtime_error);
        int x = 0;
        BOOST_TEST(&spindle::shielded([&]() -> int& { return x; }) == &x);
        BOOST_TEST(!this_fiber::stop_requested());
    });
    BOOST_TEST(
        error_of([] { spindle::shielded([] {}); })
        == make_error_code(spindle::errc::not_in_fiber));
}

BOOST_AUTO_TEST_CASE(stops_at_any_moment)
{
    over_processors([] {
        for (int i = 0; i != int(scaled(1000)); ++i) {
            spindle::channel<int> ch(1);
            auto child = spindle::spawn([&] {
                for (int k = 0; k != 3; ++k)
                    if (spindle::shielded([&] { return ch.receive(); }).value() != k)
                        return false;
                return true;
            });
            for (int k = 0; k != 3; ++k) {
                if (k == i % 3)
                    child.request_stop();
                ch.send(int(k));
            }
            if (!child.join())
                BOOST_TEST(false, "a shielded receive was cut short");
        }
    });
}
