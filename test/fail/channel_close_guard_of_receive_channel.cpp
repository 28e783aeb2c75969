// expect: no (viable|matching) (constructor|function)|class template argument deduction failed
//
// fail/channel_close_guard_of_receive_channel.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// Go's perm.go: the receiving side cannot close, by a guard either.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/chan/channel.hpp>

int main()
{
    spindle::receive_channel<int> const in = spindle::channel<int>(1);
    spindle::close_guard const closing(in);
}
