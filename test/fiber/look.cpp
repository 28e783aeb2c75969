//
// fiber/look.cpp
// ~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE fiber.look
#include <spindle.hpp>
#include <support/asio_fixture.hpp>
#include <support/child.hpp>
#include <support/waiting.hpp>

#include <spindle/detail/fiber/look.hpp>
#include <spindle/detail/fiber/machine_list.hpp>
#include <spindle/detail/fiber/saved_registers.hpp>
#include <spindle/detail/fiber/unwind.hpp>

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <dlfcn.h>
#include <fstream>
#include <new>
#include <string>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>
#include <vector>

using namespace spindle_test;
using namespace spindle::detail;
using namespace std::chrono_literals;
namespace this_fiber = spindle::this_fiber;

namespace {

std::vector<fiber_sight> look(fiber_walk::stacks with)
{
    std::vector<fiber_sight> all, some;
    fiber_walk walk(with);
    while (walk.next(some))
        for (auto& s : some)
            all.push_back(std::move(s));
    return all;
}

} // namespace

BOOST_AUTO_TEST_SUITE(look_at_fibers)

BOOST_AUTO_TEST_CASE(a_walk_sees_each_fiber_once_and_nobody_between_two_lives)
{
    over_processors([] {
        constexpr std::size_t crowd = 300; // several parts of a walk
        spindle::channel<void> ch;
        {
            spindle::task_group over; // these rest after
            for (std::size_t i = 0; i != crowd; ++i)
                over.spawn([] {});
            over.wait();
        }
        auto const& home = this_fiber::get_scheduler();
        BOOST_TEST(until([&] { return home.stats().states.alive() == 1; }));
        spindle::task_group group;
        for (std::size_t i = 0; i != crowd; ++i)
            group.spawn([ch] { (void)ch.receive(); });
        BOOST_TEST(until([] { return fibers_in(wait_reason::receive) == crowd; }));
        auto const all = look(fiber_walk::stacks::no);
        BOOST_TEST(all.size() == crowd + 1);
        std::vector<std::uint64_t> ids;
        for (auto const& s : all)
            ids.push_back(s.id.value);
        std::sort(ids.begin(), ids.end());
        BOOST_TEST((std::adjacent_find(ids.begin(), ids.end()) == ids.end()));
        ch.close();
        group.wait();
    });
}

BOOST_AUTO_TEST_CASE(a_state_is_as_it_was_after_the_look)
{
    over_processors([] {
        auto sleeper = spindle::spawn([] { this_fiber::sleep_for(1h); });
        BOOST_TEST(until([] { return fibers_in(wait_reason::sleep) == 1; }));
        for (int i = 0; i != 10; ++i)
            (void)look(fiber_walk::stacks::yes);
        BOOST_TEST(fibers_in(wait_reason::sleep) == 1u);
        std::size_t examined = 0;
        for_each_record(
            [](fiber_record& g, void* n) {
                *static_cast<std::size_t*>(n) +=
                    g.state.load(std::memory_order_relaxed) == fiber_state::examined;
            },
            &examined);
        BOOST_TEST(examined == 0u);
        sleeper.request_stop();
    });
}

// What is copied is what the fiber will find when it goes on.
BOOST_AUTO_TEST_CASE(the_copy_has_what_lies_on_the_stack)
{
    if (why_no_stacks())
        return;
    over_processors([] {
        std::atomic<std::uintptr_t> where{0};
        auto sleeper = spindle::spawn([&] {
            std::uintptr_t volatile word = 0x1234'5678'9abc'def0;
            where = reinterpret_cast<std::uintptr_t>(&word);
            this_fiber::sleep_for(1h);
            (void)word;
        });
        BOOST_TEST(until([] { return fibers_in(wait_reason::sleep) == 1; }));
        auto const all = look(fiber_walk::stacks::yes);
        auto const s = std::find_if(
            all.begin(), all.end(), [](auto const& f) { return f.reason == wait_reason::sleep; });
        BOOST_TEST_REQUIRE((s != all.end()));
        auto const at = (where - s->stack_pointer) / sizeof(std::uintptr_t);
        BOOST_TEST_REQUIRE(at < s->stack.size());
        BOOST_TEST(s->stack[at] == 0x1234'5678'9abc'def0u);
        sleeper.request_stop();
    });
}

BOOST_AUTO_TEST_CASE(names_may_change_while_they_are_looked_at)
{
    for (auto const n : processor_counts) {
        on_scheduler s(n);
        std::atomic<bool> over{false};
        std::size_t right = 0, named = 0;
        std::thread looker([&] {
            for (std::size_t i = 0; !over.load() || i < 20; ++i)
                for (auto const& f : look(fiber_walk::stacks::no))
                    if (!f.name.empty() && f.name != "test") {
                        ++named;
                        right += f.name.size() == 40 &&
                                 f.name.find_first_not_of(f.name[0]) == std::string::npos;
                    }
        });
        s.run([] {
            for (std::size_t i = 0; i != scaled(20'000); ++i)
                spindle::spawn({.name = std::string(40, static_cast<char>('a' + i % 26))}, [] {
                    this_fiber::yield();
                }).join();
        });
        over = true;
        looker.join();
        BOOST_TEST(right == named);
    }
}

BOOST_AUTO_TEST_CASE(a_bystander_is_listed_as_long_as_it_lives)
{
    std::vector<long> before, now;
    bystander::list(before);
    {
        bystander const here;
        bystander::list(now);
        BOOST_TEST(now.size() == before.size() + 1);
        std::vector<long> threads;
        if (list_threads(threads))
            BOOST_TEST((std::find(threads.begin(), threads.end(), now.back()) != threads.end()));
    }
    bystander::list(now);
    BOOST_TEST(now.size() == before.size());
}

BOOST_AUTO_TEST_CASE(a_bystander_that_was_called_is_none)
{
    std::vector<long> before, now;
    bystander::list(before);
    auto called = false;
    bystander const here(
        [](void const* argument) noexcept { return *static_cast<bool const*>(argument); }, &called);
    bystander::list(now);
    BOOST_TEST(now.size() == before.size() + 1);
    called = true;
    bystander::list(now);
    BOOST_TEST(now.size() == before.size());
}

BOOST_AUTO_TEST_CASE(a_process_has_no_bystanders_of_the_one_that_forked_it)
{
    std::atomic<bool> there{false}, over{false};
    std::thread other([&] {
        bystander const here;
        there = true;
        over.wait(false);
    });
    BOOST_TEST(until([&] { return there.load(); }));
    auto const end = in_child([] {
        std::vector<long> all;
        bystander::list(all);
        ::_exit(all.empty() ? 42 : 1);
    });
    BOOST_TEST(end.by_exit(42));
    over = true;
    over.notify_all();
    other.join();
}

BOOST_AUTO_TEST_CASE(a_machine_is_listed_with_what_it_runs)
{
    over_processors([] {
        std::vector<machine_sight> all;
        machine_entry::list(all);
        auto const mine = std::count_if(all.begin(), all.end(), [](auto const& m) {
            return m.fiber == current_fiber() && m.hired && !m.blocking;
        });
        BOOST_TEST(mine == 1);
        auto const blocking = spindle::blocking([] {
            std::vector<machine_sight> there;
            machine_entry::list(there);
            return std::count_if(
                there.begin(), there.end(), [](auto const& m) { return m.blocking; });
        });
        BOOST_TEST(blocking == 1);
    });
}

// A stack that was cut off, or is none, gives fewer frames, and no fault.
BOOST_AUTO_TEST_CASE(a_broken_stack_gives_fewer_frames)
{
    if (why_no_stacks())
        return;
    over_processors([] {
        auto sleeper = spindle::spawn([] { this_fiber::sleep_for(1h); });
        BOOST_TEST(until([] { return fibers_in(wait_reason::sleep) == 1; }));
        unwinder u;
        for (auto const& whole : look(fiber_walk::stacks::yes)) {
            auto const frames = u.unwind(whole);
            if (whole.reason == wait_reason::sleep)
                BOOST_TEST(frames.size() > 5u);
            for (std::size_t n = 0; n < whole.stack.size(); ++n) {
                auto cut = whole;
                cut.stack.resize(n);
                BOOST_TEST(u.unwind(cut).size() <= frames.size());
                auto bent = whole;
                for (auto const wrong :
                     {std::uintptr_t{0},
                      ~std::uintptr_t{0},
                      whole.stack_pointer,
                      reinterpret_cast<std::uintptr_t>(&why_no_stacks)}) {
                    bent.stack[n] = wrong;
                    (void)u.unwind(bent);
                }
            }
        }
        sleeper.request_stop();
    });
}

namespace {

// A library that nobody else has.
struct library {
    void* handle = ::dlopen("libBrokenLocale.so.1", RTLD_NOW);
    void* function = handle ? ::dlsym(handle, "__ctype_get_mb_cur_max") : nullptr;

    void unload() const { BOOST_TEST(::dlclose(handle) == 0); }
};

} // namespace

// A stack was copied, then the library goes that it has functions of.
BOOST_AUTO_TEST_CASE(a_library_that_is_unloaded_is_the_end_of_a_stack)
{
    if (why_no_stacks())
        return;
    library const lib;
    BOOST_TEST_REQUIRE(lib.function, "the C library has no libBrokenLocale.so.1");
    fiber_sight s;
    s.stack.resize(64);
    s.stack_pointer = reinterpret_cast<std::uintptr_t>(s.stack.data());
    auto const to = reinterpret_cast<std::uintptr_t>(lib.function) + 1;
    s.stack[find_saved_registers()->return_address] = to;
    unwinder u;
    auto const frames = u.unwind(s);
    BOOST_TEST_REQUIRE(frames.size() == 1u);
    BOOST_TEST(frames[0].returns_to == to);
    lib.unload();
    BOOST_TEST(u.unwind(s).size() == 0u);
}

// Who unloads it waits, while somebody reads there.
BOOST_AUTO_TEST_CASE(a_library_stays_while_it_is_read)
{
    if (why_no_stacks())
        return;
    library const lib;
    BOOST_TEST_REQUIRE(lib.function, "the C library has no libBrokenLocale.so.1");
    struct {
        library const& lib;
        std::thread other;
        bool stayed = false;
    } here{lib, {}};
    present_modules().visit(
        [](std::vector<loaded_module> const&, void* argument) {
            auto& h = *static_cast<decltype(here)*>(argument);
            std::atomic<long> unloads{0};
            h.other = std::thread([&] {
                unloads = ::syscall(SYS_gettid);
                unloads.notify_all();
                h.lib.unload();
            });
            unloads.wait(0);
            auto const waits = until([&] {
                std::ifstream stat("/proc/self/task/" + std::to_string(unloads) + "/stat");
                std::string number, name, state;
                return stat >> number >> name >> state && state == "S";
            });
            char code;
            h.stayed = waits && peek_carefully(&code, h.lib.function, 1);
        },
        &here);
    here.other.join();
    BOOST_TEST(here.stayed);
    char code;
    BOOST_TEST(!peek_carefully(&code, lib.function, 1));
}

// What is thrown below the dynamic linker comes out above it.
BOOST_AUTO_TEST_CASE(what_a_reader_of_libraries_throws_is_thrown)
{
    BOOST_CHECK_THROW(
        present_modules().visit(
            [](std::vector<loaded_module> const&, void*) { throw std::bad_alloc(); }, nullptr),
        std::bad_alloc);
}

BOOST_AUTO_TEST_SUITE_END()
