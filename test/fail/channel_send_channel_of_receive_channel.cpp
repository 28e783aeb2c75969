// expect: conversion from '(const )?(spindle::)?receive_channel<int>' to
//
// fail/channel_send_channel_of_receive_channel.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// Go's perm.go: no way from the receiving side to the sending side.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/chan/channel.hpp>

int main()
{
    spindle::receive_channel<int> const in = spindle::channel<int>(1);
    spindle::send_channel<int> const out = in;
    (void)out;
}
