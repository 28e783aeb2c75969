//
// stack/overflow.cpp
// ~~~~~~~~~~~~~~~~~~
// Each fault happens in a child process, whose stderr and end are looked at.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE stack.overflow
#include <spindle/config.hpp>
#include <spindle/stack/pooled_mmap.hpp>

#include <spindle/detail/stack/os.hpp>
#include <spindle/detail/stack/overflow.hpp>
#include <spindle/detail/stack/pool.hpp>

#include <boost/fiber/fiber.hpp>
#include <boost/test/unit_test.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <signal.h>
#include <string>
#include <sys/resource.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

#if defined(SPINDLE_ASAN) || defined(SPINDLE_TSAN)
#define SPINDLE_TEST_SANITIZED
#endif

using namespace spindle::detail;

namespace {

constexpr std::size_t kib = 1024;

struct ending {
    int status = 0;
    std::string text; // of stderr

    bool by_signal(int signal) const { return WIFSIGNALED(status) && WTERMSIG(status) == signal; }
    bool by_exit(int code) const { return WIFEXITED(status) && WEXITSTATUS(status) == code; }
};

// Runs f in a child process that has no handlers, not even Boost.Test's.
ending in_child(std::function<void()> const& f)
{
    int ends[2];
    BOOST_TEST_REQUIRE(::pipe(ends) == 0);
    auto const child = ::fork();
    BOOST_TEST_REQUIRE(child >= 0);
    if (child == 0) {
        ::dup2(ends[1], STDERR_FILENO);
        ::close(ends[0]);
        ::close(ends[1]);
        struct rlimit none = {0, 0};
        ::setrlimit(RLIMIT_CORE, &none);
        for (int const s : {SIGSEGV, SIGBUS, SIGABRT})
            ::signal(s, SIG_DFL);
        stack_t off = {};
        off.ss_flags = SS_DISABLE;
        ::sigaltstack(&off, nullptr);
        f();
        ::_exit(0);
    }
    ::close(ends[1]);
    ending e;
    char buffer[512];
    for (;;) {
        auto const n = ::read(ends[0], buffer, sizeof buffer);
        if (n <= 0)
            break;
        e.text.append(buffer, std::size_t(n));
    }
    ::close(ends[0]);
    BOOST_TEST(::waitpid(child, &e.status, 0) == child);
    return e;
}

void write_to(void* p) { *static_cast<char volatile*>(p) = 1; }

// The highest byte of the guard, and a lower one.
char* guard_of(stack_block b, std::size_t below = 1)
{
    auto const page = os_page_size();
    auto const top = reinterpret_cast<std::uintptr_t>(b.top);
    auto const end = (top + page - 1) & ~(page - 1);
    return static_cast<char*>(b.top) + (end - top) - b.size - page - below;
}

std::size_t call_it_worker_7(void*, char* out, std::size_t capacity) noexcept
{
    char const name[] = "worker 7";
    auto const n = sizeof name - 1 < capacity ? sizeof name - 1 : capacity;
    std::memcpy(out, name, n);
    return n;
}

std::size_t call_it_nothing(void*, char*, std::size_t) noexcept { return 0; }

std::size_t say_more_than_fits(void*, char* out, std::size_t capacity) noexcept
{
    std::memset(out, 'x', capacity);
    return capacity + 1000;
}

stack_block overflow(overflow_describer describer, std::size_t size, std::size_t below = 1)
{
    install_overflow_handler();
    set_overflow_describer(describer);
    auto const b = stack_pool::instance().allocate(size);
    write_to(guard_of(b, below));
    return b;
}

} // namespace

BOOST_AUTO_TEST_SUITE(report)

BOOST_AUTO_TEST_CASE(names_the_fiber_and_aborts)
{
    auto const e = in_child([] { overflow(call_it_worker_7, 256 * kib); });
    BOOST_TEST(e.by_signal(SIGABRT));
    BOOST_TEST(
        e.text == "spindle: fatal: stack overflow in fiber \"worker 7\" (stack size 262144 bytes); "
                  "give it more with spawn_options::stack_size\n");
}

BOOST_AUTO_TEST_CASE(leaves_out_the_name_where_there_is_none)
{
    for (overflow_describer const d :
         {overflow_describer{nullptr}, overflow_describer{call_it_nothing}}) {
        auto const e = in_child([d] { overflow(d, 64 * kib, 64 * kib); });
        BOOST_TEST(e.by_signal(SIGABRT));
        BOOST_TEST(
            e.text == "spindle: fatal: stack overflow in fiber (stack size 65536 bytes); "
                      "give it more with spawn_options::stack_size\n");
    }
}

BOOST_AUTO_TEST_CASE(survives_a_describer_that_says_too_much)
{
    auto const e = in_child([] { overflow(say_more_than_fits, 64 * kib); });
    BOOST_TEST(e.by_signal(SIGABRT));
    BOOST_TEST(e.text.find("xxx\" (stack size 65536 bytes); give") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(works_with_guards_by_mprotect)
{
    auto const e = in_child([] {
        os_set_guard_means(spindle::stack::guard_kind::mprotect);
        overflow(call_it_worker_7, 16 * kib);
    });
    BOOST_TEST(e.by_signal(SIGABRT));
    BOOST_TEST(e.text.find("\"worker 7\" (stack size 16384 bytes)") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(works_on_a_thread_of_its_own)
{
    auto const e = in_child([] {
        std::thread([] {
            altstack_scope const altstack;
            overflow(call_it_worker_7, 64 * kib);
        }).join();
    });
    BOOST_TEST(e.by_signal(SIGABRT));
    BOOST_TEST(e.text.find("\"worker 7\"") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()

#if !defined(SPINDLE_TEST_SANITIZED) // which have handlers and stacks of their own

namespace {

char volatile sink;

// Not a tail call, and nothing a compiler could unroll for ever.
#if defined(__GNUC__)
__attribute__((noinline))
#endif
int dig(int depth)
{
    char volatile frame[512];
    frame[0] = static_cast<char>(depth);
    sink = frame[0];
    return depth < 0 ? 0 : dig(depth + 1) + frame[0];
}

void fault_elsewhere()
{
    static std::uintptr_t volatile address = 8;
    write_to(reinterpret_cast<void*>(address));
}

void install(int flags, void (*f)(int, siginfo_t*, void*))
{
    struct sigaction sa = {};
    sa.sa_sigaction = f;
    sa.sa_flags = flags | SA_SIGINFO;
    ::sigaction(SIGSEGV, &sa, nullptr);
}

void install(int flags, void (*f)(int))
{
    struct sigaction sa = {};
    sa.sa_handler = f;
    sa.sa_flags = flags;
    sigaddset(&sa.sa_mask, SIGUSR1);
    ::sigaction(SIGSEGV, &sa, nullptr);
}

} // namespace

BOOST_AUTO_TEST_SUITE(fiber)

BOOST_AUTO_TEST_CASE(that_recurses_for_ever_is_reported)
{
    auto const e = in_child([] {
        install_overflow_handler();
        altstack_scope const altstack;
        boost::fibers::fiber(std::allocator_arg, spindle::stack::pooled_mmap(), [] {
            sink = static_cast<char>(dig(0));
        }).join();
    });
    BOOST_TEST(e.by_signal(SIGABRT));
    BOOST_TEST(e.text.find("stack overflow in fiber (stack size 262144") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(foreign_fault)

BOOST_AUTO_TEST_CASE(ends_the_process_as_before)
{
    auto const e = in_child([] {
        install_overflow_handler();
        install_overflow_handler();
        altstack_scope const altstack;
        fault_elsewhere();
    });
    BOOST_TEST(e.by_signal(SIGSEGV));
    BOOST_TEST(e.text == "");
}

BOOST_AUTO_TEST_CASE(in_the_guard_of_an_idle_stack_is_no_overflow)
{
    auto const e = in_child([] {
        install_overflow_handler();
        auto const b = stack_pool::instance().allocate(64 * kib);
        stack_pool::instance().deallocate(b);
        write_to(guard_of(b));
    });
    BOOST_TEST(e.by_signal(SIGSEGV));
    BOOST_TEST(e.text == "");
}

BOOST_AUTO_TEST_CASE(goes_to_the_handler_that_was_there)
{
    auto const e = in_child([] {
        install(0, [](int s, siginfo_t* info, void* context) {
            ::_exit(
                s == SIGSEGV && info->si_addr == reinterpret_cast<void*>(8) && context != nullptr
                    ? 42
                    : 1);
        });
        install_overflow_handler();
        fault_elsewhere();
    });
    BOOST_TEST(e.by_exit(42));
}

BOOST_AUTO_TEST_CASE(goes_to_a_plain_handler_with_its_mask)
{
    auto const e = in_child([] {
        install(0, [](int s) {
            sigset_t blocked;
            ::pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
            bool const right = s == SIGSEGV && sigismember(&blocked, SIGUSR1) == 1 &&
                               sigismember(&blocked, SIGSEGV) == 1;
            ::_exit(right ? 42 : 1);
        });
        install_overflow_handler();
        fault_elsewhere();
    });
    BOOST_TEST(e.by_exit(42));
}

BOOST_AUTO_TEST_CASE(goes_once_to_a_handler_that_wanted_it_once)
{
    auto const e = in_child([] {
        install(int(SA_RESETHAND), [](int) {
            [[maybe_unused]] auto const n = ::write(STDERR_FILENO, "once\n", 5);
        });
        install_overflow_handler();
        fault_elsewhere(); // returns from the handler into the same fault
    });
    BOOST_TEST(e.by_signal(SIGSEGV));
    BOOST_TEST(e.text == "once\n");
}

BOOST_AUTO_TEST_CASE(is_not_ignored_where_the_signal_is)
{
    auto const e = in_child([] {
        ::signal(SIGSEGV, SIG_IGN);
        install_overflow_handler();
        ::raise(SIGSEGV); // ignored, again and again
        ::raise(SIGSEGV);
        [[maybe_unused]] auto const n = ::write(STDERR_FILENO, "ignored\n", 8);
        fault_elsewhere();
    });
    BOOST_TEST(e.by_signal(SIGSEGV));
    BOOST_TEST(e.text == "ignored\n");
}

BOOST_AUTO_TEST_CASE(that_was_only_sent_ends_the_process_too)
{
    auto const e = in_child([] {
        install_overflow_handler();
        ::raise(SIGSEGV);
    });
    BOOST_TEST(e.by_signal(SIGSEGV));
}

BOOST_AUTO_TEST_CASE(leaves_an_overflow_to_us)
{
    auto const e = in_child([] {
        install(0, [](int, siginfo_t*, void*) { ::_exit(42); });
        overflow(call_it_worker_7, 64 * kib);
    });
    BOOST_TEST(e.by_signal(SIGABRT));
}

BOOST_AUTO_TEST_SUITE_END()

#endif

BOOST_AUTO_TEST_SUITE(altstack)

namespace {

stack_t current()
{
    stack_t s = {};
    ::sigaltstack(nullptr, &s);
    return s;
}

bool disabled() { return (current().ss_flags & SS_DISABLE) != 0; }

// Runs f on a thread that has no alternate stack; a sanitizer may have given
// it one, and wants to find it when the thread ends.
template <class F>
void on_bare_thread(F f)
{
    std::thread([&f] {
        auto const before = current();
        stack_t off = {};
        off.ss_flags = SS_DISABLE;
        ::sigaltstack(&off, nullptr);
        f();
        if ((before.ss_flags & SS_DISABLE) == 0)
            ::sigaltstack(&before, nullptr);
    }).join();
}

} // namespace

BOOST_AUTO_TEST_CASE(is_given_to_a_thread_without_and_taken_away)
{
    on_bare_thread([] {
        {
            altstack_scope const scope;
            BOOST_TEST(scope.installed());
            BOOST_TEST(!disabled());
            BOOST_TEST(current().ss_size >= 64 * kib);
            std::memset(current().ss_sp, 1, current().ss_size);
        }
        BOOST_TEST(disabled());
    });
}

BOOST_AUTO_TEST_CASE(of_the_user_is_left_alone)
{
    on_bare_thread([] {
        std::vector<char> memory(64 * kib);
        stack_t own = {};
        own.ss_sp = memory.data();
        own.ss_size = memory.size();
        BOOST_TEST(::sigaltstack(&own, nullptr) == 0);
        {
            altstack_scope const scope;
            BOOST_TEST(!scope.installed());
            BOOST_TEST(current().ss_sp == own.ss_sp);
        }
        BOOST_TEST(current().ss_sp == own.ss_sp);
        own.ss_flags = SS_DISABLE;
        ::sigaltstack(&own, nullptr);
    });
}

BOOST_AUTO_TEST_CASE(that_the_user_installs_later_is_left_alone)
{
    on_bare_thread([] {
        std::vector<char> memory(64 * kib);
        stack_t own = {};
        own.ss_sp = memory.data();
        own.ss_size = memory.size();
        {
            altstack_scope const scope;
            BOOST_TEST(scope.installed());
            BOOST_TEST(::sigaltstack(&own, nullptr) == 0);
        }
        BOOST_TEST(current().ss_sp == own.ss_sp);
        own.ss_flags = SS_DISABLE;
        ::sigaltstack(&own, nullptr);
    });
}

BOOST_AUTO_TEST_CASE(scopes_nest_and_reuse_their_memory)
{
    on_bare_thread([] {
        void* first = nullptr;
        {
            altstack_scope const outer;
            first = current().ss_sp;
            altstack_scope const inner;
            BOOST_TEST(!inner.installed());
        }
        altstack_scope const again;
        BOOST_TEST(current().ss_sp == first);
    });
}

BOOST_AUTO_TEST_CASE(each_thread_gets_its_own)
{
    on_bare_thread([] {
        altstack_scope const mine;
        auto* const sp = current().ss_sp;
        on_bare_thread([sp] {
            altstack_scope const other;
            BOOST_TEST(other.installed());
            BOOST_TEST(current().ss_sp != sp);
        });
    });
}

BOOST_AUTO_TEST_SUITE_END()
