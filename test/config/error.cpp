//
// config/error.cpp
// ~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE config.error
#include <spindle/error.hpp>

#include <boost/system/errc.hpp>
#include <boost/test/unit_test.hpp>

#include <set>
#include <string>
#include <utility>

namespace {

using spindle::errc;
using spindle::error_code;
namespace conditions = boost::system::errc;

constexpr std::pair<errc, conditions::errc_t> all[] = {
    {errc::channel_closed, conditions::broken_pipe},
    {errc::not_in_fiber, conditions::operation_not_permitted},
    {errc::deadlock, conditions::resource_deadlock_would_occur},
    {errc::thread_limit, conditions::resource_unavailable_try_again},
    {errc::no_stack_memory, conditions::not_enough_memory},
    {errc::scheduler_stopped, conditions::operation_canceled},
};

} // namespace

BOOST_AUTO_TEST_CASE(each_value_compares_equal_to_its_condition_and_to_no_other)
{
    for (auto const& [value, condition] : all) {
        error_code const ec = value;
        BOOST_TEST(ec.failed());
        BOOST_TEST((ec == value));
        for (auto const& [other, its_condition] : all)
            BOOST_TEST((ec == make_error_condition(its_condition)) == (other == value));
    }
}

BOOST_AUTO_TEST_CASE(each_value_has_a_message_of_its_own)
{
    std::set<std::string> messages;
    for (auto const& [value, condition] : all)
        messages.insert(error_code(value).message());
    BOOST_TEST(messages.size() == std::size(all));
    BOOST_TEST(error_code(999, spindle::spindle_category()).message() == "unknown spindle error");
    BOOST_TEST(spindle::spindle_category().name() == std::string("spindle"));
}

BOOST_AUTO_TEST_CASE(what_is_thrown_carries_the_code_and_the_advice)
{
    try {
        spindle::detail::throw_error(errc::not_in_fiber, "spawn one");
        BOOST_ERROR("nothing was thrown");
    } catch (spindle::system_error const& e) {
        BOOST_TEST((e.code() == errc::not_in_fiber));
        BOOST_TEST(std::string(e.what()).find("spawn one") == 0u);
    }
}

BOOST_AUTO_TEST_CASE(a_cancelled_wait_reports_what_asio_reports)
{
    BOOST_TEST((spindle::detail::operation_aborted() == conditions::operation_canceled));
    BOOST_TEST(spindle::detail::operation_aborted().value() == ECANCELED);
}
