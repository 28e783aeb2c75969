//
// support/async_wait.hpp
// ~~~~~~~~~~~~~~~~~~~~~~
// What every asynchronous wait of signature void(error_code) must do, whatever it
// waits for.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_TEST_SUPPORT_ASYNC_WAIT_HPP
#define SPINDLE_TEST_SUPPORT_ASYNC_WAIT_HPP

#include <spindle/error.hpp>

#include <support/asio_fixture.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/test/unit_test.hpp>

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <thread>

namespace spindle_test {

// What a probe has seen.
struct observation {
    std::atomic<int> calls{0};
    std::atomic<int> aborted{0};
    std::atomic<int> alive{0};           // probes that have not gone
    std::atomic<std::size_t> in_use{0};  // allocations
    std::atomic<std::size_t> allocated{0};
    std::atomic<bool> in_place{true};    // each call ran in the io_context
};

template <class T>
struct probe_allocator {
    using value_type = T;

    explicit probe_allocator(observation& o) noexcept : seen(&o) {}
    template <class U>
    probe_allocator(probe_allocator<U> const& other) noexcept : seen(other.seen)
    {
    }

    T* allocate(std::size_t n)
    {
        ++seen->in_use;
        ++seen->allocated;
        return std::allocator<T>().allocate(n);
    }
    void deallocate(T* p, std::size_t n) noexcept
    {
        --seen->in_use;
        std::allocator<T>().deallocate(p, n);
    }
    template <class U>
    bool operator==(probe_allocator<U> const& other) const noexcept
    {
        return seen == other.seen;
    }

    observation* seen;
};

// A handler with all that can be associated with one.
class probe {
public:
    using executor_type = asio::any_io_executor;
    using allocator_type = probe_allocator<void>;
    using cancellation_slot_type = asio::cancellation_slot;

    probe(observation& o, asio::io_context& ioc, asio::cancellation_slot slot = {})
        : seen_(&o), ioc_(&ioc), slot_(slot)
    {
        ++seen_->alive;
    }
    probe(probe const& other) : seen_(other.seen_), ioc_(other.ioc_), slot_(other.slot_)
    {
        ++seen_->alive;
    }
    probe& operator=(probe const&) = delete;
    ~probe() { --seen_->alive; }

    executor_type get_executor() const noexcept { return ioc_->get_executor(); }
    allocator_type get_allocator() const noexcept { return allocator_type(*seen_); }
    cancellation_slot_type get_cancellation_slot() const noexcept { return slot_; }

    void operator()(error_code ec)
    {
        if (seen_->in_use != 0 || !ioc_->get_executor().running_in_this_thread())
            seen_->in_place = false; // the operation's memory goes before its handler runs
        if (ec == asio::error::operation_aborted)
            ++seen_->aborted;
        else if (ec)
            seen_->in_place = false;
        ++seen_->calls;
    }

private:
    observation* seen_;
    asio::io_context* ioc_;
    asio::cancellation_slot slot_;
};

// What is waited for.
struct waited {
    std::function<void(probe)> start; // initiates the wait
    std::function<void()> let_go;     // one may go on; any thread
};

// Calls with a new one each time: it must be waited for until let_go().
inline void check_async_wait(std::function<waited()> const& make)
{
    // It waits, counts as work, and completes on its executor, with its allocator.
    {
        auto const what = make();
        observation seen;
        asio::io_context ioc;
        what.start(probe(seen, ioc));
        BOOST_TEST(ioc.poll() == 0u);
        BOOST_TEST(!ioc.stopped());
        BOOST_TEST(seen.allocated == 1u);
        what.let_go();
        BOOST_TEST(seen.calls == 0); // not inside the call that lets it go
        ioc.run();
        BOOST_TEST(seen.calls == 1);
        BOOST_TEST(seen.aborted == 0);
        BOOST_TEST(seen.in_place);
        BOOST_TEST(seen.alive == 0);
        BOOST_TEST(seen.in_use == 0u);
    }
    // It is over at once, and still not before the initiation returns.
    {
        auto const what = make();
        observation seen;
        asio::io_context ioc;
        what.let_go();
        what.start(probe(seen, ioc));
        BOOST_TEST(seen.calls == 0);
        ioc.run();
        BOOST_TEST(seen.calls == 1);
        BOOST_TEST(seen.aborted == 0);
        BOOST_TEST(seen.in_place);
        BOOST_TEST(seen.in_use == 0u);
    }
    // Every cancellation type ends it; the next wait is as good as the first.
    for (auto const type :
         {asio::cancellation_type::terminal, asio::cancellation_type::partial,
          asio::cancellation_type::total}) {
        auto const what = make();
        observation seen, next;
        asio::io_context ioc;
        asio::cancellation_signal signal;
        what.start(probe(seen, ioc, signal.slot()));
        ioc.poll();
        signal.emit(asio::cancellation_type::none);
        BOOST_TEST(ioc.poll() == 0u);
        signal.emit(type);
        ioc.run();
        BOOST_TEST(seen.calls == 1);
        BOOST_TEST(seen.aborted == 1);
        BOOST_TEST(seen.in_place);
        BOOST_TEST(!signal.slot().has_handler());
        ioc.restart();
        what.start(probe(next, ioc));
        what.let_go();
        ioc.run();
        BOOST_TEST(next.calls == 1);
        BOOST_TEST(next.aborted == 0);
    }
    // The end of its execution context drops it; nothing of it is touched later.
    {
        auto const what = make();
        observation seen;
        {
            asio::io_context ioc;
            what.start(probe(seen, ioc));
        }
        BOOST_TEST(seen.calls == 0);
        BOOST_TEST(seen.alive == 0);
        BOOST_TEST(seen.in_use == 0u);
        what.let_go();
    }
    // A cancellation against what lets it go: one of them has it.
    {
        asio::io_context ioc;
        auto const work = asio::make_work_guard(ioc);
        std::thread runner([&] { ioc.run(); });
        for (std::size_t round = 0; round != scaled(2000); ++round) {
            auto const what = make();
            observation seen;
            asio::cancellation_signal signal;
            std::atomic<int> started{0};
            asio::post(ioc, [&] {
                what.start(probe(seen, ioc, signal.slot()));
                started = 1;
                signal.emit(asio::cancellation_type::total);
                started = 2;
            });
            while (started == 0)
                std::this_thread::yield();
            what.let_go();
            BOOST_REQUIRE(
                eventually([&] { return started == 2 && seen.calls == 1 && seen.alive == 0; }));
            BOOST_REQUIRE(seen.in_place);
        }
        ioc.stop();
        runner.join();
    }
}

} // namespace spindle_test

#endif // SPINDLE_TEST_SUPPORT_ASYNC_WAIT_HPP
