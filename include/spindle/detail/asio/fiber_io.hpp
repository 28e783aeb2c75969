//
// spindle/detail/asio/fiber_io.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// Where the Asio operation that a fiber waits for meets the fiber, its stop, and
// its own intermediate handlers.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_ASIO_FIBER_IO_HPP
#define SPINDLE_DETAIL_ASIO_FIBER_IO_HPP

#include <spindle/config.hpp>
#include <spindle/detail/base/atomic.hpp>
#include <spindle/detail/base/scope_exit.hpp>
#include <spindle/detail/fiber/record.hpp>
#include <spindle/error.hpp>

#include <boost/asio/associated_allocator.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/execution_context.hpp>

#include <cstdint>
#include <memory>
#include <new>
#include <thread>
#include <type_traits>
#include <utility>

namespace spindle::detail {

// Any thread, in a completion handler. Makes the fiber go on: at once where that
// can be, else through its run queue or its executor.
SPINDLE_DECL void resume_from_handler(fiber_record& g) noexcept;

// Any thread, with something of the fiber's held: never at once.
SPINDLE_DECL void resume_later(fiber_record& g) noexcept;

// A function that waits for the lock (fiber_io.hpp).
struct alignas(16) pending_function {
    pending_function* next = nullptr;
    void (*run)(pending_function*) = nullptr; // frees it and runs it; throws what that throws
};

// One, in memory of its own allocator. An operation's handlers have the operation's
// memory, and that is free while one of them is on its way: so one that completes at
// once needs no heap either.
template <class Function>
class pending_call final : public pending_function {
    using allocator_type = typename std::allocator_traits<
        boost::asio::associated_allocator_t<Function>>::template rebind_alloc<pending_call>;
    using traits = std::allocator_traits<allocator_type>;

public:
    template <class F>
    static pending_call* make(F&& function)
    {
        allocator_type allocator(boost::asio::get_associated_allocator(function));
        auto* const p = traits::allocate(allocator, 1);
        try {
            return ::new (static_cast<void*>(p)) pending_call(std::forward<F>(function));
        } catch (...) {
            traits::deallocate(allocator, p, 1);
            throw;
        }
    }

private:
    template <class F>
    explicit pending_call(F&& f) : function_(std::forward<F>(f))
    {
        run = [](pending_function* p) {
            auto* const self = static_cast<pending_call*>(p);
            auto function = std::move(self->function_);
            allocator_type allocator(boost::asio::get_associated_allocator(function));
            std::destroy_at(self);
            traits::deallocate(allocator, self, 1);
            function();
        };
    }

    Function function_;
};

// Shape
//
//   word_   idle, or locked | done | emission | a stack of functions that wait for
//           the lock; the functions' alignment leaves four bits for the flags
//
//   A fiber waits for one operation at a time, so one word a fiber does; for what
//   an initiation waits for itself there is another one (take()). It is three
//   things at once: the lock under which the initiation, all intermediate
//   handlers and every cancellation run one at a time, whatever threads they
//   come from; the state that decides whether the fiber parks; and the list of
//   what came while the lock was taken. A lock that is not got is not waited
//   for: what was to be done is left in the word, and the holder does it. Where
//   the handler has an executor, the holder sends it back there
//   (operation_executor.hpp).
//
// Who may touch what
//
//   the fiber     begin(): idle -> locked; initiates; then parks, and the commit,
//                 on the next stack, releases the lock
//   a handler     execute(): takes the lock, or leaves the handler in the list
//   the last one  finish(): sets done
//   a stopper     emit(): takes the lock, or sets emit
//
// Invariants
//
//   I1  What runs under the lock runs alone.
//   I2  Whoever releases the lock and finds done resumes the fiber, as the last
//       thing it does here. So the fiber goes on exactly once, and never while
//       somebody is inside. A stopper only queues it: the fiber waits until the
//       stopper has left its hook (stop.hpp), and must not do that above it on
//       the same thread.
//   I3  Between two operations the word is idle, and an emission that comes late
//       does nothing: what the signal is connected to may be gone. A handler
//       that an operation has left behind takes the lock then, idle and locked,
//       and the next operation waits for it.
//   I4  A fiber_io is never freed, and goes from one fiber to another: such a
//       handler may come after the fiber's end.
//   I5  inside_ is a thread's own id only while that thread holds the lock: it is set
//       after the lock is taken and cleared before it is released, by its holder.
//   I6  An operation that the fiber starts and does not wait for has an owner
//       (started.hpp): the last one out tells that, instead of resuming the fiber.
//
// Why it is correct
//
//   Taking is acquire, releasing is release, and so is setting done: what the
//   last handler wrote to the fiber's frame is seen by the fiber.
//   A commit that finds more than `locked` in the word refuses: the fiber comes
//   back on its own stack, still holding the lock, and does what was left.
//   Asio's signals are not synchronised; here emission, and everything that
//   could change what the signal is connected to, holds the lock.
//
//   What a handler throws leaves by the io_context's run(). One that was left is
//   run by whoever holds the lock, the fiber maybe: its exception is posted there.
//
// Not done, and why
//
//   A strand: it posts where this runs the handler at once, and allocates.
//   Posting the emission to the io_context where one thread runs it: correct,
//   and two mechanisms instead of one; the lock costs 10 ns an operation.
//   Waiting for the lock by spinning: an initiation may make system calls.
//   Keeping the order of what goes back to an executor and what comes there
//   meanwhile: it would take a queue of our own before the executor's. A composed
//   operation has, as a rule, one handler on its way.
//
// Evidence
//
//   test/asio/fiber_io.cpp     stops against completions, on shared io_contexts
//   test/asio/use_fiber.cpp    immediate, cancelled, abandoned operations
class SPINDLE_DECL fiber_io final {
public:
    // Who started an operation without waiting for it.
    class owner {
    public:
        // Any thread, once: the operation is over, and its fiber_io is idle.
        virtual void finished() noexcept = 0;

    protected:
        ~owner() = default;
    };

    // The fiber, for an operation that it waits for: its own one, from its first use on.
    // While an operation has that, in an initiation that waits itself, another one.
    static fiber_io& take(fiber_record& g);
    void release() noexcept
    {
        if (!std::exchange(taken_, false)) [[unlikely]]
            release_inner();
    }

    // One for an operation that fiber `g` starts; give it back idle.
    static fiber_io& borrow(fiber_record& g, owner& o);
    void give_back() noexcept;

    // The fiber. Takes the lock for the initiation.
    void begin() noexcept
    {
        auto w = idle;
        if (!word_.compare_exchange_strong(
                w, locked, std::memory_order_acquire, std::memory_order_relaxed)) // I3
            begin_behind_stray();
        mark_inside();
    }

    // The fiber. Initiation threw: nothing was started.
    void give_up_start() noexcept;

    // The fiber, after the initiation of an operation that has an owner.
    void go_on_without_waiting() noexcept { unlock(&resume_later); }

    // The fiber, after the initiation. Returns when the operation has finished.
    // True: it had to park for that.
    bool wait() noexcept;

    // Any thread, once an operation: the last handler has stored its results.
    void finish() noexcept;

    // Any thread. Asks the operation to cancel itself.
    void emit() noexcept;

    // Any thread. Runs f() under the lock, now or on the thread that holds it.
    template <class Function>
    void execute(Function&& f)
    {
        if (!try_execute(f))
            leave(std::forward<Function>(f));
    }

    // Any thread. Runs f() under the lock, or returns false where that is taken.
    template <class Function>
    bool try_execute(Function&& f)
    {
        if (!try_lock())
            return false;
        scope_exit const release([this] { unlock(&resume_from_handler); }); // if f throws, too
        std::forward<Function>(f)();
        return true;
    }

    // Any thread. Leaves f to whoever holds the lock.
    template <class Function>
    void leave(Function&& f)
    {
        enqueue(*pending_call<std::decay_t<Function>>::make(std::forward<Function>(f)));
    }

    // Any thread. The lock is held further down on the caller's stack.
    bool is_inside() const noexcept
    {
        return inside_.load(std::memory_order_relaxed) == std::this_thread::get_id();
    }

    boost::asio::cancellation_slot slot() noexcept { return signal_.slot(); }
    fiber_record& fiber() const noexcept { return *fiber_; }
    boost::asio::execution_context& context() const noexcept;

private:
    struct lease;
    struct resting;

    static constexpr std::uintptr_t locked = 1;
    static constexpr std::uintptr_t done = 2;
    static constexpr std::uintptr_t emission = 4;
    static constexpr std::uintptr_t idle = 8;
    static constexpr std::uintptr_t flags = 15;

    bool try_lock() noexcept
    {
        auto w = word_.load(std::memory_order_relaxed);
        while ((w & locked) == 0)
            if (word_.compare_exchange_weak(
                    w, w | locked, std::memory_order_acquire, std::memory_order_relaxed)) {
                mark_inside();
                return true;
            }
        return false;
    }

    // The holder; I5.
    void mark_inside() noexcept
    {
        inside_.store(std::this_thread::get_id(), std::memory_order_relaxed);
    }
    void mark_outside() noexcept { inside_.store({}, std::memory_order_relaxed); }

    using resume_function = void (*)(fiber_record& g) noexcept;

    static SPINDLE_NOINLINE fiber_io& take_new(fiber_record& g);
    void release_inner() noexcept;
    void enqueue(pending_function& p);
    void run_left(pending_function& p, bool stray) noexcept;
    void unlock(resume_function resume) noexcept;
    std::uintptr_t do_what_was_left() noexcept;
    void disconnect() noexcept;
    static bool commit(void* self) noexcept;

    void begin_behind_stray() noexcept;
    void release_to_idle() noexcept;

    bool taken_ = false;            // a fiber's own one, by that fiber
    owner* owner_ = nullptr;        // I6; as fiber_
    fiber_record* fiber_ = nullptr; // read by a handler only while its operation goes on
    fiber_io* next_resting_ = nullptr;
    atomic<std::uintptr_t> word_{idle};
    atomic<std::thread::id> inside_{};
    boost::asio::cancellation_signal signal_; // under the lock
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_ASIO_FIBER_IO_HPP
