//
// support/straggler.hpp
// ~~~~~~~~~~~~~~~~~~~~~
// A thread that is slow to leave what others are about to destroy.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_TEST_SUPPORT_STRAGGLER_HPP
#define SPINDLE_TEST_SUPPORT_STRAGGLER_HPP

#include <atomic>
#include <chrono>
#include <thread>

namespace spindle_test {

// Who destroys it must wait for the thread. Where it does not, it is faster than the
// time that the thread gives it for that.
class straggler {
public:
    // The thread, inside.
    void linger() noexcept
    {
        auto const end = std::chrono::steady_clock::now() + std::chrono::milliseconds(100);
        inside_ = true;
        while (!gone_ && std::chrono::steady_clock::now() < end)
            std::this_thread::yield();
        overtaken_ = gone_.load();
    }

    bool inside() const noexcept { return inside_; }

    // Where it is destroyed, right after. True: the thread was still inside.
    [[nodiscard]] bool overtaken_by(std::thread& its)
    {
        gone_ = true;
        its.join();
        return overtaken_;
    }

private:
    std::atomic<bool> inside_{false}, gone_{false}, overtaken_{false};
};

} // namespace spindle_test

#endif // SPINDLE_TEST_SUPPORT_STRAGGLER_HPP
