//
// spindle/detail/chan/state.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// A channel of T: the ring, and how values change hands.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_CHAN_STATE_HPP
#define SPINDLE_DETAIL_CHAN_STATE_HPP

#include <spindle/detail/chan/core.hpp>

#include <boost/config.hpp>

#include <cstddef>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <type_traits>
#include <utility>

namespace spindle::detail {

// core.hpp has the protocol.
template <class T>
class channel_state : public chan_core {
public:
    // Throws bad_alloc, bad_array_new_length.
    explicit channel_state(std::size_t capacity)
        : chan_core(capacity), ring_(stored ? allocate(capacity) : nullptr), crowd_(*this)
    {
    }

    // --- with the lock held ----------------------------------------------------------

    // Sends, if that needs no waiting. `v` is moved or copied from if done.
    template <class Value>
    chan_result put(Value&& v, chan_waiter*& wake)
    {
        if (closed_)
            return chan_result::closed;
        bool owed = false;
        if (auto* const r = take(receivers_, owed)) {
            give_to(*r, owed, std::forward<Value>(v), wake);
            return chan_result::done;
        }
        if (count_ == capacity_)
            return chan_result::waiting;
        if (beside_room()) [[unlikely]] {
            if (!senders_.empty())
                return chan_result::waiting;
            refused_ = false;
        }
        push(std::forward<Value>(v));
        return chan_result::done;
    }

    // Receives, if that needs no waiting. `out` is filled if done.
    chan_result get(std::optional<T>& out, chan_waiter*& wake)
    {
        if (count_ != 0) {
            pop(out);
            bool owed = false;
            if (beside_room()) [[unlikely]]
                refill(wake);
            else if (auto* const s = take(senders_, owed))
                refill_from(*s, owed, wake);
            return chan_result::done;
        }
        bool owed = false;
        if (auto* const s = take(senders_, owed)) {
            take_from(*s, owed, wake, [&out](auto&& v) {
                out.emplace(std::forward<decltype(v)>(v));
            });
            if (beside_room()) [[unlikely]]
                refill(wake);
            return chan_result::done;
        }
        return closed_ ? chan_result::closed : chan_result::waiting;
    }

    // --- with nothing held -----------------------------------------------------------

    template <class Value>
    chan_result try_send(Value&& v)
    {
        chan_section section(*this);
        return put(std::forward<Value>(v), section.wake);
    }

    chan_result try_receive(std::optional<T>& out)
    {
        chan_section section(*this);
        return get(out, section.wake);
    }

    // The first lines of send() and receive() are most of what runs: the lock's
    // friend, room, or a value, and nobody on the other side. The rest is out of line.
    chan_result send(T& v, fiber_record* self)
    {
        if (!lock.try_enter()) [[unlikely]]
            lock.lock();
        else if constexpr (moves)
            if (count_ != capacity_ && receivers_.empty() && !closed_) [[likely]] {
                push(std::move(v));
                lock.leave();
                return chan_result::done;
            }
        return send_locked(v, self);
    }

    chan_result receive(std::optional<T>& out, fiber_record* self)
    {
        if (!lock.try_enter()) [[unlikely]]
            lock.lock();
        else if constexpr (moves)
            if (count_ != 0 && senders_.empty()) [[likely]] {
                pop(out);
                lock.leave();
                return chan_result::done;
            }
        return receive_locked(out, self);
    }

    chan_result send_until(T& v, fiber_record* self, time_point deadline)
    {
        if (auto const at_once = try_send(std::move(v)); at_once != chan_result::waiting)
            return at_once;
        if (deadline <= time_of_waits())
            return chan_result::timed_out;
        blocked_waiter<chan_waiter> waiter(lock, self, deadline);
        waiter.slot = &v;
        chan_section section(*this);
        auto const result = put(std::move(v), section.wake);
        if (result != chan_result::waiting)
            return result;
        section.hand_over();
        senders_.push_back(waiter);
        return end_send(waiter.wait(wait_reason::send));
    }

    chan_result receive_until(std::optional<T>& out, fiber_record* self, time_point deadline)
    {
        if (auto const at_once = try_receive(out); at_once != chan_result::waiting)
            return at_once;
        if (deadline <= time_of_waits())
            return chan_result::timed_out;
        blocked_waiter<chan_waiter> waiter(lock, self, deadline);
        waiter.slot = &out;
        chan_section section(*this);
        auto const result = get(out, section.wake);
        if (result != chan_result::waiting)
            return result;
        section.hand_over();
        receivers_.push_back(waiter);
        return waiter.wait(wait_reason::receive);
    }

    // Of a sender that has left without having sent: where its move was refused, it
    // leaves room to those behind it.
    void sender_left() noexcept
    {
        if constexpr (!nothing_throws) {
            chan_section section(*this);
            if (refused_ && !closed_)
                refill(section.wake);
        }
    }

protected:
    ~channel_state() override
    {
        if constexpr (stored) {
            if constexpr (!std::is_trivially_destructible_v<T>)
                for (; count_ != 0; --count_)
                    std::destroy_at(ring_ + std::exchange(head_, after(head_)));
            std::allocator<T>().deallocate(ring_, capacity_);
        }
    }

private:
    // A value without state is only counted: channel<void>(n) takes no memory.
    static constexpr bool stored = !(
        std::is_empty_v<T> && std::is_trivially_copyable_v<T>
        && std::is_default_constructible_v<T>);
    static constexpr bool moves = std::is_nothrow_move_constructible_v<T>;
    static constexpr bool nothing_throws =
        std::is_trivially_copyable_v<T> || (moves && !std::is_copy_constructible_v<T>);

    bool beside_room() const noexcept { return !nothing_throws && refused_; }

    chan_result end_send(chan_result r) noexcept
    {
        if constexpr (!nothing_throws)
            if (r == chan_result::aborted || r == chan_result::timed_out) [[unlikely]]
                sender_left();
        return r;
    }

    SPINDLE_FLATTEN BOOST_NOINLINE chan_result send_locked(T& v, fiber_record* self)
    {
        chan_section section(*this, std::adopt_lock);
        auto const result = put(std::move(v), section.wake);
        if (result != chan_result::waiting)
            return result;
        section.hand_over();
        return end_send(wait(senders_, &v, self, wait_reason::send));
    }

    SPINDLE_FLATTEN BOOST_NOINLINE chan_result receive_locked(std::optional<T>& out, fiber_record* self)
    {
        chan_section section(*this, std::adopt_lock);
        auto const result = get(out, section.wake);
        if (result != chan_result::waiting)
            return result;
        section.hand_over();
        return wait(receivers_, &out, self, wait_reason::receive);
    }

    static T* allocate(std::size_t n) { return n ? std::allocator<T>().allocate(n) : nullptr; }

    std::size_t after(std::size_t i) const noexcept { return i + 1 == capacity_ ? 0 : i + 1; }

    void destroy() noexcept override { delete this; }

    template <class Value>
    void push(Value&& v)
    {
        if constexpr (stored) {
            std::construct_at(ring_ + tail_, std::forward<Value>(v));
            tail_ = after(tail_);
        }
        ++count_;
    }

    void pop(std::optional<T>& out)
    {
        if constexpr (stored) {
            auto* const v = ring_ + head_;
            out.emplace(std::move(*v));
            std::destroy_at(v);
            head_ = after(head_);
        } else {
            out.emplace();
        }
        --count_;
    }

    static void settle(chan_waiter& w, bool owed, chan_result result, chan_waiter*& wake) noexcept
    {
        w.result = result;
        wake = owed ? &w : nullptr;
    }

    // A transfer with a waiter that was taken out of `q` threw: it goes on waiting.
    static void put_back(queue& q, chan_waiter& w, bool owed, chan_waiter*& wake) noexcept
    {
        if (w.claim)
            settle(w, owed, chan_result::again, wake);
        else
            q.push_front(w);
    }

    template <class Value>
    void give_to(chan_waiter& r, bool owed, Value&& v, chan_waiter*& wake)
    {
        auto& slot = *static_cast<std::optional<T>*>(r.slot);
        if constexpr (std::is_nothrow_constructible_v<T, Value>) {
            slot.emplace(std::forward<Value>(v));
        } else {
            try {
                slot.emplace(std::forward<Value>(v));
            } catch (...) {
                put_back(receivers_, r, owed, wake);
                throw;
            }
        }
        settle(r, owed, chan_result::done, wake);
    }

    template <class Take>
    void take_from(chan_waiter& s, bool owed, chan_waiter*& wake, Take take)
    {
        auto const transfer = [&] {
            if constexpr (std::is_copy_constructible_v<T>) {
                if (s.copies) {
                    take(*static_cast<T const*>(s.slot));
                    return;
                }
            }
            take(std::move(*static_cast<T*>(s.slot)));
        };
        if constexpr (nothing_throws) {
            transfer();
        } else {
            try {
                transfer();
            } catch (...) {
                put_back(senders_, s, owed, wake);
                throw;
            }
        }
        settle(s, owed, chan_result::done, wake);
    }

    // There is room in the ring again. The receiver has its value, so that
    // what the sender's move throws is for the one who moves it next.
    void refill_from(chan_waiter& s, bool owed, chan_waiter*& wake) noexcept
    {
        if (!move_up(s, owed, wake) && !refused_) // it has left the queue
            refill(wake);
    }

    // False: the move threw, and refused_ says whether the sender still waits.
    bool move_up(chan_waiter& s, bool owed, chan_waiter*& wake) noexcept
    {
        auto const move = [&] {
            take_from(s, owed, wake, [this](auto&& v) {
                this->push(std::forward<decltype(v)>(v));
            });
        };
        if constexpr (nothing_throws) {
            move();
        } else {
            try {
                move();
            } catch (...) {
                refused_ = !s.claim;
                return false;
            }
        }
        return true;
    }

    // The same where there may be room for several, as there never is but after a
    // refusal.
    SPINDLE_NOINLINE void refill(chan_waiter*& wake) noexcept
    {
        if constexpr (!nothing_throws) {
            refused_ = false;
            while (count_ != capacity_ && !refused_) {
                bool owed = false;
                auto* const s = take(senders_, owed);
                if (!s)
                    return;
                chan_waiter* woken = nullptr;
                (void)move_up(*s, owed, woken);
                if (woken)
                    crowd_.add(*woken, wake);
            }
        }
    }

    T* const ring_;
    std::size_t head_ = 0; // of the oldest value
    std::size_t tail_ = 0; // where the next one goes
    // The first sender's move threw, and it waits beside room; or it has just left, and
    // is about to call sender_left().
    bool refused_ = false;
    struct nobody {
        explicit nobody(chan_core&) noexcept {}
    };
    [[no_unique_address]] std::conditional_t<nothing_throws, nobody, chan_crowd> crowd_;
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_CHAN_STATE_HPP
