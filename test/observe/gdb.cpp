//
// observe/gdb.cpp
// ~~~~~~~~~~~~~~~
// tools/spindle-gdb.py, on a live process and on a core file.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE observe.gdb
#include <spindle.hpp>
#include <support/waiting.hpp>

#include <spindle/detail/fiber/saved_registers.hpp>

#include <boost/test/unit_test.hpp>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <link.h>
#include <mutex>
#include <signal.h>
#include <string>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace spindle_test;
using namespace std::chrono_literals;
using spindle::detail::wait_reason;

namespace {

std::string output_of(std::string const& command)
{
    std::string text;
    auto* const f = ::popen((command + " 2>&1 </dev/null").c_str(), "r");
    BOOST_TEST_REQUIRE(f);
    char some[4096];
    while (auto const n = std::fread(some, 1, sizeof some, f))
        text.append(some, n);
    ::pclose(f);
    return text;
}

std::string const script =
    (std::filesystem::path(__FILE__).parent_path() / "../../tools/spindle-gdb.py").string();

std::string gdb(std::string const& commands, std::string const& target)
{
    return output_of(
        "gdb -nx -batch -ex 'set debuginfod enabled off' -ex 'set width 0' -ex 'source " + script +
        "' " + commands + " " + target);
}

} // namespace

namespace stuck {

[[gnu::noinline]] void receiving(spindle::channel<int>& ch)
{
    (void)ch.receive();
    asm volatile("");
}

[[gnu::noinline]] void recursing(int depth, spindle::mutex& m)
{
    if (depth == 0)
        std::lock_guard const guard(m);
    else
        recursing(depth - 1, m);
    asm volatile("");
}

[[gnu::noinline]] void computing(std::atomic<bool>& begun, bool volatile& on)
{
    begun = true;
    while (on)
        ;
}

// Never returns. A byte into `ready` when all is as it will be.
[[noreturn]] void run(int ready)
{
    bool volatile on = true;
    std::atomic<bool> begun{false};
    spindle::run(
        [&] {
            spindle::channel<int> ch;
            spindle::mutex m;
            m.lock();
            spindle::go({.name = "receiver"}, [&] { receiving(ch); });
            spindle::go([&] { recursing(3, m); });
            spindle::go([&] { recursing(3, m); });
            spindle::go({.name = "busy"}, [&] { computing(begun, on); });
            if (!until([] {
                    return fibers_in(wait_reason::receive) == 1 &&
                           fibers_in(wait_reason::mutex) == 2;
                }))
                ::_exit(1);
            // When main has parked: the last thing that happens.
            spindle::go([ready, &begun] {
                if (!until([&] { return begun && fibers_in(wait_reason::receive) == 2; }))
                    ::_exit(3);
                (void)!::write(ready, "x", 1);
            });
            receiving(ch);
        },
        {.processors = 2});
    ::_exit(2);
}

} // namespace stuck

namespace {

void check(std::string const& text)
{
    auto const says = [&](char const* what) { return text.find(what) != std::string::npos; };
    auto const count = [&](std::string const& what) {
        int n = 0;
        for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + 1))
            ++n;
        return n;
    };
    BOOST_TEST_CONTEXT(text)
    {
        BOOST_TEST((says("\n5 fibers\n") || says("\n6 fibers\n"))); // the one that said so
        BOOST_TEST(says("\"main\", waiting: channel receive"));
        BOOST_TEST(says("\"receiver\", waiting: channel receive"));
        BOOST_TEST(says("waiting: mutex lock"));
        BOOST_TEST(says("\"busy\", running on thread "));
        BOOST_TEST(says("spawned from stuck::run"));
        BOOST_TEST(count(" stuck::receiving (") == 2);
        BOOST_TEST(count(" stuck::recursing (") == 8);
        BOOST_TEST(says("stuck::computing"));
    }
}

// gdb's core file of a live process ends each mapping where it cannot read on, at the first
// guard of a stack: what comes after that is filled in.
void complete_core(std::string const& core, ::pid_t process)
{
    constexpr std::size_t page = 4096;
    auto const file = ::open(core.c_str(), O_RDWR | O_CLOEXEC);
    auto const memory =
        ::open(("/proc/" + std::to_string(process) + "/mem").c_str(), O_RDONLY | O_CLOEXEC);
    ElfW(Ehdr) head{};
    BOOST_TEST_REQUIRE(file >= 0);
    BOOST_TEST_REQUIRE(memory >= 0);
    BOOST_TEST_REQUIRE((::pread(file, &head, sizeof head, 0) == sizeof head));
    for (std::size_t i = 0; i != head.e_phnum; ++i) {
        ElfW(Phdr) part{};
        BOOST_TEST_REQUIRE(
            (::pread(
                 file, &part, sizeof part, static_cast<::off_t>(head.e_phoff + i * sizeof part)) ==
             sizeof part));
        if (part.p_type != PT_LOAD)
            continue;
        for (std::size_t at = 0; at + page <= part.p_filesz; at += page) {
            char bytes[page];
            if (::pread(memory, bytes, page, static_cast<::off_t>(part.p_vaddr + at)) == page)
                BOOST_TEST_REQUIRE((
                    ::pwrite(file, bytes, page, static_cast<::off_t>(part.p_offset + at)) == page));
        }
    }
    ::close(memory);
    ::close(file);
}

// Whether the system writes a core file into the working directory.
bool writes_core_here()
{
    std::string pattern;
    std::getline(std::ifstream("/proc/sys/kernel/core_pattern"), pattern);
    struct rlimit most;
    return !pattern.empty() && pattern.find_first_of("|/") == std::string::npos &&
           ::getrlimit(RLIMIT_CORE, &most) == 0 && most.rlim_max == RLIM_INFINITY;
}

} // namespace

BOOST_AUTO_TEST_CASE(fibers_are_listed_and_have_backtraces)
{
    if (auto const* const why = spindle::detail::why_no_stacks()) {
        BOOST_TEST_MESSAGE("no stacks: " << why);
        return;
    }
    BOOST_TEST_REQUIRE(
        output_of("gdb --version").find("GNU gdb") == 0u,
        "gdb is not installed: test/install_missing");
    auto const folder =
        std::filesystem::temp_directory_path() / ("spindle-gdb-" + std::to_string(::getpid()));
    std::filesystem::create_directory(folder);
    int ends[2];
    BOOST_TEST_REQUIRE(::pipe(ends) == 0);
    auto const child = ::fork();
    BOOST_TEST_REQUIRE(child >= 0);
    if (child == 0) {
        ::close(ends[0]);
        ::alarm(300);
        struct rlimit any = {RLIM_INFINITY, RLIM_INFINITY};
        ::setrlimit(RLIMIT_CORE, &any);
        std::filesystem::current_path(folder);
        ::signal(SIGABRT, SIG_DFL);
        stuck::run(ends[1]);
    }
    ::close(ends[1]);
    char byte;
    BOOST_TEST_REQUIRE(::read(ends[0], &byte, 1) == 1);
    auto const process = std::to_string(child);

    auto const commands = std::string("-ex 'info fibers' -ex 'fiber all bt'");
    check(gdb(commands, "-p " + process));

    if (!writes_core_here()) { // then gdb does
        auto const file = (folder / "core").string();
        (void)gdb("-ex 'generate-core-file " + file + "'", "-p " + process);
        complete_core(file, child);
    }
    ::kill(child, SIGABRT);
    int status = 0;
    BOOST_TEST(::waitpid(child, &status, 0) == child);
    std::string core;
    for (auto const& file : std::filesystem::directory_iterator(folder))
        core = file.path().string();
    BOOST_TEST(!core.empty(), "there is no core file");
    check(gdb(commands, std::filesystem::read_symlink("/proc/self/exe").string() + " " + core));
    std::filesystem::remove_all(folder);
    ::close(ends[0]);

    // What goes wrong says what to do.
    BOOST_TEST(
        gdb("-ex 'info fibers'", "/bin/true").find("has no Spindle in it") != std::string::npos);
}
