//
// testing/explore.cpp
// ~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle.hpp>
#include <spindle/testing/explore.hpp>

#include <boost/test/unit_test.hpp>

#include <sstream>

namespace {

using namespace spindle::testing;

BOOST_AUTO_TEST_CASE(a_hand_over_works_under_every_schedule)
{
    auto const done = explore([] {
        spindle::channel<int> ch;
        spindle::go([ch] { ch.send(1); });
        BOOST_TEST(*ch.receive() == 1);
    });
    BOOST_TEST(done.seeds == 1000u);
    BOOST_TEST(done.schedules > 1u);
}

// Looks at the flag outside the lock: the notification may come before the wait.
void lost_wake_up()
{
    spindle::mutex m;
    spindle::condition_variable cv;
    auto ready = false;
    auto waiter = spindle::spawn([&] {
        if (!ready) {
            std::unique_lock lock(m);
            cv.wait(lock);
        }
    });
    ready = true;
    cv.notify_one();
    waiter.join();
}

BOOST_AUTO_TEST_CASE(finds_a_lost_wake_up)
{
    std::ostringstream log;
    BOOST_CHECK_THROW(explore(lost_wake_up, {.seeds = 100, .log = &log}), schedule_error);
    BOOST_TEST_MESSAGE(log.str());
}

} // namespace
