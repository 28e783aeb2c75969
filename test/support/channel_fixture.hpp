//
// support/channel_fixture.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~
// What tests of the channel room share: who waits in a channel, what its operations
// say, and values that are difficult to carry.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_TEST_SUPPORT_CHANNEL_FIXTURE_HPP
#define SPINDLE_TEST_SUPPORT_CHANNEL_FIXTURE_HPP

#include <spindle/chan/channel.hpp>

#include <support/asio_fixture.hpp>
#include <support/waiting.hpp>

#include <spindle/detail/chan/handle.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
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

template <class View>
bool nobody_waits(View const& ch)
{
    return receivers_of(ch) == 0 && senders_of(ch) == 0;
}

// --- what they say --------------------------------------------------------------------

// For `using namespace`: many tests have a channel of such a name.
namespace outcomes {

inline error_code const closed = spindle::errc::channel_closed;
inline error_code const would_block = asio::error::would_block;
inline error_code const timed_out = asio::error::timed_out;
inline error_code const stale = asio::error::eof; // what an error_code& held before

inline constexpr auto never = spindle::testing::clock::time_point::max();

} // namespace outcomes

// --- values ---------------------------------------------------------------------------

using boxed = std::unique_ptr<int>; // move-only, and what it points to is plain

inline boxed box(int v) { return std::make_unique<int>(v); }

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
