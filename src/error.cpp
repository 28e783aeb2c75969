//
// error.cpp
// ~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/error.hpp>

#include <boost/system/errc.hpp>
#include <boost/system/system_category.hpp>
#include <boost/throw_exception.hpp>

#include <cerrno>
#include <string>

namespace spindle {

namespace {

class category final : public boost::system::error_category {
public:
    category() noexcept : error_category(0x5b1d1e0f6c3a7e21u) {}

    char const* name() const noexcept override { return "spindle"; }

    std::string message(int value) const override
    {
        switch (static_cast<errc>(value)) {
        case errc::channel_closed:
            return "channel closed";
        case errc::not_in_fiber:
            return "not in a fiber";
        case errc::deadlock:
            return "the wait could never end";
        case errc::thread_limit:
            return "no thread could be started";
        case errc::no_stack_memory:
            return "no memory for a fiber's stack";
        case errc::scheduler_stopped:
            return "scheduler stopped";
        }
        return "unknown spindle error";
    }

    boost::system::error_condition default_error_condition(int value) const noexcept override
    {
        namespace conditions = boost::system::errc;
        switch (static_cast<errc>(value)) {
        case errc::channel_closed:
            return make_error_condition(conditions::broken_pipe);
        case errc::not_in_fiber:
            return make_error_condition(conditions::operation_not_permitted);
        case errc::deadlock:
            return make_error_condition(conditions::resource_deadlock_would_occur);
        case errc::thread_limit:
            return make_error_condition(conditions::resource_unavailable_try_again);
        case errc::no_stack_memory:
            return make_error_condition(conditions::not_enough_memory);
        case errc::scheduler_stopped:
            return make_error_condition(conditions::operation_canceled);
        }
        return {value, *this};
    }
};

} // namespace

boost::system::error_category const& spindle_category() noexcept
{
    static category const instance;
    return instance;
}

namespace detail {

error_code operation_aborted() noexcept
{
    return {ECANCELED, boost::system::system_category()};
}

void throw_error(error_code ec) { boost::throw_exception(system_error(ec)); }

void throw_error(error_code ec, char const* advice)
{
    boost::throw_exception(system_error(ec, advice));
}

} // namespace detail

} // namespace spindle
