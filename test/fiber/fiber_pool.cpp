//
// fiber/fiber_pool.cpp
// ~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE fiber.fiber_pool
#include <spindle/detail/fiber/fiber_pool.hpp>

#include <support/child.hpp>
#include <support/fixture.hpp>

#include <spindle/error.hpp>
#include <spindle/go.hpp>
#include <spindle/spawn.hpp>
#include <spindle/sync/wait_group.hpp>
#include <spindle/this_fiber.hpp>

#include <boost/fiber/all.hpp>
#include <boost/system/errc.hpp>
#include <boost/test/unit_test.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

using namespace spindle::detail;
using namespace spindle_test;
using namespace std::chrono_literals;

namespace {

// Uses that much of the stack, and returns something of it.
SPINDLE_NOINLINE std::size_t use_stack(std::size_t bytes)
{
    unsigned char volatile frame[1024];
    for (std::size_t i = 0; i < sizeof frame; i += 64)
        frame[i] = static_cast<unsigned char>(bytes);
    if (bytes <= 2 * sizeof frame)
        return frame[0];
    return use_stack(bytes - sizeof frame) + frame[64];
}

// As eventually(), in a fiber.
template <class Condition>
bool eventually_in_fiber(Condition condition)
{
    auto const end = now() + 20s;
    while (!condition() && now() < end)
        spindle::this_fiber::sleep_for(50us);
    return condition();
}

} // namespace

// First of all: the handler is installed with the first fiber, once in a process, and
// a child has it from its parent.
BOOST_AUTO_TEST_CASE(an_overflow_of_a_fibers_stack_names_the_fiber)
{
    if (sanitized)
        return; // they bring handlers of their own
    auto const e = in_child([] {
        spindle::run([] {
            spindle::spawn({.name = "too deep"}, [] {
                (void)use_stack(std::size_t{1} << 40);
            }).join();
        });
    });
    BOOST_TEST(e.by_signal(SIGABRT));
    BOOST_TEST(e.says("stack overflow"), e.text);
    BOOST_TEST(e.says("too deep"), e.text);
}

BOOST_AUTO_TEST_CASE(a_finished_fiber_serves_the_next_function)
{
    on_scheduler s(without_rescue(1));
    s.run([] {
        auto const made = get_fiber_pool_statistics().made;
        std::set<fiber_record*> records;
        for (int i = 0; i != 1000; ++i)
            spindle::spawn([&] { records.insert(current_fiber()); }).join();
        BOOST_TEST(records.size() <= 2u);
        BOOST_TEST(get_fiber_pool_statistics().made <= made + 2);
    });
}

#if defined(__linux__)

BOOST_AUTO_TEST_CASE(who_rests_for_long_gives_back_what_a_deep_function_has_used)
{
    if (sanitized)
        return; // frames of another size, and shadows
    constexpr std::size_t count = 300, deep = 100 * 1024;
    std::set<fiber_record*> records;
    auto const go_deep = [&] {
        on_scheduler s(without_rescue(1));
        s.run([&] {
            spindle::wait_group group, all_there(count);
            for (std::size_t i = 0; i != count; ++i)
                group.go([&] {
                    records.insert(current_fiber());
                    use_stack(deep);
                    all_there.done();
                    all_there.wait();
                });
            group.wait();
        });
    };
    auto const resident = [&] {
        std::size_t pages = 0;
        for (auto const* const g : records) {
            auto const page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
            auto const end = (reinterpret_cast<std::uintptr_t>(g) + page) & ~(page - 1);
            std::vector<unsigned char> in(g->stack_size / 2 / page);
            BOOST_TEST(
                ::mincore(
                    reinterpret_cast<void*>(end - in.size() * page), in.size() * page, in.data())
                == 0);
            for (auto const i : in)
                pages += i & 1;
        }
        return pages;
    };
    go_deep();
    BOOST_TEST_REQUIRE(records.size() >= count);
    auto const before = resident();
    BOOST_TEST(before >= records.size() * 20);
    auto const looks = now() + 1h;
    (void)trim_resting(looks);
    BOOST_TEST(resident() >= records.size() * 20); // they have come just now
    BOOST_TEST((trim_resting(looks + 5s) == looks + trim_time));
    BOOST_TEST(resident() >= records.size() * 20);
    (void)trim_resting(looks + trim_time);
    auto const after = resident();
    BOOST_TEST(after <= records.size() * 4);
    BOOST_TEST((trim_resting(looks + 2 * trim_time) == time_point::max()));

    auto const known = records.size();
    go_deep();
    BOOST_TEST(records.size() < known + count); // some of them again, and they work
}

#endif

BOOST_AUTO_TEST_CASE(a_new_life_has_an_id_of_its_own_and_nothing_of_the_last)
{
    over_processors([] {
        std::set<spindle::this_fiber::id> ids;
        std::atomic<int> cleaned{0};
        static std::atomic<int>* count = nullptr;
        count = &cleaned;
        boost::fibers::fiber_specific_ptr<int> data([](int* p) {
            ++*count;
            delete p;
        });
        for (int i = 0; i != 200; ++i) {
            auto child = spindle::spawn(
                i % 2 ? spindle::spawn_options{.name = "named " + std::to_string(i)}
                      : spindle::spawn_options{},
                [&, i] {
                    auto const& self = *current_fiber();
                    auto const right = ids.insert(spindle::this_fiber::get_id()).second
                        && !data.get() && !spindle::this_fiber::stop_requested()
                        && spindle::this_fiber::name().empty() == (i % 2 == 0)
                        && self.budget == 0 && self.shielded == 0 && !self.source.load();
                    data.reset(new int(i));
                    (void)spindle::this_fiber::get_stop_token();
                    current_fiber()->budget = 7;
                    return right;
                });
            if (i % 3 == 0)
                child.request_stop();
            if (i % 3 != 0)
                BOOST_TEST(child.join());
            else
                (void)child.join();
        }
        BOOST_TEST(eventually_in_fiber([&] { return cleaned == 200; }));
    });
}

BOOST_AUTO_TEST_CASE(fiber_specific_data_may_set_itself_anew_while_it_is_cleaned_up)
{
    over_processors([] {
        static boost::fibers::fiber_specific_ptr<int>* again = nullptr;
        std::atomic<int> cleaned{0};
        static std::atomic<int>* count = nullptr;
        count = &cleaned;
        boost::fibers::fiber_specific_ptr<int> data([](int* p) {
            if (++*count % 3 != 0)
                again->reset(new int(*p));
            delete p;
        });
        again = &data;
        spindle::spawn([&] { data.reset(new int(1)); }).join();
        BOOST_TEST(eventually_in_fiber([&] { return cleaned == 3; }));
    });
}

BOOST_AUTO_TEST_CASE(a_large_or_overaligned_task_lies_on_the_heap)
{
    over_processors([] {
        struct alignas(128) wide {
            std::array<unsigned char, 1000> bytes;
        } w{};
        w.bytes[999] = 42;
        auto const right = spindle::spawn([w] {
            return w.bytes[999] == 42 && reinterpret_cast<std::uintptr_t>(&w) % 128 == 0;
        }).join();
        BOOST_TEST(right);
    });
}

BOOST_AUTO_TEST_CASE(what_a_task_captured_is_gone_before_its_end_is_told)
{
    over_processors([] {
        for (int i = 0; i != 100; ++i) {
            auto const shared = std::make_shared<int>(1);
            spindle::spawn([shared] {}).join();
            BOOST_TEST(shared.use_count() == 1);
        }
    });
}

BOOST_AUTO_TEST_CASE(a_task_that_cannot_be_made_gives_its_fiber_back)
{
    struct refuses {
        refuses() = default;
        refuses(refuses const&) { throw std::runtime_error("no copy"); }
        void operator()() const {}
    };
    over_processors([] {
        refuses const f;
        BOOST_CHECK_THROW(spindle::go({.name = "never"}, f), std::runtime_error);
        BOOST_TEST(spindle::spawn([] { return spindle::this_fiber::name(); }).join() == "");
    });
}

BOOST_AUTO_TEST_CASE(stacks_are_as_large_as_asked)
{
    over_processors([] {
        for (std::size_t const size : {16u * 1024, 48u * 1024, 64u * 1024, 1024u * 1024})
            BOOST_TEST(spindle::spawn({.stack_size = size}, [size] {
                use_stack(sanitized ? size / 4 : size / 2);
                return current_fiber()->stack_size >= size;
            }).join());
    });
}

BOOST_AUTO_TEST_CASE(a_stack_out_of_bounds_is_refused)
{
    over_processors([] {
        for (auto const size : {std::size_t{1}, std::size_t{16 * 1024 - 1}, std::size_t{2} << 30})
            BOOST_CHECK_EXCEPTION(
                spindle::go({.stack_size = size}, [] {}), spindle::system_error,
                [](auto const& e) { return e.code() == boost::system::errc::invalid_argument; });
    });
}

BOOST_AUTO_TEST_CASE(no_memory_for_a_stack_is_an_error_and_nothing_starts)
{
    over_processors([] {
        stack_pool::fail_next_maps(1000);
        // A size that no other test uses: there is no resting one.
        auto refused = 0;
        try {
            spindle::go({.stack_size = std::size_t{512} << 20}, [] {});
        } catch (spindle::system_error const& e) {
            refused += e.code() == spindle::errc::no_stack_memory;
        }
        stack_pool::fail_next_maps(0);
        BOOST_TEST(refused == 1);
    });
}

BOOST_AUTO_TEST_CASE(fibers_rest_when_their_scheduler_is_gone_and_serve_the_next_one)
{
    {
        on_scheduler s(1);
        s.run([] {
            spindle::wait_group gate(1), group; // all of them at a time
            for (int i = 0; i != 1000; ++i)
                group.go([&] { gate.wait(); });
            gate.done();
            group.wait();
        });
    }
    auto const made = get_fiber_pool_statistics().made;
    on_scheduler s(1);
    s.run([] {
        spindle::wait_group group;
        for (int i = 0; i != 200; ++i)
            group.go([] { spindle::this_fiber::yield(); });
        group.wait();
    });
    BOOST_TEST(get_fiber_pool_statistics().made == made);
}

BOOST_AUTO_TEST_CASE(superfluous_fibers_end_and_their_memory_comes_back)
{
    if (sanitized)
        return; // eighteen thousand stacks of a sanitizer's
    auto const stacks = [] { return stack_pool::instance().get_statistics().in_use; };
    for (int round = 0; round != 2; ++round) {
        std::size_t most = 0;
        {
            on_scheduler s(2);
            s.run([&] {
                spindle::wait_group group;
                std::atomic<bool> all{false};
                for (int i = 0; i != 18'000; ++i)
                    spindle::go({.stack_size = 16 * 1024}, [&, piece = (group.add(), 1)] {
                        while (!all)
                            spindle::this_fiber::yield();
                        (void)piece;
                        group.done();
                    });
                most = stacks();
                all = true;
                group.wait();
            });
        }
        BOOST_TEST(most >= 18'000u);
        BOOST_TEST(stacks() < most);
        BOOST_TEST(get_fiber_pool_statistics().ended > 0u);
    }
}

BOOST_AUTO_TEST_CASE(an_unhandled_exception_says_what_and_where_and_terminates)
{
    if (sanitized)
        return;
    auto const e = in_child([] {
        spindle::run([] {
            spindle::go({.name = "careless"}, [] { throw std::runtime_error("no such luck"); });
            spindle::this_fiber::sleep_for(10s);
        });
    });
    BOOST_TEST(e.by_signal(SIGABRT));
    BOOST_TEST(e.says("unhandled exception in \"careless\", spawned from"), e.text);
    BOOST_TEST(e.says("std::runtime_error: no such luck"), e.text);
}

BOOST_AUTO_TEST_CASE(a_fiber_that_does_not_leave_is_named_when_the_grace_is_over)
{
    if (sanitized)
        return;
    auto const e = in_child([] {
        spindle::run(
            [] {
                spindle::go({.name = "stubborn"}, [] {
                    boost::fibers::promise<void>().get_future().wait_for(1h);
                    for (;;)
                        boost::this_fiber::sleep_for(1h);
                });
                spindle::this_fiber::yield();
            },
            {.processors = 2, .shutdown_grace = 50ms});
    });
    BOOST_TEST(e.by_signal(SIGABRT));
    BOOST_TEST(e.says("shutdown_grace"), e.text);
    BOOST_TEST(e.says("\"stubborn\""), e.text);
}
