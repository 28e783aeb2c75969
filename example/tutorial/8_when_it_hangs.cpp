//
// tutorial/8_when_it_hangs.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// doc/tutorial/8_when_it_hangs.adoc
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

// tag::includes[]
#include <spindle.hpp>
#include <spindle/observe.hpp>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <mutex>
// end::includes[]

using namespace std::chrono_literals;

// tag::worker[]
int work(spindle::channel<int> jobs)
{
    int sum = 0;
    for (int job : jobs) // <1>
        sum += job;
    return sum;
}
// end::worker[]

// tag::pool[]
void a_pool_that_hangs()
{
    spindle::channel<int> jobs;
    spindle::task_group workers;
    for (int i = 0; i != 3; ++i)
        workers.spawn([jobs] { work(jobs); });
    for (int i = 0; i != 10; ++i)
        jobs.send(i);
    workers.wait(); // <1>
}
// end::pool[]

// tag::dump[]
void look()
{
    spindle::remember_spawners(); // <1>
    spindle::channel<int> jobs;
    auto worker = spindle::spawn({.name = "worker"}, [jobs] { return work(jobs); });
    spindle::this_fiber::sleep_for(20ms);
    spindle::dump(std::cout); // <2>
    jobs.close();
    worker.join();
}
// end::dump[]

// tag::leak[]
void start_something()
{
    spindle::channel<int> answer;
    spindle::go({.name = "asker"}, [answer] { answer.send(42); }); // <1>
} // <2>

void find_it()
{
    start_something();
    spindle::this_fiber::sleep_for(20ms);
    for (auto const& f : spindle::find_leaks(10ms))
        std::printf(
            "%s: %s%s\n",
            f.name.c_str(),
            f.waits_for.substr(0, 12).c_str(),
            f.abandoned ? ", for ever" : "");
}
// end::leak[]

// tag::cycle[]
void two_locks(spindle::mutex& first, spindle::mutex& second)
{
    std::scoped_lock const one(first);
    spindle::this_fiber::sleep_for(1ms);
    std::scoped_lock const both(second); // <1>
}

void deadlock()
{
    spindle::mutex a, b;
    auto other = spindle::spawn({.name = "other"}, [&] { two_locks(b, a); });
    two_locks(a, b);
    other.join();
}
// end::cycle[]

// tag::main[]
int main(int argc, char** argv)
{
    spindle::dump_on_signal(SIGQUIT); // <1>
    auto const asked_for = [&](char const* what) {
        return argc == 2 && !std::strcmp(argv[1], what);
    };
    spindle::run([&] {
        if (asked_for("hang"))
            a_pool_that_hangs();
        else if (asked_for("deadlock"))
            deadlock();
        else {
            look();
            find_it();
        }
    });
    return 0;
}
// end::main[]
