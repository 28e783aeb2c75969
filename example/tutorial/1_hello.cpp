//
// tutorial/1_hello.cpp
// ~~~~~~~~~~~~~~~~~~~~
// doc/tutorial/1_hello.adoc
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

// tag::program[]
#include <spindle.hpp>

#include <chrono>
#include <cstdio>

int main()
{
    using namespace std::chrono_literals;

    return spindle::run([] {                                  // <1>
        spindle::go([] { std::puts("hello from a fiber"); }); // <2>
        spindle::this_fiber::sleep_for(10ms);                 // <3>
        std::puts("hello from the main fiber");
        return 0; // <4>
    });
}
// end::program[]
