// expect: conversion from '(const )?(spindle::)?send_channel<int>' to
//
// fail/channel_receive_channel_of_send_channel.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// Go's perm.go: no way from the sending side to the receiving side.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/chan/channel.hpp>

int main()
{
    spindle::send_channel<int> const out = spindle::channel<int>(1);
    spindle::receive_channel<int> const in = out;
    (void)in;
}
