//
// tutorial/7_blocking_calls.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// doc/tutorial/7_blocking_calls.adoc
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

// tag::includes[]
#include <spindle.hpp>

#include <boost/asio.hpp>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <future>
#include <string>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>
// end::includes[]

namespace asio = boost::asio;
using namespace std::chrono_literals;

namespace {

// tag::call[]
long size_of(char const* path)
{
    return spindle::blocking([&] { // <1>
        struct stat s;
        return ::stat(path, &s) == 0 ? static_cast<long>(s.st_size) : -1;
    });
}

void a_call()
{
    std::printf("/dev/null: %ld bytes\n", size_of("/dev/null"));
    if (size_of("/no/such/file") < 0)
        std::printf("/no/such/file: %s\n", std::strerror(errno)); // <2>
}
// end::call[]

// tag::meanwhile[]
void go_on_meanwhile()
{
    std::atomic<bool> enough{false};
    auto ticks = spindle::spawn([&] {
        for (int i = 0; i != 10; ++i)
            spindle::this_fiber::sleep_for(1ms);
        enough = true;
    });
    spindle::blocking([&] { // <1>
        while (!enough)
            std::this_thread::sleep_for(1ms);
    });
    ticks.join();
    std::puts("ten ticks, while a call was blocking");
}
// end::meanwhile[]

// tag::many[]
void many_calls()
{
    spindle::wait_group calls;
    auto const start = std::chrono::steady_clock::now();
    for (int i = 0; i != 100; ++i)
        calls.go([] { spindle::blocking([] { std::this_thread::sleep_for(100ms); }); }); // <1>
    calls.wait();
    auto const took = std::chrono::steady_clock::now() - start;
    std::printf("100 times 100 ms, in less than 5 s: %d\n", took < 5s);
}
// end::many[]

// tag::inside[]
void not_inside()
{
    spindle::channel<int> answers;
    spindle::blocking([&] {
        try {
            answers.receive(); // <1>
        } catch (spindle::system_error const& e) {
            std::printf("refused: %d\n", e.code() == spindle::errc::not_in_fiber);
        }
    });
}
// end::inside[]

// tag::future[]
void a_future()
{
    auto answer = std::async(std::launch::async, [] { return 42; });
    std::printf("the future: %d\n", spindle::get(answer)); // <1>
}
// end::future[]

// tag::hog[]
std::atomic<bool> told{false};

void on_hog(spindle::fiber_info const& who, std::chrono::steady_clock::duration)
{
    std::printf("%s does not wait\n", who.name.c_str()); // <1>
    told = true;
}

void a_hog()
{
    auto hog = spindle::spawn({.name = "the adder"}, [] {
        long n = 0;
        while (!told) // <2>
            ++n;
        return n;
    });
    spindle::this_fiber::sleep_for(1ms); // <3>
    std::printf("it has counted: %d\n", hog.join() > 0);
}
// end::hog[]

// tag::pin[]
thread_local int frames = 0; // what a library keeps with its thread

void a_thread_of_its_own()
{
    spindle::pin const here; // <1>
    for (int i = 0; i != 3; ++i) {
        ++frames;
        spindle::this_fiber::sleep_for(1ms); // <2>
    }
    std::printf("frames: %d\n", frames);
}
// end::pin[]

// tag::guest[]
void on_an_io_context()
{
    asio::io_context ioc;
    auto const here = std::this_thread::get_id();
    spindle::spawn(
        ioc,
        [&] {
            auto const there = spindle::blocking([] { return std::this_thread::get_id(); }); // <1>
            std::printf("on another thread: %d\n", there != here);
        },
        asio::detached);
    ioc.run();
}
// end::guest[]

} // namespace

// tag::main[]
int main()
{
    spindle::run(
        [] {
            a_call();
            go_on_meanwhile();
            many_calls();
            not_inside();
            a_future();
            a_hog();
            a_thread_of_its_own();
        },
        {.processors = 1, .on_hog = on_hog}); // <1>
    on_an_io_context();
    return 0;
}
// end::main[]
