//
// fiber/machine_list.cpp
// ~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/fiber/machine.hpp>
#include <spindle/detail/fiber/machine_list.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <system_error>

#if defined(__linux__)
#include <sys/syscall.h>
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

// Never destroyed: threads may outlive it.
struct machine_entry::all {
    std::mutex mutex; // leaf
    machine_entry* first = nullptr;

    static all& get()
    {
        static all& instance = *new all;
        return instance;
    }
};

namespace {

long this_thread_number() noexcept
{
#if defined(__linux__)
    return ::syscall(SYS_gettid);
#else
    return 0;
#endif
}

} // namespace

machine_entry::machine_entry(machine& m) : machine_(m), thread_(this_thread_number())
{
    auto& a = all::get();
    std::lock_guard guard(a.mutex);
    next_ = a.first;
    if (next_)
        next_->previous_ = this;
    a.first = this;
}

machine_entry::~machine_entry()
{
    auto& a = all::get();
    std::lock_guard guard(a.mutex);
    (previous_ ? previous_->next_ : a.first) = next_;
    if (next_)
        next_->previous_ = previous_;
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

namespace {

struct bystanders {
    std::mutex mutex; // leaf
    std::vector<long> threads;

    static bystanders& get()
    {
        static bystanders& instance = *new bystanders;
        return instance;
    }
};

} // namespace

bystander::bystander() : thread_(this_thread_number())
{
    auto& b = bystanders::get();
    std::lock_guard guard(b.mutex);
    b.threads.push_back(thread_);
}

bystander::~bystander()
{
    auto& b = bystanders::get();
    std::lock_guard guard(b.mutex);
    b.threads.erase(std::find(b.threads.begin(), b.threads.end(), thread_));
}

void bystander::list(std::vector<long>& out)
{
    auto& b = bystanders::get();
    std::lock_guard guard(b.mutex);
    out = b.threads;
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

SPINDLE_PEEKS SPINDLE_NOINLINE void
peek(std::uintptr_t* out, void const* from, std::size_t n) noexcept
{
    auto const* const words = static_cast<std::uintptr_t const volatile*>(from);
    for (std::size_t i = 0; i != n; ++i)
        out[i] = words[i];
}

} // namespace spindle::detail
