//
// tutorial/5_select.cpp
// ~~~~~~~~~~~~~~~~~~~~~
// doc/tutorial/5_select.adoc
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

// tag::includes[]
#include <spindle.hpp>

#include <chrono>
#include <cstdio>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>
// end::includes[]

using namespace std::chrono_literals;

namespace {

// tag::first[]
void first_of_two()
{
    spindle::channel<int> numbers;
    spindle::channel<std::string> words;
    spindle::go([words] { words.send("hello"); });

    std::optional<int> number; // <1>
    std::optional<std::string> word;
    switch (spindle::select( // <2>
        spindle::on_receive(numbers, number),
        spindle::on_receive(words, word))) {
    case 0:
        std::printf("a number: %d\n", number.value_or(-1));
        break;
    case 1:
        std::printf("a word: %s\n", word.value_or("none").c_str());
        break;
    }
}
// end::first[]

// tag::time[]
void not_for_ever()
{
    spindle::channel<int> silent;
    spindle::select( // <1>
        spindle::on_receive(silent, [](std::optional<int>) { std::puts("received"); }),
        spindle::on_timeout(10ms, [] { std::puts("nothing for 10 ms"); }));
    spindle::select( // <2>
        spindle::on_receive(silent, [](std::optional<int>) { std::puts("received"); }),
        spindle::otherwise([] { std::puts("nothing now"); }));
}
// end::time[]

// tag::merge[]
std::vector<int> merge(spindle::receive_channel<int> a, spindle::receive_channel<int> b)
{
    std::vector<int> all;
    auto const take = [&](spindle::receive_channel<int>& from) {
        return [&](std::optional<int> v) {
            if (v)
                all.push_back(*v);
            else
                from = {}; // <1>
        };
    };
    while (a || b) // <2>
        spindle::select(spindle::on_receive(a, take(a)), spindle::on_receive(b, take(b)));
    return all;
}

void merge_two()
{
    spindle::channel<int> odd, even;
    auto const send = [](spindle::send_channel<int> to, int first) {
        spindle::close_guard const closing(to);
        for (int i = first; i <= 100; i += 2)
            to.send(i);
    };
    spindle::go(send, odd, 1);
    spindle::go(send, even, 2);
    std::printf("merged: %zu\n", merge(odd, even).size());
}
// end::merge[]

// tag::stop[]
void work(spindle::receive_channel<int> jobs, std::stop_token stop)
{
    int done = 0;
    for (bool go_on = true; go_on;)
        spindle::select(
            spindle::on_receive(jobs, [&](std::optional<int>) { ++done; }),
            spindle::on_stop(stop, [&] { go_on = false; })); // <1>
    std::printf("stopped after %d jobs\n", done);
}

void stop_a_worker()
{
    spindle::channel<int> jobs;
    auto const worker = spindle::spawn([&](std::stop_token stop) { work(jobs, stop); });
    for (int i = 0; i != 3; ++i)
        jobs.send(i);
} // <2>
// end::stop[]

// tag::send[]
void send_or_receive()
{
    spindle::channel<std::string> out, in;
    spindle::go([in] { in.send("news"); });

    std::string draft = "a long letter";
    std::optional<std::string> news;
    spindle::select(
        spindle::on_send(out, std::move(draft)), // <1>
        spindle::on_receive(in, news));
    std::printf("%s; still there: %s\n", news.value_or("sent").c_str(), draft.c_str());
}
// end::send[]

// tag::span[]
int fastest(std::vector<spindle::channel<int>> const& servers)
{
    std::optional<int> answer;
    std::vector<spindle::select_case> cases; // <1>
    for (auto const& s : servers)
        cases.emplace_back(spindle::on_receive(s, answer));
    auto const which = spindle::select(cases); // <2>
    std::printf("server %zu has answered\n", which);
    return answer.value_or(0);
}

void ask_three()
{
    std::vector<spindle::channel<int>> servers; // <3>
    for (int i = 0; i != 3; ++i)
        servers.emplace_back();
    spindle::go([last = servers[2]] { last.send(42); });
    std::printf("answer: %d\n", fastest(servers));
}
// end::span[]

} // namespace

// tag::main[]
int main()
{
    return spindle::run([] {
        first_of_two();
        not_for_ever();
        merge_two();
        stop_a_worker();
        send_or_receive();
        ask_three();
        return 0;
    });
}
// end::main[]
