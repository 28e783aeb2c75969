// expect: constraints not satisfied|no matching function
//
// fail/select_on_receive_of_send_channel.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// Go's perm.go: the sending side cannot receive, in a select neither.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/chan/channel.hpp>
#include <spindle/chan/select.hpp>

int main()
{
    spindle::send_channel<int> const out = spindle::channel<int>(1);
    spindle::select(spindle::on_receive(out));
}
