//
// sync/recursive_mutex.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE sync.recursive_mutex
#include <spindle/sync/mutex.hpp>

#include <spindle/fiber.hpp>
#include <spindle/sync/wait_group.hpp>
#include <spindle/this_fiber.hpp>

#include <support/child.hpp>
#include <support/fixture.hpp>
#include <support/hop.hpp>

#include <boost/test/unit_test.hpp>

#include <csignal>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace {

using spindle::recursive_mutex;
using spindle_test::over_processors;

bool locked_by_another(recursive_mutex& m)
{
    return !spindle::spawn([&] {
                auto const got = m.try_lock();
                if (got)
                    m.unlock();
                return got;
            }).join();
}

} // namespace

BOOST_AUTO_TEST_CASE(its_owner_locks_it_again_and_unlocks_it_as_often)
{
    over_processors([] {
        recursive_mutex m;
        m.lock();
        m.lock();
        BOOST_TEST(m.try_lock());
        for (int i = 0; i != 3; ++i) {
            BOOST_TEST(locked_by_another(m));
            m.unlock();
        }
        BOOST_TEST(!locked_by_another(m));
    });
}

BOOST_AUTO_TEST_CASE(belongs_to_the_fiber_whatever_thread_it_is_on)
{
    over_processors([] {
        recursive_mutex m;
        spindle::wait_group all;
        long counter = 0;
        auto const rounds = static_cast<int>(spindle_test::scaled(500));
        for (int f = 0; f != 8; ++f)
            all.go([&] {
                for (int i = 0; i != rounds; ++i) {
                    std::lock_guard const outer(m);
                    auto const before = counter;
                    spindle_test::hop();
                    std::lock_guard const inner(m);
                    counter = before + 1;
                }
            });
        all.wait();
        BOOST_TEST(counter == 8 * rounds);
    });
}

BOOST_AUTO_TEST_CASE(a_plain_thread_owns_it_too)
{
    over_processors([] {
        recursive_mutex m;
        long counter = 0;
        auto const rounds = static_cast<int>(spindle_test::scaled(2000));
        std::function<void()> const body = [&] {
            for (int i = 0; i != rounds; ++i) {
                std::lock_guard const outer(m);
                std::lock_guard const inner(m);
                ++counter;
            }
        };
        std::vector<std::thread> threads;
        for (int i = 0; i != 2; ++i)
            threads.emplace_back(body);
        spindle::wait_group all;
        all.go(body);
        all.wait();
        for (auto& t : threads)
            t.join();
        BOOST_TEST(counter == 3 * rounds);
    });
}

BOOST_AUTO_TEST_CASE(unlocking_it_once_too_often_ends_the_process_with_a_message)
{
    auto const end = spindle_test::in_child([] {
        recursive_mutex m;
        m.lock();
        m.unlock();
        m.unlock();
    });
    BOOST_TEST(end.by_signal(SIGABRT));
    BOOST_TEST(end.says("does not own it"), end.text);
}
