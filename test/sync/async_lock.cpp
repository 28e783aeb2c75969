//
// sync/async_lock.cpp
// ~~~~~~~~~~~~~~~~~~~
// Mutexes from handlers and coroutines.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE sync.async_lock
#include <spindle/sync/mutex.hpp>
#include <spindle/sync/shared_mutex.hpp>

#include <spindle/asio/use_fiber.hpp>
#include <spindle/fiber.hpp>
#include <spindle/sync/wait_group.hpp>
#include <spindle/this_fiber.hpp>

#include <support/asio_fixture.hpp>
#include <support/handlers.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_allocator.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/test/unit_test.hpp>

#include <atomic>
#include <cstddef>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <type_traits>
#include <utility>
#include <vector>

using namespace spindle_test;

namespace {

using spindle::mutex;
using spindle::shared_mutex;
using spindle::timed_mutex;
using lock_type = std::unique_lock<mutex>;
using shared_type = std::shared_lock<shared_mutex>;
using handler = std::function<void(error_code, lock_type)>;
using shared_handler = std::function<void(error_code, shared_type)>;

template <class M>
concept has_async_lock = requires(M& m) { m.async_lock(asio::use_awaitable); };

static_assert(has_async_lock<mutex> && has_async_lock<timed_mutex> && has_async_lock<shared_mutex>);
static_assert(!has_async_lock<spindle::recursive_mutex>);

error_code const none{};

bool is_free(mutex& m)
{
    auto const got = m.try_lock();
    if (got)
        m.unlock();
    return got;
}

} // namespace

BOOST_AUTO_TEST_CASE(what_is_free_is_locked_at_once_and_the_handler_hears_of_it_later)
{
    asio::io_context ioc;
    mutex m;
    int calls = 0;
    m.async_lock(on(ioc.get_executor(), handler([&](error_code ec, lock_type lock) {
        ++calls;
        BOOST_TEST(ec == none);
        BOOST_TEST(lock.owns_lock());
        BOOST_TEST(lock.mutex() == &m);
        BOOST_TEST(!is_free(m));
    })));
    BOOST_TEST(calls == 0);
    BOOST_TEST(!is_free(m));
    ioc.run();
    BOOST_TEST(calls == 1);
    BOOST_TEST(is_free(m));
}

BOOST_AUTO_TEST_CASE(those_who_wait_get_it_in_order)
{
    asio::io_context ioc;
    mutex m;
    std::vector<int> order;
    m.lock();
    for (int i = 0; i != 5; ++i)
        m.async_lock(on(
            ioc.get_executor(), handler([&, i](error_code, lock_type) { order.push_back(i); })));
    ioc.poll();
    BOOST_TEST(order.empty());
    m.unlock();
    ioc.restart();
    ioc.run();
    BOOST_TEST((order == std::vector<int>{0, 1, 2, 3, 4}));
    BOOST_TEST(is_free(m));
}

BOOST_AUTO_TEST_CASE(a_lock_that_waits_is_work_of_its_executor)
{
    asio::io_context ioc;
    mutex m;
    m.lock();
    bool called = false;
    m.async_lock(
        on(ioc.get_executor(), handler([&](error_code, lock_type) { called = true; })));
    BOOST_TEST(ioc.poll() == 0u);
    BOOST_TEST(!ioc.stopped());
    m.unlock();
    ioc.run();
    BOOST_TEST(called);
}

BOOST_AUTO_TEST_CASE(every_type_of_cancellation_ends_the_wait)
{
    for (auto const type : types) {
        asio::io_context ioc;
        mutex m;
        m.lock();
        asio::cancellation_signal signal;
        std::optional<error_code> told;
        m.async_lock(asio::bind_cancellation_slot(
            signal.slot(),
            on(ioc.get_executor(), handler([&](error_code ec, lock_type lock) {
                told = ec;
                BOOST_TEST(!lock.owns_lock());
            }))));
        signal.emit(asio::cancellation_type::none);
        ioc.poll();
        BOOST_TEST(!told);
        signal.emit(type);
        ioc.restart();
        ioc.run();
        BOOST_TEST((told == aborted));
        m.unlock();
        BOOST_TEST(is_free(m));
    }
}

BOOST_AUTO_TEST_CASE(a_cancellation_after_it_was_locked_changes_nothing)
{
    asio::io_context ioc;
    mutex m;
    asio::cancellation_signal signal;
    std::optional<error_code> told;
    m.async_lock(asio::bind_cancellation_slot(
        signal.slot(), on(ioc.get_executor(), handler([&](error_code ec, lock_type) {
            told = ec;
        }))));
    signal.emit(asio::cancellation_type::all);
    ioc.run();
    BOOST_TEST((told == none));
    BOOST_TEST(is_free(m));
}

BOOST_AUTO_TEST_CASE(takes_its_memory_from_the_handlers_allocator_and_gives_it_back_first)
{
    asio::io_context ioc;
    account a;
    mutex m;
    m.lock();
    bool called = false;
    m.async_lock(asio::bind_allocator(
        counting_allocator<char>(a),
        on(ioc.get_executor(), handler([&](error_code, lock_type) {
            called = true;
            BOOST_TEST(a.bytes == 0);
        }))));
    BOOST_TEST(a.bytes > 0);
    m.unlock();
    ioc.run();
    BOOST_TEST(called);
    BOOST_TEST(a.calls > 0);
}

BOOST_AUTO_TEST_CASE(a_handler_that_is_never_called_unlocks_it)
{
    mutex m;
    {
        asio::io_context ioc;
        m.async_lock(on(ioc.get_executor(), handler([](error_code, lock_type) {})));
        BOOST_TEST(!is_free(m));
    }
    BOOST_TEST(is_free(m));
    m.lock();
    {
        asio::io_context ioc;
        m.async_lock(on(ioc.get_executor(), handler([](error_code, lock_type) {})));
    }
    m.unlock();
    BOOST_TEST(is_free(m));
}

BOOST_AUTO_TEST_CASE(coroutines_fibers_and_threads_share_one)
{
    over_processors([](spindle::scheduler& s) {
        mutex m;
        long counter = 0; // under m
        auto const rounds = static_cast<int>(scaled(500));
        auto const coroutine = [&]() -> asio::awaitable<void> {
            for (int i = 0; i != rounds; ++i) {
                auto const lock = co_await m.async_lock(asio::use_awaitable);
                ++counter;
            }
        };
        spindle::wait_group all(2);
        for (int i = 0; i != 2; ++i)
            asio::co_spawn(
                s.next_executor(), coroutine, [&](std::exception_ptr) { all.done(); });
        for (int i = 0; i != 3; ++i)
            all.go([&] {
                for (int k = 0; k != rounds; ++k) {
                    std::lock_guard const guard(m);
                    ++counter;
                    if (k % 8 == 0)
                        spindle::this_fiber::yield();
                }
            });
        std::thread t([&] {
            for (int k = 0; k != rounds; ++k) {
                std::lock_guard const guard(m);
                ++counter;
            }
        });
        all.wait();
        t.join();
        BOOST_TEST(counter == 6 * rounds);
    });
}

BOOST_AUTO_TEST_CASE(a_stop_of_the_fiber_ends_it_through_use_fiber)
{
    over_processors([] {
        timed_mutex m;
        std::lock_guard const guard(m);
        std::atomic<bool> begun{false};
        auto f = spindle::spawn([&] {
            begun = true;
            return error_of([&] { (void)m.async_lock(spindle::use_fiber); });
        });
        while (!begun)
            spindle::this_fiber::yield();
        f.request_stop();
        BOOST_TEST(f.join() == aborted);
    });
}

// Unlock against cancel, and both against the end of the context.
BOOST_AUTO_TEST_CASE(unlock_and_cancellation_race_and_nothing_is_lost)
{
    mutex m;
    auto const rounds = static_cast<int>(scaled(2000));
    long got = 0, refused = 0;
    asio::io_context ioc;
    auto const work = asio::make_work_guard(ioc);
    std::thread runs([&] { ioc.run(); });
    auto const strand = asio::make_strand(ioc);
    for (int i = 0; i != rounds; ++i) {
        m.lock();
        asio::cancellation_signal signal;
        std::atomic<bool> over{false};
        m.async_lock(asio::bind_cancellation_slot(
            signal.slot(), on(strand, handler([&](error_code ec, lock_type lock) {
                ++(ec ? refused : got);
                if (lock.owns_lock())
                    lock.unlock();
                over = true;
            }))));
        asio::post(strand, [&] { signal.emit(asio::cancellation_type::total); });
        if (i % 2 != 0)
            std::this_thread::yield();
        m.unlock();
        BOOST_REQUIRE(eventually([&] { return over.load(); }));
        std::atomic<bool> emitted{false};
        asio::post(strand, [&] { emitted = true; });
        BOOST_REQUIRE(eventually([&] { return emitted.load(); }));
        BOOST_REQUIRE(is_free(m));
    }
    ioc.stop();
    runs.join();
    BOOST_TEST(got + refused == rounds);
}

// --- shared --------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(readers_share_it_and_a_writer_waits_for_them)
{
    asio::io_context ioc;
    shared_mutex m;
    std::vector<shared_type> readers;
    bool wrote = false;
    for (int i = 0; i != 3; ++i)
        m.async_lock_shared(on(
            ioc.get_executor(), shared_handler([&](error_code ec, shared_type lock) {
                BOOST_TEST(ec == none);
                readers.push_back(std::move(lock));
            })));
    m.async_lock(on(ioc.get_executor(), [&](error_code ec, std::unique_lock<shared_mutex> lock) {
        BOOST_TEST(ec == none);
        BOOST_TEST(lock.owns_lock());
        wrote = true;
    }));
    ioc.poll();
    BOOST_TEST(readers.size() == 3u);
    BOOST_TEST(!wrote);
    readers.clear();
    ioc.restart();
    ioc.run();
    BOOST_TEST(wrote);
    BOOST_TEST(m.try_lock());
    m.unlock();
}

BOOST_AUTO_TEST_CASE(a_writer_that_is_cancelled_lets_the_readers_behind_it_in)
{
    asio::io_context ioc;
    shared_mutex m;
    asio::cancellation_signal signal;
    std::optional<error_code> told;
    bool read = false;
    m.lock_shared();
    m.async_lock(asio::bind_cancellation_slot(
        signal.slot(),
        on(ioc.get_executor(),
           [&](error_code ec, std::unique_lock<shared_mutex>) { told = ec; })));
    m.async_lock_shared(
        on(ioc.get_executor(), shared_handler([&](error_code, shared_type) { read = true; })));
    ioc.poll();
    BOOST_TEST(!read);
    signal.emit(asio::cancellation_type::total);
    ioc.restart();
    ioc.run();
    BOOST_TEST((told == aborted));
    BOOST_TEST(read);
    m.unlock_shared();
    BOOST_TEST(m.try_lock());
    m.unlock();
}
