//
// sync/singleflight.cpp
// ~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE sync.singleflight
#include <spindle/go.hpp>
#include <spindle/sync/singleflight.hpp>
#include <spindle/sync/wait_group.hpp>
#include <spindle/this_fiber.hpp>

#include <support/asio_fixture.hpp>
#include <support/child.hpp>
#include <support/crew.hpp>
#include <support/fixture.hpp>
#include <support/waiting.hpp>

#include <boost/asio/post.hpp>
#include <boost/test/unit_test.hpp>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

using spindle::wait_group;
using spindle::this_fiber::yield;
using spindle_test::aborted;
using spindle_test::error_of;
using spindle_test::fibers_in;
using spindle_test::over_processors;

namespace {

using flights = spindle::singleflight<std::string, int>;
using function = std::function<int()>;

struct refusal {};

// Until that many fibers wait for a call.
void await_sharers(std::size_t n)
{
    while (fibers_in(spindle::detail::wait_reason::singleflight) != n)
        yield();
}

} // namespace

BOOST_AUTO_TEST_CASE(calls_and_returns_what_the_function_does)
{
    flights f;
    auto const [value, shared] = f.call("key", function([] { return 7; }));
    BOOST_TEST(value == 7);
    BOOST_TEST(!shared);
    BOOST_TEST(f.call("key", function([] { return 8; })).value == 8); // no cache
    BOOST_CHECK_THROW(f.call("key", function([]() -> int { throw refusal(); })), refusal);
    BOOST_TEST(f.call("key", function([] { return 9; })).value == 9);
}

BOOST_AUTO_TEST_CASE(who_comes_meanwhile_shares_the_call)
{
    over_processors([] {
        flights f;
        wait_group gate(1), group;
        std::atomic<int> calls{0}, right{0};
        for (int i = 0; i != 10; ++i)
            group.go([&] {
                auto const r = f.call("key", function([&] {
                                          ++calls;
                                          gate.wait();
                                          return 42;
                                      }));
                right += r.value == 42 && r.shared;
            });
        await_sharers(9);
        BOOST_TEST(f.call("other", function([] { return 1; })).value == 1); // is not kept
        gate.done();
        group.wait();
        BOOST_TEST(calls == 1);
        BOOST_TEST(right == 10);
    });
}

BOOST_AUTO_TEST_CASE(an_exception_is_shared_too)
{
    over_processors([] {
        flights f;
        wait_group gate(1), group;
        std::atomic<int> calls{0}, thrown{0};
        for (int i = 0; i != 5; ++i)
            group.go([&] {
                try {
                    f.call("key", function([&]() -> int {
                               ++calls;
                               gate.wait();
                               throw refusal();
                           }));
                } catch (refusal const&) {
                    ++thrown;
                }
            });
        await_sharers(4);
        gate.done();
        group.wait();
        BOOST_TEST(calls == 1);
        BOOST_TEST(thrown == 5);
    });
}

BOOST_AUTO_TEST_CASE(who_comes_after_forget_calls_anew)
{
    over_processors([] {
        flights f;
        wait_group first_gate(1), second_gate(1);
        std::atomic<int> entered{0};
        auto const call = [&](wait_group& gate, int value) {
            return spindle::spawn([&f, &gate, &entered, value] {
                return f
                    .call("key", function([&] {
                              ++entered;
                              gate.wait();
                              return value;
                          }))
                    .value;
            });
        };
        auto first = call(first_gate, 1);
        while (entered != 1)
            yield();
        f.forget("key");
        auto second = call(second_gate, 2);
        while (entered != 2)
            yield();
        auto third = call(second_gate, 3); // shares the second
        await_sharers(1);
        first_gate.done();
        BOOST_TEST(first.join() == 1); // and has not taken the second away
        auto fourth = call(second_gate, 4);
        await_sharers(2);
        second_gate.done();
        BOOST_TEST(second.join() == 2);
        BOOST_TEST(third.join() == 2);
        BOOST_TEST(fourth.join() == 2);
    });
}

BOOST_AUTO_TEST_CASE(each_gets_a_copy_and_void_is_a_value)
{
    over_processors([] {
        spindle::singleflight<int, std::shared_ptr<int>> pointers;
        spindle::singleflight<int, void> nothing;
        wait_group group;
        std::atomic<int> calls{0}, wrong{0};
        for (int i = 0; i != 20; ++i)
            group.go([&] {
                auto const p = pointers.call(1, [] {
                    yield();
                    return std::make_shared<int>(5);
                });
                wrong += !p.value || *p.value != 5;
                nothing.call(1, [&] {
                    ++calls;
                    yield();
                });
            });
        group.wait();
        BOOST_TEST(wrong == 0);
        BOOST_TEST(calls >= 1);
        BOOST_TEST(calls <= 20);
        BOOST_TEST(!nothing.call(1, [] {}).shared);
    });
}

BOOST_AUTO_TEST_CASE(threads_and_fibers_share)
{
    spindle_test::on_scheduler s(2);
    flights f;
    std::atomic<int> running{0}, wrong{0};
    wait_group group(6);
    auto const body = [&] {
        for (std::size_t i = 0; i != spindle_test::scaled(500); ++i)
            f.call("key", function([&] {
                       wrong += ++running != 1;
                       if (spindle::this_fiber::is_fiber())
                           yield();
                       --running;
                       return 1;
                   }));
        group.done();
    };
    {
        spindle_test::crew const all_of_them(s, 3, body);
        group.wait();
    }
    BOOST_TEST(wrong == 0);
}

// --- stop -----------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(who_waits_and_is_stopped_leaves_and_the_call_goes_on)
{
    over_processors([] {
        flights f;
        wait_group gate(1);
        auto const call = [&] {
            return spindle::spawn([&] {
                return f
                    .call("key", function([&] {
                              gate.wait();
                              return 1;
                          }))
                    .value;
            });
        };
        std::vector<spindle::fiber<int>> fibers;
        fibers.push_back(call());
        spindle::this_fiber::yield();
        for (int i = 0; i != 2; ++i)
            fibers.push_back(call());
        await_sharers(2);
        // Whichever of them calls: gate.wait() is no cancellation point.
        fibers[1].request_stop();
        fibers[2].request_stop();
        gate.done();
        int left = 0, got = 0;
        for (auto& each : fibers)
            try {
                got += each.join();
            } catch (spindle::system_error const& e) {
                left += e.code() == aborted;
            }
        BOOST_TEST(left + got == 3);
        BOOST_TEST(got >= 1);
        BOOST_TEST(left >= 1);
    });
}

BOOST_AUTO_TEST_CASE(if_the_one_who_calls_is_stopped_another_one_calls)
{
    over_processors([] {
        flights f;
        std::atomic<int> calls{0};
        wait_group entered(1);
        auto first = spindle::spawn([&] {
            f.call("key", function([&] {
                       ++calls;
                       entered.done();
                       spindle::this_fiber::sleep_for(std::chrono::hours(1));
                       return 1;
                   }));
        });
        entered.wait();
        std::vector<spindle::fiber<int>> others;
        for (int i = 0; i != 3; ++i)
            others.push_back(spindle::spawn([&] {
                return f
                    .call("key", function([&] {
                              ++calls;
                              yield();
                              return 2;
                          }))
                    .value;
            }));
        await_sharers(3);
        first.request_stop();
        BOOST_TEST(error_of([&] { first.join(); }) == aborted);
        for (auto& each : others)
            BOOST_TEST(each.join() == 2);
        BOOST_TEST(calls >= 2);
        BOOST_TEST(calls <= 4);
    });
}

// A failure that happens to be operation_aborted is one for all, where nobody was
// asked to stop.
BOOST_AUTO_TEST_CASE(an_operation_that_was_aborted_is_an_error_like_any)
{
    spindle_test::on_scheduler s(2);
    s.run([] {
        flights f;
        auto const ec = error_of([&] {
            f.call("key", function([]() -> int { throw spindle::system_error(aborted); }));
        });
        BOOST_TEST(ec == aborted);
    });
}

// --- misuse ---------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(call_is_refused_in_a_handler)
{
    spindle_test::on_scheduler s(2);
    flights f;
    std::atomic<bool> refused{false};
    wait_group ran(1);
    boost::asio::post(s->get_executor(), [&] {
        f.forget("key");
        auto const ec = error_of([&] { f.call("key", function([] { return 1; })); });
        refused = ec == spindle::errc::not_in_fiber;
        ran.done();
    });
    ran.wait();
    BOOST_TEST(refused);
}

BOOST_AUTO_TEST_CASE(a_call_that_waits_for_itself_ends_the_process_with_a_message)
{
    auto const end = spindle_test::in_child([] {
        flights f;
        f.call("key", function([&] { return f.call("key", function()).value; }));
    });
    BOOST_TEST(end.by_signal(SIGABRT));
    BOOST_TEST(end.says("singleflight"), end.text);
}
