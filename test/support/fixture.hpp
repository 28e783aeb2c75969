//
// support/fixture.hpp
// ~~~~~~~~~~~~~~~~~~~
// Schedulers to test on: with 1, 2, 4 and 8 processors, and with nothing left
// over at the end.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_TEST_SUPPORT_FIXTURE_HPP
#define SPINDLE_TEST_SUPPORT_FIXTURE_HPP

#include <spindle/config.hpp>
#include <spindle/run.hpp>
#include <spindle/scheduler.hpp>
#include <spindle/spawn.hpp>
#include <spindle/testing/boost_test.hpp>
#include <spindle/testing/clock.hpp>

#include <spindle/detail/asio/asio_core.hpp>
#include <spindle/detail/fiber/fiber_pool.hpp>
#include <spindle/detail/fiber/record.hpp>
#include <spindle/detail/fiber/stop.hpp>
#include <spindle/detail/fiber/waiter.hpp>
#include <spindle/detail/stack/pool.hpp>
#include <spindle/detail/time/timer_queue.hpp>

#include <boost/test/unit_test.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <optional>
#include <random>
#include <thread>
#include <type_traits>
#include <utility>

#if defined(SPINDLE_ASAN) || defined(SPINDLE_TSAN)
#define SPINDLE_TEST_SANITIZED
#endif

namespace spindle_test {

#if defined(SPINDLE_TEST_SANITIZED)
inline constexpr bool sanitized = true;
#else
inline constexpr bool sanitized = false;
#endif

// A count that takes a sanitizer about as long as it takes without one.
inline constexpr std::size_t scaled(std::size_t n) { return sanitized ? n / 10 : n; }

inline constexpr unsigned processor_counts[] = {1, 2, 4, 8};

// Waits for what another thread is about to do; false: it has not, for long.
// From a plain thread only.
template <class Condition>
[[nodiscard]] bool eventually(Condition condition)
{
    auto const end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!condition()) {
        if (std::chrono::steady_clock::now() > end)
            return false;
        std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
    return true;
}

// SPINDLE_TEST_SEED, or a new one; printed where a check of the test case fails.
inline std::uint64_t seed()
{
    if (auto const* const given = std::getenv("SPINDLE_TEST_SEED"))
        return std::strtoull(given, nullptr, 0);
    return std::random_device{}();
}

// --- what may be left over ------------------------------------------------------------

// Between two schedulers every fiber that was made and has not ended rests in
// the shared lists, alive for nobody, and every stack in use is one of theirs.
inline void check_nothing_left()
{
    using namespace spindle::detail;
    auto const fibers = get_fiber_pool_statistics();
    BOOST_TEST(fibers.shared == fibers.made - fibers.ended, "a fiber is neither at rest nor over");
    BOOST_TEST(
        stack_pool::instance().get_statistics().in_use == fibers.made - fibers.ended,
        "a stack is in use without a fiber, or a fiber lives on a stack given back");
    std::size_t alive = 0;
    for_each_record(
        [](fiber_record& g, void* n) { *static_cast<std::size_t*>(n) += life_of(g) != 0; },
        &alive);
    BOOST_TEST(alive == 0u, "a record says that its fiber is alive");
}

// A scheduler of N processors; checks when it goes that nobody sleeps, that no
// fiber is alive, and that nothing is left over.
class on_scheduler {
public:
    explicit on_scheduler(spindle::scheduler_options options)
    {
        // What this thread waits with is made here: its first wait, in run(), may come at
        // any time, and some fibers count what is allocated.
        (void)spindle::detail::waiter();
        sched_.emplace(std::move(options));
    }
    explicit on_scheduler(unsigned processors)
        : on_scheduler(spindle::scheduler_options{
              .processors = processors, .shutdown_grace = std::chrono::seconds(30)})
    {
    }
    on_scheduler(on_scheduler const&) = delete;
    on_scheduler& operator=(on_scheduler const&) = delete;

    ~on_scheduler()
    {
        auto& core = spindle::detail::core_of(*sched_);
        BOOST_TEST(eventually([&] { return core.live() == 0; }), "a fiber is still alive");
        for (unsigned i = 0; i != core.processor_count(); ++i)
            BOOST_TEST(
                (core.at(i).timers->earliest_hint() == spindle::detail::time_point::max()),
                "somebody sleeps whose fiber is over");
        auto const stats = sched_->stats();
        BOOST_TEST(stats.fibers == 0u);
        BOOST_TEST(stats.queued == 0u);
        sched_.reset();
        check_nothing_left();
    }

    spindle::scheduler& get() { return *sched_; }
    spindle::scheduler& operator*() { return *sched_; }
    spindle::scheduler* operator->() { return &*sched_; }

    // Runs `fn` in a fiber and waits for it; returns or throws what it does.
    template <class Function>
    auto run(Function&& fn)
    {
        return spindle::detail::spawn_joinable(
                   spindle::detail::place{&spindle::detail::core_of(*sched_), nullptr},
                   {.name = "test"}, std::forward<Function>(fn), nullptr)
            .join();
    }

private:
    std::optional<spindle::scheduler> sched_;
};

// For tests that count what the whole process does: where the machine is busy, a
// thread that it keeps from running would lose its processor to a new one.
inline spindle::scheduler_options without_rescue(unsigned processors)
{
    return {
        .processors = processors,
        .preempt_after = std::chrono::hours(1),
        .shutdown_grace = std::chrono::seconds(30)};
}

// What the suite asks of each of its cases that run in a fiber.
inline spindle::testing::case_options case_on(unsigned processors)
{
    return {
        .processors = {processors},
        .timeout = std::chrono::seconds(110), // CTest's is 120
        .leak_grace = std::chrono::seconds(20),
        .shutdown_grace = std::chrono::seconds(30)};
}

// SPINDLE_TEST_EXPLORE: how many schedules over_processors() explores instead.
inline std::uint64_t schedules_to_explore()
{
    auto const* const n = std::getenv("SPINDLE_TEST_EXPLORE");
    return n ? std::strtoull(n, nullptr, 0) : 0;
}

// Calls fn(scheduler) or fn() in a fiber, on schedulers of each size.
template <class Function>
void over_processors(Function fn)
{
    if constexpr (!std::is_invocable_v<Function&, spindle::scheduler&>)
        if (auto const n = schedules_to_explore(); n != 0) {
            spindle::testing::explore_checked([&fn] { fn(); }, {.seeds = n, .max_steps = 20'000'000});
            check_nothing_left();
            return;
        }
    for (auto const n : processor_counts) {
        spindle::testing::on_each(std::ref(fn), case_on(n));
        BOOST_TEST_CONTEXT(n << " processors") { check_nothing_left(); }
    }
}

} // namespace spindle_test

#endif // SPINDLE_TEST_SUPPORT_FIXTURE_HPP
