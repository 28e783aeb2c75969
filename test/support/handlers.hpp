//
// support/handlers.hpp
// ~~~~~~~~~~~~~~~~~~~~
// What is associated with a handler, for tests of asynchronous operations.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_TEST_SUPPORT_HANDLERS_HPP
#define SPINDLE_TEST_SUPPORT_HANDLERS_HPP

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_type.hpp>

#include <atomic>
#include <cstddef>
#include <memory>
#include <utility>

namespace spindle_test {

namespace asio = boost::asio;

// Knows how much of what it gave it has back.
struct account {
    std::atomic<long> bytes{0};
    std::atomic<int> calls{0};
};

template <class T>
struct counting_allocator {
    using value_type = T;

    explicit counting_allocator(account& a) noexcept : to(&a) {}
    template <class U>
    counting_allocator(counting_allocator<U> const& other) noexcept : to(other.to)
    {
    }

    T* allocate(std::size_t n)
    {
        to->bytes += static_cast<long>(n * sizeof(T));
        ++to->calls;
        return std::allocator<T>().allocate(n);
    }
    void deallocate(T* p, std::size_t n) noexcept
    {
        to->bytes -= static_cast<long>(n * sizeof(T));
        std::allocator<T>().deallocate(p, n);
    }

    friend bool operator==(counting_allocator const&, counting_allocator const&) = default;

    account* to;
};

// The executor's thread, and nobody else's.
template <class Executor, class Handler>
auto on(Executor const& ex, Handler&& h)
{
    return asio::bind_executor(ex, std::forward<Handler>(h));
}

inline constexpr asio::cancellation_type types[] = {
    asio::cancellation_type::total, asio::cancellation_type::partial,
    asio::cancellation_type::terminal, asio::cancellation_type::all};

} // namespace spindle_test

#endif // SPINDLE_TEST_SUPPORT_HANDLERS_HPP
