//
// cancel/scenario_tutorial.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// The programs of the tutorial, cancelled at each of their steps. Their sources are taken
// in as they are.
//
// Not here: what has no wait that can be cancelled, or none that would end otherwise.
//   1  its one wait, a sleep, is in main()
//   6  nothing is left out
//   7  go_on_meanwhile: its call, which is no cancellation point, waits for a fiber that a
//      cancellation ends; many_calls: a wait_group over calls; a_hog: never parks, and
//      goes when its scheduler says so; on_an_io_context: runs one, as a thread does
//   8  a_pool_that_hangs, deadlock: they hang, which is what they are for
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE cancel.scenario_tutorial
#include <spindle.hpp>
#include <spindle/observe.hpp>
#include <support/every_step.hpp>
#include <support/example.hpp>

#include <boost/asio.hpp>
#include <boost/test/unit_test.hpp>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <exception>
#include <fcntl.h>
#include <future>
#include <iostream>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <span>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

// All that they include is above.
namespace joins {
#include "../../example/tutorial/2_spawn_and_join.cpp"
}
namespace echo {
#include "../../example/tutorial/3_asio_echo.cpp"
}
namespace channels {
#include "../../example/tutorial/4_channels.cpp"
}
namespace selects {
#include "../../example/tutorial/5_select.cpp"
}
namespace groups {
#include "../../example/tutorial/6_cancellation_and_groups.cpp"
}
namespace calls {
#include "../../example/tutorial/7_blocking_calls.cpp"
}
namespace hangs {
#include "../../example/tutorial/8_when_it_hangs.cpp"
}

using namespace spindle_test;

// The wait_group's wait is no cancellation point: it just ends.
BOOST_AUTO_TEST_CASE(spawning_and_joining)
{
    printed out;
    std::vector<int> numbers(4'000);
    std::iota(numbers.begin(), numbers.end(), 1);
    over_every_step_of_a_program([&] {
        if (joins::sum(numbers) != 4'000L * 4'001 / 2)
            throw "another sum";
        joins::stop_a_fiber();
        joins::wait_for_many();
    });
}

// Where its join is cancelled the failure has nobody left to go to but the scheduler. It
// takes the cancellation for the failure, since that is a runtime_error, too: the next
// wait sees the stop.
BOOST_AUTO_TEST_CASE(joining_a_failure)
{
    printed out;
    std::atomic<int> unhandled{0}, wrong{0};
    over_every_step_of_a_program(
        [] {
            joins::join_a_failure();
            spindle::this_fiber::sleep_for(std::chrono::microseconds(20));
        },
        {.unhandled_exception = [&](std::exception_ptr e, spindle::fiber_info const&) {
            ++unhandled;
            try {
                std::rethrow_exception(e);
            } catch (std::runtime_error const& failure) {
                wrong += std::string(failure.what()) != "out of luck";
            } catch (...) {
                ++wrong;
            }
        }});
    BOOST_TEST(unhandled > 0);
    BOOST_TEST(wrong == 0);
}

// Its server's callbacks are for one thread; they end with the io_context.
BOOST_AUTO_TEST_CASE(asking_an_echo_server)
{
    printed out;
    for (auto const how : cancelled)
        BOOST_TEST_CONTEXT(name_of(how))
        {
            auto const hit = until_not_hit([&](std::size_t at) {
                asio::io_context ioc;
                echo::server server(ioc);
                step s{};
                spindle::spawn(
                    ioc,
                    [&] {
                        s = cancel_at_step(
                            how,
                            [&] {
                                if (echo::ask(server.endpoint(), "hello") != "hello")
                                    throw "another answer";
                            },
                            at);
                    },
                    [&](std::exception_ptr e) {
                        BOOST_TEST(!e);
                        ioc.stop();
                    });
                ioc.run();
                return s;
            });
            BOOST_TEST(hit > 0u);
            check_nothing_left();
        }
}

BOOST_AUTO_TEST_CASE(streams)
{
    printed out;
    over_every_step_of_a_program([] {
        channels::add_up();
        channels::hand_over();
        channels::without_waiting();
    });
}

BOOST_AUTO_TEST_CASE(selects_of_all_kinds)
{
    printed out;
    over_every_step_of_a_program([] {
        selects::first_of_two();
        selects::not_for_ever();
        selects::stop_a_worker();
        selects::send_or_receive();
        selects::ask_three();
    });
}

BOOST_AUTO_TEST_CASE(a_merge)
{
    printed out;
    over_every_step_of_a_program(selects::merge_two);
}

BOOST_AUTO_TEST_CASE(a_worker_pool)
{
    printed out;
    over_every_step([] { groups::squares(); });
}

BOOST_AUTO_TEST_CASE(deadlines)
{
    printed out;
    over_every_step([] {
        groups::limit();
        groups::clean_up();
    });
}

BOOST_AUTO_TEST_CASE(scopes_and_groups)
{
    printed out;
    over_every_step([] {
        groups::cancel_all();
        groups::all_or_nothing();
        groups::serve();
    });
}

BOOST_AUTO_TEST_CASE(calls_that_block)
{
    printed out;
    over_every_step([] {
        calls::a_call();
        calls::not_inside();
        calls::a_future();
        calls::a_thread_of_its_own();
    });
}

// The asker waits for ever: it ends with its scheduler only.
BOOST_AUTO_TEST_CASE(looking_at_what_hangs)
{
    printed out;
    over_every_step_of_a_program([] {
        hangs::look();
        hangs::find_it();
    });
}
