//
// asio/use_fiber.cpp
// ~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE asio.use_fiber
#include <spindle/asio/use_fiber.hpp>
#include <spindle/spawn.hpp>
#include <spindle/sync/mutex.hpp>
#include <spindle/this_fiber.hpp>

#include <support/allocations.hpp>
#include <support/asio_fixture.hpp>
#include <support/waiting.hpp>

#include <boost/asio/append.hpp>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_allocator.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/compose.hpp>
#include <boost/asio/consign.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prepend.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/write.hpp>
#include <boost/test/unit_test.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

using namespace spindle_test;
using namespace std::chrono_literals;
namespace this_fiber = spindle::this_fiber;
using spindle::use_fiber;
using spindle::detail::wait_reason;

BOOST_AUTO_TEST_SUITE(use_fiber_)

namespace {

// Runs f in a fiber of an io_context, whose one thread this is.
template <class Function>
void in_fiber(Function f)
{
    {
        asio::io_context ioc;
        std::exception_ptr left;
        if constexpr (std::is_invocable_v<Function&, asio::io_context&>)
            spindle::spawn(
                ioc, [&] { f(ioc); }, [&](std::exception_ptr e) { left = e; });
        else
            spindle::spawn(ioc, f, [&](std::exception_ptr e) { left = e; });
        ioc.run();
        if (left)
            std::rethrow_exception(left);
    }
    check_nothing_left();
}

// An operation that completes with `values`, at once or later.
template <class Signature, class Token, class... Values>
auto complete_later(asio::io_context& ioc, Token&& token, Values... values)
{
    return asio::async_initiate<Token, Signature>(
        [&ioc](auto handler, auto... v) {
            asio::post(
                ioc, [h = std::move(handler), ... v = std::move(v)]() mutable {
                    std::move(h)(std::move(v)...);
                });
        },
        token, std::move(values)...);
}

template <class Signature, class Token, class... Values>
auto complete_at_once(Token&& token, Values... values)
{
    return asio::async_initiate<Token, Signature>(
        [](auto handler, auto... v) { std::move(handler)(std::move(v)...); }, token,
        std::move(values)...);
}

error_code const refused = asio::error::connection_refused;
error_code const none{};

} // namespace

// --- results ----------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(results_are_the_completions_without_the_error)
{
    in_fiber([](asio::io_context& ioc) {
        using one = void(error_code, int);
        using two = void(error_code, int, std::string);
        static_assert(std::is_void_v<decltype(complete_later<void()>(ioc, use_fiber))>);
        complete_later<void()>(ioc, use_fiber);
        static_assert(
            std::is_void_v<decltype(complete_later<void(error_code)>(ioc, use_fiber, none))>);
        complete_later<void(error_code)>(ioc, use_fiber, none);
        BOOST_TEST(complete_later<one>(ioc, use_fiber, none, 7) == 7);
        auto const [number, text]
            = complete_later<two>(ioc, use_fiber, none, 8, std::string("eight"));
        BOOST_TEST(number == 8);
        BOOST_TEST(text == "eight");
        BOOST_TEST(complete_later<void(int)>(ioc, use_fiber, 9) == 9);
        BOOST_TEST(
            std::get<1>(complete_later<void(int, std::string)>(ioc, use_fiber, 1, std::string("b")))
            == "b");
        BOOST_TEST(
            complete_later<void(std::exception_ptr, int)>(ioc, use_fiber, std::exception_ptr(), 5)
            == 5);
    });
}

BOOST_AUTO_TEST_CASE(results_may_be_move_only_and_without_a_default_constructor)
{
    struct odd {
        explicit odd(int v) : p(std::make_unique<int>(v)) {}
        std::unique_ptr<int> p;
    };
    in_fiber([] {
        auto p = complete_at_once<void(error_code, std::unique_ptr<int>)>(
            use_fiber, none, std::make_unique<int>(3));
        BOOST_TEST(*p == 3);
        auto o = complete_at_once<void(error_code, odd)>(use_fiber, none, odd(4));
        BOOST_TEST(*o.p == 4);
        auto [ec, q] = complete_at_once<void(error_code, odd)>(
            asio::as_tuple(use_fiber), none, odd(5));
        BOOST_TEST(*q.p == 5);
    });
}

BOOST_AUTO_TEST_CASE(a_completions_arguments_may_convert)
{
    in_fiber([] {
        auto const n = complete_at_once<void(error_code, std::size_t)>(use_fiber, none, 3);
        static_assert(std::is_same_v<decltype(n), std::size_t const>);
        BOOST_TEST(n == 3u);
        auto const [ec, m] = complete_at_once<void(error_code, std::size_t)>(
            asio::as_tuple(use_fiber), none, 4);
        BOOST_TEST(m == 4u);
    });
}

BOOST_AUTO_TEST_CASE(several_signatures_give_a_variant)
{
    in_fiber([] {
        auto const first = [](auto token) {
            return asio::async_initiate<decltype(token), void(error_code, int), void(std::string)>(
                [](auto handler) { std::move(handler)(error_code(), 4); }, token);
        };
        auto const second = [](auto token) {
            return asio::async_initiate<decltype(token), void(error_code, int), void(std::string)>(
                [](auto handler) { std::move(handler)(std::string("s")); }, token);
        };
        std::variant<int, std::string> a = first(use_fiber);
        BOOST_TEST(std::get<0>(a) == 4);
        a = second(use_fiber);
        BOOST_TEST(std::get<1>(a) == "s");
        auto const failing = [](auto token) {
            return asio::async_initiate<decltype(token), void(error_code, int), void(std::string)>(
                [](auto handler) { std::move(handler)(error_code(refused), 4); }, token);
        };
        BOOST_TEST((error_of([&] { (void)failing(use_fiber); }) == refused));
    });
}

// --- errors -----------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(an_error_is_thrown_or_given_back)
{
    in_fiber([](asio::io_context& ioc) {
        using one = void(error_code, int);
        BOOST_TEST((error_of([&] { complete_later<one>(ioc, use_fiber, refused, 1); }) == refused));
        error_code ec = asio::error::eof;
        BOOST_TEST(complete_later<one>(ioc, use_fiber[ec], refused, 2) == 2);
        BOOST_TEST((ec == refused));
        BOOST_TEST(complete_later<one>(ioc, use_fiber[ec], none, 3) == 3);
        BOOST_TEST(!ec);
        BOOST_TEST(
            complete_later<one>(ioc, asio::redirect_error(use_fiber, ec), refused, 4) == 4);
        BOOST_TEST((ec == refused));
        complete_later<void(error_code)>(ioc, asio::redirect_error(use_fiber, ec), none);
        BOOST_TEST(!ec);
        auto const [ec2, value]
            = complete_later<one>(ioc, asio::as_tuple(use_fiber), refused, 5);
        BOOST_TEST((ec2 == refused));
        BOOST_TEST(value == 5);
        auto const [ec3] = complete_later<void(error_code)>(ioc, asio::as_tuple(use_fiber), none);
        BOOST_TEST(!ec3);
    });
}

BOOST_AUTO_TEST_CASE(an_exception_pointer_is_rethrown)
{
    in_fiber([](asio::io_context& ioc) {
        auto const e = std::make_exception_ptr(std::runtime_error("mine"));
        BOOST_CHECK_THROW(
            complete_later<void(std::exception_ptr)>(ioc, use_fiber, e), std::runtime_error);
        BOOST_CHECK_THROW(
            complete_later<void(std::exception_ptr, int)>(ioc, use_fiber, e, 1),
            std::runtime_error);
        auto const [e2, v] = complete_later<void(std::exception_ptr, int)>(
            ioc, asio::as_tuple(use_fiber), e, 1);
        BOOST_TEST((e2 == e));
    });
}

BOOST_AUTO_TEST_CASE(an_exception_out_of_the_initiation_starts_nothing)
{
    in_fiber([] {
        for (int i = 0; i != 3; ++i) {
            auto const failing = [](auto token) {
                return asio::async_initiate<decltype(token), void(error_code)>(
                    [](auto handler) {
                        auto const gone = std::move(handler);
                        throw std::runtime_error("no");
                    },
                    token);
            };
            BOOST_CHECK_THROW(failing(use_fiber), std::runtime_error);
            BOOST_TEST(complete_at_once<void(int)>(use_fiber, 1) == 1); // all is as before
        }
    });
}

// --- adapters ---------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(every_adapter_of_asio_works)
{
    in_fiber([](asio::io_context& ioc) {
        using one = void(error_code, int);
        auto const [a, extra] = complete_later<one>(ioc, asio::append(use_fiber, 2), none, 1);
        BOOST_TEST(a == 1);
        BOOST_TEST(extra == 2);
        auto const [before, ec, b] = complete_later<one>(ioc, asio::prepend(use_fiber, 3), none, 4);
        BOOST_TEST(before == 3);
        BOOST_TEST(!ec);
        BOOST_TEST(b == 4);

        auto const kept = std::make_shared<int>(1);
        BOOST_TEST(complete_later<one>(ioc, asio::consign(use_fiber, kept), none, 5) == 5);

        auto op = complete_later<one>(ioc, asio::deferred, none, 6);
        BOOST_TEST(std::move(op)(use_fiber) == 6);

        auto const strand = asio::make_strand(ioc);
        BOOST_TEST(complete_later<one>(ioc, asio::bind_executor(strand, use_fiber), none, 7) == 7);
        asio::steady_timer timer(ioc, 1ms);
        timer.async_wait(asio::bind_executor(strand, use_fiber));
        BOOST_TEST(!strand.running_in_this_thread());
        error_code ec2;
        timer.expires_after(1ms);
        timer.async_wait(asio::bind_executor(strand, use_fiber[ec2]));
        BOOST_TEST(!ec2);

        asio::cancellation_signal signal;
        timer.expires_after(1h);
        asio::post(ioc, [&] { signal.emit(asio::cancellation_type::all); });
        auto const [ec3] = timer.async_wait(
            asio::bind_cancellation_slot(signal.slot(), asio::as_tuple(use_fiber)));
        BOOST_TEST((ec3 == aborted));
        timer.expires_after(1h);
        asio::post(ioc, [&] { signal.emit(asio::cancellation_type::all); });
        BOOST_TEST(
            (error_of([&] {
                 timer.async_wait(asio::bind_cancellation_slot(signal.slot(), use_fiber));
             })
             == aborted));
    });
}

namespace {

template <class T>
struct counting_allocator {
    using value_type = T;
    int* count;

    explicit counting_allocator(int& n) : count(&n) {}
    template <class U>
    counting_allocator(counting_allocator<U> const& o) noexcept : count(o.count)
    {
    }
    T* allocate(std::size_t n)
    {
        ++*count;
        return std::allocator<T>().allocate(n);
    }
    void deallocate(T* p, std::size_t n) { std::allocator<T>().deallocate(p, n); }
    friend bool operator==(counting_allocator a, counting_allocator b)
    {
        return a.count == b.count;
    }
    friend bool operator!=(counting_allocator a, counting_allocator b) { return !(a == b); }
};

} // namespace

BOOST_AUTO_TEST_CASE(a_bound_allocator_wins)
{
    in_fiber([](asio::io_context& ioc) {
        int count = 0;
        asio::steady_timer timer(ioc, 1us);
        timer.async_wait(asio::bind_allocator(counting_allocator<int>(count), use_fiber));
        BOOST_TEST(count > 0);
    });
}

BOOST_AUTO_TEST_CASE(it_can_be_an_io_objects_default)
{
    in_fiber([](asio::io_context& ioc) {
        using socket = spindle::use_fiber_t<>::as_default_on_t<tcp::socket>;
        using acceptor_type = spindle::use_fiber_t<>::as_default_on_t<tcp::acceptor>;
        acceptor_type acceptor(ioc, {asio::ip::address_v4::loopback(), 0});
        auto client = spindle::spawn([&] {
            socket s(ioc);
            s.async_connect(acceptor.local_endpoint());
            asio::async_write(s, asio::buffer("hi", 2), use_fiber);
        });
        auto s = acceptor.async_accept();
        static_assert(std::is_convertible_v<
                      decltype(s)::executor_type, asio::any_io_executor>);
        std::array<char, 16> text;
        BOOST_TEST(s.async_read_some(asio::buffer(text)) > 0u);
        client.join();

        // Its executor is still an io_context's: a fiber there is free.
        bool ran = false;
        spindle::spawn(s.get_executor(), [&] { ran = true; }, use_fiber);
        BOOST_TEST(ran);

        auto timer = spindle::use_fiber_t<>::as_default_on(asio::steady_timer(ioc, 1us));
        timer.async_wait();
    });
}

// --- at once ----------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(what_completes_at_once_does_not_park_but_for_one_in_128)
{
    {
        asio::io_context ioc;
        int before_other = 0;
        bool other = false;
        spindle::spawn(
            ioc,
            [&] {
                spindle::spawn(ioc, [&] { other = true; }, asio::detached);
                for (int i = 0; i != 300; ++i) {
                    before_other += !other;
                    BOOST_TEST(complete_at_once<void(error_code, int)>(use_fiber, none, i) == i);
                }
            },
            asio::detached);
        ioc.run();
        BOOST_TEST(before_other == 128);
        BOOST_TEST(other);
    }
    check_nothing_left();
}

// --- where it may be used ---------------------------------------------------------

BOOST_AUTO_TEST_CASE(outside_a_fiber_it_says_so)
{
    asio::io_context ioc;
    asio::steady_timer timer(ioc, 1us);
    error_code const not_here = make_error_code(spindle::errc::not_in_fiber);
    int tried = 0;
    auto const try_it = [&] {
        ++tried;
        BOOST_TEST(!this_fiber::is_fiber());
        BOOST_TEST((error_of([&] { timer.async_wait(use_fiber); }) == not_here));
        error_code ec;
        BOOST_TEST((error_of([&] { timer.async_wait(use_fiber[ec]); }) == not_here));
        BOOST_TEST((error_of([&] { timer.async_wait(asio::as_tuple(use_fiber)); }) == not_here));
    };
    try_it();
    asio::post(ioc, try_it);
    auto const strand = asio::make_strand(ioc);
    asio::post(strand, try_it);
    asio::io_context::strand classic(ioc);
    classic.post(try_it, std::allocator<void>());
    ioc.run();
    ioc.restart();
    spindle::spawn(
        ioc,
        [&] {
            asio::dispatch(strand, try_it); // inline, on this fiber's stack
            classic.dispatch(try_it, std::allocator<void>());
            asio::post(ioc, try_it);
            ioc.poll(); // the same
            BOOST_TEST(this_fiber::is_fiber());
            timer.async_wait(use_fiber);
        },
        asio::detached);
    ioc.run();
    BOOST_TEST(tried == 7);
}

BOOST_AUTO_TEST_CASE(in_what_an_io_context_runs_inline_it_waits_as_in_any_function)
{
    in_fiber([](asio::io_context& ioc) {
        bool waited = false;
        asio::dispatch(ioc, [&] {
            asio::steady_timer timer(ioc, 1us);
            timer.async_wait(use_fiber);
            waited = true;
        });
        BOOST_TEST(waited);
    });
}

// --- composed, and dropped --------------------------------------------------------

BOOST_AUTO_TEST_CASE(composed_operations_are_operations)
{
    in_fiber([](asio::io_context& ioc) {
        auto [a, b] = connected(ioc.get_executor());
        std::string const sent(100'000, 'x');
        auto writer = spindle::spawn([&, &a = a] {
            return asio::async_write(a, asio::buffer(sent), use_fiber);
        });
        std::string got(sent.size(), ' ');
        BOOST_TEST(asio::async_read(b, asio::buffer(got), use_fiber) == sent.size());
        BOOST_TEST(writer.join() == sent.size());
        BOOST_TEST((got == sent));
        asio::async_write(a, asio::buffer("line\nrest", 9), use_fiber);
        std::string line;
        BOOST_TEST(asio::async_read_until(b, asio::dynamic_buffer(line), '\n', use_fiber) == 5u);

        int steps = 0;
        asio::steady_timer timer(ioc);
        auto const own = asio::async_compose<spindle::use_fiber_t<> const, void(error_code, int)>(
            [&](auto& self, error_code ec = {}) {
                if (ec || steps == 5)
                    return self.complete(ec, steps);
                ++steps;
                timer.expires_after(1us);
                timer.async_wait(std::move(self));
            },
            use_fiber, ioc);
        BOOST_TEST(own == 5);
    });
}

// A wait of an hour, whose initiation calls first().
template <class Function>
void wait_long_after(Function first)
{
    asio::steady_timer timer(this_fiber::get_executor(), 1h);
    asio::async_initiate<spindle::use_fiber_t<> const, void(error_code)>(
        [&](auto handler) {
            first();
            timer.async_wait(std::move(handler));
        },
        use_fiber);
}

BOOST_AUTO_TEST_CASE(an_initiation_may_wait)
{
    over_processors([] {
        auto const wait = [] {
            asio::steady_timer timer(this_fiber::get_executor(), 1us);
            timer.async_wait(use_fiber);
        };
        for (int i = 0; i != 10; ++i)
            BOOST_CHECK_THROW(
                wait_long_after([&] {
                    wait();
                    wait_long_after([&] {
                        wait();
                        throw std::runtime_error("instead");
                    });
                }),
                std::runtime_error);

        for (bool const in_asio : {true, false}) {
            std::atomic<bool> waited{false};
            auto fiber = spindle::spawn([&] {
                return error_of([&] {
                    wait_long_after([&] {
                        if (in_asio)
                            wait();
                        else
                            this_fiber::sleep_for(1us);
                        waited = true;
                    });
                });
            });
            BOOST_REQUIRE(
                until([&] { return waited && fibers_in(wait_reason::operation) == 1; }));
            fiber.request_stop();
            BOOST_TEST((fiber.join() == aborted));
        }
    });
}

BOOST_AUTO_TEST_CASE(a_stop_while_an_initiation_waits_cancels_the_operation)
{
    over_processors([] {
        spindle::mutex mutex;
        mutex.lock();
        auto fiber = spindle::spawn([&] {
            return error_of([&] { wait_long_after([&] { std::lock_guard guard(mutex); }); });
        });
        BOOST_REQUIRE(until([] { return fibers_in(wait_reason::mutex) == 1; }));
        fiber.request_stop();
        mutex.unlock();
        BOOST_TEST((fiber.join() == aborted));
    });
}

BOOST_AUTO_TEST_CASE(a_handler_that_is_destroyed_without_being_called_aborts)
{
    in_fiber([](asio::io_context& ioc) {
        // Dropped inside the initiation, and later.
        auto const drop_now = [](auto token) {
            return asio::async_initiate<decltype(token), void(error_code, int)>(
                [](auto handler) { auto const gone = std::move(handler); }, token);
        };
        auto const drop_later = [&](auto token) {
            return asio::async_initiate<decltype(token), void(error_code, int)>(
                [&](auto handler) { asio::post(ioc, [h = std::move(handler)] {}); }, token);
        };
        error_code ec;
        BOOST_TEST((error_of([&] { drop_now(use_fiber); }) == aborted));
        BOOST_TEST((error_of([&] { drop_later(use_fiber); }) == aborted));
        (void)drop_later(use_fiber[ec]);
        BOOST_TEST((ec == aborted));
        BOOST_TEST((std::get<0>(drop_later(asio::as_tuple(use_fiber))) == aborted));
        (void)drop_later(asio::redirect_error(use_fiber, ec = {}));
        BOOST_TEST((ec == aborted));
    });
}

// --- allocations ------------------------------------------------------------------

#if !defined(SPINDLE_TEST_SANITIZED)
BOOST_AUTO_TEST_CASE(operations_need_no_heap)
{
    for (bool const host : {false, true})
        BOOST_TEST_CONTEXT("host " << host)
        {
            std::size_t io = 0, timers = 0, sleeps = 0, connections = 0, immediate = 0;
            auto const test = [&](auto ex) {
                auto pair = connected(ex); // clang 14 captures no structured bindings
                auto& a = pair.first;
                auto& b = pair.second;
                auto const echo = [&] {
                    char text[64] = {};
                    asio::async_write(a, asio::buffer(text), use_fiber);
                    b.async_read_some(asio::buffer(text), use_fiber);
                    asio::async_write(b, asio::buffer(text), use_fiber);
                    asio::async_read(a, asio::buffer(text), use_fiber);
                };
                asio::steady_timer timer(ex);
                auto const wait = [&] {
                    timer.expires_after(1us);
                    timer.async_wait(use_fiber);
                };
                tcp::acceptor acceptor(ex, {asio::ip::address_v4::loopback(), 0});
                tcp::socket one(ex), other(ex);
                auto const endpoint = acceptor.local_endpoint();
                auto const connect = [&] {
                    one.close();
                    other.close();
                    one.async_connect(endpoint, use_fiber);
                    acceptor.async_accept(other, use_fiber);
                };
                auto const count = [&](auto const& f) {
                    for (int i = 0; i != 50; ++i)
                        f();
                    auto const before = allocations.load();
                    for (int i = 0; i != 200; ++i)
                        f();
                    return allocations.load() - before;
                };
                io = count(echo);
                timers = count(wait);
                sleeps = count([] { this_fiber::sleep_for(1us); });
                connections = count(connect);
                // Its handler comes while the initiation has the fiber's lock.
                immediate = count([] { asio::dispatch(use_fiber); });
            };
            if (host) {
                on_scheduler s(without_rescue(1));
                s.run([&] { test(s->get_executor()); });
            } else {
                in_fiber([&](asio::io_context& ioc) { test(ioc.get_executor()); });
            }
            BOOST_TEST(io == 0u);
            BOOST_TEST(timers == 0u);
            BOOST_TEST(sleeps == 0u);
            BOOST_TEST(connections == 0u);
            BOOST_TEST(immediate == 0u);
        }
}
#endif

BOOST_AUTO_TEST_SUITE_END()
