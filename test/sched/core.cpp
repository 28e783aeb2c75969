//
// sched/core.cpp
// ~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE sched.core
#include <spindle/detail/sched/core.hpp>

#include <support/straggler.hpp>

#include <boost/test/unit_test.hpp>

#include <atomic>
#include <memory>
#include <thread>

using namespace spindle::detail;
using spindle_test::straggler;

BOOST_AUTO_TEST_SUITE(a_core)

namespace {

class slow_core final : public core {
public:
    explicit slow_core(straggler& s) noexcept : straggler_(s) {}
    ~slow_core() override { await_callers(); }

    void wake_one() noexcept override { straggler_.linger(); }

private:
    straggler& straggler_;
};

} // namespace

// What was submitted may run and be over before its submitter is.
BOOST_AUTO_TEST_CASE(is_not_destroyed_under_who_submits)
{
    straggler slow;
    auto c = std::make_unique<slow_core>(slow);
    runnable r;
    std::thread submitter([&, to = c.get()] { to->submit(r); });
    while (!slow.inside())
        std::this_thread::yield();
    BOOST_TEST(c->global_size_hint() == 1u);
    c.reset();
    BOOST_TEST(!slow.overtaken_by(submitter));
}

BOOST_AUTO_TEST_SUITE_END()
