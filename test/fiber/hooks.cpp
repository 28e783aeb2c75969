//
// fiber/hooks.cpp
// ~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE fiber.hooks
#include <spindle/detail/fiber/hooks.hpp>

#include <support/fixture.hpp>

#include <spindle/error.hpp>
#include <spindle/this_fiber.hpp>

#include <boost/asio/dispatch.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/io_context_strand.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/test/unit_test.hpp>

#include <atomic>

using namespace spindle::detail;
using namespace spindle_test;

namespace {

bool is_not_in_fiber(spindle::system_error const& e)
{
    return e.code() == spindle::errc::not_in_fiber;
}

// From inside a handler: it must neither park nor block.
bool all_waits_are_refused()
{
    int refused = 0;
    for (auto* const require : {&require_may_wait, &require_thread, &require_fiber})
        try {
            require();
        } catch (spindle::system_error const& e) {
            refused += is_not_in_fiber(e);
        }
    return refused == 3 && where_am_i() == standing::in_handler && !spindle::this_fiber::is_fiber();
}

} // namespace

BOOST_AUTO_TEST_CASE(a_plain_thread_may_block_and_not_park)
{
    BOOST_TEST((where_am_i() == standing::on_thread));
    BOOST_CHECK_NO_THROW(require_may_wait());
    BOOST_CHECK_NO_THROW(require_thread());
    BOOST_CHECK_EXCEPTION(require_fiber(), spindle::system_error, is_not_in_fiber);
}

BOOST_AUTO_TEST_CASE(a_fiber_may_park_and_not_block)
{
    over_processors([] {
        BOOST_TEST((where_am_i() == standing::in_fiber));
        BOOST_CHECK_NO_THROW(require_may_wait());
        BOOST_CHECK_NO_THROW(require_fiber());
        BOOST_CHECK_EXCEPTION(require_thread(), spindle::system_error, is_not_in_fiber);
    });
}

BOOST_AUTO_TEST_CASE(a_handler_may_do_neither)
{
    std::atomic<int> right{0};
    {
        on_scheduler s(2);
        boost::asio::post(s->get_executor(), [&] { right += all_waits_are_refused(); });
        boost::asio::post(s->next_executor(), [&] { right += all_waits_are_refused(); });
        BOOST_TEST(eventually([&] { return right == 2; }));
    }
    boost::asio::io_context ioc;
    boost::asio::post(ioc, [&] { right += all_waits_are_refused(); });
    ioc.run();
    boost::asio::thread_pool pool(1);
    boost::asio::post(pool, [&] { right += all_waits_are_refused(); });
    pool.join();
    BOOST_TEST(right == 4);
    BOOST_TEST((where_am_i() == standing::on_thread));
}

BOOST_AUTO_TEST_CASE(what_asio_runs_on_a_fibers_stack_is_a_handler)
{
    over_processors([] {
        int right = 0;
        boost::asio::io_context ioc;
        boost::asio::post(ioc, [&] { right += all_waits_are_refused(); });
        ioc.run();
        ioc.restart();
        boost::asio::io_context::strand classic(ioc);
        auto const strand = boost::asio::make_strand(ioc);
        boost::asio::post(classic, [&] { right += all_waits_are_refused(); });
        boost::asio::post(strand, [&] {
            boost::asio::dispatch(strand, [&] { right += all_waits_are_refused(); });
        });
        ioc.run();
        BOOST_TEST(right == 3);
        BOOST_TEST((where_am_i() == standing::in_fiber));
        spindle::this_fiber::yield();
    });
}
