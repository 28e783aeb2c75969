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

// Boost.Fiber is built from its sources with one line added: where a thread gets
// its main context, its scheduler and its dispatcher, behind
//
//     active_ = main_ctx;
//
// it calls install(). So every thread of a test program that touches a fiber
// gets the shim's algorithm, from its first moment on: nothing runs on another
// one before, and the tests need no change.

namespace spindle_suite {

// Installs the algorithm on the calling thread, by use_scheduling_algorithm().
//
// That asks for the active context, and so enters the constructor that calls
// this once more: it finds all done, and calls nothing again.
//
// Tests start and end plain std::threads that use fibers, so what threads share
// must outlive them all, main's thread-locals included: a leaked object, made at
// the first call, is the simplest.
void install();

// Called once by main, before anything of Boost.Fiber: returns program(argc,
// argv), perhaps with something round it.
int run(int (*program)(int, char**), int argc, char* argv[]);

} // namespace spindle_suite

#endif // SPINDLE_TEST_FIBER_SUITE_HOOK_HPP
