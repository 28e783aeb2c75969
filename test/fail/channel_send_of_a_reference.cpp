// expect: cannot bind rvalue reference|no matching member function for call to 'send'
//
// fail/channel_send_of_a_reference.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// What cannot be copied is sent by std::move only.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/chan/channel.hpp>

#include <memory>

int main()
{
    spindle::channel<std::unique_ptr<int>> const ch(1);
    std::unique_ptr<int> v;
    ch.send(v);
}
