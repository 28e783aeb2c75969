//
// fiber/machine_list.cpp
// ~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/fiber/machine.hpp>
#include <spindle/detail/fiber/machine_list.hpp>

#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <system_error>

#if defined(__linux__)
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>
#endif

// What is read while its owner may change it is no business of a sanitizer's: the
// value is thrown away where it may have changed.
#if defined(__GNUC__)
#define SPINDLE_PEEKS __attribute__((no_sanitize("thread"), no_sanitize("address")))
#else
#define SPINDLE_PEEKS
#endif

namespace spindle::detail {

// Lists that take no memory and have no destructor: what is in them joins where nothing
// may fail, and threads may outlive them.
struct machine_entry::all {
    std::mutex mutex; // leaf
    machine_entry* first = nullptr;

    static all& get() noexcept
    {
        static constinit all instance;
        return instance;
    }
};

struct bystander::all {
    std::mutex mutex; // leaf
    bystander* first = nullptr;
    long process = 0; // whose threads these are: a child of fork() has none of them, nor
                      // their stacks, on which the entries lie

    static all& get() noexcept
    {
        static constinit all instance;
        return instance;
    }

    // Under the lock.
    static all& of_this_process() noexcept;
};

namespace {

// Under the list's lock. The last one comes first.
template <class List, class Entry>
void join_list(List& list, Entry& e, Entry* Entry::*next, Entry* Entry::*previous) noexcept
{
    e.*next = list.first;
    if (list.first)
        list.first->*previous = &e;
    list.first = &e;
}

template <class List, class Entry>
void leave_list(List& list, Entry& e, Entry* Entry::*next, Entry* Entry::*previous) noexcept
{
    auto* const before = e.*previous;
    auto* const after = e.*next;
    (before ? before->*next : list.first) = after;
    if (after)
        after->*previous = before;
}

long this_thread_number() noexcept
{
#if defined(__linux__)
    return ::syscall(SYS_gettid);
#else
    return 0;
#endif
}

long this_process_number() noexcept
{
#if defined(__linux__)
    return ::getpid();
#else
    return 0;
#endif
}

} // namespace

machine_entry::machine_entry(machine& m) noexcept : machine_(m), thread_(this_thread_number())
{
    std::lock_guard guard(all::get().mutex);
    join_list(all::get(), *this, &machine_entry::next_, &machine_entry::previous_);
}

machine_entry::~machine_entry()
{
    std::lock_guard guard(all::get().mutex);
    leave_list(all::get(), *this, &machine_entry::next_, &machine_entry::previous_);
}

void machine_entry::list(std::vector<machine_sight>& out)
{
    out.clear();
    auto& a = all::get();
    std::lock_guard guard(a.mutex);
    for (auto* e = a.first; e; e = e->next_) {
        auto const& m = e->machine_;
        out.push_back(
            {&m,
             reinterpret_cast<fiber_record const*>(peek(&m.record_)),
             e->thread_,
             m.is_blocking(),
             peek(m.hired_),
             peek(m.stock_)});
    }
}

// --- other threads -------------------------------------------------------------------

bystander::all& bystander::all::of_this_process() noexcept
{
    auto& a = get();
    if (auto const here = this_process_number(); a.process != here) {
        a.process = here;
        a.first = nullptr;
    }
    return a;
}

bystander::bystander(called_function called, void const* argument) noexcept
    : thread_(this_thread_number()), process_(this_process_number()), called_(called),
      argument_(argument)
{
    std::lock_guard guard(all::get().mutex);
    join_list(all::of_this_process(), *this, &bystander::next_, &bystander::previous_);
}

bystander::~bystander()
{
    std::lock_guard guard(all::get().mutex);
    if (auto& a = all::of_this_process(); a.process == process_)
        leave_list(a, *this, &bystander::next_, &bystander::previous_);
}

void bystander::list(std::vector<long>& out)
{
    out.clear();
    std::lock_guard guard(all::get().mutex);
    for (auto const* b = all::of_this_process().first; b; b = b->next_)
        if (!b->called_ || !b->called_(b->argument_))
            out.push_back(b->thread_);
}

bool list_threads(std::vector<long>& out)
{
    out.clear();
#if defined(__linux__)
    std::error_code ec;
    for (std::filesystem::directory_iterator i("/proc/self/task", ec), end; !ec && i != end;
         i.increment(ec))
        out.push_back(std::strtol(i->path().filename().c_str(), nullptr, 10));
    return !ec && !out.empty();
#else
    return false;
#endif
}

// --- looking --------------------------------------------------------------------------

SPINDLE_PEEKS SPINDLE_NOINLINE std::uintptr_t peek(void const* word) noexcept
{
    return *static_cast<std::uintptr_t const volatile*>(word);
}

SPINDLE_PEEKS SPINDLE_NOINLINE bool peek(bool const& flag) noexcept
{
    return static_cast<bool const volatile&>(flag);
}

SPINDLE_PEEKS SPINDLE_NOINLINE std::uint8_t peek(std::uint8_t const& flags) noexcept
{
    return static_cast<std::uint8_t const volatile&>(flags);
}

bool peek_carefully(
    [[maybe_unused]] void* out,
    [[maybe_unused]] void const* from,
    [[maybe_unused]] std::size_t n) noexcept
{
#if defined(__linux__)
    ::iovec const to = {out, n};
    ::iovec const there = {const_cast<void*>(from), n};
    return ::process_vm_readv(::getpid(), &to, 1, &there, 1, 0) == static_cast<::ssize_t>(n);
#else
    return false;
#endif
}

SPINDLE_PEEKS SPINDLE_NOINLINE void
peek(std::uintptr_t* out, void const* from, std::size_t n) noexcept
{
    auto const* const words = static_cast<std::uintptr_t const volatile*>(from);
    for (std::size_t i = 0; i != n; ++i)
        out[i] = words[i];
}

} // namespace spindle::detail
