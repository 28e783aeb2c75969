//
// spindle/detail/sync/shared_mutex_core.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// Many readers or one writer.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_SYNC_SHARED_MUTEX_CORE_HPP
#define SPINDLE_DETAIL_SYNC_SHARED_MUTEX_CORE_HPP

#include <spindle/config.hpp>
#include <spindle/detail/base/atomic.hpp>
#include <spindle/detail/base/spin_lock.hpp>
#include <spindle/detail/fiber/hooks.hpp>
#include <spindle/detail/sync/wait_queue.hpp>

#include <cstdint>

namespace spindle::detail {

struct waiting_writer : queued_waiter {};

struct waiting_reader : queued_waiter {
    bool entitled = false; // is let in, rather than woken to come in by itself
    bool owns = false;     // was let in
};

// Shape
//
//   word_      closed     a writer owns the mutex, or waits until those have left
//                         who are inside; or, for a moment, whoever was the last
//                         passes it on
//              queued     more writers may wait
//              reading    times the readers that are here: inside, or to be next
//   leaving_   readers inside that have to leave before the mutex is passed on;
//              0 while a writer owns it, and while it is open
//   passes_    readers that were let in, and are still on the way to the queue
//   readers_, writers_    who waits
//
//   A reader adds itself, and is inside if the mutex was open. Else it is one of
//   the next batch, and queues up, unless it was let in meanwhile. It leaves by
//   taking itself off, and where a writer waits off leaving_ too: the last one
//   passes the mutex on. A writer closes the mutex, counts those inside into
//   leaving_, and queues up; or queues up behind the one that did.
//   A writer passes the mutex on to all readers that are here, and if there are
//   none to the next writer; the last reader to the next writer. So a writer stops
//   new readers, and waits for those that were inside before it, and for each
//   writer before it with one batch of readers.
//   Where no writer waits, a reader is not let in but woken to come in by itself; if
//   it finds the mutex closed then, it is entitled to be let in. So a reader waits
//   for a few writers at most.
//
// Who may touch what
//
//   word_      any thread adds and takes off a reader, and closes it where it is 0;
//              who owns it as a writer, opens it where nobody else is here. All
//              else below lock_
//   leaving_   readers inside take themselves off. All else below lock_
//   the rest   whoever holds lock_
//
// Invariants
//
//   I1  Somebody is in a queue: the mutex is closed.
//   I2  Closed, and leaving_ is 0: a writer owns it, or one is about to pass it on.
//   I3  A reader is here: inside, in readers_, or on its way to lock_. Of those on
//       their way passes_ are inside, all of them while the mutex is open.
//
// Why it is correct
//
//   C  A reader's step and the closing are on one word: each reader was here before
//      it, and is counted into leaving_, or finds the mutex closed. A reader that
//      leaves finds it closed only where it has been counted, or is about to be: so
//      leaving_ goes below 0 for a moment, and becomes 0 by one step, the last
//      reader's or that of the writer, which then need not wait.
//   Q  A waiter queues up, and `queued` is set, with lock_ held until it has parked;
//      setting it fails if the mutex was opened. Who passes it on takes lock_, or
//      opens it by a compare-exchange that fails where anybody is here or queued.
//   P  Who is let in while on its way finds a pass. It may be another's, who came
//      later: then that one has its place in the next batch.
//   E  Who is let in is inside from then on, and may have to wait for a thread. If
//      all were let in, each writer would wait for them, and they for it, in turn,
//      for ever: a convoy. Those that are woken instead are no longer here.
//   L  Only an asynchronous operation leaves a queue without the mutex, below lock_.
//      A writer that was the only one leaves the mutex closed for nobody: readers
//      come in by way of the queue, as long as leaving_ is not 0, and once it is,
//      the last one opens it.
//   D  The mutex may be destroyed by whoever was the last to let go of it. A reader
//      that finds it closed is waited for, until it has taken itself off leaving_.
//      Who opens it does that last; or with lock_ held for those that will take
//      lock_, or wait to be woken, and touches nothing after it has released lock_.
//   Acquire where the mutex is got and release where it is let go carry what it
//   protects. The last reader acquires, by leaving_, what the other readers
//   released, and hands that over by the wake-up; the writer that closes acquires
//   what those released who had left before.
//
// Not done, and why
//
//   Letting a writer be overtaken as in mutex: writers are few where this is the
//   right thing to use. A reader count for each processor: a writer would have to
//   look at all of them, and the mutex would take a cache line for each. Spinning,
//   and one word for all of it: doc/design/mutex.adoc.
//
// Evidence: test/model/shared_mutex.cpp, test/sync/shared_mutex.cpp,
// test/sync/async_lock.cpp
class SPINDLE_DECL shared_mutex_core {
public:
    shared_mutex_core() noexcept = default;
    shared_mutex_core(shared_mutex_core const&) = delete;
    shared_mutex_core& operator=(shared_mutex_core const&) = delete;
    ~shared_mutex_core()
    {
        if (word_.load(std::memory_order_relaxed) != 0) [[unlikely]]
            destroyed_in_use();
    }

    // Throws not_in_fiber where one must not wait.
    void lock()
    {
        auto* const self = waiting_fiber();
        if (!try_lock()) [[unlikely]]
            lock_slow(self);
    }

    bool try_lock() noexcept
    {
        word_type free = 0;
        return word_.compare_exchange_strong(
            free, closed, std::memory_order_acquire, std::memory_order_relaxed);
    }

    // The writer.
    void unlock() noexcept
    {
        word_type word = closed;
        if (!open(word)) [[unlikely]]
            unlock_slow(word);
    }

    // Throws not_in_fiber where one must not wait.
    void lock_shared()
    {
        auto* const self = waiting_fiber();
        if (!enter()) [[unlikely]]
            lock_shared_slow(self);
    }

    bool try_lock_shared() noexcept
    {
        auto word = word_.load(std::memory_order_relaxed);
        while ((word & closed) == 0)
            if (word_.compare_exchange_weak(
                    word, word + reading, std::memory_order_acquire, std::memory_order_relaxed))
                return true;
        return false;
    }

    // A reader.
    void unlock_shared() noexcept
    {
        auto const before = word_.fetch_sub(reading, std::memory_order_release); // C
        if ((before & closed) != 0 || before == 0) [[unlikely]]
            unlock_shared_slow(before);
    }

    // An asynchronous operation. True: it has what it came for; false: it is in a
    // queue, and may be over already.
    bool lock_or_queue(waiting_writer& w) noexcept;
    bool lock_or_queue(waiting_reader& r) noexcept;

    // One in a queue, any thread. False: it is in none any more.
    bool withdraw(waiting_writer& w) noexcept;
    bool withdraw(waiting_reader& r) noexcept;

    spin_lock& queue_lock() noexcept { return lock_; }

private:
    using word_type = std::uint64_t;
    static constexpr word_type closed = 1, queued = 2, reading = 4;

    enum class turn : bool { readers, writers };

    struct batch {
        word_type owning = 0, competing = 0;
    };

    // A reader. False: it is one of the next batch.
    bool enter() noexcept
    {
        return (word_.fetch_add(reading, std::memory_order_acquire) & closed) == 0; // C
    }

    bool open(word_type& from) noexcept
    {
        return word_.compare_exchange_strong(
            from, 0, std::memory_order_release, std::memory_order_relaxed);
    }

    void lock_slow(fiber_record* self);
    void lock_shared_slow(fiber_record* self);
    bool close_or_announce() noexcept;
    bool was_let_in() noexcept;
    bool join_leaving(word_type n) noexcept;
    void unlock_slow(word_type word) noexcept;
    void unlock_shared_slow(word_type before) noexcept;
    void pass_on(turn first) noexcept;
    void let_readers_in(word_type here) noexcept;
    void hand_to_writer() noexcept;
    batch take_readers(wait_queue_of<waiting_reader>& taken, bool may_compete) noexcept;
    [[noreturn]] static void destroyed_in_use() noexcept;

    atomic<word_type> word_{0};
    atomic<word_type> leaving_{0};
    word_type passes_ = 0;
    wait_queue_of<waiting_reader> readers_;
    wait_queue_of<waiting_writer> writers_;
    spin_lock lock_; // above the locks of run queues and timers
    bool for_nobody_ = false; // L
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_SYNC_SHARED_MUTEX_CORE_HPP
