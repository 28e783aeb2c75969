// expect: 'begin'
//
// fail/channel_range_over_send_channel.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// Go's perm.go: a loop over the sending side.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/chan/channel.hpp>

int main()
{
    spindle::send_channel<int> const out = spindle::channel<int>(1);
    for (int const v : out)
        (void)v;
}
