//
// main.cpp
// ~~~~~~~~
// The main of every test program that CMake builds: compiled once. (b2 takes
// the one that Boost.Test makes from BOOST_TEST_MODULE, in each program.)
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <boost/test/unit_test.hpp>

// What TSan takes for races, and is none. libstdc++.so, which is not instrumented,
// counts the references to an exception, of which a std::future gives one to another
// thread. Asio counts those to an executor, and orders the last one by a fence, of
// which TSan knows nothing.
extern "C" char const* __tsan_default_suppressions();
extern "C" char const* __tsan_default_suppressions()
{
    return "race:std::__exception_ptr::exception_ptr::_M_release\n"
           "race:boost::asio::execution::detail::any_executor_base::destroy_shared\n";
}

int main(int argc, char* argv[])
{
    return boost::unit_test::unit_test_main(+[] { return true; }, argc, argv);
}
