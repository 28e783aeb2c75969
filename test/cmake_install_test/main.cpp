//
// cmake_install_test/main.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~
// What every consumer compiles, links and runs: something compiled of spindle's
// own, something inline of Boost.Fiber's, and both at once.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/error.hpp>
#include <spindle/stack/pooled_mmap.hpp>
#include <spindle/version.hpp>

#include <boost/fiber/fiber.hpp>

#include <iostream>
#include <memory>

int main()
{
    int ran = 0;
    boost::fibers::fiber f(
        boost::fibers::launch::post,
        std::allocator_arg,
        spindle::stack::pooled_mmap(64 * 1024),
        [&] { ++ran; });
    f.join();
    std::cout << "spindle " << SPINDLE_VERSION << ", " << spindle::spindle_category().name() << '\n';
    return ran == 1 ? 0 : 1;
}
