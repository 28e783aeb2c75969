// expect: conversion from 'int' to
//
// fail/channel_of_a_number.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// A capacity is no channel.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/chan/channel.hpp>

int main()
{
    spindle::channel<int> const ch = 3;
    (void)ch;
}
