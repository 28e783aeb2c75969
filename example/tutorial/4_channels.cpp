//
// tutorial/4_channels.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~
// doc/tutorial/4_channels.adoc
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

// tag::includes[]
#include <spindle.hpp>

#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <utility>
// end::includes[]

using namespace std::chrono_literals;

namespace {

// tag::stream[]
void count(spindle::send_channel<int> out) // <1>
{
    spindle::close_guard const closing(out); // <2>
    for (int i = 1; i <= 10; ++i)
        out.send(i); // <3>
}

void add_up()
{
    spindle::channel<int> numbers(4); // <4>
    spindle::go(count, numbers);
    int sum = 0;
    for (int n : numbers) // <5>
        sum += n;
    std::printf("sum: %d\n", sum);
}
// end::stream[]

// tag::rendezvous[]
void hand_over()
{
    spindle::channel<std::unique_ptr<std::string>> parcels; // <1>
    spindle::go([parcels] {
        parcels.send(std::make_unique<std::string>("a parcel")); // <2>
        parcels.close();
    });
    while (auto parcel = parcels.receive()) // <3>
        std::printf("received %s\n", (*parcel)->c_str());
}
// end::rendezvous[]

// tag::workers[]
struct job {
    int number;
    spindle::send_channel<int> answer; // <1>
};

void share_work()
{
    spindle::channel<job> jobs;
    spindle::channel<int> answers(8);
    spindle::wait_group workers;
    for (int i = 0; i != 3; ++i)
        workers.go([jobs] {
            for (auto& j : jobs) // <2>
                j.answer.send(j.number * j.number);
        });
    for (int n = 1; n <= 8; ++n)
        jobs.send({n, answers});
    jobs.close(); // <3>
    workers.wait();
    answers.close();
    int sum = 0;
    for (int square : answers)
        sum += square;
    std::printf("sum of squares: %d\n", sum);
}
// end::workers[]

// tag::without[]
void without_waiting()
{
    spindle::channel<int> slots(1);
    spindle::error_code ec;
    bool const first = slots.try_send(1, ec);
    bool const second = slots.try_send(2, ec); // <1>
    std::printf("sent: %d, %d; %s\n", first, second, ec.message().c_str());

    (void)slots.receive();
    auto const late = slots.receive_for(10ms, ec); // <2>
    std::printf("received: %d; %s\n", late.has_value(), ec.message().c_str());

    slots.close();
    slots.send(3, ec); // <3>
    std::printf("closed: %d\n", ec == spindle::errc::channel_closed);
}
// end::without[]

// tag::thread[]
void from_a_thread()
{
    spindle::channel<std::string> words;
    std::thread plain([words] { // <1>
        words.send("a thread");
        words.close();
    });
    for (auto const& word : words) // <2>
        std::printf("heard from %s\n", word.c_str());
    plain.join();
}
// end::thread[]

} // namespace

// tag::main[]
int main()
{
    return spindle::run([] {
        add_up();
        hand_over();
        share_work();
        without_waiting();
        from_a_thread();
        return 0;
    });
}
// end::main[]
