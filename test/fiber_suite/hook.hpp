//
// fiber_suite/hook.hpp
// ~~~~~~~~~~~~~~~~~~~~
// What a shim defines, so that Boost.Fiber's own tests run on another algorithm.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_TEST_FIBER_SUITE_HOOK_HPP
#define SPINDLE_TEST_FIBER_SUITE_HOOK_HPP

// Boost.Fiber is built from its sources with one expression changed: where the
// constructor of boost::fibers::scheduler says
//
//     algo_{ new algo::round_robin() }
//
// it says new_algorithm(). So every thread of a test program that touches a
// fiber gets the shim's algorithm, from its first moment on: nothing runs on
// another one before, and the tests need no change.

namespace boost::fibers::algo {
class algorithm;
}

namespace spindle_suite {

// The algorithm of the calling thread's scheduler, newly made; Boost.Fiber
// deletes it through its own reference count.
//
// Called in the constructor of the scheduler, which is noexcept, while the
// thread has no active context yet: this function and the algorithm's
// constructor must not call boost::fibers::context::active(), nor anything of
// boost::this_fiber, and must not throw.
//
// Tests start and end plain std::threads that use fibers, so what threads share
// must outlive them all, main's thread-locals included: a leaked object, made at
// the first call, is the simplest.
boost::fibers::algo::algorithm* new_algorithm() noexcept;

// Called once by main, before anything of Boost.Fiber: returns program(argc,
// argv), perhaps with something round it.
int run(int (*program)(int, char**), int argc, char* argv[]);

} // namespace spindle_suite

#endif // SPINDLE_TEST_FIBER_SUITE_HOOK_HPP
