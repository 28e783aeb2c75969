//
// spindle/detail/asio/started.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// An Asio operation that a fiber has started and does not wait for, yet.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_ASIO_STARTED_HPP
#define SPINDLE_DETAIL_ASIO_STARTED_HPP

#include <spindle/config.hpp>
#include <spindle/detail/asio/operation.hpp>
#include <spindle/detail/base/atomic.hpp>

#include <cstdint>
#include <type_traits>
#include <utility>

namespace spindle::detail {

// Who wants to hear that it is over.
class completion_listener {
public:
    // Any thread, once, in a completion handler: with nothing held. True: go_on()
    // is owed; until then the listener stays.
    [[nodiscard]] virtual bool completed() noexcept = 0;

    // After the state is `over`: it may run on here and now, where an execution
    // context goes away, and end what has completed.
    virtual void go_on() = 0;

protected:
    ~completion_listener() = default;
};

// Shape
//
//   empty -> running -> over -> empty
//            running -> watched -> notifying -> over
//
// Who may touch what
//
//   the owner     begin, watch, unwatch, consume; the results once it is over
//   the last one  finish: running -> over, watched -> notifying -> over
//   a borrower    what the owner may, from lend() to take_back(); the owner then looks
//                 at the state only
//
// Why it is correct
//
//   The last handler stores the results, then changes the state with release; the
//   owner reads it with acquire. While it is notifying, unwatch() waits, so the
//   listener may be left after it; the store of `over` is the last that is done
//   from outside.
//
// Evidence: test/asio/start.cpp
class SPINDLE_DECL completion_state {
public:
    bool empty() const noexcept { return word_.load(std::memory_order_relaxed) == state::empty; }
    bool over() const noexcept { return word_.load(std::memory_order_acquire) == state::over; }
    bool in_flight() const noexcept { return !empty() && !over(); }

    // The owner.
    bool watched() const noexcept
    {
        auto const now = word_.load(std::memory_order_relaxed);
        return now == state::watched || now == state::notifying;
    }

    // Not watched yet. False: it is over already, and the listener does not hear of it.
    [[nodiscard]] bool watch(completion_listener& l) noexcept;
    void unwatch() noexcept;

    void begin() noexcept { word_.store(state::running, std::memory_order_relaxed); }
    void finish();
    void finish_unstarted() noexcept { word_.store(state::over, std::memory_order_relaxed); }
    void consume() noexcept { word_.store(state::empty, std::memory_order_relaxed); }

    // To a select that does not wait in the owner.
    void lend()
    {
        if (lent_.exchange(true, std::memory_order_acquire))
            throw_lent();
    }
    void take_back() noexcept { lent_.store(false, std::memory_order_release); }
    bool lent() const noexcept { return lent_.load(std::memory_order_acquire); }
    void check_not_lent() const
    {
        if (lent())
            throw_lent();
    }

private:
    [[noreturn]] SPINDLE_NOINLINE static void throw_lent();

    enum class state : std::uint8_t { empty, running, watched, notifying, over };

    completion_listener* listener_ = nullptr;
    atomic<state> word_{state::empty};
    atomic<bool> lent_{false};
};

// In the frame of the fiber that started it, where its memory lies. A member of the
// scope that it was started in, until the next start: an emission that comes when
// it is over does nothing.
class SPINDLE_DECL started_frame : private fiber_io::owner, scope_member {
public:
    using arena = operation_frame::arena;

    // Throws errc::not_in_fiber where nobody could wait for it.
    started_frame();
    started_frame(started_frame const&) = delete;
    started_frame& operator=(started_frame const&) = delete;

    fiber_io& io() const noexcept { return io_; }
    arena& memory() noexcept { return memory_; }

    completion_state& progress() noexcept { return progress_; }
    bool empty() const noexcept { return progress_.empty(); }
    bool over() const noexcept { return progress_.over(); }

    // The fiber. Asks it to cancel itself.
    void cancel() noexcept
    {
        if (progress_.in_flight())
            io_.emit();
    }

    // The fiber, which is about to end it.
    void must_not_be_lent() const noexcept;

    // The fiber. Parks until it is over. `cancellable`: false if the fiber was
    // asked to stop first.
    bool wait(bool cancellable) noexcept;

protected:
    ~started_frame();

    // False: the fiber was asked to stop. It is over, aborted.
    [[nodiscard]] bool begin() noexcept;

    // In flight: from here on it is cancelled with the scope.
    void started() noexcept;
    void not_started() noexcept;

private:
    void finished() noexcept override { progress_.finish(); }

    fiber_io& io_;
    scope_ptr scope_; // that it was started in; null: none
    completion_state progress_;
    arena memory_;
};

template <class... Signatures>
class started_operation final : public started_frame, public operation_results<Signatures...> {
public:
    // Empty only.
    template <class Start>
    void start(Start&& start)
    {
        auto initiate
            = [&] { std::forward<Start>(start)(operation_handler<started_operation>(*this)); };
        if (!begin())
            return;
        try {
            call_without_parking(initiate);
        } catch (...) {
            not_started();
            throw;
        }
        started();
    }

    // Over only. Empty afterwards.
    operation_result_t<Signatures...> take(error_code* out)
    {
        progress().consume();
        return operation_results<Signatures...>::take(out);
    }

    template <class Function>
    void deliver(Function& f)
    {
        progress().consume();
        operation_results<Signatures...>::deliver(f);
    }

    // Asks it to cancel itself, waits, and drops the result.
    void drop() noexcept
    {
        if (empty())
            return;
        cancel();
        (void)wait(false);
        progress().consume();
        this->forget();
    }

    started_operation() = default;
    ~started_operation()
    {
        must_not_be_lent();
        drop();
    }
};

// --- what signature an operation has ------------------------------------------------------

template <class... Signatures>
struct signatures_of_operation {
    using started = started_operation<Signatures...>;
};

struct signature_probe {};

} // namespace spindle::detail

template <class... Signatures>
class boost::asio::async_result<spindle::detail::signature_probe, Signatures...> {
public:
    using return_type = spindle::detail::signatures_of_operation<Signatures...>;

    template <class Initiation, class... Args>
    static return_type initiate(Initiation&&, spindle::detail::signature_probe, Args&&...);
};

namespace spindle::detail {

// What can be started: it takes a completion token, as what asio::deferred makes.
template <class Operation>
concept deferred_operation = requires(Operation&& op) {
    typename decltype(std::forward<Operation>(op)(signature_probe()))::started;
};

template <class Operation>
using started_of =
    typename decltype(std::declval<Operation>()(signature_probe()))::started;

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_ASIO_STARTED_HPP
