//
// coroutine_bridge.cpp
// ~~~~~~~~~~~~~~~~~~~~
// A coroutine of Asio's and a fiber on one io_context. They talk over a channel,
// in both directions: the fiber asks, the coroutine answers.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle.hpp>

#include <boost/asio.hpp>

#include <chrono>
#include <cstdio>
#include <exception>
#include <thread>

namespace asio = boost::asio;
using namespace std::chrono_literals;

namespace {

// Waits for a question, thinks, answers; until the channel is closed.
asio::awaitable<int> answer(spindle::channel<int> talk)
{
    spindle::close_guard const done(talk); // should it fail, the fiber is not left waiting
    asio::steady_timer thinking(co_await asio::this_coro::executor);
    int answers = 0;
    while (auto question = co_await talk.async_receive(asio::use_awaitable)) {
        thinking.expires_after(1ms);
        co_await thinking.async_wait(asio::use_awaitable);
        co_await talk.async_send(*question * *question, asio::use_awaitable);
        ++answers;
    }
    co_return answers;
}

// The same channel from a fiber. It has no capacity: a send ends when the other
// side has the value, so what is received next is the answer to it.
void ask(spindle::channel<int> talk)
{
    spindle::close_guard const done(talk); // on every way out; the coroutine's loop ends
    for (int question = 1; question <= 5; ++question) {
        talk.send(question);
        auto const reply = talk.receive();
        std::printf("%d squared is %d\n", question, reply.value());
    }
}

} // namespace

int main()
{
    asio::io_context ioc;
    spindle::channel<int> talk;
    std::exception_ptr failure;
    auto const note = [&failure](std::exception_ptr e) {
        if (e)
            failure = e;
    };

    // A strand for the completions: they share what they report to.
    auto const strand = asio::make_strand(ioc);
    asio::co_spawn(
        ioc, answer(talk), asio::bind_executor(strand, [&](std::exception_ptr e, int answers) {
            note(e);
            std::printf("the coroutine has answered %d questions\n", answers);
        }));
    spindle::spawn(
        ioc, [talk] { ask(talk); }, asio::bind_executor(strand, note));

    std::jthread second([&] { ioc.run(); });
    ioc.run(); // returns when both have ended
    second.join();

    if (!failure)
        return 0;
    try {
        std::rethrow_exception(failure);
    } catch (std::exception const& e) {
        std::fprintf(stderr, "coroutine_bridge: %s\n", e.what());
    }
    return 1;
}
