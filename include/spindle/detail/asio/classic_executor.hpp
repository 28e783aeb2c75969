//
// spindle/detail/asio/classic_executor.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// Executors as the Networking TS had them, with post() and no execute():
// `io_context::strand`, `asio::executor`. Older programs have their strands so.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_ASIO_CLASSIC_EXECUTOR_HPP
#define SPINDLE_DETAIL_ASIO_CLASSIC_EXECUTOR_HPP

#include <spindle/config.hpp>

#include <boost/asio/execution/blocking.hpp>
#include <boost/asio/execution/context.hpp>
#include <boost/asio/execution/executor.hpp>
#include <boost/asio/execution/outstanding_work.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/is_executor.hpp>

#include <memory>
#include <type_traits>
#include <utility>

namespace spindle::detail {

// Such a one, as an executor of today's. Never runs a function before execute()
// returns, as is asked of a slice of a fiber. Where it is Tracked it is one unit of
// outstanding work.
template <class Executor, bool Tracked = false>
class modern_executor {
public:
    explicit modern_executor(Executor const& ex) noexcept : classic_(ex) { begin(); }
    modern_executor(modern_executor const& other) noexcept : classic_(other.classic_) { begin(); }
    modern_executor& operator=(modern_executor const&) = delete;

    ~modern_executor()
    {
        if constexpr (Tracked)
            classic_.on_work_finished();
    }

    template <class Function>
    void execute(Function&& f) const
    {
        classic_.post(std::forward<Function>(f), std::allocator<void>());
    }

    boost::asio::execution_context& query(boost::asio::execution::context_t) const noexcept
    {
        return classic_.context();
    }

    static constexpr boost::asio::execution::blocking_t::never_t query(
        boost::asio::execution::blocking_t) noexcept
    {
        return {};
    }

    static constexpr auto query(boost::asio::execution::outstanding_work_t) noexcept
    {
        if constexpr (Tracked)
            return boost::asio::execution::outstanding_work.tracked;
        else
            return boost::asio::execution::outstanding_work.untracked;
    }

    modern_executor<Executor, true> require(
        boost::asio::execution::outstanding_work_t::tracked_t) const noexcept
    {
        return modern_executor<Executor, true>(classic_);
    }

    modern_executor<Executor, false> require(
        boost::asio::execution::outstanding_work_t::untracked_t) const noexcept
    {
        return modern_executor<Executor, false>(classic_);
    }

    // What is below it, if that is known to be an io_context.
    boost::asio::io_context::executor_type get_inner_executor() const noexcept
        requires std::is_same_v<decltype(std::declval<Executor&>().context()), boost::asio::io_context&>
    {
        return classic_.context().get_executor();
    }

    friend bool operator==(modern_executor const& a, modern_executor const& b) noexcept
    {
        return a.classic_ == b.classic_;
    }

private:
    void begin() noexcept
    {
        if constexpr (Tracked)
            classic_.on_work_started();
    }

    Executor classic_;
};

template <class Executor>
auto as_modern(Executor const& ex) noexcept
{
    if constexpr (boost::asio::execution::is_executor_v<Executor>)
        return ex;
    else
        return modern_executor<Executor>(ex);
}

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_ASIO_CLASSIC_EXECUTOR_HPP
