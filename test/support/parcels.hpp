//
// support/parcels.hpp
// ~~~~~~~~~~~~~~~~~~~
// Two channels of numbered values, and the book of what became of each: for stress tests
// of the channel room.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_TEST_SUPPORT_PARCELS_HPP
#define SPINDLE_TEST_SUPPORT_PARCELS_HPP

#include <spindle/chan/channel.hpp>
#include <spindle/error.hpp>

#include <support/asio_fixture.hpp>

#include <boost/asio/error.hpp>
#include <boost/test/unit_test.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <random>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

namespace spindle_test {

using random_engine = std::mt19937_64;

// A value with a number, of which there is one at a time.
struct parcel {
    static constexpr std::size_t none = ~std::size_t{0};

    explicit parcel(std::size_t n) noexcept : number(n) {}
    parcel(parcel&& other) noexcept : number(std::exchange(other.number, none)) {}
    parcel& operator=(parcel&& other) noexcept
    {
        number = std::exchange(other.number, none);
        return *this;
    }

    std::size_t number;
};

// What became of each value.
class ledger {
public:
    explicit ledger(std::size_t values) : sent_(values), received_(values) {}

    void sent(std::size_t n) { ++sent_[n]; }
    void received(parcel const& p)
    {
        if (p.number < received_.size())
            ++received_[p.number];
        else
            wrong();
    }
    void check(bool ok)
    {
        if (!ok)
            wrong();
    }
    void wrong() { ++wrong_; }

    // With nobody else at it.
    void settle(bool closed_early) const
    {
        std::size_t lost = 0, twice = 0, unsent = 0, carried = 0;
        for (std::size_t i = 0; i != sent_.size(); ++i) {
            auto const s = sent_[i].load(), r = received_[i].load();
            lost += s == 1 && r == 0;
            twice += s > 1 || r > 1;
            unsent += s == 0 && r != 0;
            carried += s == 1 && r == 1;
        }
        BOOST_TEST(lost == 0u, lost << " values were sent and not received");
        BOOST_TEST(twice == 0u, twice << " values went twice");
        BOOST_TEST(unsent == 0u, unsent << " values were received and reported as not sent");
        BOOST_TEST(wrong_ == 0u);
        BOOST_TEST((closed_early || carried > 0u));
    }

private:
    std::vector<std::atomic<int>> sent_, received_;
    std::atomic<std::size_t> wrong_{0};
};

// A token whose stop is requested soon, whoever takes it.
class alarm_clock {
public:
    explicit alarm_clock(std::uint64_t s)
        : thread_([this, s](std::stop_token over) {
              random_engine random(s);
              while (!over.stop_requested()) {
                  std::this_thread::sleep_for(std::chrono::microseconds(random() % 200));
                  std::stop_source next;
                  {
                      std::lock_guard guard(mutex_);
                      std::swap(source_, next);
                  }
                  next.request_stop();
              }
              std::lock_guard guard(mutex_);
              source_.request_stop();
          })
    {
    }

    std::stop_token token()
    {
        std::lock_guard guard(mutex_);
        return source_.get_token();
    }

private:
    std::mutex mutex_;
    std::stop_source source_;
    std::jthread thread_;
};

struct world {
    world(std::size_t capacity, std::size_t n, std::uint64_t s)
        : channels{spindle::channel<parcel>(capacity), spindle::channel<parcel>(capacity)},
          values(n), clock(s), book_(n)
    {
    }

    // A number that nobody has sent, or nothing.
    std::optional<std::size_t> next()
    {
        auto const n = given.fetch_add(1);
        return n < values ? std::optional(n) : std::nullopt;
    }

    ledger& book() { return book_; }

    spindle::channel<parcel> const channels[2];
    std::size_t const values;
    std::atomic<std::size_t> given{0};
    alarm_clock clock;

private:
    ledger book_;
};

inline std::chrono::microseconds some_time(random_engine& random)
{
    return std::chrono::microseconds(random() % 100);
}

enum class outcome { sent, not_sent, closed };

inline outcome outcome_of(spindle::error_code ec, ledger& a)
{
    if (!ec)
        return outcome::sent;
    if (ec == spindle::errc::channel_closed)
        return outcome::closed;
    a.check(
        ec == asio::error::would_block || ec == asio::error::timed_out || ec == aborted);
    return outcome::not_sent;
}

} // namespace spindle_test

#endif // SPINDLE_TEST_SUPPORT_PARCELS_HPP
