//
// package/parked.cpp
// ~~~~~~~~~~~~~~~~~~
// A program with a fiber that waits, for gdb to look at.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle.hpp>

extern "C" [[gnu::noinline]] void all_are_parked() { asm volatile(""); }

[[gnu::noinline]] int wait_for_a_number(spindle::channel<int> const& numbers)
{
    auto const n = numbers.receive().value_or(0);
    asm volatile("");
    return n;
}

int main()
{
    return spindle::run([] {
        spindle::channel<int> const numbers;
        auto receiver =
            spindle::spawn({.name = "receiver"}, [&] { return wait_for_a_number(numbers); });
        while (spindle::this_fiber::get_scheduler().stats().states.waiting == 0)
            spindle::this_fiber::yield();
        all_are_parked();
        numbers.send(42);
        return receiver.join() == 42 ? 0 : 1;
    });
}
