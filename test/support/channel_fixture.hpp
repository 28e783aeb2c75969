//
// support/channel_fixture.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~
// What tests of the channel room share: who waits in a channel, and values that
// are difficult to carry.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_TEST_SUPPORT_CHANNEL_FIXTURE_HPP
#define SPINDLE_TEST_SUPPORT_CHANNEL_FIXTURE_HPP

#include <spindle/chan/channel.hpp>
#include <spindle/this_fiber.hpp>

#include <support/asio_fixture.hpp>

#include <spindle/detail/chan/handle.hpp>
#include <spindle/detail/fiber/record.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <thread>
#include <utility>

namespace spindle_test {

// --- who waits ------------------------------------------------------------------------

template <class View>
std::size_t receivers_of(View const& ch)
{
    auto& s = *spindle::detail::channel_access::handle(ch).state();
    std::lock_guard guard(s.lock);
    return s.receivers().size();
}

template <class View>
std::size_t senders_of(View const& ch)
{
    auto& s = *spindle::detail::channel_access::handle(ch).state();
    std::lock_guard guard(s.lock);
    return s.senders().size();
}

// Fibers of the process that wait for that.
inline std::size_t fibers_in(spindle::detail::wait_reason why)
{
    using namespace spindle::detail;
    struct {
        wait_reason why;
        std::size_t n = 0;
    } found{why};
    for_each_record(
        [](fiber_record& g, void* p) {
            auto& f = *static_cast<decltype(found)*>(p);
            f.n += g.state.load(std::memory_order_relaxed) == fiber_state::waiting
                && g.reason.load(std::memory_order_relaxed) == f.why;
        },
        &found);
    return found.n;
}

// Lets others run until the condition holds; false: it has not, for long. In a
// fiber and on a plain thread.
template <class Condition>
[[nodiscard]] bool until(Condition condition)
{
    auto const end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!condition()) {
        if (std::chrono::steady_clock::now() > end)
            return false;
        if (spindle::this_fiber::is_fiber())
            spindle::this_fiber::yield();
        else
            std::this_thread::yield();
    }
    return true;
}

// --- values ---------------------------------------------------------------------------

// Counts those that are alive.
class counted {
public:
    explicit counted(int v) noexcept : value(v) { ++live; }
    counted(counted&& other) noexcept : value(std::exchange(other.value, moved)) { ++live; }
    counted& operator=(counted&&) = delete;
    ~counted()
    {
        value = gone;
        --live;
    }

    static constexpr int moved = -1, gone = -2;
    static inline std::atomic<int> live{0};

    int value;
};

// Its moves and copies throw, the n-th from now.
class moody {
public:
    struct refusal {};

    explicit moody(int v) : value(v) { ++live; }
    moody(moody&& other) : value((step(), std::exchange(other.value, moved))) { ++live; }
    moody(moody const& other) : value((step(), other.value)) { ++live; }
    moody& operator=(moody&&) = delete;
    ~moody() { --live; }

    static void throw_at(int n) { left = n; }
    static void behave() { left = 0; }

    static constexpr int moved = -1;
    static inline std::atomic<int> live{0};

    int value;

private:
    static void step()
    {
        if (left > 0 && --left == 0)
            throw refusal();
    }

    static inline std::atomic<int> left{0};
};

// Says whether it lies where it must.
struct alignas(256) wide {
    explicit wide(int v) noexcept : value(v) {}
    bool in_place() const noexcept
    {
        return reinterpret_cast<std::uintptr_t>(this) % alignof(wide) == 0;
    }

    int value;
};

} // namespace spindle_test

#endif // SPINDLE_TEST_SUPPORT_CHANNEL_FIXTURE_HPP
