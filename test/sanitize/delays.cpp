//
// sanitize/delays.cpp
// ~~~~~~~~~~~~~~~~~~~
// To be preloaded: threads are late, by chance, where they begin, ask the system for
// something, and come back from it. What depends on who is first then shows. See
// `delays`.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <dlfcn.h>
#include <memory>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

// No constructors, no locks, nothing of libc's that comes by here again.
thread_local constinit std::uint64_t state = 0;

std::uint64_t random_number() noexcept
{
    if (state == 0) {
        auto const* const seed = std::getenv("DELAYS_SEED");
        state = (seed ? std::strtoull(seed, nullptr, 0) : 0) * 0xd1b5'4a32'd192'ed03
            ^ static_cast<std::uint64_t>(::syscall(SYS_gettid)) * 0x9e37'79b9'7f4a'7c15;
        state += state == 0;
    }
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

// Once in so many times; at most so long.
void delay(unsigned once_in, unsigned most_us) noexcept
{
    if (random_number() % once_in != 0)
        return;
    auto const before = errno;
    std::timespec const t{0, static_cast<long>(random_number() % (most_us * 1000ull))};
    ::syscall(SYS_nanosleep, &t, nullptr);
    errno = before;
}

// The one that this stands before. Some have an older twin.
template <class Function>
Function* next(char const* name, char const* version = nullptr) noexcept
{
    auto* const f = version ? ::dlvsym(RTLD_NEXT, name, version) : ::dlsym(RTLD_NEXT, name);
    return reinterpret_cast<Function*>(f ? f : ::dlsym(RTLD_NEXT, name));
}

struct start {
    void* (*function)(void*);
    void* argument;
};

void* late(void* p)
{
    auto const s = *std::unique_ptr<start>(static_cast<start*>(p));
    delay(2, 4000);
    return s.function(s.argument);
}

} // namespace

extern "C" {

int pthread_create(
    pthread_t* t, pthread_attr_t const* attributes, void* (*function)(void*), void* argument)
{
    static auto* const real = next<decltype(pthread_create)>("pthread_create");
    delay(4, 1000);
    auto s = std::make_unique<start>(start{function, argument});
    auto const error = real(t, attributes, &late, s.get());
    if (error == 0)
        (void)s.release();
    delay(4, 2000);
    return error;
}

int pthread_mutex_unlock(pthread_mutex_t* m) noexcept
{
    static auto* const real = next<int(pthread_mutex_t*)>("pthread_mutex_unlock");
    auto const error = real(m);
    delay(500, 1000);
    return error;
}

int pthread_cond_wait(pthread_cond_t* c, pthread_mutex_t* m)
{
    static auto* const real
        = next<int(pthread_cond_t*, pthread_mutex_t*)>("pthread_cond_wait", "GLIBC_2.3.2");
    auto const error = real(c, m);
    delay(8, 3000);
    return error;
}

int pthread_cond_clockwait(
    pthread_cond_t* c, pthread_mutex_t* m, clockid_t clock, std::timespec const* until)
{
    static auto* const real
        = next<int(pthread_cond_t*, pthread_mutex_t*, clockid_t, std::timespec const*)>(
            "pthread_cond_clockwait");
    auto const error = real(c, m, clock, until);
    delay(8, 3000);
    return error;
}

int pthread_cond_signal(pthread_cond_t* c) noexcept
{
    static auto* const real = next<int(pthread_cond_t*)>("pthread_cond_signal", "GLIBC_2.3.2");
    delay(16, 1000);
    auto const error = real(c);
    delay(16, 1000);
    return error;
}

int epoll_wait(int fd, epoll_event* events, int most, int timeout)
{
    static auto* const real = next<int(int, epoll_event*, int, int)>("epoll_wait");
    delay(16, 2000);
    auto const n = real(fd, events, most, timeout);
    delay(8, 3000);
    return n;
}

ssize_t write(int fd, void const* data, std::size_t size)
{
    static auto* const real = next<ssize_t(int, void const*, std::size_t)>("write");
    delay(16, 1500);
    auto const n = real(fd, data, size);
    delay(16, 1500);
    return n;
}

int sched_yield() noexcept
{
    delay(50, 500);
    return static_cast<int>(::syscall(SYS_sched_yield));
}

// Where a scheduler looks at the clock it is about to decide something.
int clock_gettime(clockid_t clock, std::timespec* at) noexcept
{
    static auto* const real = next<int(clockid_t, std::timespec*)>("clock_gettime");
    auto const error = real(clock, at);
    delay(3000, 1500);
    return error;
}

} // extern "C"
