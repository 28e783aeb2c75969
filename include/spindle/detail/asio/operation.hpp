//
// spindle/detail/asio/operation.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// One Asio operation that a fiber waits for: its frame, its memory, its results.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_ASIO_OPERATION_HPP
#define SPINDLE_DETAIL_ASIO_OPERATION_HPP

#include <spindle/config.hpp>
#include <spindle/detail/asio/fiber_io.hpp>
#include <spindle/detail/asio/operation_executor.hpp>
#include <spindle/detail/asio/slot_memory.hpp>
#include <spindle/detail/fiber/park.hpp>
#include <spindle/detail/fiber/stop.hpp>
#include <spindle/error.hpp>

#include <boost/asio/associated_executor.hpp>
#include <boost/asio/associator.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/execution/executor.hpp>
#include <boost/version.hpp>

#if BOOST_VERSION >= 108200
#include <boost/asio/associated_immediate_executor.hpp>
#include <boost/asio/bind_immediate_executor.hpp>
#endif

#include <array>
#include <cstddef>
#include <exception>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

namespace spindle::detail {

// The part that does not depend on the operation's signature. Lies in the
// parked fiber's frame. An operation's memory lies there too, in the arena: Asio
// frees it before it calls the handler, and a TLS write takes 1.2 KiB. An http::write
// keeps 400 bytes for itself and has writes of 500 each.
class SPINDLE_DECL operation_frame : private stop_hook {
public:
    using arena = two_slot_memory<2048, 640>;

    // Throws errc::not_in_fiber where nobody could park.
    operation_frame();
    operation_frame(operation_frame const&) = delete;
    operation_frame& operator=(operation_frame const&) = delete;

    fiber_io& io() const noexcept { return io_; }
    arena& memory() noexcept { return memory_; }

protected:
    ~operation_frame() { io_.release(); }

    // False: the fiber was asked to stop, and nothing must be started.
    [[nodiscard]] bool begin() noexcept;

    // After the initiation. Returns once the operation has finished.
    void end() noexcept;

    // As end(), when the initiation threw: there is no operation.
    void give_up() noexcept { io_.give_up_start(); }

    fiber_record& self() const noexcept { return io_.fiber(); }

private:
    fiber_io& io_;
    arena memory_;
};

// The fiber, after an operation that was over at once: many in a row, and others get
// a turn.
SPINDLE_DECL void completed_at_once(fiber_record& self) noexcept;

// Initiations touch Asio's and libc's thread-locals; compilers keep a
// thread-local's address for the length of a function. So an initiation is a
// call of its own. Asio's never park; a user's may, in calls of its own.
template <class Function>
SPINDLE_NOINLINE void call_without_parking(Function& f)
{
    f();
}

template <class Frame>
class operation_handler {
public:
    using executor_type = operation_executor;
    using allocator_type = memory_allocator<void, operation_frame::arena>;
    using cancellation_slot_type = boost::asio::cancellation_slot;
#if BOOST_VERSION >= 108200
    using immediate_executor_type = immediate_executor;

    immediate_executor get_immediate_executor() const noexcept
    {
        return immediate_executor(frame_->io());
    }
#endif

    explicit operation_handler(Frame& frame) noexcept : frame_(&frame) {}

    operation_handler(operation_handler&& other) noexcept
        : frame_(std::exchange(other.frame_, nullptr))
    {
    }
    operation_handler& operator=(operation_handler&&) = delete;

    // Destroyed without having been called: the operation will never complete.
    ~operation_handler()
    {
        if (frame_)
            frame_->io().finish();
    }

    fiber_io& io() const noexcept { return frame_->io(); }
    operation_executor get_executor() const noexcept { return operation_executor(frame_->io()); }
    allocator_type get_allocator() const noexcept { return allocator_type(frame_->memory()); }
    boost::asio::cancellation_slot get_cancellation_slot() const noexcept
    {
        return frame_->io().slot();
    }

    template <class... Args>
    void operator()(Args&&... args)
    {
        auto& frame = *std::exchange(frame_, nullptr);
        frame.store(std::forward<Args>(args)...);
        frame.io().finish();
    }

private:
    Frame* frame_;
};

// Whose operation a handler is of, through all of Asio's adapters around it.
template <class Handler, class Default>
struct associated_fiber_io {
    using type = Default;
    // Asio's adapters name these in the types of their own.
    static type get(Handler const&) noexcept { return type(); }
    static type get(Handler const&, Default const& d) noexcept { return d; }
};

template <class Handler, class Default>
    requires requires {
        typename boost::asio::associator<associated_fiber_io, Handler, Default>::type;
    }
struct associated_fiber_io<Handler, Default>
    : boost::asio::associator<associated_fiber_io, Handler, Default> {};

template <class Frame, class Default>
struct associated_fiber_io<operation_handler<Frame>, Default> {
    using type = fiber_io*;
    static type get(operation_handler<Frame> const& h) noexcept { return &h.io(); }
    static type get(operation_handler<Frame> const& h, Default const&) noexcept
    {
        return &h.io();
    }
};

template <class Handler>
concept handler_of_fiber = std::is_same_v<
    typename associated_fiber_io<Handler, std::nullptr_t>::type, fiber_io*>;

// --- from a signature to what the fiber gets ------------------------------------------

template <class Signature>
struct completion;

template <class R, class... Args>
struct completion<R(Args...)> {
    using arguments = std::tuple<std::decay_t<Args>...>;
};

// What is left of the arguments after the error: nothing, the one, or a tuple.
template <class... Values>
struct plain_result {
    using type = std::tuple<Values...>;
    static type make(Values&&... v) { return type(std::move(v)...); }
};

template <class Value>
struct plain_result<Value> {
    using type = Value;
    static type make(Value&& v) { return std::move(v); }
};

template <>
struct plain_result<> {
    using type = void;
    static void make() {}
};

// How an error is reported. null: thrown.
inline void report(error_code const& ec, error_code* out)
{
    if (out)
        *out = ec;
    else if (ec)
        throw_error(ec);
}

inline void report(std::exception_ptr const& e, error_code*)
{
    if (e)
        std::rethrow_exception(e);
}

template <class Arguments>
struct result_of_arguments;

template <class... Values>
struct result_of_arguments<std::tuple<Values...>> : plain_result<Values...> {
    static typename plain_result<Values...>::type get(std::tuple<Values...>&& t, error_code* out)
    {
        if (out)
            *out = {};
        return std::apply(
            [](Values&&... v) { return plain_result<Values...>::make(std::move(v)...); },
            std::move(t));
    }
};

template <class Error, class... Values>
struct result_with_error : plain_result<Values...> {
    static typename plain_result<Values...>::type get(
        std::tuple<Error, Values...>&& t, error_code* out)
    {
        if (out)
            *out = {};
        return std::apply(
            [&](Error&& e, Values&&... v) {
                report(e, out);
                return plain_result<Values...>::make(std::move(v)...);
            },
            std::move(t));
    }
};

template <class... Values>
struct result_of_arguments<std::tuple<error_code, Values...>>
    : result_with_error<error_code, Values...> {};

template <class... Values>
struct result_of_arguments<std::tuple<std::exception_ptr, Values...>>
    : result_with_error<std::exception_ptr, Values...> {};

// What use_fiber returns. Named, and not deduced from a body: Asio asks for it
// while it still chooses among overloads, with types that no body would compile.
template <class T>
using or_monostate = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

template <class... Signatures>
struct operation_result {
    using type = std::variant<or_monostate<
        typename result_of_arguments<typename completion<Signatures>::arguments>::type>...>;
};

template <class Signature>
struct operation_result<Signature>
    : result_of_arguments<typename completion<Signature>::arguments> {};

template <class... Signatures>
using operation_result_t = typename operation_result<Signatures...>::type;

// The arguments of a completion that says "aborted", for an operation that was
// never started or never completed; empty where the signature has no room for
// it, and then the error is thrown.
template <class Arguments>
struct aborted_arguments {
    static std::optional<Arguments> make() { return std::nullopt; }
};

template <class... Values>
    requires(std::is_default_constructible_v<Values> && ...)
struct aborted_arguments<std::tuple<error_code, Values...>> {
    static std::optional<std::tuple<error_code, Values...>> make()
    {
        return std::tuple<error_code, Values...>(operation_aborted(), Values()...);
    }
};

// as_tuple(use_fiber).
template <class... Values>
    requires(std::is_default_constructible_v<Values> && ...)
struct aborted_arguments<std::tuple<std::tuple<error_code, Values...>>> {
    using arguments = std::tuple<std::tuple<error_code, Values...>>;
    static std::optional<arguments> make()
    {
        return arguments(std::tuple<error_code, Values...>(operation_aborted(), Values()...));
    }
};

// --- the whole ---------------------------------------------------------------------------

// What the last handler was called with, and what the fiber makes of it.
template <class... Signatures>
class operation_results {
public:
    using stored = std::variant<std::monostate, typename completion<Signatures>::arguments...>;
    using result = operation_result_t<Signatures...>;

    // The handler. The arguments need not be what the signature says, if they
    // convert: Boost.Beast calls void(error_code, std::size_t) with an int.
    template <class... Args>
    void store(Args&&... args)
    {
        constexpr auto exact = index_where(std::array{
            std::is_same_v<typename completion<Signatures>::arguments,
                           std::tuple<std::decay_t<Args>...>>...});
        constexpr auto fitting = index_where(std::array{
            (std::tuple_size_v<typename completion<Signatures>::arguments> == sizeof...(Args)
             && std::is_constructible_v<
                 typename completion<Signatures>::arguments, Args...>)...});
        constexpr auto index = exact != 0 ? exact : fitting;
        static_assert(index != 0, "a handler was called with what no signature of it takes");
        result_.template emplace<index>(std::forward<Args>(args)...);
    }

    // The fiber: there was, or will be, no completion.
    void abort()
    {
        if (auto aborted = aborted_arguments<first>::make())
            result_.template emplace<1>(std::move(*aborted));
        else
            throw_error(operation_aborted());
    }

    // The fiber. As use_fiber returns it: an error goes to `out`; null: it is thrown.
    result take(error_code* out)
    {
        if (result_.index() == 0)
            abort(); // the handler was destroyed without having been called
        if constexpr (single) {
            return result_of_arguments<first>::get(std::get<1>(std::move(result_)), out);
        } else {
            return take_one_of(out, std::index_sequence_for<Signatures...>());
        }
    }

    // The fiber. Calls f as a handler is called.
    template <class Function>
    void deliver(Function& f)
    {
        if (result_.index() == 0)
            abort();
        auto arguments = std::exchange(result_, stored());
        std::visit(
            [&f]<class Arguments>(Arguments&& all) {
                if constexpr (!std::is_same_v<std::decay_t<Arguments>, std::monostate>)
                    std::apply(f, std::forward<Arguments>(all));
            },
            std::move(arguments));
    }

    void forget() noexcept { result_.template emplace<0>(); }

private:
    static constexpr bool single = sizeof...(Signatures) == 1;
    using first = std::variant_alternative_t<1, stored>;

    // Of the first that is true, in `stored`; 0 if none is.
    static constexpr std::size_t index_where(std::array<bool, sizeof...(Signatures)> fits)
    {
        for (std::size_t i = 0; i != fits.size(); ++i)
            if (fits[i])
                return i + 1;
        return 0;
    }

    template <std::size_t... I>
    result take_one_of(error_code* out, std::index_sequence<I...>)
    {
        std::optional<result> results;
        auto const take_if = [&]<std::size_t Index>(std::integral_constant<std::size_t, Index>) {
            if (result_.index() != Index + 1)
                return;
            using arguments = std::variant_alternative_t<Index + 1, stored>;
            using traits = result_of_arguments<arguments>;
            if constexpr (std::is_void_v<typename traits::type>) {
                traits::get(std::get<Index + 1>(std::move(result_)), out);
                results.emplace(std::in_place_index<Index>);
            } else {
                results.emplace(
                    std::in_place_index<Index>,
                    traits::get(std::get<Index + 1>(std::move(result_)), out));
            }
        };
        (take_if(std::integral_constant<std::size_t, I>()), ...);
        return std::move(*results);
    }

    stored result_;
};

template <class... Signatures>
class operation final : public operation_frame, public operation_results<Signatures...> {
public:
    using result = operation_result_t<Signatures...>;

    // Starts it, parks, and gives its result, or reports its error: `out` null
    // throws it.
    template <class Start>
    result run(Start&& start, error_code* out)
    {
        if (!begin()) {
            yield(self()); // a loop that ignores its stop must not keep the thread
            this->abort();
            return this->take(out);
        }
        auto initiate = [&] { std::forward<Start>(start)(operation_handler<operation>(*this)); };
        try {
            call_without_parking(initiate);
        } catch (...) {
            give_up();
            throw;
        }
        end();
        return this->take(out);
    }
};

} // namespace spindle::detail

// bind_executor(ex, use_fiber): the handlers run on `ex`, and under the lock.
template <class Handler, class Executor, class Candidate>
    requires(
        boost::asio::execution::is_executor_v<Executor>
        && spindle::detail::handler_of_fiber<Handler>)
struct boost::asio::associated_executor<
    boost::asio::executor_binder<Handler, Executor>, Candidate> {
    using type = spindle::detail::locked_executor<Executor>;

    static type get(
        boost::asio::executor_binder<Handler, Executor> const& b,
        Candidate const& = Candidate()) noexcept
    {
        return type(
            b.get_executor(),
            *spindle::detail::associated_fiber_io<Handler, std::nullptr_t>::get(b.get()));
    }
};

#if BOOST_VERSION >= 108200
// bind_immediate_executor(ex, use_fiber): the same.
template <class Handler, class Executor, class Candidate>
    requires(
        boost::asio::execution::is_executor_v<Executor>
        && spindle::detail::handler_of_fiber<Handler>)
struct boost::asio::associated_immediate_executor<
    boost::asio::immediate_executor_binder<Handler, Executor>, Candidate> {
    using type = spindle::detail::locked_executor<Executor>;

    static type get(
        boost::asio::immediate_executor_binder<Handler, Executor> const& b,
        Candidate const&) noexcept
    {
        return type(
            b.get_immediate_executor(),
            *spindle::detail::associated_fiber_io<Handler, std::nullptr_t>::get(b.get()));
    }
};
#endif

#endif // SPINDLE_DETAIL_ASIO_OPERATION_HPP
