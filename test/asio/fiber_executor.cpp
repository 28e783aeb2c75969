//
// asio/fiber_executor.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE asio.fiber_executor
#include <spindle/asio/fiber_executor.hpp>
#include <spindle/chan/channel.hpp>
#include <spindle/spawn.hpp>
#include <spindle/this_fiber.hpp>

#include <support/asio_fixture.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/defer.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/test/unit_test.hpp>

#include <string>
#include <utility>

using namespace spindle_test;
using namespace std::chrono_literals;
using spindle::fiber_executor;

namespace {

using of_context = fiber_executor<asio::io_context::executor_type>;
using of_strand = fiber_executor<asio::strand<asio::io_context::executor_type>>;
using of_any = fiber_executor<asio::any_io_executor>;

template <class Executor>
constexpr bool is_good = asio::execution::is_executor_v<Executor>
    && std::is_nothrow_copy_constructible_v<Executor>
    && std::is_nothrow_move_constructible_v<Executor>
    && noexcept(std::declval<Executor const&>() == std::declval<Executor const&>())
    && std::is_constructible_v<asio::any_io_executor, Executor>;

static_assert(is_good<of_context>);
static_assert(is_good<of_strand>);
static_assert(is_good<of_any>);
static_assert(is_good<fiber_executor<asio::thread_pool::executor_type>>);

} // namespace

BOOST_AUTO_TEST_CASE(what_is_submitted_runs_in_a_fiber_and_may_wait)
{
    over_threads([](asio::io_context& ioc, unsigned threads) {
        fiber_executor const ex(ioc);
        spindle::channel<int> ch;
        tally t;
        asio::post(ex, [&, ch] {
            t.check(spindle::this_fiber::is_fiber());
            t.check(ch.receive() == 1);
            t.check(ch.receive() == 2);
            t.check(ch.receive() == 3);
        });
        asio::post(ex, [ch] { ch.send(1); ch.send(2); });
        asio::defer(ex, [ch] { spindle::this_fiber::sleep_for(1ms); ch.send(3); });
        asio::dispatch(ex, [&] { t.check(spindle::this_fiber::is_fiber()); });
        run_on(ioc, threads);
        BOOST_TEST(t.good() == 5u);
        BOOST_TEST(t.bad() == 0u);
    });
}
