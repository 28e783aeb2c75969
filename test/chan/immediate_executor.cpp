//
// chan/immediate_executor.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~
// Asynchronous operations that are over before their initiation returns, of channels
// and of what is in sync: where their handlers run. Boost has immediate executors
// from 1.82 on.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE chan.immediate_executor
#include <spindle/chan/channel.hpp>
#include <spindle/chan/select.hpp>
#include <spindle/spawn.hpp>
#include <spindle/sync/latch.hpp>
#include <spindle/sync/mutex.hpp>
#include <spindle/sync/semaphore.hpp>
#include <spindle/sync/shared_mutex.hpp>
#include <spindle/sync/wait_group.hpp>

#include <support/asio_fixture.hpp>
#include <support/channel_fixture.hpp>
#include <support/handlers.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/bind_allocator.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/system_executor.hpp>
#include <boost/test/unit_test.hpp>
#include <boost/version.hpp>

#if BOOST_VERSION >= 108200
#include <boost/asio/bind_immediate_executor.hpp>
#endif

#include <exception>
#include <memory>
#include <optional>
#include <utility>

using namespace spindle_test;
using spindle::channel;
using spindle::make_select;
using spindle::on_receive;
using spindle::on_send;
using spindle::otherwise;
using spindle::receive_channel;

namespace {

// Calls f with each operation, as a function of its token: it can be done at once.
template <class Function>
void over_what_can_be_done_at_once(Function f)
{
    auto const with = [&](char const* name, auto operation) {
        BOOST_TEST_CONTEXT(name) { f(operation); }
    };
    error_code ec;
    {
        channel<int> ch(1);
        with("send", [&](auto h) { ch.async_send(1, std::move(h)); });
        with("receive", [&](auto h) { ch.async_receive(std::move(h)); });
        ch.close();
        with("receive, closed", [&](auto h) { ch.async_receive(std::move(h)); });
        with("send, closed", [&](auto h) { ch.async_send(1, std::move(h)); });
    }
    {
        channel<void> ch(1);
        with("signal", [&](auto h) { ch.async_send(std::move(h)); });
        with("wait for a signal", [&](auto h) { ch.async_receive(std::move(h)); });
    }
    {
        channel<int> full(1), room(1), none;
        BOOST_REQUIRE(full.try_send(1, ec));
        with("select that receives", [&](auto h) {
            make_select(on_receive(none, [](auto) {}), on_receive(full, [](auto) {}))
                .async_wait(std::move(h));
        });
        with("select that sends", [&](auto h) {
            make_select(on_receive(none, [](auto) {}), on_send(room, 1, [] {}))
                .async_wait(std::move(h));
        });
        with("select that does otherwise", [&](auto h) {
            make_select(on_receive(none, [](auto) {}), otherwise([] {}))
                .async_wait(std::move(h));
        });
    }
    {
        spindle::mutex m;
        with("mutex", [&](auto h) { m.async_lock(std::move(h)); });
        spindle::timed_mutex timed;
        with("timed_mutex", [&](auto h) { timed.async_lock(std::move(h)); });
        spindle::shared_mutex shared;
        with("shared_mutex", [&](auto h) { shared.async_lock(std::move(h)); });
        with("shared_mutex, reader", [&](auto h) { shared.async_lock_shared(std::move(h)); });
    }
    {
        spindle::counting_semaphore<> permits(1);
        with("semaphore", [&](auto h) { permits.async_acquire(std::move(h)); });
        spindle::latch open(0);
        with("latch", [&](auto h) { open.async_wait(std::move(h)); });
        spindle::wait_group nobody;
        with("wait_group", [&](auto h) { nobody.async_wait(std::move(h)); });
    }
}

} // namespace

BOOST_AUTO_TEST_CASE(without_one_no_handler_runs_inside_the_call)
{
    over_what_can_be_done_at_once([](auto operation) {
        asio::io_context ioc;
        auto const strand = asio::make_strand(ioc);
        auto inside = false;
        auto calls = 0;
        // Where the handler might run at once, if anybody asked.
        asio::post(strand, [&] {
            inside = true;
            operation(on(strand, [&](auto const&...) {
                BOOST_TEST(!inside);
                BOOST_TEST(strand.running_in_this_thread());
                ++calls;
            }));
            BOOST_TEST(calls == 0);
            inside = false;
        });
        ioc.run();
        BOOST_TEST(calls == 1);
    });
}

// The rest is about what this Boost may not have: the log says that it was left out.
#if BOOST_VERSION < 108200

BOOST_AUTO_TEST_CASE(with_one_the_handler_runs_there, *boost::unit_test::disabled()) {}

#else

namespace {

// Runs what it gets where it is, and counts.
class inline_executor {
public:
    explicit inline_executor(int& runs) noexcept : runs_(&runs) {}

    template <class Function>
    void execute(Function&& f) const
    {
        ++*runs_;
        std::forward<Function>(f)();
    }

    friend bool operator==(inline_executor const&, inline_executor const&) = default;

private:
    int* runs_;
};

template <class Executor, class Handler>
auto at_once_on(Executor const& ex, Handler&& h)
{
    return asio::bind_immediate_executor(ex, std::forward<Handler>(h));
}

} // namespace

BOOST_AUTO_TEST_CASE(with_one_the_handler_runs_there)
{
    over_what_can_be_done_at_once([](auto operation) {
        auto runs = 0, calls = 0;
        operation(at_once_on(inline_executor(runs), [&](auto const&...) { ++calls; }));
        BOOST_TEST(calls == 1);
        BOOST_TEST(runs == 1);
    });
}

BOOST_AUTO_TEST_CASE(from_there_it_goes_on_to_an_executor_of_its_own)
{
    over_what_can_be_done_at_once([](auto operation) {
        asio::io_context ioc;
        auto const strand = asio::make_strand(ioc);
        auto runs = 0, calls = 0;
        auto handler = [&](auto const&...) {
            BOOST_TEST(strand.running_in_this_thread());
            ++calls;
        };
        operation(at_once_on(inline_executor(runs), on(strand, handler)));
        BOOST_TEST(runs == 1);
        BOOST_TEST(calls == 0); // we are not on the strand
        ioc.run();
        BOOST_TEST(calls == 1);
        BOOST_TEST(runs == 1);
    });
    over_what_can_be_done_at_once([](auto operation) { // the other way about, and there
        asio::io_context ioc;
        auto const strand = asio::make_strand(ioc);
        auto calls = 0;
        auto handler = [&](auto const&...) { ++calls; };
        asio::post(strand, [&] {
            operation(on(strand, at_once_on(asio::system_executor(), handler)));
            BOOST_TEST(calls == 1);
        });
        ioc.run();
        BOOST_TEST(calls == 1);
    });
}

BOOST_AUTO_TEST_CASE(it_may_run_the_handler_somewhere_else)
{
    over_what_can_be_done_at_once([](auto operation) {
        asio::io_context other;
        auto calls = 0;
        operation(at_once_on(asio::any_io_executor(other.get_executor()), [&](auto const&...) {
            BOOST_TEST(other.get_executor().running_in_this_thread());
            ++calls;
        }));
        BOOST_TEST(calls == 0);
        other.run();
        BOOST_TEST(calls == 1);
    });
}

BOOST_AUTO_TEST_CASE(the_operation_has_gone_before_the_handler_runs)
{
    over_what_can_be_done_at_once([](auto operation) {
        asio::cancellation_signal signal;
        account memory;
        auto runs = 0, calls = 0;
        auto handler = [&](auto const&...) {
            BOOST_TEST(memory.bytes == 0);
            BOOST_TEST(memory.calls != 0);
            BOOST_TEST(!signal.slot().has_handler());
            ++calls;
        };
        operation(asio::bind_cancellation_slot(
            signal.slot(),
            asio::bind_allocator(
                counting_allocator<void>(memory), at_once_on(inline_executor(runs), handler))));
        BOOST_TEST(calls == 1);
        signal.emit(asio::cancellation_type::all);
        BOOST_TEST(calls == 1);
        BOOST_TEST(memory.bytes == 0);
    });
}

BOOST_AUTO_TEST_CASE(what_has_to_wait_does_not_use_it)
{
    asio::io_context ioc;
    auto runs = 0, calls = 0;
    auto const handler = [&](auto const&...) {
        BOOST_TEST(ioc.get_executor().running_in_this_thread());
        ++calls;
    };
    auto const token = [&] {
        return at_once_on(inline_executor(runs), on(ioc.get_executor(), handler));
    };
    error_code ec;
    channel<int> in, out, either;
    channel<void> signal;
    spindle::mutex m;
    spindle::shared_mutex shared;
    spindle::counting_semaphore<> permits(0);
    spindle::latch latch(1);
    spindle::wait_group group;
    m.lock();
    shared.lock();
    group.add(1);

    in.async_receive(token());
    out.async_send(1, token());
    signal.async_receive(token());
    make_select(on_receive(either, [](auto) {})).async_wait(token());
    m.async_lock(token());
    shared.async_lock_shared(token());
    permits.async_acquire(token());
    latch.async_wait(token());
    group.async_wait(token());
    BOOST_TEST(ioc.poll() == 0u);
    BOOST_TEST(calls == 0);

    // None of them runs inside the call that lets it go.
    BOOST_TEST(in.try_send(1, ec));
    BOOST_TEST(out.try_receive(ec).has_value());
    BOOST_TEST(signal.try_send(ec));
    BOOST_TEST(either.try_send(1, ec));
    m.unlock();
    shared.unlock();
    permits.release();
    latch.count_down();
    group.done();
    BOOST_TEST(calls == 0);
    ioc.run();
    BOOST_TEST(calls == 9);
    BOOST_TEST(runs == 0);
}

BOOST_AUTO_TEST_CASE(whoever_was_waited_for_runs_at_once_and_who_waited_does_not)
{
    asio::io_context ioc;
    auto runs = 0, received = 0, sent = 0;
    channel<int> ch;
    ch.async_receive(at_once_on(
        inline_executor(runs), on(ioc.get_executor(), [&](error_code, std::optional<int> v) {
            BOOST_TEST(v.value() == 7);
            ++received;
        })));
    ch.async_send(7, at_once_on(inline_executor(runs), [&](error_code ec) {
        BOOST_TEST(!ec);
        ++sent;
    }));
    BOOST_TEST(sent == 1);
    BOOST_TEST(received == 0);
    ioc.run();
    BOOST_TEST(received == 1);
    BOOST_TEST(runs == 1);
}

BOOST_AUTO_TEST_CASE(the_handler_may_use_what_it_was_called_by)
{
    auto runs = 0;

    // Deeper and deeper, as nobody is asked to come back later.
    struct ping {
        channel<int> ch{1};
        int& runs;
        int left = 100;

        void next()
        {
            if (left-- == 0) {
                ch.close();
                return;
            }
            ch.async_send(left, at_once_on(inline_executor(runs), [this](error_code) {
                auto const received = [this](error_code, std::optional<int> v) {
                    BOOST_TEST(v.value() == left);
                    next();
                };
                ch.async_receive(at_once_on(inline_executor(runs), received));
            }));
        }
    } pings{.runs = runs};
    pings.next();
    BOOST_TEST(pings.left == -1);
    BOOST_TEST(runs == 200);

    // A lock that is given back inside, and taken again.
    auto const m = std::make_unique<spindle::mutex>();
    auto locked = 0;
    m->async_lock(at_once_on(inline_executor(runs), [&](error_code, auto lock) {
        lock.unlock();
        m->async_lock(at_once_on(inline_executor(runs), [&](error_code, auto again) {
            BOOST_TEST(again.owns_lock());
            ++locked;
        }));
    }));
    BOOST_TEST(locked == 1);
    BOOST_TEST(m->try_lock());
    m->unlock();

    // The last handle goes inside.
    auto last = std::make_unique<channel<counted>>(1);
    error_code ec;
    BOOST_TEST(last->try_send(counted(1), ec));
    auto const in = last.get();
    in->async_receive(at_once_on(
        inline_executor(runs), [&](error_code, std::optional<counted> v) {
            BOOST_TEST(v->value == 1);
            last.reset();
        }));
    BOOST_TEST(!last);
    BOOST_TEST(counted::live == 0);
}

BOOST_AUTO_TEST_CASE(one_that_goes_gives_back_what_was_got)
{
    auto const token = std::make_shared<int>(0);
    asio::io_context ioc;
    spindle::mutex m;
    spindle::counting_semaphore<> permits(1);
    channel<counted> ch(1);
    error_code ec;
    BOOST_TEST(ch.try_send(counted(1), ec));
    {
        asio::io_context goes;
        auto const handler = [&] {
            return at_once_on(
                goes.get_executor(), on(ioc.get_executor(), [token](auto const&...) { ++*token; }));
        };
        m.async_lock(handler());
        permits.async_acquire(handler());
        ch.async_receive(handler());
        BOOST_TEST(!m.try_lock());
        BOOST_TEST(!permits.try_acquire());
    }
    BOOST_TEST(token.use_count() == 1);
    BOOST_TEST(*token == 0);
    BOOST_TEST(m.try_lock());
    m.unlock();
    BOOST_TEST(permits.try_acquire());
    BOOST_TEST(counted::live == 0);
    ioc.poll();
    BOOST_TEST(ioc.stopped());
}

BOOST_AUTO_TEST_CASE(a_fiber_is_never_over_at_once)
{
    asio::io_context ioc;
    auto runs = 0, calls = 0;
    auto inside = false;
    asio::post(ioc, [&] {
        inside = true;
        spindle::spawn(
            ioc, [] {}, at_once_on(inline_executor(runs), [&](std::exception_ptr e) {
                BOOST_TEST(!e);
                BOOST_TEST(!inside);
                ++calls;
            }));
        inside = false;
    });
    ioc.run();
    BOOST_TEST(calls == 1);
    BOOST_TEST(runs == 0);
}

#endif
