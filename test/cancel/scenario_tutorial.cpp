//
// cancel/scenario_tutorial.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// What the tutorial's fibers do among each other, cancelled at each of its steps: streams,
// selects, deadlines, groups, a pool of workers. Its sources are taken in as they are.
//
// Not here: what a plain thread or a wait_group needs to be waited for; their owner is
// not meant to be cancelled.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE cancel.scenario_tutorial
#include <spindle.hpp>
#include <support/every_step.hpp>
#include <support/example.hpp>

#include <boost/test/unit_test.hpp>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <memory>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

// All that they include is above.
namespace channels {
#include "../../example/tutorial/4_channels.cpp"
}
namespace selects {
#include "../../example/tutorial/5_select.cpp"
}
namespace groups {
#include "../../example/tutorial/6_cancellation_and_groups.cpp"
}

using namespace spindle_test;

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
