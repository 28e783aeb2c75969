//
// spindle/testing/boost_test.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_TESTING_BOOST_TEST_HPP
#define SPINDLE_TESTING_BOOST_TEST_HPP

#include <spindle/scheduler.hpp>
#include <spindle/testing/explore.hpp>
#include <spindle/testing/run_case.hpp>

#include <spindle/detail/fiber/boost_access.hpp>

#include <boost/function.hpp>
#include <boost/test/framework.hpp>
#include <boost/test/results_collector.hpp>
#include <boost/test/tree/decorator.hpp>
#include <boost/test/tree/fixture.hpp>
#include <boost/test/tree/global_fixture.hpp>
#include <boost/test/tree/test_unit.hpp>
#include <boost/test/tree/traverse.hpp>
#include <boost/test/tree/visitor.hpp>
#include <boost/test/unit_test.hpp>
#include <boost/test/unit_test_log.hpp>

#include <exception>
#include <functional>
#include <map>
#include <string>
#include <type_traits>
#include <utility>

namespace spindle::detail {

// Boost.Test shows the function of a test case, and lets nobody set it.
struct case_function_tag {
    friend constexpr auto member_of(case_function_tag) noexcept;
};

template struct expose_member<
    case_function_tag,
    &boost::unit_test::class_property<boost::function<void()>>::value>;

} // namespace spindle::detail

namespace spindle::testing {

namespace detail {

// --- running ------------------------------------------------------------------------

template <class Function>
void call_with_scheduler(Function& fn, scheduler& s)
{
    if constexpr (std::is_invocable_v<Function&, scheduler&>)
        fn(s);
    else
        fn();
}

// How many checks of the running test case have failed.
inline unsigned long failures_so_far()
{
    auto const id = boost::unit_test::framework::current_test_case_id();
    auto const& r = boost::unit_test::results_collector.results(id);
    return r.p_assertions_failed.get();
}

inline void report(case_result& r)
{
    for (auto const& fault : r.faults)
        BOOST_ERROR("spindle: " << fault << (r.fibers.empty() ? "" : "\n") << r.fibers);
    if (r.error)
        std::rethrow_exception(std::move(r.error));
}

} // namespace detail

/// Calls `fn()` or `fn(scheduler&)` in a fiber, on schedulers of the sizes asked for.
/**
 * For a part of a test case; `in_fibers` is for whole ones. Checks fail the test case
 * that calls it, with the number of processors in their context.
 *
 * @par Example
 * @code
 * BOOST_AUTO_TEST_CASE(a_pipeline_ends)
 * {
 *     spindle::testing::on_each([] { run_pipeline(); }, {.processors = {1, 4}});
 * }
 * @endcode
 *
 * Boost.Test's checks are for one thread at a time: make them in this fiber, or in others
 * while this one waits.
 *
 * @par Blocking
 * Blocks the calling thread.
 */
template <class Function>
void on_each(Function fn, case_options const& options = {})
{
    for (auto const n : options.processors)
        BOOST_TEST_CONTEXT(n << " processors")
        {
            auto r =
                run_case([&fn](scheduler& s) { detail::call_with_scheduler(fn, s); }, n, options);
            detail::report(r);
        }
}

/// `explore`, that fails where a check of Boost.Test's does.
/**
 * @par Example
 * @code
 * BOOST_AUTO_TEST_CASE(nobody_waits_for_ever)
 * {
 *     spindle::testing::explore_checked([] {
 *         auto const sum = add_up_in_fibers();
 *         BOOST_TEST(sum == 10);
 *     });
 * }
 * @endcode
 */
template <class Function>
exploration explore_checked(Function fn, explore_options options = {})
{
    options.failed = [before = detail::failures_so_far(),
                      also = std::move(options.failed)]() mutable {
        auto const after = detail::failures_so_far();
        return std::exchange(before, after) != after || (also && also());
    };
    return testing::explore(std::move(fn), options);
}

namespace detail {

// --- whole suites ---------------------------------------------------------------------

using case_function = boost::function<void()>;

// What turns the function of a test case into the one that runs it.
using wrapper = std::function<void(case_function const&)>;

// The functions as they were written.
inline std::map<boost::unit_test::test_unit_id, case_function>& originals()
{
    static std::map<boost::unit_test::test_unit_id, case_function> all;
    return all;
}

// Inner suites and cases come later than those around them, and win.
class wrapping final : public boost::unit_test::test_tree_visitor {
public:
    explicit wrapping(wrapper const& w) : wrapper_(w) {}

    void visit(boost::unit_test::test_case const& tc) override
    {
        auto& function = const_cast<boost::unit_test::test_case&>(tc).p_test_func.*
                         member_of(spindle::detail::case_function_tag{});
        auto const original = originals().emplace(tc.p_id, function).first->second;
        function = [w = wrapper_, original] { w(original); };
    }

private:
    wrapper const& wrapper_;
};

// At the start of a suite its cases are there, those of data sets too.
class wrap_unit final : public boost::unit_test::test_unit_fixture {
public:
    wrap_unit(boost::unit_test::test_unit_id id, wrapper w) : id_(id), wrapper_(std::move(w)) {}

    void setup() override
    {
        wrapping v(wrapper_);
        boost::unit_test::traverse_test_tree(id_, v, true);
    }
    void teardown() override {}

private:
    boost::unit_test::test_unit_id const id_;
    wrapper const wrapper_;
};

class wrapping_decorator : public boost::unit_test::decorator::base {
protected:
    explicit wrapping_decorator(wrapper w) : wrapper_(std::move(w)) {}

    wrapper const wrapper_;

private:
    void apply(boost::unit_test::test_unit& tu) override
    {
        tu.p_fixtures.value.push_back(
            boost::unit_test::test_unit_fixture_ptr(new wrap_unit(tu.p_id, wrapper_)));
    }
};

inline wrapper in_fibers_wrapper(case_options o)
{
    return [o = std::move(o)](case_function const& f) { on_each([&f] { f(); }, o); };
}

inline wrapper explored_wrapper(explore_options o)
{
    return [o = std::move(o)](case_function const& f) { explore_checked([&f] { f(); }, o); };
}

} // namespace detail

/// A decorator: a suite's cases, or one case, each run in a fiber.
/**
 * On a scheduler of its own, once for each number of processors, as `on_each`. Each time
 * it fails on a fiber that is left over, on a deadlock, and when the time is up, with all
 * fibers in the log. A decorator further in wins.
 *
 * @par Example
 * @code
 * BOOST_AUTO_TEST_SUITE(server, *spindle::testing::in_fibers({.processors = {1, 4}}))
 *
 * BOOST_AUTO_TEST_CASE(answers)
 * {
 *     tcp::socket s(spindle::this_fiber::get_executor());
 *     s.async_connect(endpoint, spindle::use_fiber);
 *     ...
 * @endcode
 */
class in_fibers final : public detail::wrapping_decorator {
public:
    explicit in_fibers(case_options options = {})
        : wrapping_decorator(detail::in_fibers_wrapper(std::move(options)))
    {
    }

private:
    boost::unit_test::decorator::base_ptr clone() const override
    {
        return boost::unit_test::decorator::base_ptr(new in_fibers(*this));
    }
};

/// A decorator: a suite's cases, or one case, each run by `explore_checked`.
/**
 * @par Example
 * @code
 * BOOST_AUTO_TEST_CASE(the_pool_ends, *spindle::testing::explored({.seeds = 100}))
 * @endcode
 */
class explored final : public detail::wrapping_decorator {
public:
    explicit explored(explore_options options = {})
        : wrapping_decorator(detail::explored_wrapper(std::move(options)))
    {
    }

private:
    boost::unit_test::decorator::base_ptr clone() const override
    {
        return boost::unit_test::decorator::base_ptr(new explored(*this));
    }
};

/// All test cases of the program, as by `in_fibers` or `explored`.
/**
 * One line moves an existing program over:
 *
 * @code
 * spindle::testing::everything const fibers(spindle::testing::case_options{});
 * @endcode
 *
 * @par Lifetime
 * An object of namespace scope, in one source of the program.
 */
class everything final : public boost::unit_test::global_fixture {
public:
    explicit everything(case_options options = {})
        : wrapper_(detail::in_fibers_wrapper(std::move(options)))
    {
    }
    explicit everything(explore_options options)
        : wrapper_(detail::explored_wrapper(std::move(options)))
    {
    }

    void setup() override
    {
        detail::wrapping v(wrapper_);
        boost::unit_test::traverse_test_tree(
            boost::unit_test::framework::master_test_suite(), v, true);
    }
    void teardown() override {}

private:
    detail::wrapper const wrapper_;
};

} // namespace spindle::testing

#endif // SPINDLE_TESTING_BOOST_TEST_HPP
