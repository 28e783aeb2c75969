// expect: no matching (function|constructor) for .*'(const )?spindle::channel<int>
//
// fail/channel_channel_of_receive_channel.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// Go's perm.go: no way from one side back to the channel.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/chan/channel.hpp>

int main()
{
    spindle::receive_channel<int> const in = spindle::channel<int>(1);
    spindle::channel<int> const ch(in);
    (void)ch;
}
