//
// model/relacy_atomic.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~
// Relacy's atomic, fence, mutex and condition variable, behind the names that
// the doors detail/base/atomic.hpp and mutex.hpp give to std's. A model
// defines SPINDLE_TEST_ATOMIC as this file before its first include.
//
// What Relacy cannot show: it runs each thread's operations in program order,
// so no load is ever overtaken by a later store; and its timed waits run out
// whenever it likes, whatever the deadline.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_TEST_MODEL_RELACY_ATOMIC_HPP
#define SPINDLE_TEST_MODEL_RELACY_ATOMIC_HPP

// Relacy turns new, delete, assert and the memory orders into macros. So the
// standard headers that anything behind the door needs come first.
#include <algorithm>
#include <array>
#include <atomic>
#include <cassert>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <iostream>
#include <memory>
#include <mutex>
#include <numeric>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <relacy/relacy.hpp>

#undef VAR
#undef VAR_T
#undef assert
#undef calloc
#undef delete
#undef errno
#undef free
#undef malloc
#undef memory_order_acq_rel
#undef memory_order_acquire
#undef memory_order_consume
#undef memory_order_relaxed
#undef memory_order_release
#undef memory_order_seq_cst
#undef new
#undef realloc

namespace spindle::detail {

inline rl::memory_order to_relacy(std::memory_order order)
{
    switch (order) {
    case std::memory_order_relaxed:
        return rl::mo_relaxed;
    case std::memory_order_consume:
        return rl::mo_consume;
    case std::memory_order_acquire:
        return rl::mo_acquire;
    case std::memory_order_release:
        return rl::mo_release;
    case std::memory_order_acq_rel:
        return rl::mo_acq_rel;
    default:
        return rl::mo_seq_cst;
    }
}

inline void fence(std::memory_order order) { rl::atomic_thread_fence(to_relacy(order), $); }

inline void yield_thread() { rl::yield(1, $); }

inline std::uintptr_t this_thread_token() { return 2 * (rl::thread_index() + 1); }

// What is touched after it was destroyed is a failure, as long as its memory is
// there: keep it in a std::optional.
template <class T>
class atomic {
public:
    atomic() { value_.store(T(), rl::mo_relaxed, $); } // as C++20's
    atomic(T v) { value_.store(v, rl::mo_relaxed, $); }
    ~atomic() { alive_ = false; }

    T load(std::memory_order o) const { return value().load(to_relacy(o), $); }
    void store(T v, std::memory_order o) { value().store(v, to_relacy(o), $); }
    T exchange(T v, std::memory_order o) { return value().exchange(v, to_relacy(o), $); }
    T fetch_add(T v, std::memory_order o) { return value().fetch_add(v, to_relacy(o), $); }
    T fetch_sub(T v, std::memory_order o) { return value().fetch_sub(v, to_relacy(o), $); }
    T fetch_and(T v, std::memory_order o) { return value().fetch_and(v, to_relacy(o), $); }
    T fetch_or(T v, std::memory_order o) { return value().fetch_or(v, to_relacy(o), $); }

    bool compare_exchange_weak(T& e, T v, std::memory_order yes, std::memory_order no)
    {
        return compare_exchange<true>(e, v, yes, no);
    }

    bool compare_exchange_strong(T& e, T v, std::memory_order yes, std::memory_order no)
    {
        return compare_exchange<false>(e, v, yes, no);
    }

private:
    template <bool Weak>
    bool compare_exchange(T& e, T v, std::memory_order yes, std::memory_order no)
    {
        // Relacy knows no release that turns into acquire on failure. Making
        // success stronger would hide mutants; a fence after failure does not.
        auto const split
            = yes == std::memory_order_release && no == std::memory_order_acquire;
        auto const failure = split ? rl::mo_relaxed : to_relacy(no);
        auto const done
            = value().compare_exchange(rl::bool_t<Weak>(), e, v, to_relacy(yes), failure, $);
        if (!done && split)
            rl::atomic_thread_fence(rl::mo_acquire, $);
        return done;
    }

    rl::atomic<T>& value()
    {
        RL_ASSERT(alive_);
        return value_;
    }

    rl::atomic<T> const& value() const
    {
        RL_ASSERT(alive_);
        return value_;
    }

    rl::atomic<T> value_;
    bool volatile alive_ = true;
};

// Relacy has no pointers to constants.
template <class T>
class atomic<T const*> {
public:
    atomic() = default;
    atomic(T const* p) : value_(const_cast<T*>(p)) {}

    T const* load(std::memory_order o) const { return value_.load(o); }
    void store(T const* p, std::memory_order o) { value_.store(const_cast<T*>(p), o); }

private:
    atomic<T*> value_;
};

class mutex {
public:
    void lock() { mutex_.lock($); }
    bool try_lock() { return mutex_.try_lock($); }
    void unlock() { mutex_.unlock($); }

private:
    friend class condition_variable;

    rl::mutex mutex_;
};

// Waits may end without a reason, as the standard allows.
class condition_variable {
public:
    void wait(std::unique_lock<mutex>& lock) { wake_.wait(lock.mutex()->mutex_, $); }

    // Times out at any moment. What ends without a reason counts as that too.
    template <class TimePoint>
    std::cv_status wait_until(std::unique_lock<mutex>& lock, TimePoint const&)
    {
        return wake_.wait_for(lock.mutex()->mutex_, 0, $) ? std::cv_status::no_timeout
                                                          : std::cv_status::timeout;
    }

    void notify_one() { wake_.notify_one($); }
    void notify_all() { wake_.notify_all($); }

private:
    rl::condition_variable wake_;
};

} // namespace spindle::detail

namespace spindle::model {

// Runs one model: silent but for the failure. The number of iterations is the
// program's argument, if it has one.
template <class Suite>
bool passes(char const* name, int argc, char** argv, unsigned iterations)
{
    rl::test_params p;
    p.iteration_count = argc > 1 ? static_cast<unsigned>(std::atoi(argv[1])) : iterations;
    p.progress_output_period = 1000000;
    p.execution_depth_limit = 20000;
    auto const ok = rl::simulate<Suite>(p);
    std::printf("%s: %s\n", name, ok ? "passed" : "FAILED");
    return ok;
}

} // namespace spindle::model

#endif // SPINDLE_TEST_MODEL_RELACY_ATOMIC_HPP
