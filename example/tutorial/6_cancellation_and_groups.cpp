//
// tutorial/6_cancellation_and_groups.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// doc/tutorial/6_cancellation_and_groups.adoc
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

// tag::includes[]
#include <spindle.hpp>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <stdexcept>
#include <string>
// end::includes[]

using namespace std::chrono_literals;

namespace {

// tag::within[]
int slow_answer(std::chrono::milliseconds time)
{
    spindle::this_fiber::sleep_for(time);
    return 42;
}

void limit()
{
    std::printf("in time: %d\n", spindle::within(1s, [] { return slow_answer(1ms); })); // <1>
    try {
        spindle::within(10ms, [] { return slow_answer(1h); });
    } catch (spindle::system_error const& e) {
        std::printf("late: %s\n", e.code().message().c_str()); // <2>
    }
}
// end::within[]

// tag::scope[]
void cancel_all()
{
    std::atomic<int> cancelled{0};
    spindle::cancel_scope scope; // <1>
    auto const wait = [&] {
        try {
            spindle::this_fiber::sleep_for(1h);
        } catch (spindle::system_error const&) {
            ++cancelled;
            throw; // <2>
        }
    };
    auto first = spindle::spawn(wait);
    auto second = spindle::spawn(wait);
    spindle::this_fiber::sleep_for(5ms);
    scope.cancel(); // <3>
    first = {};
    second = {}; // <4>
    std::printf("cancelled: %d\n", cancelled.load());
}
// end::scope[]

// tag::group[]
void all_or_nothing()
{
    spindle::task_group group;
    for (int i = 1; i <= 3; ++i)
        group.spawn([i] {
            spindle::this_fiber::sleep_for(i * 5ms);
            if (i == 2)
                throw std::runtime_error("number 2 has failed"); // <1>
            std::printf("number %d is done\n", i);
        });
    try {
        group.wait(); // <2>
    } catch (std::runtime_error const& e) {
        std::printf("%s\n", e.what());
    }
} // <3>
// end::group[]

// tag::pool[]
void squares()
{
    std::atomic<int> sum{0};
    spindle::worker_pool<int> pool(3, [&](int i) { sum += i * i; }); // <1>
    for (int i = 1; i <= 10; ++i)
        pool.submit(i); // <2>
    pool.close();
    pool.wait(); // <3>
    std::printf("sum of squares: %d\n", sum.load());
}
// end::pool[]

// tag::shielded[]
void clean_up()
{
    spindle::cancel_scope const scope(5ms);
    try {
        spindle::this_fiber::sleep_for(1h);
    } catch (spindle::system_error const&) {
        spindle::shielded([] { // <1>
            spindle::this_fiber::sleep_for(1ms);
            std::puts("cleaned up");
        });
    }
}
// end::shielded[]

// tag::value[]
constexpr spindle::key<std::string> request; // <1>

void log(char const* what)
{
    auto const* const id = spindle::this_fiber::value(request); // <2>
    std::printf("%s: %s\n", id ? id->c_str() : "nobody", what);
}

void serve()
{
    spindle::cancel_scope scope;
    scope.set(request, "request 7");
    log("begins");
    spindle::spawn([] { log("goes on, in another fiber"); }).join(); // <3>
}
// end::value[]

} // namespace

// tag::main[]
int main()
{
    return spindle::run([] {
        limit();
        cancel_all();
        all_or_nothing();
        squares();
        clean_up();
        serve();
        return 0;
    });
}
// end::main[]
