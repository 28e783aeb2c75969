//
// tutorial/2_spawn_and_join.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// doc/tutorial/2_spawn_and_join.adoc
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

// tag::includes[]
#include <spindle.hpp>

#include <chrono>
#include <cstdio>
#include <numeric>
#include <span>
#include <stdexcept>
#include <vector>
// end::includes[]

using namespace std::chrono_literals;

namespace {

// tag::result[]
long sum(std::span<int const> numbers)
{
    if (numbers.size() <= 1000)
        return std::accumulate(numbers.begin(), numbers.end(), 0L);
    auto const half = numbers.size() / 2;
    auto left = spindle::spawn([&] { return sum(numbers.first(half)); }); // <1>
    auto const right = sum(numbers.subspan(half));
    return left.join() + right; // <2>
}
// end::result[]

// tag::exception[]
void join_a_failure()
{
    auto fiber = spindle::spawn([] { throw std::runtime_error("out of luck"); });
    try {
        fiber.join();
    } catch (std::runtime_error const& e) {
        std::printf("joined: %s\n", e.what());
    }
}
// end::exception[]

// tag::stop[]
void stop_a_fiber()
{
    int ticks = 0;
    {
        auto clock = spindle::spawn([&] {
            for (;; ++ticks)
                spindle::this_fiber::sleep_for(5ms); // <1>
        });
        spindle::this_fiber::sleep_for(50ms);
    } // <2>
    std::puts(ticks > 0 ? "the clock has ticked" : "the clock has not ticked");
}
// end::stop[]

// tag::group[]
void wait_for_many()
{
    std::vector<int> squares(8);
    spindle::wait_group group;
    for (int i = 0; i != 8; ++i)
        group.go([&squares, i] { squares[static_cast<std::size_t>(i)] = i * i; });
    group.wait();
    std::printf("the last square: %d\n", squares.back());
}
// end::group[]

} // namespace

// tag::main[]
int main()
{
    return spindle::run([] {
        std::vector<int> numbers(100'000);
        std::iota(numbers.begin(), numbers.end(), 1);
        std::printf("sum: %ld\n", sum(numbers));
        join_a_failure();
        stop_a_fiber();
        wait_for_many();
        return 0;
    });
}
// end::main[]
