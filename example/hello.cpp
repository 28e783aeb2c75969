//
// hello.cpp
// ~~~~~~~~~
// A program whose threads belong to Spindle: main is a fiber, and starts others.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle.hpp>

#include <chrono>
#include <cstdio>

int main()
{
    using namespace std::chrono_literals;

    // A scheduler that lives as long as this function runs: one thread a core.
    return spindle::run([] {
        spindle::wait_group greetings;
        for (int i = 1; i <= 3; ++i)
            greetings.go([i] { // a fiber of its own
                // Parks the fiber. Its thread runs the others meanwhile.
                spindle::this_fiber::sleep_for(i * 10ms);
                std::printf("hello from fiber %d\n", i);
            });
        greetings.wait(); // parks this fiber, the main one, until all three are done
        std::puts("goodbye");
        return 0; // what run() returns
    });
}
