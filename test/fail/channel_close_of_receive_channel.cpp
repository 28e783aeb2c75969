// expect: no member named 'close'
//
// fail/channel_close_of_receive_channel.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// Go's perm.go: the receiving side cannot close.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/chan/channel.hpp>

int main()
{
    spindle::receive_channel<int> const in = spindle::channel<int>(1);
    in.close();
}
