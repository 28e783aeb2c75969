// expect: no member named 'receive'
//
// fail/channel_receive_from_send_channel.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// Go's perm.go: the sending side cannot receive.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/chan/channel.hpp>

int main()
{
    spindle::send_channel<int> const out = spindle::channel<int>(1);
    (void)out.receive();
}
