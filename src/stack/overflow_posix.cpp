//
// stack/overflow_posix.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/base/atomic.hpp>
#include <spindle/detail/base/spin_lock.hpp>
#include <spindle/detail/stack/os.hpp>
#include <spindle/detail/stack/overflow.hpp>
#include <spindle/detail/stack/pool.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <mutex>
#include <signal.h>
#include <unistd.h>

namespace spindle::detail {
namespace {

// Handlers. ---------------------------------------------------------------------

// A signal that may mean an overflow, and what handled it before us. Written
// before our handler is installed, constant afterwards.
struct previous_handler {
    int signal;
    struct sigaction action;
    atomic<bool> used_up; // SA_RESETHAND, and it was called
};

previous_handler previous[] = {{SIGSEGV, {}, {false}}, {SIGBUS, {}, {false}}};

atomic<overflow_describer> current_describer{nullptr};

// A line on stderr, put together without the C library's help.
class line {
public:
    void add(char const* text) noexcept { add(text, std::strlen(text)); }

    void add(char const* text, std::size_t n) noexcept
    {
        n = std::min(n, sizeof text_ - size_);
        std::memcpy(text_ + size_, text, n);
        size_ += n;
    }

    void add_number(std::size_t n) noexcept
    {
        char digits[20];
        auto* p = std::end(digits);
        do
            *--p = static_cast<char>('0' + n % 10);
        while ((n /= 10) != 0);
        add(p, std::size_t(std::end(digits) - p));
    }

    void write() const noexcept
    {
        for (std::size_t done = 0; done != size_;) {
            auto const n = ::write(STDERR_FILENO, text_ + done, size_ - done);
            if (n > 0)
                done += std::size_t(n);
            else if (n == 0 || errno != EINTR)
                return;
        }
    }

private:
    char text_[512];
    std::size_t size_ = 0;
};

[[noreturn]] void report(stack_block block) noexcept
{
    line out;
    out.add("spindle: fatal: stack overflow in fiber");
    if (auto const describe = current_describer.load(std::memory_order_acquire)) {
        char name[128];
        auto const n = std::min(describe(block.top, name, sizeof name), sizeof name);
        if (n != 0) {
            out.add(" \"");
            out.add(name, n);
            out.add("\"");
        }
    }
    out.add(" (stack size ");
    out.add_number(block.size);
    out.add(" bytes); give it more with spawn_options::stack_size\n");
    out.write();
    std::abort();
}

// The rest of a handler that leaves the signal to what was there before.
void give_back(int signal, struct sigaction const& to, bool is_fault) noexcept
{
    ::sigaction(signal, &to, nullptr);
    // The fault happens again when we return. A signal that was sent does not:
    // it stays pending until we return.
    if (!is_fault)
        ::raise(signal);
}

void chain(previous_handler& to, siginfo_t* info, void* context) noexcept
{
    bool const is_fault = info->si_code > 0; // else somebody sent the signal
    auto const handler = to.action.sa_handler;
    if (handler == SIG_IGN) {
        // A fault ends the process even so; but it is the kernel who knows how.
        if (is_fault)
            give_back(to.signal, to.action, is_fault);
        return;
    }
    bool const once = (to.action.sa_flags & static_cast<int>(SA_RESETHAND)) != 0;
    if (handler == SIG_DFL || (once && to.used_up.exchange(true, std::memory_order_relaxed))) {
        struct sigaction by_default = {};
        by_default.sa_handler = SIG_DFL;
        sigemptyset(&by_default.sa_mask);
        give_back(to.signal, by_default, is_fault);
        return;
    }
    if ((to.action.sa_flags & SA_SIGINFO) != 0)
        to.action.sa_sigaction(to.signal, info, context);
    else
        handler(to.signal);
}

extern "C" void spindle_on_fault(int signal, siginfo_t* info, void* context)
{
    auto const saved_errno = errno;
    if (info->si_code > 0) {
        auto const block = stack_pool::instance().find_overflowed(info->si_addr);
        if (block.top != nullptr)
            report(block);
    }
    errno = saved_errno;
    for (auto& p : previous)
        if (p.signal == signal)
            chain(p, info, context);
}

bool install() noexcept
{
    for (auto& p : previous) {
        // Read first: a fault may come as soon as ours is there.
        if (::sigaction(p.signal, nullptr, &p.action) != 0)
            continue;
        struct sigaction ours = {};
        ours.sa_sigaction = spindle_on_fault;
        ours.sa_mask = p.action.sa_mask;
        ours.sa_flags = SA_SIGINFO | SA_ONSTACK | (p.action.sa_flags & (SA_NODEFER | SA_RESTART));
        ::sigaction(p.signal, &ours, nullptr);
    }
    return true;
}

// Alternate stacks. -------------------------------------------------------------

// The user's own handlers run there too, and may print a backtrace.
constexpr std::size_t altstack_bytes = std::size_t{64} << 10;

spin_lock idle_lock;
void* idle_altstacks = nullptr; // linked by their first word; guarded by idle_lock

std::size_t altstack_size() noexcept
{
#if defined(_SC_SIGSTKSZ)
    // What a frame of the kernel needs depends on the processor.
    static std::size_t const size = [] {
        auto const wanted = ::sysconf(_SC_SIGSTKSZ);
        auto const page = os_page_size();
        auto const least = std::max(altstack_bytes, wanted > 0 ? std::size_t(wanted) * 2 : 0);
        return (least + page - 1) & ~(page - 1);
    }();
    return size;
#else
    return std::max<std::size_t>(altstack_bytes, SIGSTKSZ);
#endif
}

// The usable part; a guard page lies below.
void* take_altstack() noexcept
{
    {
        std::lock_guard const hold(idle_lock);
        if (auto* const p = idle_altstacks) {
            idle_altstacks = *static_cast<void**>(p);
            return p;
        }
    }
    auto const page = os_page_size();
    auto* const p = os_reserve(page + altstack_size(), page);
    if (p == nullptr)
        return nullptr;
    os_guard(p, page);
    return static_cast<char*>(p) + page;
}

void free_altstack(void* p) noexcept
{
    std::lock_guard const hold(idle_lock);
    *static_cast<void**>(p) = idle_altstacks;
    idle_altstacks = p;
}

} // namespace

void install_overflow_handler() noexcept
{
    static bool const installed = install();
    static_cast<void>(installed);
}

void set_overflow_describer(overflow_describer describer) noexcept
{
    current_describer.store(describer, std::memory_order_release); // pairs with report
}

altstack_scope::altstack_scope() noexcept
{
    stack_t now = {};
    if (::sigaltstack(nullptr, &now) != 0 || (now.ss_flags & SS_DISABLE) == 0)
        return;
    memory_ = take_altstack();
    if (memory_ == nullptr)
        return;
    stack_t ours = {};
    ours.ss_sp = memory_;
    ours.ss_size = altstack_size();
    if (::sigaltstack(&ours, nullptr) != 0) {
        free_altstack(memory_);
        memory_ = nullptr;
    }
}

altstack_scope::~altstack_scope()
{
    if (memory_ == nullptr)
        return;
    // Somebody may have installed another over ours: theirs stays.
    stack_t now = {};
    if (::sigaltstack(nullptr, &now) == 0 && now.ss_sp == memory_) {
        stack_t none = {};
        none.ss_flags = SS_DISABLE;
        none.ss_size = altstack_size(); // some systems look at it
        ::sigaltstack(&none, nullptr);
    }
    free_altstack(memory_);
}

} // namespace spindle::detail
